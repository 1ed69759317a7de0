//! `homing bench --plan`: the shards, workers, cores and memory that a rate needs, from costs that
//! are measured in the same run.
//!
//! Three measurements, as fast as the machine is: an event with one delivery, one with several, and
//! one whose delivery fails once and comes again. [`costs`] takes the cost of an event, a delivery
//! and a failed attempt from them, [`needs`] multiplies.

mod costs;
mod needs;

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;
use tokio::time::timeout;

use self::{
    costs::{Costs, Phases},
    needs::{Needs, per_shard},
};
use super::{
    load::Load,
    sandbox::Sandbox,
    stage::{self, Stage, Traffic},
};
use crate::{
    cli::{failure::Failure, output::Output, table::Rows},
    config::Settings,
    usage,
};
use homing_broker::settings::MAX_SHARDS;
pub(super) use needs::Shape;

/// Publishing lasts so long in each of the three measurements.
const PHASE: Duration = Duration::from_secs(4);
/// For the address of the broker, to which the worker is connected meanwhile.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);
const MAX_RATE: f64 = 10_000_000.0;
const MAX_FAN_OUT: f64 = 100_000.0;

/// The load to plan for.
#[derive(clap::Args, Clone, Copy, Debug, Serialize)]
pub(super) struct Planned {
    /// Print what RATE events per second need, from costs measured in 30 seconds
    #[arg(long = "plan", value_name = "RATE", value_parser = rate)]
    #[arg(conflicts_with_all = ["events", "rate", "endpoints", "workers", "duration"])]
    events_per_second: Option<f64>,
    /// With --plan: deliveries of each event, on average
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = fan_out)]
    #[arg(requires = "events_per_second")]
    fan_out: f64,
    /// With --plan: per cent of attempts that fail
    #[arg(long = "fail", value_name = "P", default_value_t = 0.0, value_parser = percent)]
    #[arg(requires = "events_per_second")]
    fail_percent: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    positive(text, MAX_RATE, "events per second")
}

fn fan_out(text: &str) -> Result<f64, String> {
    positive(text, MAX_FAN_OUT, "deliveries of an event")
}

fn positive(text: &str, max: f64, what: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= max);
    number.ok_or_else(|| format!("{what}, a number above 0 and at most {max}"))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 100".to_owned())
}

/// All results, as programs get them.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    homing: &'static str,
    load: Planned,
    /// Of the events that were measured.
    size: u32,
    needs: Needs,
    /// CPU in milliseconds per 1,000.
    costs: Costs,
    /// The figures of the broker's CPU were measured; false: recorded ones are used.
    broker_is_measured: bool,
    /// The messages per second of one shard were measured; false: the recorded ones are used.
    shard_is_measured: bool,
    per_shard: f64,
    measured: Phases,
}

impl Planned {
    /// The load, for an installation with these settings; `None`: no plan was asked for.
    pub(super) fn shape(&self, settings: &Settings, load: &Load) -> Option<Shape> {
        let events_per_second = self.events_per_second?;
        let rates = (events_per_second, self.fan_out, self.fail_percent);
        Some(Shape::new(settings, rates, load.latency()))
    }
}

/// Measures the costs, and computes what `shape` needs.
///
/// # Errors
///
/// As [`stage::measure`]; or this system reports no CPU times.
pub(super) async fn measure(
    sandbox: &Sandbox,
    load: &Load,
    (plan, shape): (Planned, Shape),
    output: &Output<'_>,
) -> Result<Plan, Failure> {
    let broker = broker_process(&sandbox.settings).await;
    let measured = stage::with_workers(sandbox, load, output, async |services, workers, bar| {
        let kinds = [Traffic::Single, Traffic::FanOut, Traffic::Failing];
        let mut stage = Stage::start(services, load, workers, &kinds).await?;
        let mut phases = Vec::new();
        for (number, kind) in (1..).zip(kinds) {
            bar.at_of(number, 3, "");
            phases.push(stage.phase(kind, PHASE, broker).await?);
        }
        let worker_peak_kib = stage.worker_peak_kib();
        stage.end().await;
        Ok((phases, worker_peak_kib))
    });
    let (phases, worker_peak_kib) = Box::pin(measured).await?;
    let [single, fan_out, failing] = <[_; 3]>::try_from(phases)
        .map_err(|_phases| stage::failed("the measurements are not complete"))?;
    let deliveries = load.endpoints;
    let measured = Phases { single, fan_out, failing, deliveries, worker_peak_kib };
    let costs = measured.costs();
    let per_shard = per_shard(&costs);
    Ok(Plan {
        homing: env!("CARGO_PKG_VERSION"),
        load: plan,
        size: load.size,
        needs: Needs::of(&shape, &costs),
        costs,
        broker_is_measured: measured.know_broker(),
        shard_is_measured: per_shard <= costs.events_per_second,
        per_shard,
        measured,
    })
}

