//! The formula: from a rate and the costs of its parts to shards, workers, cores and memory. No
//! I/O.

use std::time::Duration;

use serde::Serialize;

use super::costs::Costs;
use crate::config::Settings;

/// A process or a queue that is busy for this part of the time can still catch up after a pause.
const BUSY: f64 = 0.7;
/// Messages that one queue takes and gives a second at 70 % of what it can: it took 29,000
/// publishes a second, with 100 unconfirmed (RabbitMQ 3.10, two cores).
const RECORDED_PER_SHARD: f64 = 20_000.0;
/// Memory of the broker for a message that waits: 1.0 GiB for a million with RabbitMQ 3.10, 0.45
/// with 4.3.
const RECORDED_KIB_WAITING: f64 = 1.1;
const MS_PER_SECOND: f64 = 1_000.0;
const PER_THOUSAND: f64 = 1_000.0;

/// The load to plan for.
#[derive(Clone, Debug)]
pub(in crate::cli::bench) struct Shape {
    pub(super) events_per_second: f64,
    /// Deliveries of an event.
    pub(super) fan_out: f64,
    /// The part of all attempts that fail, from 0 to 1.
    pub(super) failing: f64,
    /// Until an endpoint answers.
    pub(super) latency: Duration,
    /// The waits of the schedule.
    pub(super) waits: Vec<Duration>,
    /// `worker.max_fan_out_inline`.
    pub(super) max_fan_out_inline: f64,
    /// Deliveries in flight in the lane of one worker.
    pub(super) places: f64,
}

/// The needs of a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Needs {
    pub(super) deliveries_per_second: f64,
    pub(super) attempts_per_second: f64,
    /// Messages that the broker takes a second, those that wait for a retry included.
    pub(super) messages_per_second: f64,
    pub(super) shards: u64,
    /// Each with a core of its own, or places for what is in flight.
    pub(super) workers: u64,
    pub(super) worker_cores: f64,
    pub(super) broker_cores: f64,
    /// Of all workers.
    pub(super) worker_memory_mib: f64,
    /// Deliveries that wait for their next attempt.
    pub(super) waiting: f64,
    /// For those.
    pub(super) broker_memory_mib: f64,
}

impl Shape {
    pub(super) fn new(
        settings: &Settings,
        (events_per_second, fan_out, fail_percent): (f64, f64, f64),
        latency: Duration,
    ) -> Self {
        let schedules = settings.schedule.schedules().ok();
        let waits = schedules.map(|schedules| schedules.get(None).waits().to_vec());
        let inline = u32::try_from(settings.worker.max_fan_out_inline).unwrap_or(u32::MAX);
        Self {
            events_per_second,
            fan_out,
            failing: fail_percent / 100.0,
            latency,
            waits: waits.unwrap_or_default(),
            max_fan_out_inline: inline.max(1).into(),
            places: settings.worker.max_lane_in_flight().max(1).into(),
        }
    }

    /// The chances that a delivery's first attempt fails, the first two, the first three, …
    fn chances(&self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.failing), |chance| Some(chance * self.failing))
    }

    /// Attempts of one delivery: each is made if all before it have failed.
    fn attempts(&self) -> f64 {
        1.0 + self.chances().take(self.waits.len()).sum::<f64>()
    }

    /// Failed attempts of one delivery.
    fn failures(&self) -> f64 {
        self.chances().take(self.waits.len().saturating_add(1)).sum()
    }

    /// Seconds that one delivery waits, on average.
    fn waits(&self) -> f64 {
        let waits = self.waits.iter().map(Duration::as_secs_f64);
        waits.zip(self.chances()).map(|(wait, chance)| wait * chance).sum()
    }

    /// Messages that carry the deliveries of one event which are too many for one lane.
    fn groups(&self) -> f64 {
        if self.fan_out > self.max_fan_out_inline {
            (self.fan_out / self.max_fan_out_inline).ceil()
        } else {
            0.0
        }
    }
}

