//! The results of a bench. Units are at the end of names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Ended, Wanted,
    advice::{Advice, Observed},
    sandbox::Sandbox,
    stage::{Counted, Spent},
};
use crate::config::Settings;

/// All figures, as programs get them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) homing: &'static str,
    pub(super) ended: Ended,
    pub(super) load: Load,
    /// Events that the broker confirmed.
    pub(super) published: u32,
    /// Requests that came to the sink.
    pub(super) deliveries: u64,
    /// Of them, those that were answered with 500.
    pub(super) answered_500: u64,
    /// Attempts that ended without an answer.
    pub(super) unanswered: u64,
    /// Deliveries in wait queues at the end: those that failed, and those that found their endpoint
    /// busy.
    pub(super) in_wait_queues: u64,
    pub(super) seconds: f64,
    pub(super) deliveries_per_second: f64,
    /// From the publish (with a rate: from when it was due) to the sink.
    pub(super) latency_ms: Percentiles,
    /// From the publish to the broker's confirm, which is not on the path of a delivery.
    pub(super) confirm_ms: Percentiles,
    pub(super) way_mean_ms: Way,
    pub(super) in_flight: InFlight,
    pub(super) cpu: Cpu,
    /// Of the worker that used most.
    pub(super) worker_peak_mib: Option<f64>,
    pub(super) advice: Advice,
    pub(super) not_measured: Vec<String>,
}

/// The requested load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Load {
    pub(super) events: u32,
    pub(super) event_bytes: u32,
    pub(super) rate_per_second: Option<u32>,
    pub(super) endpoints: u32,
    pub(super) endpoint_latency_ms: u32,
    pub(super) fail_percent: u32,
    pub(super) workers: u32,
}

/// The parts of a delivery's time, in milliseconds; the first three are its latency.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Way {
    /// From the publish to the worker: the broker and the time in its queue.
    pub(super) broker: f64,
    /// In the worker, until the request begins.
    pub(super) worker: f64,
    /// From there until the sink has it.
    pub(super) request: f64,
    /// From the beginning of the request to the end of the answer.
    pub(super) answer: f64,
}

/// Deliveries that the workers are at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InFlight {
    pub(super) mean: f64,
    pub(super) places: f64,
}

/// CPU time, and its share of the machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) workers_ms_per_1000: Option<f64>,
    pub(super) broker_ms_per_1000: Option<f64>,
    pub(super) bench_ms_per_1000: Option<f64>,
    pub(super) sink_ms_per_1000: Option<f64>,
    pub(super) machine_busy_percent: Option<f64>,
    /// The part of that which other processes used.
    pub(super) others_busy_percent: Option<f64>,
    pub(super) cores: u32,
}

/// Times of many, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
}

/// A time in microseconds, within what 32 bits hold (71 min).
pub(super) fn micros(micros: i64) -> u32 {
    u32::try_from(micros.max(0)).unwrap_or(u32::MAX)
}

fn ms(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

/// To thousandths: nothing is measured more exactly.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// Counts are exact up to 4,294,967,295.
pub(super) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl Percentiles {
    /// Of times in microseconds, in any order.
    pub(super) fn of(times: &mut [u32]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().map_or(0.0, ms)
        };
        let sum: u64 = times.iter().copied().map(u64::from).sum();
        let count = u64::try_from(times.len()).unwrap_or(u64::MAX);
        let mean = mean_ms(i64::try_from(sum).unwrap_or(i64::MAX), count);
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100), mean }
    }
}

/// The mean of a sum of microseconds.
fn mean_ms(sum_us: i64, count: u64) -> f64 {
    let sum = Duration::from_micros(u64::try_from(sum_us).unwrap_or_default());
    rounded(sum.as_secs_f64() * 1_000.0 / float(count.max(1)))
}

impl Figures {
    /// Puts together what was counted.
    pub(super) fn of(wanted: &Wanted, sandbox: &Sandbox, counted: &Counted) -> Self {
        let settings = sandbox.settings();
        let Counted { loaded, sink, workers, worker_peak_kib, waiting } = counted;
        let seconds = Duration::from_micros(sink.lasted_us).as_secs_f64();
        let deliveries = sink.requests;
        let rate = |count: u64| if seconds > 0.0 { float(count) / seconds } else { 0.0 };
        let way = Way {
            broker: mean_ms(workers.to_worker_us, workers.deliveries),
            worker: mean_ms(workers.before_us, workers.deliveries),
            request: 0.0,
            answer: mean_ms(workers.answer_us, workers.deliveries),
        };
        let rest = sink.latency.mean - way.broker - way.worker;
        let way = Way { request: rounded(rest.max(0.0)), ..way };
        let per_second = rounded(rate(deliveries.saturating_sub(1)));
        let limit = Limit::of(wanted, settings);
        // A place in the lane is held while the delivery waits for one at its endpoint.
        let held_ms = if limit.is_lane { way.worker + way.answer } else { way.answer };
        let mean = rounded(per_second * held_ms / 1_000.0);
        let in_flight = InFlight { mean, places: limit.places };
        let cpu = Cpu::of(&loaded.spent, deliveries);
        let advice = Advice::of(&Observed {
            per_second,
            wanted_per_second: wanted.rate.map(f64::from),
            workers: f64::from(wanted.workers),
            held_ms,
            in_flight: in_flight.clone(),
            cpu: cpu.clone(),
            limit: limit.setting(),
        });
        Self {
            homing: env!("CARGO_PKG_VERSION"),
            ended: loaded.ended,
            load: Load::of(wanted),
            published: loaded.published,
            deliveries,
            answered_500: sink.failed,
            unanswered: workers.unanswered,
            in_wait_queues: *waiting,
            seconds: rounded(seconds),
            deliveries_per_second: per_second,
            latency_ms: sink.latency,
            confirm_ms: loaded.confirm,
            way_mean_ms: way,
            in_flight,
            not_measured: not_measured(wanted, &cpu, sandbox),
            cpu,
            worker_peak_mib: worker_peak_kib.map(|kib| rounded(f64::from(kib) / 1_024.0)),
            advice,
        }
    }
}

