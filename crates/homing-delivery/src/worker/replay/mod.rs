//! Runs replays of the archive: reads a window event by event, finds the subscriptions that are to
//! get each, and publishes the deliveries to the retry queue, whose lane leaves new events alone.
//!
//! A [`step`] reads at most 128 events to send, publishes their deliveries, waits until the
//! broker has confirmed all of them, and writes the position behind them. A worker that dies in
//! between leaves the replay to another one, which repeats that step: at most so many events come
//! twice, each time with the same `webhook-id`. (If the machine of the store fails, those of a second.)
//!
//! Live traffic comes first: a step is sent at the rate of the replay at most, only while few
//! messages wait for workers, and only while the circuits of its endpoints are closed and few
//! deliveries wait for any of them ([`obstacle`], [`turns`]). Of a replay to all that match, the
//! deliveries for an endpoint that is down are left out and counted.

mod obstacle;
mod recipients;
mod step;
mod turns;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{step::Step, turns::StepSize};
use super::Context;
use homing_broker::{Outgoing, Route, error::BrokerError};
use homing_domain::{
    clock,
    replay::{Replay, ReplayProgress, ReplayState},
    url::EndpointUrl,
};
use homing_store::{ReplayClaim, StoreError};
use homing_telemetry::log_events;

/// Interval of looking for a replay.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// A replay whose worker writes nothing for so long is another's.
const CLAIM: Duration = Duration::from_secs(30);
/// Publishing one step takes so long at most; then it is repeated.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(15);
/// A claim is renewed so often while nothing is sent.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// Publishes under way at once; those of a step follow each other over half of its time, so that it
/// is no burst for live events and endpoints ...
const AT_ONCE: usize = 16;
/// ... where that is no longer than this.
const MAX_SPREAD: Duration = Duration::from_millis(125);
/// A window that has just ended is read after this time.
const CLOCK_MARGIN: Duration = Duration::from_secs(1);
/// Endpoints that a note names at most.
const NAMED: usize = 3;
/// Times that a failed write is repeated.
const MAX_WRITES: u8 = 5;
/// A publisher may have named the recipients of an event, and the archive may not know them.
const RECIPIENTS_UNKNOWN: &str = "`events.subscription_header` is \"accept\", and RabbitMQ before \
                                  3.13 archives events without the subscriptions that they name";
/// Pause before a failed write is repeated.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a replay does not go on here.
enum Fault {
    /// Another process stopped it, or has claimed it.
    Over,
    /// This process stops.
    Stopping,
    /// It waits; other replays go first.
    Behind(String),
    /// It may work later.
    Passing(String),
    /// It never will.
    Final(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        log_events::store_unavailable("replaying the archive", &error);
        Self::Passing("the store was unavailable".to_owned())
    }
}

impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        if error.is_no_archive() {
            return Self::Final("there is no archive any more".to_owned());
        }
        if error.is_final_for_archive() {
            let advice = "see docs/REPLAY.md, and resume it";
            return Self::Final(format!("{}; {advice}", error.report()));
        }
        Self::Passing(error.report())
    }
}

/// Runs replays until `stop`, one after the other.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) {
    if !context.broker.topology().has_archive() {
        return;
    }
    let claim = ReplayClaim { worker: clock::new_id(), lasts: CLAIM };
    while !stop.is_cancelled() {
        let names = context.broker.topology().names();
        match context.store.claim_replay(names.prefix(), claim).await {
            Ok(Some(replay)) => Running::new(&context, replay, (claim, &stop)).run().await,
            Ok(None) => {}
            Err(error) => log_events::store_unavailable("looking for a replay", &error),
        }
        stop.run_until_cancelled(sleep(POLL_INTERVAL)).await;
    }
}

/// The note of a replay that has left out `urls`; an earlier worker may have left out others.
fn left_out(urls: &BTreeSet<EndpointUrl>) -> String {
    let mut note = "endpoints whose circuit was not closed were left out".to_owned();
    let mut separator = ": ";
    for url in urls.iter().take(NAMED) {
        note = note + separator + url.as_str();
        separator = ", ";
    }
    if let Some(others @ 1..) = urls.len().checked_sub(NAMED) {
        note = format!("{note} and {others} more");
    }
    note + "; once they are well, begin a replay of this window with the URL"
}

