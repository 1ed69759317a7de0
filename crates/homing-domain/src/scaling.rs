//! The number of workers that a load needs.

use std::time::Duration;

/// The share of its capacity for which a worker is planned: beyond it, waits grow quickly.
const BUSY: f64 = 0.7;

/// The present load of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Workers that reported lately.
    pub workers: u32,
    /// Deliveries in flight in all of them.
    pub in_flight: u32,
    /// Events taken or attempts made, whichever is more; per second.
    pub rate: f64,
    /// Messages that are ready in the queues of new events and of due deliveries.
    pub backlog: u32,
}

/// The load for which one worker is planned.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPlan {
    /// Attempts per second.
    pub rate: u32,
    /// Places of a lane: deliveries in flight at once.
    pub places: u16,
    /// The time in which a backlog is to be worked off.
    pub catch_up: Duration,
    /// Parts of the shards, each of which needs a worker.
    pub parts: u16,
}

impl WorkerPlan {
    /// The number of workers that `load` needs: never 0, because what waits for a retry needs one
    /// as soon as it is due.
    ///
    /// The highest of: what comes, and the backlog by the time for it, ÷ the planned rate; what is
    /// in flight ÷ 0.7 of the places of a lane; the parts. Without a backlog the workers that are
    /// there have places enough, so these ask for no further one: an endpoint that is slow takes
    /// places in each worker, however many there are.
    #[must_use]
    pub fn workers_wanted(&self, load: &Load) -> u32 {
        let backlog = f64::from(load.backlog);
        let needed = load.rate + backlog / self.catch_up.as_secs_f64().max(1.0);
        let by_rate = whole(needed / f64::from(self.rate.max(1)));
        let by_places = whole(f64::from(load.in_flight) / (f64::from(self.places.max(1)) * BUSY));
        // Less than what comes in a second is on its way, and does not wait.
        let waits = backlog > load.rate;
        let by_places = if waits { by_places } else { by_places.min(load.workers) };
        by_rate.max(by_places).max(u32::from(self.parts)).max(1)
    }
}

/// Rounded up.
fn whole(number: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; no number here is negative"
    )]
    let whole = number.ceil() as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: WorkerPlan =
        WorkerPlan { rate: 5_000, places: 512, catch_up: Duration::from_secs(60), parts: 1 };
    const IDLE: Load = Load { workers: 1, in_flight: 0, rate: 0.0, backlog: 0 };

    #[test]
    fn one_worker_stays_when_there_is_nothing_to_do() {
        assert_eq!(PLAN.workers_wanted(&IDLE), 1);
        assert_eq!(PLAN.workers_wanted(&Load { workers: 0, ..IDLE }), 1);
        assert_eq!(PLAN.workers_wanted(&Load { workers: 9, ..IDLE }), 1);
    }

    #[test]
    fn a_rate_is_divided_by_the_planned_one() {
        let wanted = |rate| PLAN.workers_wanted(&Load { rate, ..IDLE });
        assert_eq!([wanted(5_000.0), wanted(5_001.0), wanted(20_000.0)], [1, 2, 4]);
    }

    #[test]
    fn a_backlog_asks_for_what_works_it_off_in_its_time() {
        let wanted = |backlog| PLAN.workers_wanted(&Load { backlog, rate: 4_000.0, ..IDLE });
        assert_eq!([wanted(0), wanted(60_000), wanted(660_000)], [1, 1, 3]);
        assert_eq!(PLAN.workers_wanted(&Load { backlog: u32::MAX, ..IDLE }), 14_317);
    }

    #[test]
    fn places_that_are_taken_ask_for_more_only_while_messages_wait() {
        let wanted = |workers, in_flight, backlog| {
            PLAN.workers_wanted(&Load { workers, in_flight, rate: 100.0, backlog })
        };
        assert_eq!(wanted(1, 512, 0), 1, "a slow endpoint has them");
        assert_eq!(wanted(1, 512, 100), 1, "what comes in a second does not wait");
        assert_eq!(wanted(1, 512, 101), 2);
        assert_eq!(wanted(4, 1_000, 0), 3, "three have places for it");
        assert_eq!(wanted(4, 2_000, 0), 4);
    }

    #[test]
    fn every_part_of_the_shards_has_a_worker() {
        assert_eq!(WorkerPlan { parts: 3, ..PLAN }.workers_wanted(&IDLE), 3);
    }

    #[test]
    fn a_plan_of_nothing_divides_by_nothing() {
        let none = WorkerPlan { rate: 0, places: 0, catch_up: Duration::ZERO, parts: 0 };
        assert_eq!(none.workers_wanted(&IDLE), 1);
    }
}
