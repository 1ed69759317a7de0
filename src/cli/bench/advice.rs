//! Conclusions from the figures: the bottleneck, and the workers that a rate needs.

use indicatif::HumanCount;
use serde::Serialize;

use super::figures::{Cpu, InFlight, rounded};

/// Deliveries per second for which workers are counted if no rate is requested.
const USUAL_RATES: [u32; 3] = [1_000, 5_000, 20_000];
/// The highest load of a worker that can still catch up after a pause.
const MAX_LOAD: f64 = 0.7;
/// Processors of a machine that are as busy as this are at their limit.
const BUSY_PERCENT: f64 = 90.0;
/// Above this share of the machine, other processes distort the figures.
const OTHERS_PERCENT: f64 = 20.0;
/// From this share of taken places on, deliveries waited for one.
const FULL: f64 = 0.7;
/// The last events of a run are delivered at less than full load.
const REACHED: f64 = 0.97;

/// The bottleneck of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bottleneck {
    /// The requested rate was reached.
    None,
    /// The CPU of the machine on which everything runs.
    Processor,
    /// The latency of endpoints, with so many deliveries in flight.
    EndpointLatency,
    /// Neither: the broker, or the network to it.
    Broker,
    /// Nothing was delivered.
    Unknown,
}

/// The conclusions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Advice {
    pub(super) bottleneck: Bottleneck,
    /// Of one worker with a core of its own that is not busy all the time; `None` where the CPU is
    /// not known.
    pub(super) one_worker_per_second: Option<f64>,
    pub(super) workers_needed: Vec<Need>,
    pub(super) text: String,
}

/// The number of workers that a rate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Need {
    pub(super) deliveries_per_second: u32,
    pub(super) workers: u32,
}

/// The observations of a run.
pub(super) struct Observed {
    pub(super) per_second: f64,
    pub(super) wanted_per_second: Option<f64>,
    pub(super) workers: f64,
    /// The time that a delivery occupies its place in flight.
    pub(super) held_ms: f64,
    pub(super) in_flight: InFlight,
    pub(super) cpu: Cpu,
    /// The setting that limits what is in flight.
    pub(super) limit: &'static str,
}

impl Advice {
    pub(super) fn of(observed: &Observed) -> Self {
        let bottleneck = observed.bottleneck();
        let one_worker_per_second = observed.one_worker(bottleneck);
        let rates = match observed.wanted_per_second {
            Some(wanted) => vec![whole(wanted)],
            None => USUAL_RATES.to_vec(),
        };
        let need = |rate: u32| {
            let workers = whole((f64::from(rate) / one_worker_per_second?).ceil()).max(1);
            Some(Need { deliveries_per_second: rate, workers })
        };
        let workers_needed: Vec<_> = rates.into_iter().filter_map(need).collect();
        let mut sentences = vec![observed.report(bottleneck)];
        sentences.extend(observed.disturbed());
        if let Some(one) = one_worker_per_second {
            sentences.push(sized(bottleneck, one, &workers_needed));
        }
        let text = sentences.join(" ");
        let one_worker_per_second = one_worker_per_second.map(rounded);
        Self { bottleneck, one_worker_per_second, workers_needed, text }
    }
}

impl Observed {
    fn bottleneck(&self) -> Bottleneck {
        let busy = self.cpu.machine_busy_percent.unwrap_or_default();
        if self.per_second <= 0.0 {
            Bottleneck::Unknown
        } else if self.wanted_per_second.is_some_and(|wanted| self.per_second >= wanted * REACHED) {
            Bottleneck::None
        } else if busy >= BUSY_PERCENT {
            Bottleneck::Processor
        } else if self.in_flight.mean >= self.in_flight.places * FULL {
            Bottleneck::EndpointLatency
        } else {
            Bottleneck::Broker
        }
    }

    /// Deliveries per second of a worker with a core of its own, with some reserve.
    fn one_worker(&self, bottleneck: Bottleneck) -> Option<f64> {
        let cpu_ms =
            self.cpu.workers_ms_per_1000.filter(|ms| *ms > 0.0 && self.per_second > 0.0)?;
        let by_cpu = 1_000_000.0 / cpu_ms;
        let places = self.in_flight.places / self.workers;
        let by_places = places * 1_000.0 / self.held_ms.max(f64::MIN_POSITIVE);
        // While the processor is the bottleneck, places are held for longer than necessary.
        let most = match bottleneck {
            Bottleneck::Processor => by_cpu,
            Bottleneck::None
            | Bottleneck::EndpointLatency
            | Bottleneck::Broker
            | Bottleneck::Unknown => by_cpu.min(by_places),
        };
        Some(most * MAX_LOAD)
    }

    /// A note if something else kept the machine busy.
    fn disturbed(&self) -> Option<String> {
        let others = self.cpu.others_busy_percent.filter(|percent| *percent > OTHERS_PERCENT)?;
        let broker = self.cpu.broker_ms_per_1000.map_or(" (the broker, perhaps)", |_| "");
        Some(format!(
            "Other processes{broker} used {others:.0} % of this machine meanwhile: without them, the \
             figures would be better."
        ))
    }

