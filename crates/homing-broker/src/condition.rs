//! Health of what a process does with the broker, for readiness: since when something fails, and
//! why.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::consume::Lane;

/// The operations whose health is tracked, besides the connections themselves.
#[derive(Debug, Default)]
pub struct Conditions {
    /// Publishing, from anywhere in the process.
    pub publishing: Condition,
    /// Consuming the primary queue.
    pub primary: Condition,
    /// Consuming the retry queue.
    pub retry: Condition,
    /// Consuming held queues.
    pub held: Condition,
    /// Receiving announced changes.
    pub control: Condition,
    /// Republishing messages that had no route.
    pub unrouted: Condition,
}

impl Conditions {
    /// The condition of a lane.
    #[must_use]
    pub fn of(&self, lane: Lane) -> &Condition {
        match lane {
            Lane::Primary => &self.primary,
            Lane::Retry => &self.retry,
            Lane::Held(_) => &self.held,
        }
    }
}

/// Health of one operation, reported by the code that performs it.
#[derive(Debug, Default)]
pub struct Condition {
    /// Avoids the lock while nothing fails.
    is_failing: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    latest: Instant,
    reason: &'static str,
}

impl Condition {
    /// Records a failure and its reason.
    pub fn failed(&self, reason: &'static str) {
        let now = Instant::now();
        let mut failing = self.failing.lock();
        let since = failing.map_or(now, |failing| failing.since);
        *failing = Some(Failing { since, latest: now, reason });
        self.is_failing.store(true, Ordering::Relaxed);
    }

    /// Records that it works.
    pub fn recovered(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            *self.failing.lock() = None;
        }
    }

    /// Returns the last reason if it has failed for `time`.
    #[must_use]
    pub fn failing_for(&self, time: Duration) -> Option<&'static str> {
        let failing = *self.failing.lock();
        failing.filter(|failing| failing.since.elapsed() >= time).map(|failing| failing.reason)
    }

    /// Returns the last reason if it has failed for `time` and was tried within `recent`: something
    /// rare may work again without having been tried.
    #[must_use]
    pub fn failing_recently(&self, time: Duration, recent: Duration) -> Option<&'static str> {
        let failing = *self.failing.lock();
        let tried = failing.is_some_and(|failing| failing.latest.elapsed() <= recent);
        self.failing_for(time).filter(|_| tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_a_while_has_a_reason_until_it_works() {
        let condition = Condition::default();
        assert_eq!(condition.failing_for(Duration::ZERO), None);
        condition.failed("first");
        tokio::time::advance(5 * SECOND).await;
        condition.failed("then");
        assert_eq!(condition.failing_for(6 * SECOND), None);
        assert_eq!(condition.failing_for(5 * SECOND), Some("then"));
        tokio::time::advance(3 * SECOND).await;
        assert_eq!(condition.failing_recently(5 * SECOND, 3 * SECOND), Some("then"));
        assert_eq!(condition.failing_recently(5 * SECOND, 2 * SECOND), None);
        condition.recovered();
        assert_eq!(condition.failing_for(Duration::ZERO), None);
    }
}
