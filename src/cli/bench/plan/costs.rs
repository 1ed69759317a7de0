//! The cost of an event, a delivery and a failed attempt, from three measurements.

use serde::Serialize;

use super::super::stage::Phase;

/// CPU of the broker in milliseconds per 1,000, where its process is not known. Measured with
/// RabbitMQ 3.10 on two cores; docs/PERFORMANCE.md has the method.
const RECORDED_BROKER: [f64; 3] = [20.0, 0.5, 70.0];

/// CPU in milliseconds per 1,000.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    pub(super) worker: f64,
    pub(super) broker: f64,
}

/// The costs of a load's parts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Costs {
    /// An event: published, confirmed, consumed, acked.
    pub(super) event: Cost,
    /// A delivery of it that is accepted.
    pub(super) delivery: Cost,
    /// A failed attempt: published to its wait queue, moved to the retry queue, consumed, acked.
    pub(super) failure: Cost,
    /// Events a second with one delivery each, as fast as all of it was.
    pub(super) events_per_second: f64,
    /// The memory of the largest worker.
    pub(super) worker_mib: f64,
}

/// The three measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phases {
    /// Events with one delivery each.
    pub(super) single: Phase,
    /// Events with `deliveries` each.
    pub(super) fan_out: Phase,
    /// Events with one delivery each, whose first attempt fails.
    pub(super) failing: Phase,
    /// Of each event of `fan_out`.
    pub(super) deliveries: u32,
    pub(super) worker_peak_kib: Option<u32>,
}

impl Phases {
    /// True if the CPU of the broker was measured.
    pub(super) fn know_broker(&self) -> bool {
        self.single.broker_cpu_ms.is_some()
            && self.fan_out.broker_cpu_ms.is_some()
            && self.failing.broker_cpu_ms.is_some()
    }

    pub(super) fn costs(&self) -> Costs {
        let of = |cpu: fn(&Phase) -> f64| {
            self.parts([&self.single, &self.fan_out, &self.failing].map(cpu))
        };
        let workers = of(|phase| phase.workers_cpu_ms);
        let broker = if self.know_broker() {
            of(|phase| phase.broker_cpu_ms.unwrap_or_default())
        } else {
            RECORDED_BROKER
        };
        let [event, delivery, failure] = [0, 1, 2].map(|part: usize| {
            let of = |parts: [f64; 3]| parts.get(part).copied().unwrap_or_default();
            Cost { worker: of(workers), broker: of(broker) }
        });
        let kib = self.worker_peak_kib.unwrap_or_default();
        Costs {
            event,
            delivery,
            failure,
            events_per_second: self.single.events_per_second,
            worker_mib: f64::from(kib) / 1_024.0,
        }
    }

    /// Of an event, a delivery and a failed attempt, from what an event cost in each measurement.
    /// None is below zero, which noise may bring about where a cost is small.
    fn parts(&self, [single, fan_out, failing]: [f64; 3]) -> [f64; 3] {
        let further = f64::from(self.deliveries.saturating_sub(1).max(1));
        let delivery = ((fan_out - single) / further).clamp(0.0, single);
        [single - delivery, delivery, (failing - single).max(0.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(workers_cpu_ms: f64, broker_cpu_ms: Option<f64>) -> Phase {
        Phase { events: 1_000, events_per_second: 500.0, workers_cpu_ms, broker_cpu_ms }
    }

    fn phases(broker: bool) -> Phases {
        Phases {
            single: phase(40.0, broker.then_some(20.0)),
            fan_out: phase(310.0, broker.then_some(19.0)),
            failing: phase(100.0, broker.then_some(90.0)),
            deliveries: 10,
            worker_peak_kib: Some(61_440),
        }
    }

    #[test]
    fn the_cost_of_each_part_follows_from_what_differs() {
        let costs = phases(true).costs();
        let of = |cost: Cost| (cost.worker, cost.broker);
        assert_eq!(of(costs.event), (10.0, 20.0));
        assert_eq!(of(costs.delivery), (30.0, 0.0), "not below zero");
        assert_eq!(of(costs.failure), (60.0, 70.0));
    }

    #[test]
    fn figures_of_a_broker_that_is_not_seen_are_the_recorded_ones() {
        let costs = phases(false).costs();
        assert!(!phases(false).know_broker());
        let broker = (costs.event.broker, costs.delivery.broker, costs.failure.broker);
        assert_eq!(broker, (20.0, 0.5, 70.0));
    }
}