/// A replay that this worker has claimed.
struct Running<'a> {
    context: &'a Context,
    replay: Replay,
    claim: ReplayClaim,
    stop: &'a CancellationToken,
    /// The time before which nothing is sent, by the rate.
    not_before: Instant,
    /// The time at which the claim is renewed, unless a step does so before.
    renew_at: Instant,
    /// Deliveries of the next step.
    step_size: StepSize,
    /// Messages in queues when it looked last.
    depths: HashMap<String, u64>,
    /// Endpoints that are left out while their circuit is not closed.
    left_out: BTreeSet<EndpointUrl>,
}

impl<'a> Running<'a> {
    fn new(
        context: &'a Context,
        replay: Replay,
        (claim, stop): (ReplayClaim, &'a CancellationToken),
    ) -> Self {
        let now = Instant::now();
        let renew_at = now + RENEW_INTERVAL;
        let step_size = StepSize::new(replay.selection.rate.get());
        Self {
            context,
            replay,
            claim,
            stop,
            not_before: now,
            renew_at,
            step_size,
            depths: HashMap::new(),
            left_out: BTreeSet::new(),
        }
    }

    fn progress(&mut self) -> &mut ReplayProgress {
        &mut self.replay.progress
    }

    /// Sends the rest of the window, unless a stop or another process ends that. What was sent is
    /// always written: only a death repeats a step.
    async fn run(mut self) {
        let id = self.replay.id;
        info!(replay = %id, position = self.replay.progress.position, "replay.running");
        let state = match self.send_all().await {
            Ok(()) => {
                self.note_losses();
                ReplayState::Done
            }
            // It waits for nothing any more but a worker.
            Err(Fault::Stopping) => {
                self.progress().note = None;
                ReplayState::Waiting
            }
            Err(Fault::Over) => {
                self.progress().note = None;
                ReplayState::Stopped
            }
            Err(Fault::Behind(why)) => {
                self.progress().note = Some(why);
                ReplayState::Waiting
            }
            Err(Fault::Passing(why)) => {
                warn!(replay = %id, error = why, "replay.interrupted: it goes on later");
                self.progress().note = Some(why);
                ReplayState::Waiting
            }
            Err(Fault::Final(why)) => {
                warn!(replay = %id, error = why, "replay.failed");
                self.progress().note = Some(why);
                ReplayState::Failed
            }
        };
        let store = &self.context.store;
        match store.leave_replay(id, state, &self.replay.progress, self.claim).await {
            Ok(_was_claimed) => {
                let ReplayProgress { read, sent, .. } = self.replay.progress;
                info!(replay = %id, state = state.as_str(), read, sent, "replay.left");
            }
            Err(error) => log_events::store_unavailable("leaving a replay", &error),
        }
    }

    async fn send_all(&mut self) -> Result<(), Fault> {
        if self.context.broker.accepts_recipients() {
            return Err(Fault::Final(RECIPIENTS_UNKNOWN.to_owned()));
        }
        // A subscription may be newer than what this process knows.
        self.context.subscriptions.refresh().await?;
        let (mut position, end) = self.window().await?;
        if position >= end {
            return Ok(());
        }
        let mut reader = self.context.broker.read_archive(position).await?;
        while position < end {
            self.check_stop()?;
            let mut step = self.read(&mut reader, (position, end)).await?;
            self.wait_for_turn(&mut step).await?;
            self.check_stop()?;
            position = step.next;
            self.send(step).await?;
            self.write().await?;
        }
        reader.finish().await?;
        Ok(())
    }

    /// The position of the next event, and that behind the last one; found once, when the replay
    /// begins.
    async fn window(&mut self) -> Result<(u64, u64), Fault> {
        let selection = &self.replay.selection;
        // The window may end at the second that is not over yet, and the broker's clock be late.
        let over = selection.until_ms.plus(CLOCK_MARGIN).since(clock::now());
        let (since, until) = (selection.since_ms, selection.until_ms);
        let finding = async {
            sleep(over).await;
            self.context.broker.archive_window(since, until).await
        };
        let window = self.stop.run_until_cancelled(finding).await.ok_or(Fault::Stopping)??;
        let progress = self.progress();
        if let Some((position, end)) = progress.position.zip(progress.end) {
            // Positions of an archive that was deleted mean other events now.
            if window.end < end {
                let why = "the archive was deleted, or lost its end, since the replay began; begin \
                           another one";
                return Err(Fault::Final(why.to_owned()));
            }
            return Ok((position, end));
        }
        progress.events = Some(window.end.saturating_sub(window.first));
        progress.position = Some(window.first);
        progress.end = Some(window.end);
        progress.archive_begins_ms = window.archive_begins;
        self.write().await?;
        Ok((window.first, window.end))
    }

    /// Notes what is missing at the end.
    fn note_losses(&mut self) {
        let (selection, progress) = (&self.replay.selection, &mut self.replay.progress);
        let mut notes = Vec::new();
        if progress.left_out > 0 {
            notes.push(left_out(&self.left_out));
        }
        if progress.gone > 0 {
            notes.push("some events were removed by the broker before they were read".to_owned());
        }
        if progress.unreadable > 0 {
            let why = "some messages were no events, or could not be matched or published";
            notes.push(why.to_owned());
        }
        if notes.is_empty() && progress.sent == 0 && selection.event.is_some() {
            notes.push("the event is not in the window, or matches no subscription".to_owned());
        }
        progress.note = (!notes.is_empty()).then(|| notes.join("; "));
    }

    /// Publishes the deliveries of a step, and counts them once all are confirmed.
    async fn send(&mut self, mut step: Step) -> Result<(), Fault> {
        let copies = step.copies(self.context);
        let (broker, refused) = (&self.context.broker, &AtomicU64::new(0));
        let publish = |(message, route): (Outgoing, Route)| async move {
            match broker.publish_until_confirmed(&message, route).await {
                Err(error) if error.is_final() => {
                    log_events::refused_by_broker(message.id(), &error);
                    refused.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                published => published,
            }
        };
        let parts = u32::try_from(copies.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        let spread = (self.at_rate(step.deliveries) / 2).min(MAX_SPREAD);
        let publishing = async {
            let (mut copies, mut next) = (stream::iter(copies).chunks(AT_ONCE), Instant::now());
            while let Some(part) = copies.next().await {
                sleep_until(next).await;
                next += spread / parts.max(1);
                stream::iter(part).map(Ok).try_for_each_concurrent(None, publish).await?;
            }
            Ok::<_, BrokerError>(())
        };
        let published = timeout(PUBLISH_DEADLINE, publishing).await;
        let too_slow = |_| Fault::Passing("the broker took no messages".to_owned());
        published.map_err(too_slow)??;
        let refused = refused.load(Ordering::Relaxed);
        let progress = self.progress();
        progress.position = Some(step.next);
        progress.read = progress.read.saturating_add(step.read);
        progress.sent = progress.sent.saturating_add(step.deliveries.saturating_sub(refused));
        progress.unreadable =
            progress.unreadable.saturating_add(step.unreadable).saturating_add(refused);
        progress.gone = progress.gone.saturating_add(step.gone);
        progress.left_out = progress.left_out.saturating_add(step.left_out);
        Ok(())
    }

    /// Writes how far it is and renews the claim.
    async fn write(&mut self) -> Result<(), Fault> {
        let (id, store) = (self.replay.id, &self.context.store);
        let mut state = store.advance_replay(id, &self.replay.progress, self.claim).await;
        // What was sent would be repeated; the claim lasts as long.
        for _ in 0..MAX_WRITES {
            if state.is_ok() {
                break;
            }
            sleep(WRITE_INTERVAL).await;
            state = store.advance_replay(id, &self.replay.progress, self.claim).await;
        }
        let state = state?;
        self.renew_at = Instant::now() + RENEW_INTERVAL;
        match state {
            Some(ReplayState::Waiting | ReplayState::Running) => Ok(()),
            Some(ReplayState::Stopped | ReplayState::Done | ReplayState::Failed) | None => {
                Err(Fault::Over)
            }
        }
    }
}
