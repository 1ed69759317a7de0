//! The results of a bench, and how many workers a rate needs. Units are at the end of names.

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

use super::{Ended, Wanted, sandbox::Sandbox, sink::Arrivals};
use crate::cli::{Output, failure::Failure, table::Rows};

/// Deliveries per second for which workers are counted if no rate is requested.
const USUAL_RATES: [u32; 3] = [1_000, 5_000, 20_000];
/// The highest load of a worker that can still catch up after a pause.
const MAX_LOAD: f64 = 0.7;
/// Processors of a machine that are as busy as this are at their limit.
const BUSY_PERCENT: f64 = 90.0;
/// From this share of taken places on, deliveries waited for one.
const FULL: f64 = 0.7;
/// The last events of a run are delivered at less than full load.
const REACHED: f64 = 0.97;

/// Everything that was counted.
pub(super) struct Measured {
    pub(super) ended: Ended,
    pub(super) arrivals: Arrivals,
    /// From each publish to its confirm.
    pub(super) confirms: Vec<Duration>,
    pub(super) spent: Spent,
    /// The largest of the workers.
    pub(super) worker_peak_kib: Option<u32>,
    /// Deliveries that the broker has in the wait queues.
    pub(super) waiting: u64,
}

/// CPU time and the time of all processors together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) workers: Option<Duration>,
    /// Publishing, and the sink.
    pub(super) bench: Option<Duration>,
    pub(super) broker: Option<Duration>,
    /// The time that the processors were busy, and the time that they could have been.
    pub(super) machine: Option<(u64, u64)>,
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        let less = |now: Option<Duration>, before| Some(now?.saturating_sub(before?));
        let machine = self.machine.zip(before.machine);
        Self {
            workers: less(self.workers, before.workers),
            bench: less(self.bench, before.bench),
            broker: less(self.broker, before.broker),
            machine: machine
                .map(|(now, was)| (now.0.saturating_sub(was.0), now.1.saturating_sub(was.1))),
        }
    }
}

/// All figures, as programs get them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    homing: &'static str,
    pub(super) ended: Ended,
    load: Wanted,
    /// Events that the broker confirmed.
    published: u64,
    /// Requests that came to the sink; `answered_500` of them failed.
    deliveries: u64,
    answered_500: u64,
    in_wait_queues: u64,
    seconds: f64,
    deliveries_per_second: f64,
    /// From the publish (with a rate: from when it was due) to the sink.
    latency_ms: Percentiles,
    /// From the publish to the broker's confirm, which is not on the path of a delivery.
    confirm_ms: Percentiles,
    /// Requests at the sink on average, and how many the settings allow.
    in_flight: f64,
    places: f64,
    /// CPU for 1,000 deliveries.
    workers_cpu_ms: Option<f64>,
    broker_cpu_ms: Option<f64>,
    bench_cpu_ms: Option<f64>,
    worker_peak_mib: Option<f64>,
    machine_busy_percent: Option<f64>,
    /// Of a worker with a core of its own that is busy for 70 % of the time.
    one_worker_per_second: Option<f64>,
    workers_needed: Vec<Need>,
    bottleneck: &'static str,
    not_measured: Vec<&'static str>,
}

/// The number of workers that a rate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Need {
    deliveries_per_second: u32,
    workers: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().map_or(0.0, ms)
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}

/// To thousandths: nothing is measured more exactly.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// Counts are exact up to 4,294,967,295.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Up to the next whole number, within what 32 bits hold.
fn whole(number: f64) -> u32 {
    format!("{:.0}", number.max(0.0)).parse().unwrap_or(u32::MAX)
}

impl Figures {
    pub(super) fn of(wanted: &Wanted, sandbox: &Sandbox, measured: Measured) -> Self {
        let settings = sandbox.settings();
        let Measured { ended, mut arrivals, mut confirms, spent, worker_peak_kib, waiting } =
            measured;
        let deliveries = arrivals.requests();
        let seconds = arrivals.last.saturating_sub(arrivals.first).as_secs_f64();
        let per_second =
            if seconds > 0.0 { float(deliveries.saturating_sub(1)) / seconds } else { 0.0 };
        let held = arrivals.answering.as_secs_f64() / float(deliveries.max(1));
        let lane = f64::from(settings.worker.max_lane_in_flight());
        let at_one = u32::try_from(settings.endpoint.max_concurrency).unwrap_or(u32::MAX);
        let workers = f64::from(wanted.workers);
        let places = lane.min(f64::from(at_one) * f64::from(wanted.endpoints)) * workers;
        let each =
            |cpu: Option<Duration>| Some(rounded(ms(cpu?) * 1_000.0 / float(deliveries.max(1))));
        let workers_cpu_ms = each(spent.workers).filter(|ms| *ms > 0.0 && deliveries > 0);
        let busy = spent.machine.filter(|(_busy, total)| *total > 0);
        let busy = busy.map(|(busy, total)| rounded(float(busy) * 100.0 / float(total)));
        let in_flight = rounded(per_second * held);
        let one_worker = workers_cpu_ms.map(|ms| {
            let by_places = places / workers / held.max(f64::MIN_POSITIVE);
            (1_000_000.0 / ms).min(by_places) * MAX_LOAD
        });
        let rates = wanted.rate.map_or_else(|| USUAL_RATES.to_vec(), |rate| vec![rate]);
        let need = |rate: u32| {
            let workers = whole((f64::from(rate) / one_worker?).ceil()).max(1);
            Some(Need { deliveries_per_second: rate, workers })
        };
        let workers_needed = rates.into_iter().filter_map(need).collect();
        let mut figures = Self {
            homing: env!("CARGO_PKG_VERSION"),
            ended,
            load: wanted.clone(),
            published: u64::try_from(confirms.len()).unwrap_or(u64::MAX),
            deliveries,
            answered_500: arrivals.failed,
            in_wait_queues: waiting,
            seconds: rounded(seconds),
            deliveries_per_second: rounded(per_second),
            latency_ms: Percentiles::of(&mut arrivals.latencies),
            in_flight,
            places,
            workers_cpu_ms,
            broker_cpu_ms: each(spent.broker),
            bench_cpu_ms: each(spent.bench),
            worker_peak_mib: worker_peak_kib.map(|kib| rounded(f64::from(kib) / 1_024.0)),
            machine_busy_percent: busy,
            one_worker_per_second: one_worker.map(rounded),
            workers_needed,
            bottleneck: "",
            not_measured: not_measured(wanted, sandbox, &spent),
            confirm_ms: Percentiles::of(&mut confirms),
        };
        figures.bottleneck = figures.find_bottleneck(lane * workers);
        figures
    }

