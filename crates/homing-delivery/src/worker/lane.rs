//! A lane: its queues, one for each shard, their consumer, and the deliveries in flight from them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Context, intake, queues::Queues};
use homing_broker::{
    backoff::Backoff,
    consume::{Consumer, Lane},
    error::BrokerError,
    prefetch::Bounds,
};
use homing_telemetry::log_events;

/// A session that lasted this long resets the pauses.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// A session that has brought no message counts as working after this long.
const QUIET_SESSION: Duration = Duration::from_secs(2);
/// After so many consecutive sessions that were cut before a message came, the broker sends one
/// message at a time, from one queue after the other, until a session of each lasts: each cut counts
/// against all messages that were being sent, and one of them may be the cause.
const MAX_BARREN: u32 = 2;

/// The sessions that were cut before a message came, and what follows from them.
#[derive(Default)]
struct Care {
    /// Consecutive ones.
    barren: u32,
    /// Queues of which a session has lasted since.
    sound: usize,
}

impl Care {
    fn is_needed(&self) -> bool {
        self.barren >= MAX_BARREN
    }

    /// A session that lasts so long counts as good.
    fn good_session(&self, queues: usize) -> Duration {
        if !self.is_needed() {
            return GOOD_SESSION;
        }
        // The other queues wait meanwhile.
        let queues = u32::try_from(queues).unwrap_or(u32::MAX).max(1);
        (GOOD_SESSION / queues).max(QUIET_SESSION)
    }

    /// Records that a session ended; `has_worked`: it lasted, or a message came.
    fn ended(&mut self, is_cut: bool, has_worked: bool, queues: usize) {
        if is_cut {
            self.barren = self.barren.saturating_add(1);
        } else if has_worked {
            self.sound = self.sound.saturating_add(1);
            if !self.is_needed() || self.sound >= queues {
                *self = Self::default();
            }
        }
    }
}

