//! Runs replays of the archive: reads a window event by event, finds the subscriptions that are to
//! get each, and publishes the deliveries to the retry queue, whose lane leaves new events alone.
//!
//! A step reads at most [`MAX_STEP`] events to send, publishes their deliveries, waits until the
//! broker has confirmed all of them, and writes the position behind them. A worker that dies in
//! between leaves the replay to another one, which repeats that step: at most so many events come
//! twice, each time with the same `webhook-id`.
//!
//! Live traffic comes first: a step begins only while few messages wait in the queues of new events
//! and of due deliveries, and deliveries are sent at the rate of the replay at most.

mod recipients;
mod turns;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, intake, matching::Match};
use homing_broker::{Message, Outgoing, Route, archive::ArchiveReader, error::BrokerError};
use homing_domain::{
    clock,
    delivery::Progress,
    replay::{Replay, ReplayProgress, ReplayState},
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
/// Events that are sent in one step at most.
const MAX_STEP: usize = 128;
/// Bytes of them, beyond which a step takes no further event.
const MAX_STEP_BYTES: usize = 8 * 1_024 * 1_024;
/// A step ends after this time of reading, however little it has found.
const MAX_READING: Duration = Duration::from_secs(1);
/// Steps in a second, where the rate asks for more than one event in each.
const STEPS_PER_SECOND: u32 = 4;
/// Publishes under way at once.
const AT_ONCE: usize = 128;
/// A window that has just ended is read after this time.
const CLOCK_MARGIN: Duration = Duration::from_secs(1);
/// Times that a failed write is repeated.
const MAX_WRITES: u8 = 5;
/// A publisher may have named the recipients of an event, and the archive may not know them.
const RECIPIENTS_UNKNOWN: &str = "`events.subscription_header` is \"accept\", and RabbitMQ before \
                                  3.13 archives events without the subscriptions that they name";
/// Pause before the next look where more wait.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a replay does not go on here.
enum Fault {
    /// Another process stopped it, or has claimed it.
    Over,
    /// This process stops.
    Stopping,
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
}

/// The events of one step, and their deliveries.
#[derive(Default)]
struct Step {
    copies: Vec<(Outgoing, Route)>,
    deliveries: u64,
    bytes: usize,
    events: usize,
    read: u64,
    unreadable: u64,
    gone: u64,
    /// The position behind it.
    next: u64,
}

impl<'a> Running<'a> {
    fn new(
        context: &'a Context,
        replay: Replay,
        (claim, stop): (ReplayClaim, &'a CancellationToken),
    ) -> Self {
        let now = Instant::now();
        let renew_at = now + RENEW_INTERVAL;
        Self { context, replay, claim, stop, not_before: now, renew_at }
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
            Err(Fault::Stopping) => ReplayState::Waiting,
            Err(Fault::Over) => ReplayState::Stopped,
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
        self.progress().note = None;
        if position >= end {
            return Ok(());
        }
        let mut reader = self.context.broker.read_archive(position).await?;
        while position < end {
            self.check_stop()?;
            let step = self.read(&mut reader, (position, end)).await?;
            self.wait_for_turn(step.deliveries).await?;
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

    /// Reads the events of the next step, and finds who gets them.
    async fn read(
        &self,
        reader: &mut ArchiveReader,
        (position, end): (u64, u64),
    ) -> Result<Step, Fault> {
        self.check_chosen().await?;
        let rate = self.replay.selection.rate.get();
        let most = u64::from((rate / STEPS_PER_SECOND).max(1));
        let until = Instant::now() + MAX_READING;
        let mut step = Step { next: position, ..Step::default() };
        while step.next < end
            && step.events < MAX_STEP
            && step.deliveries < most
            && step.bytes < MAX_STEP_BYTES
            && Instant::now() < until
        {
            let Some(archived) = reader.next().await? else {
                return Err(Fault::Passing("the archive sent nothing for seconds".to_owned()));
            };
            let offset = archived.offset;
            if offset > step.next && self.is_oldest(offset).await? {
                step.gone = step.gone.saturating_add(offset.min(end).saturating_sub(step.next));
            }
            if offset >= end {
                step.next = end;
                break;
            }
            step.next = offset.saturating_add(1);
            step.read = step.read.saturating_add(1);
            match archived.content {
                _ if archived.is_copy => {}
                Ok(message) if self.replay.selection.has(&message.event) => {
                    if message.event.body.len() > self.context.settings.max_event_bytes {
                        step.unreadable = step.unreadable.saturating_add(1);
                        continue;
                    }
                    self.add(message, &mut step).await;
                    if self.replay.selection.event.is_some() {
                        step.next = end;
                    }
                }
                Ok(_) => {}
                Err(_) => step.unreadable = step.unreadable.saturating_add(1),
            }
        }
        Ok(step)
    }

    /// Returns true if the broker has removed what was before `offset`. It skips positions of its
    /// own, too.
    async fn is_oldest(&self, offset: u64) -> Result<bool, Fault> {
        let oldest = self.context.broker.archive_oldest().await?;
        Ok(oldest.is_none_or(|oldest| oldest >= offset))
    }

    /// Adds the deliveries of one event.
    async fn add(&self, mut message: Message, step: &mut Step) {
        let mut matches = self.matches(&message).await;
        let all = matches.len();
        // They were parked when the event was new.
        matches.retain(|one| !matches!(one, Match::Undecided(..)));
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let deliveries = count(matches.len());
        let undecided = count(all.saturating_sub(matches.len()));
        // As after a replay of what was parked, and distinct from other replays of the event.
        let replay = Some(self.replay.id);
        message.progress = Progress { replays: 1, replay, ..Progress::default() };
        message.parked = None;
        step.copies.extend(intake::copies(self.context, &message, matches));
        step.deliveries = step.deliveries.saturating_add(deliveries);
        step.unreadable = step.unreadable.saturating_add(undecided);
        step.events = step.events.saturating_add(usize::from(deliveries > 0));
        step.bytes = step.bytes.saturating_add(message.event.body.len());
    }

    /// Notes what is missing at the end.
    fn note_losses(&mut self) {
        let (selection, progress) = (&self.replay.selection, &mut self.replay.progress);
        progress.note = if progress.gone > 0 {
            Some("some events were removed by the broker before they were read".to_owned())
        } else if progress.sent == 0 && selection.event.is_some() {
            Some("the event is not in the window, or matches no subscription".to_owned())
        } else if progress.unreadable > 0 {
            Some("some messages were no events, or could not be matched or published".to_owned())
        } else {
            None
        };
    }

    /// Publishes the deliveries of a step, and counts them once all are confirmed.
    async fn send(&mut self, step: Step) -> Result<(), Fault> {
        let (broker, refused) = (&self.context.broker, &AtomicU64::new(0));
        let publishing = stream::iter(step.copies).map(Ok).try_for_each_concurrent(
            AT_ONCE,
            |(message, route): (Outgoing, Route)| async move {
                match broker.publish_until_confirmed(&message, route).await {
                    Err(error) if error.is_final() => {
                        log_events::refused_by_broker(message.id(), &error);
                        refused.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    }
                    published => published,
                }
            },
        );
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
            sleep(WAIT_INTERVAL).await;
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
