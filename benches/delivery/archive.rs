//! The archive: what it costs a publisher and a drain, and a replay of a window beside live events.

use std::{num::NonZeroU32, time::Duration};

use homing_domain::{
    clock,
    replay::{DEFAULT_RATE, Replay, ReplayId, ReplaySelection, ReplayState},
    time::UnixMillis,
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Bench,
    drain::Case,
    report::{Figures, Row},
    stage::{Stage, WAITS_MS, WARM_UP, broker_cpu},
    steady::times,
};

/// The window of the replay.
const WINDOW_SECONDS: u32 = 60;
/// Live events beside the replay.
const LIVE_PER_SECOND: u32 = 500;
const LIVE_SECONDS: u32 = 10;
/// Deliveries of the whole replay; more than the default, so that it lasts no longer than it must.
const RATE: u32 = 2_000;

/// Publishing and a drain, with the archive and without, in turns.
pub(crate) async fn cost(bench: &Bench) -> Vec<Row> {
    let mut all = Vec::new();
    for enabled in [false, true] {
        let name = if enabled { "with" } else { "without" };
        let case = Case::new(bench, "archive", name);
        let settings = format!("archive.enabled = {enabled}\n");
        let case = Case { settings, events: bench.events(50_000), ..case };
        let stage = Box::pin(case.stage()).await;
        all.push((case, stage, Vec::new()));
    }
    for _ in 0..bench.rounds {
        for (case, stage, figures) in &mut all {
            let (before, begun) = (broker_cpu(), Instant::now());
            stage.fill(case.events, case.bytes).await;
            // Without the second in which the broker finishes.
            let filled = begun.elapsed().saturating_sub(Duration::from_secs(1));
            let publish = f64::from(case.events) / filled.as_secs_f64();
            let cpu = (broker_cpu() - before) * 1e6 / f64::from(case.events);
            let drained = Box::pin(case.homing(bench, stage)).await;
            figures.push(drained.with("published", publish).with("publish_cpu_ms", cpu));
            stage.clear().await;
        }
    }
    let without = all.first().map(|(.., figures)| figures.clone()).unwrap_or_default();
    let rows = all.iter().map(|(case, _, figures)| {
        let row = Row::new("archive", &case.name, "homing", figures);
        let row = row.compared("per_second", figures, ("without", &without));
        row.compared("published", figures, ("without", &without))
    });
    rows.collect()
}

/// The next whole second.
async fn next_second() -> UnixMillis {
    let now = clock::now();
    let next = UnixMillis::new(now.seconds() * 1_000 + 1_000);
    tokio::time::sleep(next.since(now)).await;
    next
}

/// 200,000 events in a window of 60 seconds, with others around them, are sent to a new
/// subscription; live events go to another URL, before and meanwhile.
pub(crate) async fn replay(bench: &Bench) -> Vec<Row> {
    let stage = Stage::new(&WAITS_MS, "archive.enabled = true\n").await;
    let url = bench.endpoints.url("/live/1");
    stage.subscribe(json!({"url": url, "topics": ["live"]})).await;
    let topics = ["past".to_owned()];
    let events = bench.events(200_000);
    stage.steady_with(&topics, 1_000, 1_000).await;
    let since = next_second().await;
    stage.steady_with(&topics, events, (events / (WINDOW_SECONDS - 1)).max(1)).await;
    let until = next_second().await;
    stage.steady_with(&topics, 1_000, 1_000).await;
    stage.clear().await;

    let url = bench.endpoints.url("/replayed/1");
    stage.subscribe(json!({"url": url, "topics": ["past"]})).await;
    let worker = stage.site.start();
    stage.site.wait_for_consumers(1).await;
    tokio::time::sleep(WARM_UP).await;
    let mut rounds: [Vec<Figures>; 3] = Default::default();
    for _ in 0..bench.rounds {
        let [alone, by_default, quick] = &mut rounds;
        bench.endpoints.reset().await;
        alone.push(live(bench, &stage).await);
        for (rate, figures) in [(DEFAULT_RATE, by_default), (RATE, quick)] {
            bench.endpoints.reset().await;
            let replay = begin(bench, &stage, selection((since, until), rate)).await;
            figures.push(live(bench, &stage).await);
            let stopped = stage.archive().stop(replay.id).await.expect("it stops");
            assert_eq!(stopped.state, ReplayState::Stopped, "it went on meanwhile");
            // Until the worker has ended its step.
            tokio::time::sleep(WARM_UP).await;
            stage.clear().await;
        }
    }
    bench.endpoints.reset().await;
    let begun = Instant::now();
    let replay = begin(bench, &stage, selection((since, until), RATE)).await;
    assert_eq!(end(&stage, replay.id).await, ReplayState::Done);
    let seconds = begun.elapsed().as_secs_f64();
    let came = bench.came("replayed", events).await;
    let is_exact = came.requests == u64::from(events) && came.distinct == u64::from(events);
    Stage::stop(worker).await;

    let [alone, by_default, quick] = &rounds;
    let row = |rate: u32, figures: &[Figures]| {
        let row = Row::new("replay", format!("beside {rate}/s"), "homing", figures);
        row.compared("p99_ms", figures, ("none", alone))
    };
    let by_default = row(DEFAULT_RATE, by_default);
    let is_quiet = by_default.ratio() <= 2.0;
    let all = Figures::default().with("per_second", f64::from(events) / seconds);
    let all = Row::new("replay", format!("{events} in {WINDOW_SECONDS} s"), "homing", &[all]);
    vec![
        Row::new("replay", "beside none", "homing", alone),
        by_default.must("<= 2", is_quiet),
        row(RATE, quick),
        all.must("exact", is_exact),
    ]
}

/// Begins a replay, and returns when a worker has taken it.
async fn begin(bench: &Bench, stage: &Stage, selection: ReplaySelection) -> Replay {
    let replay = stage.archive().begin(selection).await.expect("it begins");
    bench.endpoints.after("replayed", 1).await;
    replay
}

/// Waits for the end of a replay.
async fn end(stage: &Stage, id: ReplayId) -> ReplayState {
    loop {
        let replay = stage.archive().get(id).await.expect("the store answers");
        if replay.state.is_over() {
            return replay.state;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn selection((since_ms, until_ms): (UnixMillis, UnixMillis), rate: u32) -> ReplaySelection {
    ReplaySelection {
        since_ms,
        until_ms,
        topic: Some("past".parse().expect("a pattern")),
        event: None,
        subscriptions: Vec::new(),
        url: None,
        unfiltered: false,
        rate: NonZeroU32::new(rate).expect("not zero"),
    }
}

/// The times of live events.
async fn live(bench: &Bench, stage: &Stage) -> Figures {
    let events = LIVE_PER_SECOND * LIVE_SECONDS;
    let before = bench.endpoints.report().await.groups.remove("live").unwrap_or_default();
    stage.steady_with(&["live".to_owned()], events, LIVE_PER_SECOND).await;
    let all = u64::from(events) + before.requests;
    let mut report = bench.endpoints.after("live", all).await;
    times(report.groups.remove("live").unwrap_or_default().latency)
}
