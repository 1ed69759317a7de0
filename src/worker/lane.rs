//! A lane: one queue, its consumer, and the deliveries in flight from it.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Context, intake};
use crate::{
    broker::{consume::Consumer, error::BrokerError},
    telemetry::events,
};

/// Which deliveries: first attempts, or later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Fresh events.
    Primary,
    /// Due deliveries.
    Retry,
}

impl Lane {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Retry => "retry",
        }
    }
}

/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Runs the lane until `stop`: one session after another, with pauses between them.
pub(super) async fn run(context: Arc<Context>, lane: Lane, stop: CancellationToken) {
    let permits = usize::from(context.settings.lane_in_flight_max());
    // Shared by all sessions: deliveries of a lost one are still in flight.
    let permits = Arc::new(Semaphore::new(permits));
    let mut pauses = pauses();
    let mut told = None;
    while !stop.is_cancelled() {
        let started = Instant::now();
        let ended = session(&context, lane, &permits, &stop).await;
        let error = ended.err().map(|error| error.told());
        if error.is_none() || error != told {
            events::lane_ended(lane.name(), stop.is_cancelled(), error.as_deref());
        }
        told = error;
        if started.elapsed() > GOOD_SESSION {
            pauses = self::pauses();
        }
        let pause = pauses.next().unwrap_or(PAUSE_MAX);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Short, because it is what a broker that is back still waits for its consumers.
const PAUSE_MAX: Duration = Duration::from_secs(2);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(PAUSE_MAX)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Consumes until the broker sends no more or `stop`, then lets what is in flight end.
async fn session(
    context: &Arc<Context>,
    lane: Lane,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let names = context.broker.topology().names();
    let queue = match lane {
        Lane::Primary => names.primary(),
        Lane::Retry => names.retry(),
    };
    let prefetch = context.settings.lane_in_flight_max();
    let consuming = async {
        // A queue that somebody deleted would fail every session.
        context.broker.restore_topology().await?;
        context.broker.consume(&queue, prefetch).await
    };
    let Some(consumer) = stop.run_until_cancelled(consuming).await else { return Ok(()) };
    let mut consumer = consumer?;
    events::lane_started(&queue, prefetch);

    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let taking = take_all(context, lane, permits, (&mut consumer, &tasks, &abort));
    let stopped = stop.run_until_cancelled(taking).await.is_none();
    drain(context, lane, consumer, stopped, (tasks, abort)).await
}

/// Starts the work of every message that comes. Cancelled, it gives back what it holds.
async fn take_all(
    context: &Arc<Context>,
    lane: Lane,
    permits: &Arc<Semaphore>,
    (consumer, tasks, abort): (&mut Consumer, &TaskTracker, &CancellationToken),
) {
    while let Some(received) = consumer.next().await {
        for work in intake::take(context, lane, received) {
            let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
            let work = abort.clone().run_until_cancelled_owned(work.run(Arc::clone(context)));
            tasks.spawn(async move {
                work.await;
                drop(permit);
            });
        }
    }
}

/// After `stop`: lets deliveries in flight end, gives the rest back. After a lost connection there
/// is nobody to answer; what is in flight ends by itself and is remembered.
async fn drain(
    context: &Context,
    lane: Lane,
    consumer: Consumer,
    stopped: bool,
    (tasks, abort): (TaskTracker, CancellationToken),
) -> Result<(), BrokerError> {
    tasks.close();
    if !stopped {
        return Ok(());
    }
    if let Err(error) = consumer.stop().await {
        // Lost just now: nobody sends more, and what is in flight may end all the same.
        events::lane_ended(lane.name(), true, Some(&error.told()));
    }
    events::lane_draining(tasks.len());
    if tokio::time::timeout(context.settings.drain_grace, tasks.wait()).await.is_err() {
        events::lane_gave_back(tasks.len());
        abort.cancel();
        tasks.wait().await;
    }
    consumer.finish().await
}