/// The process of the broker, if there is one and it runs on this machine.
async fn broker_process(settings: &Settings) -> Option<u32> {
    let urls = settings.broker.urls().ok()?;
    let [url] = &urls[..] else { return None };
    let host = url.host.to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let looking_up = tokio::net::lookup_host((host, url.port));
    let mut addresses = timeout(LOOKUP_DEADLINE, looking_up).await.ok()?.ok()?;
    if !addresses.any(|address| usage::is_own(address.ip())) {
        return None;
    }
    let port = url.port;
    tokio::task::spawn_blocking(move || usage::listener(port, ERLANG)).await.ok().flatten()
}

/// The machine that runs RabbitMQ. What forwards its port to elsewhere has another name.
const ERLANG: &str = "beam.smp";

impl Plan {
    /// The plan as text.
    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let (needs, load) = (&self.needs, &self.load);
        output.line(format_args!(
            "{} events per second, {} deliveries of each, {} % of attempts fail: {} attempts per \
             second",
            load.events_per_second.unwrap_or_default(),
            load.fan_out,
            load.fail_percent,
            shown(needs.attempts_per_second, 0),
        ))?;
        output.line("")?;
        let mut rows = Rows::new(output, &["NEED", "NUMBER", "FROM"]);
        let by = if self.broker_is_measured { "measured costs" } else { "recorded costs" };
        let shard = shown(self.per_shard, 0);
        let shard = if self.shard_is_measured {
            format!("{shard} messages per second in each, measured")
        } else {
            format!("{shard} messages per second in each, recorded")
        };
        for (need, number, from) in [
            ("shards", needs.shards.to_string(), shard.as_str()),
            (
                "workers",
                needs.workers.to_string(),
                "a core for each, 70 % busy, or places in flight",
            ),
            ("cores of workers", shown(needs.worker_cores, 2), "measured costs"),
            ("cores of the broker", shown(needs.broker_cores, 2), by),
            (
                "memory of workers, MiB",
                shown(needs.worker_memory_mib, 0),
                "measured, of the largest",
            ),
            ("deliveries that wait", shown(needs.waiting, 0), "the schedule of the settings"),
            ("memory of the broker for them, MiB", shown(needs.broker_memory_mib, 0), "recorded"),
        ] {
            rows.add([need, number.as_str(), from]);
        }
        rows.write(output, &[1])?;
        if needs.shards > u64::from(MAX_SHARDS) {
            output.line(format_args!(
                "That is more shards than one installation has (broker.shards is at most \
                 {MAX_SHARDS}): divide the topics among several, each with a broker.prefix of its own.",
            ))?;
        }
        output.line("")?;
        self.write_costs(output)?;
        output.line("")?;
        if !self.broker_is_measured {
            output.line(
                "The CPU of the broker is not known, because its process cannot be found on this \
                 machine (run this there, as its user or as root): recorded figures are used.",
            )?;
        }
        output.line(format_args!(
            "Measured with one worker and events of {} bytes, at up to {} events per second. All \
             beyond is extrapolated: costs are taken to grow with the rate, and each queue to be \
             on one node. `homing bench --help` has the formula.",
            HumanCount(self.size.into()),
            shown(self.costs.events_per_second, 0),
        ))
    }

    fn write_costs(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let costs = &self.costs;
        let mut rows = Rows::new(output, &["CPU, MS PER 1,000", "WORKER", "BROKER"]);
        for (name, cost) in [
            ("events", costs.event),
            ("deliveries", costs.delivery),
            ("failed attempts", costs.failure),
        ] {
            rows.add([name.to_owned(), shown(cost.worker, 1), shown(cost.broker, 1)]);
        }
        rows.write(output, &[1, 2])
    }
}

/// With so many decimals, and commas between thousands.
fn shown(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |parts| parts);
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), |n| HumanCount(n).to_string());
    if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        for text in ["0", "-1", "NaN", "inf", "10000001", "", "1e9", "ten"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["0", "NaN", "100001", "-inf"] {
            assert!(fan_out(text).is_err(), "{text}");
        }
        for text in ["-0.1", "100.1", "NaN", "all"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!((rate("0.5"), fan_out("2.5"), percent("0")), (Ok(0.5), Ok(2.5), Ok(0.0)));
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            (shown(1_234_567.4, 0), shown(1_234.56, 1)),
            ("1,234,567".into(), "1,234.6".into())
        );
    }
}