impl Needs {
    pub(super) fn of(shape: &Shape, costs: &Costs) -> Self {
        let (events, groups, failures) =
            (shape.events_per_second, shape.groups(), shape.failures());
        let deliveries = events * shape.fan_out;
        let attempts = deliveries * shape.attempts();
        // A message for a group of deliveries costs what an event does.
        let cores = |event: f64, delivery: f64, failure: f64| {
            let of_event = event * (1.0 + groups) + shape.fan_out * (delivery + failures * failure);
            events * of_event / PER_THOUSAND / MS_PER_SECOND
        };
        let worker_cores = cores(costs.event.worker, costs.delivery.worker, costs.failure.worker);
        let broker_cores = cores(costs.event.broker, costs.delivery.broker, costs.failure.broker);
        let retried = events * groups + deliveries * failures;
        let in_flight = attempts * shape.latency.as_secs_f64();
        let by_cores = worker_cores / BUSY;
        let by_places = in_flight / (shape.places * BUSY);
        let workers = whole(by_cores.max(by_places));
        let waiting = deliveries * shape.waits();
        Self {
            deliveries_per_second: deliveries,
            attempts_per_second: attempts,
            messages_per_second: events + retried,
            shards: whole(events.max(retried) / per_shard(costs)),
            workers,
            worker_cores,
            broker_cores,
            worker_memory_mib: f64::from(u32::try_from(workers).unwrap_or(u32::MAX))
                * costs.worker_mib,
            waiting,
            broker_memory_mib: waiting * RECORDED_KIB_WAITING / 1_024.0,
        }
    }
}

/// Messages a second for each shard: as recorded, or as many as this run had.
pub(super) fn per_shard(costs: &Costs) -> f64 {
    RECORDED_PER_SHARD.max(costs.events_per_second)
}

/// Rounded up; at least one.
fn whole(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; no number here is negative"
    )]
    let whole = number.ceil() as u64;
    whole.max(1)
}

#[cfg(test)]
mod tests {
    use super::{super::costs::Cost, *};

    fn costs() -> Costs {
        Costs {
            event: Cost { worker: 10.0, broker: 20.0 },
            delivery: Cost { worker: 30.0, broker: 0.0 },
            failure: Cost { worker: 60.0, broker: 70.0 },
            events_per_second: 9_000.0,
            worker_mib: 60.0,
        }
    }

    fn shape(rate: f64, fan_out: f64, fail_percent: f64) -> Shape {
        let settings = Settings::from_toml("").unwrap();
        Shape::new(&settings, (rate, fan_out, fail_percent), Duration::ZERO)
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= expected.abs() * 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn what_one_worker_delivers_needs_one_of_everything() {
        let needs = Needs::of(&shape(10_000.0, 1.0, 0.0), &costs());
        assert_eq!((needs.shards, needs.workers), (1, 1));
        assert_near(needs.worker_cores, 0.4);
        assert_near(needs.broker_cores, 0.2);
        assert_near(needs.attempts_per_second, 10_000.0);
        assert_near(needs.waiting, 0.0);
    }

    #[test]
    fn a_rate_is_divided_among_workers_that_are_busy_for_seventy_per_cent() {
        let needs = Needs::of(&shape(100_000.0, 1.0, 0.0), &costs());
        assert_near(needs.worker_cores, 4.0);
        assert_eq!((needs.shards, needs.workers), (5, 6));
        assert_near(needs.worker_memory_mib, 360.0);
    }

    #[test]
    fn deliveries_beyond_those_of_one_lane_are_messages_of_their_own() {
        let needs = Needs::of(&shape(100.0, 1_000.0, 0.0), &costs());
        // 16 messages of up to 64 deliveries.
        assert_near(needs.messages_per_second, 1_700.0);
        assert_near(needs.broker_cores, 100.0 * 17.0 * 20.0 / 1e6);
        assert_near(needs.worker_cores, 100.0 * (17.0 * 10.0 + 1_000.0 * 30.0) / 1e6);
    }

    #[test]
    fn a_failed_attempt_is_followed_by_another_until_the_schedule_ends() {
        let half = shape(1_000.0, 1.0, 50.0);
        let needs = Needs::of(&half, &costs());
        let attempts = i32::try_from(half.waits.len()).unwrap() + 1;
        assert_near(needs.attempts_per_second, 1_000.0 * (2.0 - 2.0 * 0.5_f64.powi(attempts)));
        let all = shape(1_000.0, 1.0, 100.0);
        assert_near(Needs::of(&all, &costs()).attempts_per_second, f64::from(attempts) * 1_000.0);
        let length: Duration = all.waits.iter().sum();
        assert_near(Needs::of(&all, &costs()).waiting, length.as_secs_f64() * 1_000.0);
    }

    #[test]
    fn endpoints_that_answer_late_need_places() {
        let late = Shape { latency: Duration::from_secs(1), ..shape(1_000.0, 1.0, 0.0) };
        assert_eq!(Needs::of(&late, &costs()).workers, 3, "1,000 of 512 × 0.7 for each");
    }
}
