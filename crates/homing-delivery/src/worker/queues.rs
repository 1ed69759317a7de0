//! The queues of a lane during one session, and the reasons to begin another one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Context, lane::InFlight, layout::existing};
use homing_broker::{consume::Lane, error::BrokerError, topology::Depth};

/// The queues are looked at this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// A queue that looks forgotten so many consecutive times is.
const CHECKS: u32 = 3;
/// Queues that no setting needs and that are not consumed are looked for this often. One that is
/// missing is forgotten: the broker logs each.
const SEARCH_INTERVAL: Duration = Duration::from_secs(30);

/// The queues of a lane that this worker takes.
pub(super) struct Queues {
    lane: Lane,
    all: Vec<Queue>,
    /// True if only one of the lane's queues is among `all`.
    is_one: bool,
}

struct Queue {
    name: String,
    /// Messages taken from it.
    taken: AtomicU64,
}

impl Queues {
    /// The queues of `lane` at this moment, the left-over ones last.
    pub(super) async fn of(context: &Context, lane: Lane) -> Result<Self, BrokerError> {
        let queue = |name| Queue { name, taken: AtomicU64::default() };
        let names = names_of(context, lane).await?;
        Ok(Self { lane, all: names.into_iter().map(queue).collect(), is_one: false })
    }

    /// Only one of them, the first one after the last.
    pub(super) fn one(mut self, number: usize) -> Self {
        let number = number.checked_rem(self.all.len()).unwrap_or(0);
        self.all = self.all.into_iter().skip(number).take(1).collect();
        self.is_one = true;
        self
    }

    /// The number of queues.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.all.iter().map(|queue| queue.name.clone()).collect()
    }

    /// Notes a message from the queue of this number.
    pub(super) fn took(&self, queue: usize) {
        if let Some(queue) = self.all.get(queue) {
            queue.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Completes when the lane has other queues by now, or when the broker has forgotten a consumer.
    pub(super) async fn until_outdated(&self, context: &Context, work: &InFlight) {
        let mut checks: Vec<_> = self.all.iter().map(|queue| (queue, 0_u64, 0_u32)).collect();
        let mut search_at = Instant::now();
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            for (queue, taken, count) in &mut checks {
                *count = queue.checked(context, work, taken, *count).await;
                if *count >= CHECKS {
                    return;
                }
            }
            if self.may_miss_one(context) && search_at <= Instant::now() {
                search_at = Instant::now() + SEARCH_INTERVAL;
                let names = names_of(context, self.lane).await;
                if names.is_ok_and(|names| !names.iter().all(|name| self.has(name))) {
                    return;
                }
            }
        }
    }

    /// Returns true if a queue of the lane may exist that is not among these.
    fn may_miss_one(&self, context: &Context) -> bool {
        let left_over = context.broker.topology().left_over_shards(self.lane);
        !self.is_one && !left_over.iter().all(|name| self.has(name))
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|queue| queue.name == name)
    }
}

/// The names of the queues of `lane`: this worker's shards, then the left-over ones that exist.
async fn names_of(context: &Context, lane: Lane) -> Result<Vec<String>, BrokerError> {
    let topology = context.broker.topology();
    let mut names = topology.lane_queues(lane, context.settings.shards);
    let left_over = topology.left_over_shards(lane);
    let left_over = existing(&context.broker, context.store.as_ref(), left_over).await?;
    names.extend(left_over.into_iter().map(|(name, _)| name));
    Ok(names)
}

impl Queue {
    /// Counts the consecutive times that the broker reports no consumer of the queue, or messages
    /// there while an idle lane gets none. A consumer can be cancelled without its client learning
    /// of it, when queues are deleted and declared in quick succession; it can be lost when its node
    /// is cut off from the queue's leader.
    async fn checked(
        &self,
        context: &Context,
        work: &InFlight,
        before: &mut u64,
        count: u32,
    ) -> u32 {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken != std::mem::replace(before, taken) {
            // It has its consumer, whatever an overloaded broker counts.
            return 0;
        }
        let nothing = Depth { messages: 0, consumers: 0 };
        match context.broker.depth(&self.name).await.map(|depth| depth.unwrap_or(nothing)) {
            Ok(_) | Err(_) if self.taken.load(Ordering::Relaxed) != taken => 0,
            Ok(depth) if depth.consumers == 0 || depth.messages > 0 && work.is_idle() => {
                count.saturating_add(1)
            }
            Ok(_) | Err(_) => 0,
        }
    }
}
