//! Counts what this worker does, with a few additions per delivery.

use std::{
    collections::BTreeMap,
    mem,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use homing_broker::Route;
use homing_domain::{
    activity::{Due, Figures},
    clock,
    outcome::Outcome,
};
use parking_lot::Mutex;

/// Slices of waits remembered between two reports; further ones are not reported.
const MAX_DUES: usize = 4_096;

/// Counts since the start of this worker.
#[derive(Default)]
pub(super) struct Counters {
    events: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    unreachable: AtomicU64,
    held: AtomicU64,
    parked: AtomicU64,
    in_flight: AtomicU32,
    /// By wait in ms and slice: those not reported to the store yet.
    dues: Mutex<BTreeMap<(u128, i64), Due>>,
}

/// A delivery in flight, until dropped.
pub(super) struct InFlight<'a>(&'a AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counters {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Counts a message taken from the primary queue.
    pub(super) fn event_taken(&self) {
        count(&self.events);
    }

    /// Counts a delivery in flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(&self.in_flight)
    }

    /// Counts an attempt by its outcome.
    pub(super) fn attempted(&self, outcome: &Outcome) {
        count(match outcome {
            Outcome::Accepted { .. } | Outcome::Done => &self.accepted,
            Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Cancelled { .. } => {
                &self.refused
            }
            Outcome::TimedOut { .. } => &self.timed_out,
            Outcome::Unreachable { .. } => &self.unreachable,
        });
    }

    /// Counts a message parked before it became a delivery.
    pub(super) fn message_parked(&self) {
        count(&self.parked);
    }

    /// Counts a delivery that takes `route`; `attempted`: after an attempt.
    pub(super) fn dispatched(&self, route: Route, attempted: bool) {
        match route {
            Route::Parked => count(&self.parked),
            Route::Wait(wait) => {
                if !attempted {
                    count(&self.held);
                }
                let due = Due { wait, at: clock::now().plus(wait) };
                let mut dues = self.dues.lock();
                if dues.len() < MAX_DUES {
                    dues.entry((wait.as_millis(), due.slice())).or_insert(due);
                }
            }
            Route::Held { .. } => count(&self.held),
            Route::Events | Route::Retry => {}
        }
    }

    /// The counts so far.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            events: self.events.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            unreachable: self.unreachable.load(Relaxed),
            held: self.held.load(Relaxed),
            parked: self.parked.load(Relaxed),
        }
    }

    /// The number of deliveries in flight.
    pub(super) fn in_flight_count(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Takes the waits that began since the last call.
    pub(super) fn take_dues(&self) -> Vec<Due> {
        let mut dues = self.dues.lock();
        mem::take(&mut *dues).into_values().collect()
    }

    /// Puts back what the store did not take.
    pub(super) fn put_back(&self, taken: Vec<Due>) {
        let mut dues = self.dues.lock();
        for due in taken {
            dues.insert((due.wait.as_millis(), due.slice()), due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_retry_is_no_hold_and_both_come_due() {
        let counters = Counters::new();
        let wait = Duration::from_secs(86_400);
        counters.attempted(&Outcome::Refused { status: 503, retry_after: None });
        counters.dispatched(Route::Wait(wait), true);
        counters.dispatched(Route::Wait(wait), false);
        counters.dispatched(Route::Parked, true);
        let figures = Figures { refused: 1, held: 1, parked: 1, ..Figures::default() };
        assert_eq!(counters.figures(), figures);
        // Both fall into one slice, unless a boundary lies between them.
        let dues = counters.take_dues();
        assert!((1..=2).contains(&dues.len()) && dues.iter().all(|due| due.wait == wait));
        assert_eq!(counters.take_dues(), []);
        counters.put_back(dues.clone());
        assert_eq!(counters.take_dues(), dues);
    }

    #[test]
    fn a_delivery_is_in_flight_until_dropped() {
        let counters = Counters::new();
        let one = counters.in_flight();
        assert_eq!(counters.in_flight_count(), 1);
        drop(one);
        assert_eq!(counters.in_flight_count(), 0);
    }
}
