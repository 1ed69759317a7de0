//! An endpoint is down for a while and well again: how late what it missed comes, and what waiting
//! for it costs, with held queues and without them, one after the other.
//!
//! The schedule and the rules of circuits are those of the defaults, with all times divided by a
//! scale. What homing does without regard to settings is not scaled: it looks at a held queue every
//! five seconds where it has no news.

use std::{fmt::Write, time::Duration};

use homing::config::Settings;
use serde_json::json;

use crate::{
    Bench,
    machine::cpu_seconds,
    report::{Figures, Row},
    stage::{Stage, WARM_UP, broker_cpu},
    steady::{millis, times},
};

/// A time without the endpoint.
struct Outage {
    lasts: Duration,
    name: &'static str,
    /// All times are divided by this.
    scale: u32,
}

const OUTAGES: [Outage; 4] = [
    Outage { lasts: Duration::from_secs(10), name: "10 s", scale: 30 },
    Outage { lasts: Duration::from_mins(2), name: "2 min", scale: 30 },
    Outage { lasts: Duration::from_mins(12), name: "12 min", scale: 30 },
    Outage { lasts: Duration::from_hours(6), name: "6 h", scale: 1_440 },
];
/// Events, not scaled.
const PER_SECOND: u32 = 100;
/// The rate that the bound counts with, not scaled; the endpoint answers at once and takes more.
const TAKES: u32 = 500;
/// Accepted before the outage.
const BEFORE: u32 = 10;
/// For what is not scaled.
const ALLOWANCE: Duration = Duration::from_secs(1);

/// The results of one outage.
struct Measured {
    figures: Figures,
    /// In seconds.
    latest: f64,
    /// Published meanwhile.
    missed: u32,
}

impl Outage {
    fn scaled(&self, time: Duration) -> Duration {
        time / self.scale
    }

    /// The waits of the default schedule, in milliseconds.
    fn waits(&self, defaults: &Settings) -> Vec<u64> {
        let schedules = defaults.schedule.schedules().expect("the defaults make sense");
        let waits = schedules.get(None).waits().iter().map(|wait| self.scaled(*wait).as_millis());
        waits.map(|wait| u64::try_from(wait).unwrap_or(u64::MAX)).collect()
    }

    /// The rules of circuits that have a time.
    fn rules(&self, defaults: &Settings) -> String {
        let rules = &defaults.circuit;
        let mut text = String::new();
        for (key, time) in [
            ("probe_interval", rules.probe_interval),
            ("probe_first", rules.probe_first),
            ("freeze_above_last_success_ago", rules.freeze_above_last_success_ago),
        ] {
            let scaled = self.scaled(time).as_millis();
            writeln!(text, "circuit.{key} = \"{scaled}ms\"").expect("a text can be written to");
        }
        text
    }

    /// Runs one installation through it; `group` is the endpoint's.
    async fn measure(&self, bench: &Bench, group: &str, queues: u32) -> Measured {
        let defaults = Settings::from_toml("").expect("the defaults make sense");
        let settings = format!("{}held.queues = {queues}\n", self.rules(&defaults));
        let stage = Stage::new(&self.waits(&defaults), &settings).await;
        let url = bench.endpoints.url(&format!("/{group}/1"));
        stage.subscribe(json!({"url": url, "topics": ["#"]})).await;
        let worker = stage.site.start();
        stage.site.wait_for_consumers(1).await;
        tokio::time::sleep(WARM_UP).await;
        stage.steady(BEFORE, PER_SECOND).await;
        bench.endpoints.accepted(group, BEFORE.into()).await;

        let before = (cpu_seconds(worker.id()), broker_cpu());
        let lasts = self.scaled(self.lasts);
        let missed = u32::try_from(lasts.as_millis() * u128::from(PER_SECOND) / 1_000);
        let missed = missed.expect("few enough");
        bench.endpoints.tell(&format!("/down/{group}")).await;
        let up = async {
            tokio::time::sleep(lasts).await;
            bench.endpoints.tell(&format!("/up/{group}")).await;
        };
        tokio::join!(stage.steady(missed, PER_SECOND), up);
        let came = bench.endpoints.accepted(group, (BEFORE + missed).into()).await;
        let thousands = f64::from(missed) / 1_000.0;
        let cpu = (cpu_seconds(worker.id()) - before.0) * 1_000.0 / thousands;
        let broker = (broker_cpu() - before.1) * 1_000.0 / thousands;
        Stage::stop(worker).await;

        let (held, retried) = (came.lateness, came.retried);
        let figures = if held.count > 0 { times(held) } else { Figures::default() };
        let figures = figures
            .with("missed", f64::from(missed))
            .with("while_down", count(came.refused))
            .with("untried", count(held.count))
            .with("retried_max_ms", millis(retried.max))
            .with("cpu_ms", cpu)
            .with("broker_cpu_ms", broker);
        Measured { figures, latest: millis(held.max) / 1_000.0, missed }
    }

    async fn rows(&self, bench: &Bench) -> Vec<Row> {
        bench.endpoints.reset().await;
        let held = Box::pin(self.measure(bench, "held", 2)).await;
        let ladder = Box::pin(self.measure(bench, "ladder", 0)).await;
        let defaults = Settings::from_toml("").expect("the defaults make sense");
        let interval = self.scaled(defaults.circuit.probe_interval).as_secs_f64();
        let bound = interval + f64::from(held.missed) / f64::from(TAKES);
        let reached = held.latest <= bound + ALLOWANCE.as_secs_f64();
        let bound = format!("max <= {bound:.1} s + {ALLOWANCE:?}");
        let case = format!("{}, times 1:{}", self.name, self.scale);
        let row = Row::new("outage", &case, "held", std::slice::from_ref(&held.figures));
        let others = std::slice::from_ref(&ladder.figures);
        let row = if held.latest > 0.0 {
            row.compared("max_ms", &[held.figures], ("ladder", others)).must(&bound, reached)
        } else {
            row
        };
        vec![row, Row::new("outage", &case, "ladder", others)]
    }
}

fn count(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Down for 10 s to 6 h.
pub(crate) async fn outage(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for outage in &OUTAGES {
        rows.extend(outage.rows(bench).await);
    }
    rows
}
