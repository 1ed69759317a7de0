//! Scenarios with events that come at a steady rate, in which times are measured.

use crate::{
    Bench,
    machine::{cpu_seconds, micros, peak_mib},
    report::{Figures, Row},
    sink::Percentiles,
    stage::{Helper, Stage, WAITS_MS, WARM_UP, broker_cpu},
    support::process::Process,
    turns::{By, Rounds},
};

const SECONDS: u32 = 10;

pub(crate) fn times(percentiles: Percentiles) -> Figures {
    Figures::default()
        .with("p50_ms", millis(percentiles.p50))
        .with("p99_ms", millis(percentiles.p99))
        .with("max_ms", millis(percentiles.max))
}

pub(crate) fn millis(micros: u64) -> f64 {
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0
}

/// With what `process` and the broker have used for so many deliveries.
fn costs(figures: Figures, process: u32, broker_before: f64, deliveries: u32) -> Figures {
    let thousands = f64::from(deliveries) / 1_000.0;
    figures
        .with("cpu_ms", cpu_seconds(process) * 1_000.0 / thousands)
        .with("broker_cpu_ms", (broker_cpu() - broker_before) * 1_000.0 / thousands)
        .with("peak_mib", peak_mib(process))
}

/// From the publish to the endpoint, at 1,000 and 5,000 events a second.
pub(crate) async fn latency(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for per_second in [1_000, 5_000] {
        let stage = Stage::new(&WAITS_MS, "").await;
        stage.subscribe_all(&bench.endpoints.url("/ok/1")).await;
        let mut measured = Rounds::default();
        for round in 0..bench.rounds {
            for by in By::in_turns(round) {
                measured.add(by, Box::pin(latency_of(bench, &stage, by, per_second)).await);
            }
        }
        let mut of_case =
            measured.rows("latency", &format!("{per_second}/s"), &["p50_ms", "p99_ms"]);
        if let Some(row) = of_case.first_mut() {
            let to_reqwest = row.ratios.iter().filter(|ratio| ratio.to == "reqwest");
            let is_quick = to_reqwest.map(|ratio| ratio.median).all(|ratio| ratio <= 1.3);
            let figures = &row.figures;
            let in_time = figures.get("p50_ms") <= 5.0 && figures.get("p99_ms") <= 25.0;
            *row = if per_second == 1_000 {
                row.clone().must("<= 1.3, p50 <= 5, p99 <= 25 ms", is_quick && in_time)
            } else {
                row.clone().must("<= 1.3", is_quick)
            };
        }
        rows.extend(of_case);
    }
    rows
}

async fn latency_of(bench: &Bench, stage: &Stage, by: By, per_second: u32) -> Figures {
    bench.endpoints.reset().await;
    let (worker, bare) = match by {
        By::Homing => {
            let worker = stage.site.start();
            stage.site.wait_for_consumers(1).await;
            (Some(worker), None)
        }
        By::Bare(library) => {
            (None, Some(stage.bare(library, &[bench.endpoints.url("/ok/1")], &[])))
        }
    };
    tokio::time::sleep(WARM_UP).await;
    let (events, before) = (per_second * SECONDS, broker_cpu());
    stage.steady(events, per_second).await;
    let came = bench.came("ok", events).await;
    let process = worker.as_ref().map(Process::id).or(bare.as_ref().map(Helper::id));
    let figures = costs(times(came.latency), process.unwrap_or_default(), before, events);
    if let Some(worker) = worker {
        Stage::stop(worker).await;
    }
    figures
}

/// One of ten endpoints hangs: the times of the nine, with and without that.
pub(crate) async fn hung(bench: &Bench) -> Vec<Row> {
    const ENDPOINTS: u32 = 10;
    const EVENTS_PER_SECOND: u32 = 100;
    let (mut well, mut hung) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        for (tenth, rounds) in [("/well/10", &mut well), ("/hang/10", &mut hung)] {
            let stage = Stage::new(&WAITS_MS, "").await;
            stage.subscribe_all(&bench.endpoints.url(tenth)).await;
            for number in 1..ENDPOINTS {
                stage.subscribe_all(&bench.endpoints.url(&format!("/ok/{number}"))).await;
            }
            bench.endpoints.reset().await;
            let worker = stage.site.start();
            stage.site.wait_for_consumers(1).await;
            tokio::time::sleep(WARM_UP).await;
            let events = EVENTS_PER_SECOND * SECONDS;
            stage.steady(events, EVENTS_PER_SECOND).await;
            let came = bench.came("ok", events * (ENDPOINTS - 1)).await;
            rounds.push(times(came.latency));
            // Not for the one that hangs.
            worker.kill_9();
        }
    }
    let row = Row::new("hung", "one of ten hangs", "homing", &hung);
    let row = row.compared("p99_ms", &hung, ("none", &well));
    let reached = row.ratio() <= 2.0;
    vec![row.must("p99 ratio <= 2", reached), Row::new("hung", "none hangs", "homing", &well)]
}

/// Lateness of second attempts, 1,000 of them due every second.
pub(crate) async fn lateness(bench: &Bench) -> Vec<Row> {
    const WAIT_MS: u64 = 5_000;
    const PER_SECOND: u32 = 1_000;
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds.min(3) {
        let stage = Stage::new(&[WAIT_MS], "").await;
        stage.subscribe_all(&bench.endpoints.url(&format!("/once/{WAIT_MS}/1"))).await;
        bench.endpoints.reset().await;
        let worker = stage.site.start();
        stage.site.wait_for_consumers(1).await;
        tokio::time::sleep(WARM_UP).await;
        stage.steady(PER_SECOND * SECONDS, PER_SECOND).await;
        let came = bench.came("once", 2 * PER_SECOND * SECONDS).await;
        rounds.push(times(came.lateness));
        Stage::stop(worker).await;
    }
    let row = Row::new("lateness", "1,000 due a second", "homing", &rounds);
    let reached = row.figures.get("p99_ms") <= 250.0;
    vec![row.must("p99 <= 250 ms", reached)]
}

/// From the start of the process to the first delivery, with the topology present.
pub(crate) async fn start(bench: &Bench) -> Vec<Row> {
    let stage = Stage::new(&WAITS_MS, "").await;
    stage.subscribe_all(&bench.endpoints.url("/ok/1")).await;
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        stage.fill(1, 1_000).await;
        bench.endpoints.reset().await;
        let begun = micros();
        let worker = stage.site.start();
        let came = bench.came("ok", 1).await;
        let took = came.first.saturating_sub(begun);
        rounds.push(times(Percentiles { count: 1, p50: took, p99: took, max: took }));
        Stage::stop(worker).await;
    }
    let row = Row::new("start", "to the first delivery", "homing", &rounds);
    let reached = row.figures.get("p50_ms") <= 1_000.0;
    vec![row.must("<= 1 s", reached)]
}
