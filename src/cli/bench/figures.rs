//! The results of a bench, and what one worker delivers. Units are at the end of names.

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

use super::{load::Load, sink::Arrivals};
use crate::{
    cli::{failure::Failure, output::Output, table::Rows},
    config::Settings,
};

/// A worker that is busy for this part of a second can still catch up after a pause.
const BUSY: Duration = Duration::from_millis(700);

/// Everything that was counted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// False if `--duration` ended it.
    pub(super) complete: bool,
    pub(super) published: u32,
    #[serde(skip)]
    pub(super) arrivals: Arrivals,
    /// CPU time of all workers together.
    #[serde(skip)]
    pub(super) workers_cpu: Option<Duration>,
    /// The largest of the workers.
    pub(super) worker_peak_kib: Option<u32>,
    pub(super) machine_busy_percent: Option<u32>,
}

/// All figures, as programs get them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    homing: &'static str,
    load: Load,
    #[serde(flatten)]
    measured: Measured,
    /// Requests that came to the sink.
    deliveries: u32,
    seconds: f64,
    deliveries_per_second: u32,
    /// From the publish (with a rate: from when it was due) to the sink.
    latency_ms: Percentiles,
    /// CPU of workers for 1,000 deliveries.
    workers_cpu_ms: Option<f64>,
    /// Of a worker with a core of its own that is busy for 70 % of the time.
    one_worker_per_second: Option<u32>,
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

/// To thousandths: nothing is measured more exactly.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// `whole / part`, rounded down; `None`: `part` is zero.
fn times(whole: Duration, part: Duration) -> Option<u32> {
    let times = whole.as_nanos().checked_div(part.as_nanos())?;
    Some(u32::try_from(times).unwrap_or(u32::MAX))
}

impl Figures {
    pub(super) fn of(load: &Load, settings: &Settings, mut measured: Measured) -> Self {
        let arrivals = &mut measured.arrivals;
        let deliveries = arrivals.requests();
        let took = arrivals.last.saturating_sub(arrivals.first);
        let each = took / deliveries.saturating_sub(1).max(1);
        let workers_cpu = measured.workers_cpu.map(|cpu| cpu * 1_000 / deliveries.max(1));
        let at_one = u32::try_from(settings.endpoint.max_concurrency).unwrap_or(u32::MAX);
        let at_all = at_one.saturating_mul(load.endpoints);
        let places = u32::from(settings.worker.max_lane_in_flight()).min(at_all);
        let by_places = times(BUSY.saturating_mul(places), load.latency()).unwrap_or(u32::MAX);
        let by_cpu = workers_cpu.and_then(|cpu| times(BUSY * 1_000, cpu));
        Self {
            homing: env!("CARGO_PKG_VERSION"),
            load: load.clone(),
            deliveries,
            seconds: ms(took) / 1_000.0,
            deliveries_per_second: times(Duration::from_secs(1), each).unwrap_or_default(),
            latency_ms: Percentiles::of(&mut arrivals.latencies),
            workers_cpu_ms: workers_cpu.map(ms),
            one_worker_per_second: by_cpu.map(|by_cpu| by_cpu.min(by_places)),
            measured,
        }
    }

    /// The figures as text.
    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        output.line(format_args!(
            "{} deliveries per second: {} of {} events in {:.1} s{}",
            HumanCount(self.deliveries_per_second.into()),
            HumanCount(self.deliveries.into()),
            HumanCount(self.measured.published.into()),
            self.seconds,
            if self.measured.complete { "" } else { "; ended by --duration" },
        ))?;
        output.line("")?;
        let &Measured { worker_peak_kib, machine_busy_percent, .. } = &self.measured;
        let Percentiles { p50, p90, p99, max } = self.latency_ms;
        let shown = |figure: f64| format!("{figure:.1}");
        let mut rows = Rows::new(output, &["FIGURE", "P50", "P90", "P99", "MAX"]);
        let cells = [p50, p90, p99, max].map(shown);
        rows.add(["latency, ms".to_owned()].into_iter().chain(cells));
        for (name, figure) in [
            ("CPU of workers, ms per 1,000", self.workers_cpu_ms),
            (
                "memory of the largest worker, MiB",
                worker_peak_kib.map(|kib| f64::from(kib) / 1_024.0),
            ),
            ("this machine was busy, %", machine_busy_percent.map(f64::from)),
        ] {
            rows.add([name.to_owned(), figure.map_or_else(|| "-".to_owned(), shown)]);
        }
        rows.write(output, &[1, 2, 3, 4])?;
        let Some(one) = self.one_worker_per_second else { return Ok(()) };
        output.line("")?;
        output.line(format_args!(
            "A worker with a core of its own delivers {} per second when 70 % busy.",
            HumanCount(one.into())
        ))
    }
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
