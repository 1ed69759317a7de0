//! Slow URLs beside a quick one: what they cost it, and what their own deliveries cost.

use std::time::Duration;

use homing_domain::report::duration;
use serde_json::json;

use crate::{
    Bench,
    machine::cpu_seconds,
    report::{Figures, Row, median},
    stage::{Stage, WAITS_MS, WARM_UP},
    steady::{millis, times},
};

/// Slow URLs of one kind.
struct Slow {
    urls: u32,
    answers_after: Duration,
    /// Events for all of them together.
    per_second: u32,
}

/// With 64 requests in flight, one URL takes 320 a second where it answers after 200 ms, and 13
/// after 4.8 s: where there are few, more comes for each than it takes.
const CASES: [Slow; 7] = [
    Slow { urls: 16, answers_after: Duration::ZERO, per_second: 480 },
    Slow { urls: 1, answers_after: Duration::from_millis(200), per_second: 480 },
    Slow { urls: 16, answers_after: Duration::from_millis(200), per_second: 480 },
    Slow { urls: 100, answers_after: Duration::from_millis(200), per_second: 500 },
    Slow { urls: 1, answers_after: Duration::from_millis(4_800), per_second: 20 },
    Slow { urls: 16, answers_after: Duration::from_millis(4_800), per_second: 320 },
    Slow { urls: 100, answers_after: Duration::from_millis(4_800), per_second: 500 },
];
const QUICK_PER_SECOND: u32 = 500;
/// Until it is known which URLs are slow; the quick one's times are taken apart.
const FIRST_SECONDS: u32 = 6;
const SECONDS: u32 = 10;
/// Of quicker ones, what is held is awaited: the cost of a delivery has all of its parts then, and
/// is given.
const MAX_AWAITED: Duration = Duration::from_secs(1);

impl Slow {
    fn name(&self) -> String {
        let Self { urls, answers_after, per_second } = self;
        format!("{urls} of {}, {per_second}/s", duration(*answers_after))
    }

    fn topic(number: u32) -> String {
        format!("slow.{number}")
    }
}

/// Runs the quick URL, and `slow` beside it.
async fn round(bench: &Bench, slow: Option<&Slow>) -> Figures {
    let stage = Stage::new(&WAITS_MS, "held.queues = 32\n").await;
    for topic in ["first", "quick"] {
        let url = bench.endpoints.url(&format!("/{topic}/1"));
        stage.subscribe(json!({"url": url, "topics": [topic]})).await;
    }
    let (urls, per_second) = slow.map_or((0, 0), |slow| (slow.urls, slow.per_second));
    let topics: Vec<_> = (0..urls).map(Slow::topic).collect();
    for (topic, number) in topics.iter().zip(0..) {
        let answers_after = slow.map_or(0, |slow| slow.answers_after.as_millis());
        let url = bench.endpoints.url(&format!("/after/{answers_after}/{number}"));
        stage.subscribe(json!({"url": url, "topics": [topic]})).await;
    }
    bench.endpoints.reset().await;
    // With the API, which has the metrics.
    let worker = stage.site.spawn(stage.site.command(&["run"]));
    stage.site.wait_for_consumers(1).await;
    tokio::time::sleep(WARM_UP).await;
    let before = cpu_seconds(worker.id());
    let quick = async |topic: &str, seconds| {
        let events = QUICK_PER_SECOND * seconds;
        stage.steady_with(&[topic.to_owned()], events, QUICK_PER_SECOND).await;
    };
    let quick = async {
        quick("first", FIRST_SECONDS).await;
        quick("quick", SECONDS).await;
    };
    let published = per_second * (FIRST_SECONDS + SECONDS);
    tokio::join!(quick, stage.steady_with(&topics, published, per_second));
    let events = QUICK_PER_SECOND * SECONDS;
    let mut report = bench.endpoints.after("quick", events.into()).await;
    let quick = report.groups.remove("quick").unwrap_or_default();
    assert!(quick.requests >= u64::from(events), "{} of {events} came", quick.requests);
    let first = report.groups.remove("first").unwrap_or_default().latency;
    let mut figures = times(quick.latency).with("first_p99_ms", millis(first.p99));
    if slow.is_some_and(|slow| slow.answers_after < MAX_AWAITED) {
        report = bench.endpoints.after("after", published.into()).await;
        let came = report.groups.remove("after").map_or(0, |group| group.requests);
        figures = figures.with("came", f64::from(u32::try_from(came).unwrap_or(u32::MAX)));
    }
    figures = figures.with("cpu", cpu_seconds(worker.id()) - before);
    if slow.is_none() {
        return figures;
    }
    let [throttled, held] =
        stage.counted(&bench.endpoints, ["homing_throttled_total", "homing_holds_total"]).await;
    // What is in flight would take its time.
    worker.kill_9();
    let each = |times| times / f64::from(published);
    figures.with("throttled", each(throttled)).with("put_back", each(held))
}

/// With what a thousand deliveries cost: in the control those to the quick URL, else those to the
/// slow ones, which is what the round used beyond the control.
fn costs(figures: Figures, control: Option<&Figures>) -> Figures {
    let (cpu, deliveries) = match control {
        None => (figures.get("cpu"), f64::from(QUICK_PER_SECOND * (FIRST_SECONDS + SECONDS))),
        Some(control) => (figures.get("cpu") - control.get("cpu"), figures.get("came")),
    };
    if deliveries.is_nan() {
        return figures;
    }
    figures.with("cpu_ms", cpu * 1e6 / deliveries)
}

/// 1, 16 and 100 slow URLs.
pub(crate) async fn slow(bench: &Bench) -> Vec<Row> {
    // Each takes two minutes.
    let rounds = (bench.rounds / 5).max(1);
    let (mut controls, mut all) = (Vec::new(), CASES.map(|_| Vec::new()));
    for _ in 0..rounds {
        let control = costs(Box::pin(round(bench, None)).await, None);
        for (case, figures) in CASES.iter().zip(&mut all) {
            figures.push(costs(Box::pin(round(bench, Some(case))).await, Some(&control)));
        }
        controls.push(control);
    }
    let mut rows = vec![Row::new("slow", "none", "homing", &controls)];
    for (case, figures) in CASES.iter().zip(&all) {
        let row = Row::new("slow", case.name(), "homing", figures);
        let row = row.compared("p99_ms", figures, ("none", &controls));
        if case.answers_after.is_zero() {
            rows.push(row);
            continue;
        }
        let cpu = figures.iter().zip(&controls);
        let cpu = median(cpu.map(|(one, control)| one.get("cpu_ms") / control.get("cpu_ms")));
        let p99 = row.ratio();
        let is_cheap = cpu.is_nan() || cpu <= 1.5;
        let reached = p99 <= 2.0 && row.figures.get("throttled") <= 0.1 && is_cheap;
        rows.push(row.must("p99 <= 2x, throttled <= 0.1, CPU <= 1.5x", reached));
    }
    rows
}