impl Load {
    fn of(wanted: &Wanted) -> Self {
        Self {
            events: wanted.events(),
            event_bytes: wanted.size,
            rate_per_second: wanted.rate,
            endpoints: wanted.endpoints,
            endpoint_latency_ms: wanted.latency,
            fail_percent: wanted.fail,
            workers: wanted.workers,
        }
    }
}

impl Cpu {
    fn of(spent: &Spent, deliveries: u64) -> Self {
        let thousands = float(deliveries.max(1)) / 1_000.0;
        let each =
            |spent: Option<Duration>| Some(rounded(spent?.as_secs_f64() * 1_000.0 / thousands));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let percent = |part: f64| {
            let (_busy, total) = spent.machine.filter(|(_, total)| *total > 0)?;
            Some(rounded(part * 100.0 / float(total)))
        };
        let busy = spent.machine.map(|(busy, _total)| float(busy));
        let known = [spent.workers, spent.broker, spent.bench, spent.sink];
        let known: Duration = known.into_iter().flatten().sum();
        // Both are counted in hundredths of a second.
        let others = busy.map(|busy| (busy - known.as_secs_f64() * 100.0).max(0.0));
        Self {
            workers_ms_per_1000: each(spent.workers),
            broker_ms_per_1000: each(spent.broker),
            bench_ms_per_1000: each(spent.bench),
            sink_ms_per_1000: each(spent.sink),
            machine_busy_percent: busy.and_then(percent),
            others_busy_percent: others.and_then(percent),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        }
    }
}

/// The limit of the deliveries in flight.
struct Limit {
    /// In all workers.
    places: f64,
    /// Places in the primary lane; else, requests at one URL.
    is_lane: bool,
}

impl Limit {
    fn of(wanted: &Wanted, settings: &Settings) -> Self {
        let lane = f64::from(settings.worker.max_lane_in_flight());
        let at_one = u32::try_from(settings.endpoint.max_concurrency).unwrap_or(u32::MAX);
        let endpoints = f64::from(at_one) * f64::from(wanted.endpoints);
        let workers = f64::from(wanted.workers);
        Self { places: lane.min(endpoints) * workers, is_lane: lane <= endpoints }
    }

    fn setting(&self) -> &'static str {
        if self.is_lane { "worker.max_in_flight" } else { "endpoint.max_concurrency" }
    }
}

fn not_measured(wanted: &Wanted, cpu: &Cpu, sandbox: &Sandbox) -> Vec<String> {
    let mut texts = Vec::new();
    let mut say = |text: &str| texts.push(text.to_owned());
    say("acks: sent together, some milliseconds after the answer, and no part of the latency");
    say("TLS, DNS and the network to real endpoints: the sink is on 127.0.0.1");
    if cpu.broker_ms_per_1000.is_none() {
        say("the broker's CPU: it is not on this machine, or its process may not be read");
    }
    if !sandbox.has_the_store() {
        say("the PostgreSQL store: the attempt log goes to an SQLite file instead");
    }
    if wanted.rate.is_none() {
        say("the latency at an expected rate: the figures are those of a full queue; use --rate");
    }
    if wanted.fail > 0 {
        say("retries: what failed would come again later, at the cost of a delivery each time");
    }
    if cfg!(debug_assertions) {
        say("homing as it is released: this is a debug build, several times slower");
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<u32> = (1..=1_000).rev().map(|n| n * 1_000).collect();
        let text = |times: &mut [u32]| {
            let Percentiles { p50, p90, p99, max, mean } = Percentiles::of(times);
            format!("{p50} {p90} {p99} {max} {mean}")
        };
        assert_eq!(text(&mut times), "500 900 990 1000 500.5");
        assert_eq!(text(&mut [7_000]), "7 7 7 7 7");
        assert_eq!(text(&mut []), "0 0 0 0 0");
    }
}
