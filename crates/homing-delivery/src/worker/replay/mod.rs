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

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, intake, matching::Match};
use homing_broker::{
    Message, Outgoing, Route, archive::ArchiveReader, consume::Lane, error::BrokerError,
    topology::ShardPart,
};
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
/// Messages that may wait for workers while a step begins.
const MAX_WAITING: u64 = 1_000;
/// Pause before the next look where more wait.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a replay does not go on here.
enum Fault {
    /// Another process stopped it, or has claimed it.
    Over,
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
            Ok(Some(replay)) => Running::new(&context, replay, claim).run(&stop).await,
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
    fn new(context: &'a Context, replay: Replay, claim: ReplayClaim) -> Self {
        let now = Instant::now();
        Self { context, replay, claim, not_before: now, renew_at: now + RENEW_INTERVAL }
    }

    fn progress(&mut self) -> &mut ReplayProgress {
        &mut self.replay.progress
    }

    /// Sends the rest of the window, unless `stop` or another process ends that.
    async fn run(mut self, stop: &CancellationToken) {
        let id = self.replay.id;
        info!(replay = %id, position = self.replay.progress.position, "replay.running");
        let state = match stop.run_until_cancelled(self.send_all()).await {
            None => ReplayState::Waiting,
            Some(Ok(())) => ReplayState::Done,
            Some(Err(Fault::Over)) => ReplayState::Stopped,
            Some(Err(Fault::Passing(why))) => {
                warn!(replay = %id, error = why, "replay.interrupted: it goes on later");
                self.progress().note = Some(why);
                ReplayState::Waiting
            }
            Some(Err(Fault::Final(why))) => {
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
        self.progress().note = None;
        let (mut position, end) = self.window().await?;
        if position >= end {
            return Ok(());
        }
        let mut reader = self.context.broker.read_archive(position).await?;
        while position < end {
            let step = self.read(&mut reader, (position, end)).await?;
            self.wait_for_turn(step.deliveries).await?;
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
        let progress = &self.replay.progress;
        if let Some((position, end)) = progress.position.zip(progress.end) {
            return Ok((position, end));
        }
        let selection = &self.replay.selection;
        // The window may end at the second that is not over yet, and the broker's clock be late.
        sleep(selection.until_ms.plus(CLOCK_MARGIN).since(clock::now())).await;
        let (since, until) = (selection.since_ms, selection.until_ms);
        let window = self.context.broker.archive_window(since, until).await?;
        let progress = self.progress();
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
        self.check_chosen()?;
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
                Ok(message) if self.replay.selection.has(&message.event) => {
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
        let matches = self.matches(&message).await;
        let (mut deliveries, mut undecided) = (0_u64, 0_u64);
        for one in &matches {
            match one {
                Match::Matched(_) | Match::Unreadable(_) => {
                    deliveries = deliveries.saturating_add(1);
                }
                Match::Undecided(..) => undecided = undecided.saturating_add(1),
            }
        }
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

    /// Waits until the rate allows a step with so many deliveries, and until few messages wait for
    /// workers.
    async fn wait_for_turn(&mut self, deliveries: u64) -> Result<(), Fault> {
        if deliveries == 0 {
            return Ok(());
        }
        while Instant::now() < self.not_before {
            let pause = self.not_before.saturating_duration_since(Instant::now());
            sleep(pause.min(RENEW_INTERVAL)).await;
            self.renew().await?;
        }
        loop {
            let waiting = self.waiting().await?;
            if waiting <= MAX_WAITING {
                break;
            }
            self.progress().note =
                Some(format!("waits for {waiting} messages that are ahead of it"));
            sleep(WAIT_INTERVAL).await;
            self.renew().await?;
        }
        self.progress().note = None;
        let seconds = Duration::from_secs(deliveries) / self.replay.selection.rate.get();
        self.not_before = Instant::now() + seconds;
        Ok(())
    }

    /// Messages that wait in the queues of new events and of due deliveries.
    async fn waiting(&self) -> Result<u64, Fault> {
        let mut waiting = 0_u64;
        for lane in [Lane::Primary, Lane::Retry] {
            for queue in self.context.broker.topology().lane_queues(lane, ShardPart::ALL) {
                let depth = self.context.broker.depth(&queue).await?;
                let messages = depth.map_or(0, |depth| u64::from(depth.messages));
                waiting = waiting.saturating_add(messages);
            }
        }
        Ok(waiting)
    }

    /// Publishes the deliveries of a step, and counts them once all are confirmed.
    async fn send(&mut self, step: Step) -> Result<(), Fault> {
        let broker = &self.context.broker;
        let publishing = stream::iter(step.copies).map(Ok).try_for_each_concurrent(
            AT_ONCE,
            |(message, route): (Outgoing, Route)| async move {
                match broker.publish_until_confirmed(&message, route).await {
                    Err(error) if error.is_final() => {
                        log_events::refused_by_broker(message.id(), &error);
                        Ok(())
                    }
                    published => published,
                }
            },
        );
        let published = timeout(PUBLISH_DEADLINE, publishing).await;
        let too_slow = |_| Fault::Passing("the broker took no messages".to_owned());
        published.map_err(too_slow)??;
        let progress = self.progress();
        progress.position = Some(step.next);
        progress.read = progress.read.saturating_add(step.read);
        progress.sent = progress.sent.saturating_add(step.deliveries);
        progress.unreadable = progress.unreadable.saturating_add(step.unreadable);
        progress.gone = progress.gone.saturating_add(step.gone);
        Ok(())
    }

    /// Renews the claim, if that is due.
    async fn renew(&mut self) -> Result<(), Fault> {
        if Instant::now() < self.renew_at { Ok(()) } else { self.write().await }
    }

    /// Writes how far it is and renews the claim.
    async fn write(&mut self) -> Result<(), Fault> {
        let (id, store) = (self.replay.id, &self.context.store);
        let state = store.advance_replay(id, &self.replay.progress, self.claim).await?;
        self.renew_at = Instant::now() + RENEW_INTERVAL;
        match state {
            Some(ReplayState::Waiting | ReplayState::Running) => Ok(()),
            Some(ReplayState::Stopped | ReplayState::Done | ReplayState::Failed) | None => {
                Err(Fault::Over)
            }
        }
    }
}
