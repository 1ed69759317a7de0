//! A lane: one queue, its consumer, and the deliveries in flight from it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Context, intake};
use homing_broker::{
    consume::{Consumer, Lane},
    error::BrokerError,
    prefetch::Bounds,
};
use homing_telemetry::events;

/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// A session that brought nothing yet works when it has lasted this long.
const QUIET_SESSION: Duration = Duration::from_secs(2);
/// After so many sessions in a row that were cut before a message came, the broker sends one at a
/// time, until a session is a good one: each end is charged to all that were on the way, and one of
/// them may be what ends them.
const MAX_BARREN: u32 = 2;

/// Runs the lane until `stop`: one session after another, with pauses between them.
pub(super) async fn run(context: Arc<Context>, lane: Lane, stop: CancellationToken) {
    let max_in_flight = context.settings.max_lane_in_flight();
    let work = Work::new(usize::from(max_in_flight));
    let bounds = Bounds {
        max_messages: max_in_flight,
        max_bytes: context.settings.max_lane_in_flight_bytes(),
        largest: context.settings.max_event_bytes,
    };
    let mut pauses = pauses();
    let mut told = None;
    let (mut refusals, mut barren) = (0, 0_u32);
    context.broker.conditions().of(lane).failed("it has not begun to consume yet");
    while !stop.is_cancelled() {
        let started = Instant::now();
        let over = stop.child_token();
        let taken = work.taken();
        let is_careful = barren >= MAX_BARREN;
        let max_messages = if is_careful { 1 } else { bounds.max_messages };
        let session = session(&context, (lane, Bounds { max_messages, ..bounds }), &work, &over);
        let end = async {
            tokio::select! {
                () = forgotten(&context, lane, &work) => {}
                () = tokio::time::sleep(GOOD_SESSION), if is_careful => {}
            }
        };
        let ended = until_over(session, end, &over).await;
        let is_cut = ended.as_ref().map_or_else(BrokerError::is_cut, |()| true);
        let is_good = started.elapsed() >= GOOD_SESSION;
        if is_cut && !is_good && (is_careful || work.taken() == taken) {
            barren = barren.saturating_add(1);
        } else if is_good || work.taken() > taken {
            barren = 0;
        }
        let why = ended.as_ref().err().map_or("the broker sends no more", BrokerError::summary);
        context.broker.conditions().of(lane).failed(why);
        let is_refused = !is_cut && ended.as_ref().is_err_and(|error| error.reply().is_some());
        refusals = if is_refused { MAX_REFUSED_PAUSE.as_secs().min(refusals + 1) } else { 0 };
        let error = ended.err().map(|error| error.report());
        // The same error is told once.
        if stop.is_cancelled() || error != told || error.is_none() {
            events::lane_ended(lane.name(), stop.is_cancelled(), error.as_deref());
        }
        told = error;
        if started.elapsed() > GOOD_SESSION {
            pauses = self::pauses();
        }
        // What the broker refuses now, it refuses a second later too.
        let refused = Duration::from_secs(refusals.saturating_sub(1));
        let pause = pauses.next().unwrap_or(MAX_PAUSE).max(refused);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Ends a session politely when `end` comes: the broker has forgotten the consumer.
async fn until_over<T>(
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

/// Ends when the broker says several times in a row that nobody consumes the lane's queue, or that
/// messages wait there of which an idle lane is sent none. A consumer can be cancelled without its
/// client learning of it, where queues are deleted and declared in quick succession; and be forgotten,
/// where the node that it came through is cut off from the queue's leader.
async fn forgotten(context: &Context, lane: Lane, work: &Work) {
    const LOOK_INTERVAL: Duration = Duration::from_secs(3);
    const LOOKS: u32 = 3;
    let mut looks = 0;
    while looks < LOOKS {
        let taken = work.taken();
        tokio::time::sleep(LOOK_INTERVAL).await;
        // What is sent messages is not forgotten, whatever a broker says that is too busy to count.
        let is_served = work.taken() != taken;
        looks = match context.broker.lane_depth(lane).await {
            Ok(depth) if !is_served && depth.consumers == 0 => looks.saturating_add(1),
            Ok(depth) if !is_served && depth.messages > 0 && work.is_idle() => {
                looks.saturating_add(1)
            }
            Ok(_) | Err(_) => 0,
        };
    }
}

/// What a lane is at, over all its sessions: deliveries of a lost one are still in flight.
struct Work {
    permits: Arc<Semaphore>,
    max_in_flight: usize,
    /// Messages so far.
    taken: AtomicU64,
}

impl Work {
    fn new(max_in_flight: usize) -> Self {
        let permits = Arc::new(Semaphore::new(max_in_flight));
        Self { permits, max_in_flight, taken: AtomicU64::default() }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.permits.available_permits() == self.max_in_flight
    }
}

/// Short, because it is what a broker that is back still waits for its consumers.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Where the broker answers, and refuses.
const MAX_REFUSED_PAUSE: Duration = Duration::from_secs(15);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(MAX_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Consumes until the broker sends no more or `stop`, then lets what is in flight end.
async fn session(
    context: &Arc<Context>,
    (lane, bounds): (Lane, Bounds),
    work: &Work,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let consuming = async {
        // A queue that somebody deleted would fail every session.
        context.broker.ensure_topology().await?;
        context.broker.consume(lane, bounds).await
    };
    let Some(consumer) = stop.run_until_cancelled(consuming).await else { return Ok(()) };
    let mut consumer = consumer?;
    events::lane_started(lane.name(), bounds.max_messages);

    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let taking = (&mut consumer, &tasks, &abort);
    let condition = context.broker.conditions().of(lane);
    let quiet = async {
        tokio::time::sleep(QUIET_SESSION).await;
        condition.recovered();
        std::future::pending::<Infallible>().await
    };
    let stopped = tokio::select! {
        stopped = take_all(context, lane, work, taking, stop) => stopped,
        never = quiet => match never {},
    };
    drain(context, lane, consumer, stopped?, (tasks, abort)).await
}

/// Starts the work of every message that comes, until the broker sends no more (`None`) or `stop`
/// (then). All the work of a message is started, also after `stop`: were a part given back, what
/// is delivered of it would be repeated.
async fn take_all(
    context: &Arc<Context>,
    lane: Lane,
    work: &Work,
    (consumer, tasks, abort): (&mut Consumer, &TaskTracker, &CancellationToken),
    stop: &CancellationToken,
) -> Result<Option<Instant>, BrokerError> {
    loop {
        consumer.adapt().await?;
        let next = match stop.run_until_cancelled(consumer.next()).await {
            Some(next) => next?,
            None => return Ok(Some(Instant::now())),
        };
        let Some(received) = next else { return Ok(None) };
        work.taken.fetch_add(1, Ordering::Relaxed);
        context.broker.conditions().of(lane).recovered();
        for task in intake::take(context, lane, received) {
            let acquiring = Arc::clone(&work.permits).acquire_owned();
            let grace = grace_over(stop, context.settings.drain_grace);
            let permit = tokio::select! {
                permit = acquiring => permit,
                () = grace => return Ok(Some(Instant::now() - context.settings.drain_grace)),
            };
            let Ok(permit) = permit else { return Ok(None) };
            let task = abort.clone().run_until_cancelled_owned(task.run(Arc::clone(context)));
            tasks.spawn(async move {
                task.await;
                drop(permit);
            });
        }
    }
}

async fn grace_over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// After `stop`: lets deliveries in flight end, gives the rest back. After a lost connection there
/// is nobody to answer; what is in flight ends by itself and is remembered.
async fn drain(
    context: &Context,
    lane: Lane,
    consumer: Consumer,
    stopped: Option<Instant>,
    (tasks, abort): (TaskTracker, CancellationToken),
) -> Result<(), BrokerError> {
    tasks.close();
    let Some(stopped) = stopped else { return Ok(()) };
    if let Err(error) = consumer.stop().await {
        // Lost just now: nobody sends more, and what is in flight may end all the same.
        events::lane_ended(lane.name(), true, Some(&error.report()));
    }
    events::lane_draining(lane.name(), tasks.len());
    let deadline = stopped + context.settings.drain_grace;
    if tokio::time::timeout_at(deadline, tasks.wait()).await.is_err() {
        events::lane_gave_back(tasks.len());
        abort.cancel();
        tasks.wait().await;
    }
    consumer.finish().await
}