    fn report(&self, bottleneck: Bottleneck) -> String {
        let Self { per_second, held_ms, in_flight, limit, .. } = self;
        let InFlight { mean, places } = in_flight;
        let busy = self.cpu.machine_busy_percent;
        let busy = busy.map(|busy| format!(" ({busy:.0} % busy)"));
        let busy = busy.unwrap_or_default();
        match bottleneck {
            Bottleneck::None => format!(
                "The rate was kept up: of {places:.0} places in flight {mean:.0} were taken, and the \
                 processor of this machine was not in the way{busy}."
            ),
            Bottleneck::Processor => format!(
                "The bottleneck was the processor of this machine{busy}; the bench, its sink and a \
                 broker on it share it with the workers."
            ),
            Bottleneck::EndpointLatency => format!(
                "The bottleneck was the latency of endpoints: {mean:.0} of {places:.0} places in flight \
                 were taken, each for {held_ms:.0} ms; raise `{limit}` or start more workers."
            ),
            Bottleneck::Broker => format!(
                "The bottleneck was the broker or the network to it: of {places:.0} places in flight \
                 {mean:.0} were taken, and the processor of this machine was not in the way{busy}; \
                 more workers would not deliver more than {}/s.",
                count(whole(*per_second))
            ),
            Bottleneck::Unknown => {
                "Nothing was delivered, so nothing follows; `homing run` with --verbose shows why."
                    .to_owned()
            }
        }
    }
}

/// The number of workers, in words.
fn sized(bottleneck: Bottleneck, one: f64, needs: &[Need]) -> String {
    let needs: Vec<_> = needs
        .iter()
        .map(|need| format!("{} for {}/s", need.workers, count(need.deliveries_per_second)))
        .collect();
    // At low load, a delivery costs more than at high load.
    let at_least = if bottleneck == Bottleneck::None { "at least" } else { "about" };
    format!(
        "A worker with a core of its own makes {at_least} {}/s when {:.0} % busy: {}, if the broker \
         keeps up.",
        count(whole(one)),
        MAX_LOAD * 100.0,
        needs.join(", ")
    )
}

fn count(number: u32) -> HumanCount {
    HumanCount(number.into())
}

/// Up to the next whole number, within what 32 bits hold.
fn whole(number: f64) -> u32 {
    format!("{:.0}", number.max(0.0)).parse().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(per_second: f64, busy: f64, in_flight: f64) -> Observed {
        Observed {
            per_second,
            wanted_per_second: None,
            workers: 1.0,
            held_ms: in_flight * 1_000.0 / per_second,
            in_flight: InFlight { mean: in_flight, places: 512.0 },
            cpu: Cpu {
                workers_ms_per_1000: Some(100.0),
                broker_ms_per_1000: Some(30.0),
                bench_ms_per_1000: Some(20.0),
                sink_ms_per_1000: Some(10.0),
                machine_busy_percent: Some(busy),
                others_busy_percent: Some(0.0),
                cores: 2,
            },
            limit: "worker.max_in_flight",
        }
    }

    #[test]
    fn a_busy_processor_is_the_bottleneck_and_sizes_the_pool() {
        let advice = Advice::of(&observed(9_000.0, 97.0, 400.0));
        assert_eq!(advice.bottleneck, Bottleneck::Processor);
        let workers: Vec<_> = advice.workers_needed.iter().map(|need| need.workers).collect();
        assert_eq!(workers, [1, 1, 3]);
        insta::assert_snapshot!(advice.text, @"The bottleneck was the processor of this machine (97 % busy); the bench, its sink and a broker on it share it with the workers. A worker with a core of its own makes about 7,000/s when 70 % busy: 1 for 1,000/s, 1 for 5,000/s, 3 for 20,000/s, if the broker keeps up.");
    }

    #[test]
    fn slow_endpoints_ask_for_places_and_name_the_setting() {
        let advice = Advice::of(&observed(2_500.0, 30.0, 500.0));
        assert_eq!(advice.bottleneck, Bottleneck::EndpointLatency);
        insta::assert_snapshot!(advice.text, @"The bottleneck was the latency of endpoints: 500 of 512 places in flight were taken, each for 200 ms; raise `worker.max_in_flight` or start more workers. A worker with a core of its own makes about 1,792/s when 70 % busy: 1 for 1,000/s, 3 for 5,000/s, 12 for 20,000/s, if the broker keeps up.");
    }

    #[test]
    fn without_a_busy_processor_or_endpoint_the_broker_is_the_bottleneck() {
        let mut slow = observed(2_500.0, 30.0, 20.0);
        slow.cpu.broker_ms_per_1000 = None;
        slow.cpu.others_busy_percent = Some(25.0);
        let advice = Advice::of(&slow);
        assert_eq!(advice.bottleneck, Bottleneck::Broker);
        insta::assert_snapshot!(advice.text, @"The bottleneck was the broker or the network to it: of 512 places in flight 20 were taken, and the processor of this machine was not in the way (30 % busy); more workers would not deliver more than 2,500/s. Other processes (the broker, perhaps) used 25 % of this machine meanwhile: without them, the figures would be better. A worker with a core of its own makes about 7,000/s when 70 % busy: 1 for 1,000/s, 1 for 5,000/s, 3 for 20,000/s, if the broker keeps up.");
    }

    #[test]
    fn a_rate_that_is_kept_up_has_no_bottleneck() {
        let kept_up = Observed { wanted_per_second: Some(1_000.0), ..observed(999.0, 20.0, 3.0) };
        let advice = Advice::of(&kept_up);
        assert_eq!(advice.bottleneck, Bottleneck::None);
        insta::assert_snapshot!(advice.text, @"The rate was kept up: of 512 places in flight 3 were taken, and the processor of this machine was not in the way (20 % busy). A worker with a core of its own makes at least 7,000/s when 70 % busy: 1 for 1,000/s, if the broker keeps up.");
    }

    #[test]
    fn of_nothing_follows_nothing() {
        let advice = Advice::of(&observed(0.0, 20.0, 0.0));
        assert_eq!((advice.bottleneck, advice.workers_needed.len()), (Bottleneck::Unknown, 0));
    }
}