    /// `lanes`: places in the lanes of all workers.
    fn find_bottleneck(&self, lanes: f64) -> &'static str {
        let busy = self.machine_busy_percent.unwrap_or_default();
        match self.load.rate {
            _ if self.deliveries == 0 => "nothing was delivered",
            Some(rate) if self.deliveries_per_second >= f64::from(rate) * REACHED => {
                "none, the rate was kept up"
            }
            _ if busy >= BUSY_PERCENT => "the processor of this machine",
            _ if self.in_flight < self.places * FULL => "the broker, or the network to it",
            _ if lanes <= self.places => "the latency of endpoints; raise `worker.max_in_flight`",
            _ => "the latency of endpoints; raise `endpoint.max_concurrency`",
        }
    }

    /// The figures as text.
    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        output.line(format_args!(
            "{} deliveries per second: {} in {:.1} s{}",
            HumanCount(whole(self.deliveries_per_second).into()),
            HumanCount(self.deliveries),
            self.seconds,
            match self.ended {
                Ended::Complete => String::new(),
                Ended::Duration =>
                    format!("; --duration ended it, {} were published", self.published),
                Ended::Interrupted => format!("; interrupted, {} were published", self.published),
            }
        ))?;
        if self.answered_500 > 0 {
            output.line(format_args!(
                "{} of them were answered with 500; the broker has {} in wait queues",
                self.answered_500, self.in_wait_queues
            ))?;
        }
        self.write_tables(output)?;
        self.write_conclusions(output)
    }

    fn write_tables(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        output.line("")?;
        let mut rows = Rows::new(output, &["TIME, MS", "P50", "P90", "P99", "MAX"]);
        for (name, times) in
            [("publish to sink", self.latency_ms), ("publish to confirm", self.confirm_ms)]
        {
            let Percentiles { p50, p90, p99, max } = times;
            let cells = [p50, p90, p99, max].map(|ms| format!("{ms:.1}"));
            rows.add([name.to_owned()].into_iter().chain(cells));
        }
        rows.write(output, &[1, 2, 3, 4])?;
        output.line("")?;
        let mut rows = Rows::new(output, &["COST", "CPU MS PER 1,000", "PEAK MIB"]);
        let peak = self.worker_peak_mib.map(|mib| format!("{mib:.0}")).unwrap_or_default();
        for (name, ms, peak) in [
            ("workers", self.workers_cpu_ms, peak),
            ("broker", self.broker_cpu_ms, String::new()),
            ("bench and sink", self.bench_cpu_ms, String::new()),
        ] {
            let ms = ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
            rows.add([name.to_owned(), ms, peak]);
        }
        rows.write(output, &[1, 2])
    }

    fn write_conclusions(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        output.line("")?;
        let busy = self.machine_busy_percent;
        output.line(format_args!(
            "Bottleneck: {}{}; {:.0} of {:.0} requests in flight.",
            self.bottleneck,
            busy.map(|busy| format!(" (it was {busy:.0} % busy)")).unwrap_or_default(),
            self.in_flight,
            self.places
        ))?;
        if let Some(one) = self.one_worker_per_second {
            let need = |need: &Need| {
                format!("{} for {}/s", need.workers, HumanCount(need.deliveries_per_second.into()))
            };
            let needs: Vec<_> = self.workers_needed.iter().map(need).collect();
            output.line(format_args!(
                "A worker with a core of its own delivers {}/s when 70 % busy. Workers needed: {}.",
                HumanCount(whole(one).into()),
                needs.join(", ")
            ))?;
        }
        output.line(format_args!("Not measured: {}.", self.not_measured.join("; ")))
    }
}

fn not_measured(wanted: &Wanted, sandbox: &Sandbox, spent: &Spent) -> Vec<&'static str> {
    let parts = [
        (true, "TLS, DNS and the network to real endpoints"),
        (
            spent.broker.is_none(),
            "the broker's CPU, which is not on this machine or not ours to see",
        ),
        (!sandbox.has_the_store(), "the PostgreSQL store"),
        (
            wanted.rate.is_none(),
            "the latency at a rate, which --rate measures; this is a full queue's",
        ),
        (wanted.fail > 0, "retries, each of which costs a delivery"),
        (cfg!(debug_assertions), "a release build: this is a debug build, several times slower"),
    ];
    parts.into_iter().filter_map(|(applies, text)| applies.then_some(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<_> = (1..=1_000).rev().map(Duration::from_millis).collect();
        let found = Percentiles::of(&mut times);
        assert_eq!(found, Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, max: 1_000.0 });
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }
}