/// Runs the lane until `stop`: one session after another, with pauses between them.
pub(super) async fn run(context: Arc<Context>, lane: Lane, stop: CancellationToken) {
    let max_in_flight = context.settings.max_lane_in_flight();
    let work = InFlight::new(usize::from(max_in_flight));
    let bounds = Bounds {
        max_messages: max_in_flight,
        max_bytes: context.settings.max_lane_in_flight_bytes(),
        largest: context.settings.max_event_bytes,
    };
    let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    let mut logged = None;
    let (mut refusals, mut care) = (0, Care::default());
    context.broker.conditions().of(lane).failed("it has not begun to consume yet");
    while !stop.is_cancelled() {
        let started = Instant::now();
        let over = stop.child_token();
        let taken = work.taken();
        let (is_careful, mut count) = (care.is_needed(), 1);
        let max_messages = if is_careful { 1 } else { bounds.max_messages };
        let bounds = Bounds { max_messages, ..bounds };
        let ended = match stop.run_until_cancelled(Queues::of(&context, lane)).await {
            None => break,
            Some(Err(error)) => Err(error),
            Some(Ok(queues)) => {
                count = queues.len();
                let queues = if is_careful { queues.one(care.sound) } else { queues };
                let session = session(&context, &queues, bounds, &work, &over);
                let end = async {
                    tokio::select! {
                        () = queues.until_outdated(&context, &work) => {}
                        () = tokio::time::sleep(care.good_session(count)), if is_careful => {}
                    }
                };
                until_over(session, end, &over).await
            }
        };
        // Neither `stop` nor what ends a session cleanly is the broker's doing.
        let is_cut =
            !over.is_cancelled() && ended.as_ref().map_or_else(BrokerError::is_cut, |()| true);
        let is_good = started.elapsed() >= care.good_session(count);
        let has_taken = work.taken() > taken;
        let is_barren = is_cut && !is_good && (is_careful || !has_taken);
        care.ended(is_barren, is_good || has_taken, count);
        let why = ended.as_ref().err().map_or("the broker sends no more", BrokerError::summary);
        context.broker.conditions().of(lane).failed(why);
        let is_refused = !is_cut && ended.as_ref().is_err_and(|error| error.reply().is_some());
        refusals = if is_refused { MAX_REFUSED_PAUSE.as_secs().min(refusals + 1) } else { 0 };
        let error = ended.err().map(|error| error.report());
        // Logs the same error once.
        if stop.is_cancelled() || error != logged || error.is_none() {
            log_events::lane_ended(lane.name(), stop.is_cancelled(), error.as_deref());
        }
        logged = error;
        if started.elapsed() > GOOD_SESSION {
            backoff.reset();
        }
        // A refusal is likely to repeat a second later.
        let refused = Duration::from_secs(refusals.saturating_sub(1));
        let pause = backoff.pause().max(refused);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Ends a session cleanly when `end` completes, for example because the broker has lost the
/// consumer.
pub(super) async fn until_over<T>(
    session: impl Future<Output = T>,
    end: impl Future<Output = ()>,
    over: &CancellationToken,
) -> T {
    tokio::pin!(session);
    tokio::select! {
        ended = &mut session => ended,
        () = end => {
            over.cancel();
            session.await
        }
    }
}

/// The work of a lane over all its sessions: deliveries of a lost session are still in flight.
pub(super) struct InFlight {
    permits: Arc<Semaphore>,
    places: usize,
    /// Messages taken so far.
    taken: AtomicU64,
}

impl InFlight {
    pub(super) fn new(places: usize) -> Self {
        let permits = Arc::new(Semaphore::new(places));
        Self { permits, places, taken: AtomicU64::default() }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Deliveries in flight.
    pub(super) fn count(&self) -> usize {
        self.places.saturating_sub(self.permits.available_permits())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.count() == 0
    }
}

/// Between two sessions at first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Short: a broker that is back waits this long for its consumers.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// For a broker that answers, and refuses.
const MAX_REFUSED_PAUSE: Duration = Duration::from_secs(15);

/// Consumes until the broker sends no more or `stop`, then waits for what is in flight.
pub(super) async fn session(
    context: &Arc<Context>,
    queues: &Queues,
    bounds: Bounds,
    work: &InFlight,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let lane = queues.lane();
    let consuming = async {
        // A deleted queue would fail every session.
        context.broker.ensure_topology().await?;
        context.broker.consume(lane, queues.names(), bounds).await
    };
    let Some(consumer) = stop.run_until_cancelled(consuming).await else { return Ok(()) };
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    let mut session = Session { queues, consumer: consumer?, tasks, abort };
    log_events::lane_started(lane.name(), bounds.max_messages);

    let condition = context.broker.conditions().of(lane);
    let quiet = async {
        tokio::time::sleep(QUIET_SESSION).await;
        condition.recovered();
        std::future::pending::<Infallible>().await
    };
    let stopped = tokio::select! {
        stopped = session.take_all(context, work, stop) => stopped,
        never = quiet => match never {},
    };
    session.drain(context, stopped?).await
}

/// The prefetch is adapted this often at least: what it was at first may be all in flight.
const ADAPT_INTERVAL: Duration = Duration::from_millis(500);

/// A consumer, and the work of its messages.
struct Session<'a> {
    queues: &'a Queues,
    consumer: Consumer,
    tasks: TaskTracker,
    /// Gives up the work that is left.
    abort: CancellationToken,
}

impl Session<'_> {
    /// Starts the work of every message, until the broker sends no more (`None`), or `stop` or the
    /// end of one of several queues (its instant). Starts all the work of a message, even after
    /// `stop`: giving a part back would repeat what the rest has delivered.
    async fn take_all(
        &mut self,
        context: &Arc<Context>,
        work: &InFlight,
        stop: &CancellationToken,
    ) -> Result<Option<Instant>, BrokerError> {
        loop {
            self.consumer.adapt().await?;
            if self.consumer.has_lost_a_queue() {
                return Ok(Some(Instant::now()));
            }
            let next = timeout(ADAPT_INTERVAL, self.consumer.next());
            let next = match stop.run_until_cancelled(next).await {
                Some(Ok(next)) => next?,
                Some(Err(_elapsed)) => continue,
                None => return Ok(Some(Instant::now())),
            };
            let Some(taken) = next else { return Ok(None) };
            work.taken.fetch_add(1, Ordering::Relaxed);
            self.queues.took(taken.queue);
            let lane = self.queues.lane();
            context.broker.conditions().of(lane).recovered();
            let Some(received) = taken.received else { continue };
            for task in intake::take(context, lane, received) {
                let acquiring = Arc::clone(&work.permits).acquire_owned();
                let grace = grace_over(stop, context.settings.drain_grace);
                let permit = tokio::select! {
                    permit = acquiring => permit,
                    () = grace => return Ok(Some(Instant::now() - context.settings.drain_grace)),
                };
                let Ok(permit) = permit else { return Ok(None) };
                // Boxed, because each of the futures around it would have room for it twice: 27 kB
                // for each delivery in flight instead of 5.
                let task = Box::pin(task.run(Arc::clone(context)));
                let task = self.abort.clone().run_until_cancelled_owned(task);
                self.tasks.spawn(async move {
                    task.await;
                    drop(permit);
                });
            }
        }
    }

    /// After `stop`: waits for deliveries in flight, gives the rest back. After a lost connection
    /// nothing can be settled; deliveries in flight end by themselves and are remembered.
    async fn drain(self, context: &Context, stopped: Option<Instant>) -> Result<(), BrokerError> {
        let Self { queues, consumer, tasks, abort } = self;
        let lane = queues.lane();
        tasks.close();
        let Some(stopped) = stopped else { return Ok(()) };
        if let Err(error) = consumer.stop().await {
            // The connection was lost just now: no more messages come, and what is in flight may still
            // end.
            log_events::lane_ended(lane.name(), true, Some(&error.report()));
        }
        log_events::lane_draining(lane.name(), tasks.len());
        let deadline = stopped + context.settings.drain_grace;
        if tokio::time::timeout_at(deadline, tasks.wait()).await.is_err() {
            log_events::lane_gave_back(tasks.len());
            abort.cancel();
            tasks.wait().await;
        }
        consumer.finish().await
    }
}

pub(super) async fn grace_over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_cuts_each_queue_is_consumed_alone_until_one_session_of_each_has_lasted() {
        let mut care = Care::default();
        care.ended(true, false, 3);
        care.ended(false, true, 3);
        assert!(!care.is_needed(), "not consecutive");
        care.ended(true, false, 3);
        care.ended(true, false, 3);
        for sound in 0..3 {
            assert_eq!((care.is_needed(), care.sound), (true, sound));
            care.ended(true, false, 3);
            assert_eq!(care.sound, sound, "the same queue again");
            care.ended(false, true, 3);
        }
        assert_eq!((care.is_needed(), care.sound), (false, 0));
    }
}
