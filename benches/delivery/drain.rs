//! Scenarios in which events wait and are delivered as fast as it goes: homing and the bare loops
//! in turns, on the same queue.

use std::time::Duration;

use crate::{
    Bench,
    bare::Library,
    machine::{cpu_seconds, peak_mib},
    report::{Figures, Row},
    sink::Report,
    stage::{Stage, WAITS_MS, broker_cpu},
    support::{database::Database, process::Process},
    turns::{By, Rounds},
};

/// One such scenario.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: &'static str,
    pub(crate) name: String,
    pub(crate) events: u32,
    pub(crate) bytes: usize,
    /// The URLs that every event is posted to.
    pub(crate) urls: Vec<String>,
    /// The first word of their paths.
    pub(crate) group: &'static str,
    /// Settings of homing.
    pub(crate) settings: String,
    pub(crate) workers: usize,
    /// Further arguments of the bare loop.
    pub(crate) bare: Vec<String>,
    /// The bare loop, too, publishes again what endpoints refuse.
    pub(crate) republishes: bool,
}

impl Case {
    pub(crate) fn new(bench: &Bench, scenario: &'static str, name: impl Into<String>) -> Self {
        Self {
            scenario,
            name: name.into(),
            events: bench.events(20_000),
            bytes: 1_000,
            urls: vec![bench.endpoints.url("/ok/1")],
            group: "ok",
            settings: String::new(),
            workers: 1,
            bare: Vec::new(),
            republishes: false,
        }
    }

    fn deliveries(&self) -> u64 {
        u64::from(self.events) * u64::try_from(self.urls.len()).unwrap_or_default()
    }

    /// A stage for it, with all subscriptions.
    pub(crate) async fn stage(&self) -> Stage {
        let stage = Stage::new(&WAITS_MS, &self.settings).await;
        for url in &self.urls {
            stage.subscribe_all(url).await;
        }
        stage
    }

    pub(crate) async fn homing(&self, bench: &Bench, stage: &Stage) -> Figures {
        bench.endpoints.reset().await;
        let before = broker_cpu();
        let workers: Vec<_> = (0..self.workers).map(|_| stage.site.start()).collect();
        let report = bench.endpoints.after(self.group, self.deliveries()).await;
        let ids: Vec<_> = workers.iter().map(Process::id).collect();
        let figures = self.figures(&report, &ids, before);
        for worker in workers {
            Stage::stop(worker).await;
        }
        figures
    }

    async fn bare(&self, bench: &Bench, stage: &Stage, library: Library) -> Figures {
        bench.endpoints.reset().await;
        let mut further = self.bare.clone();
        if self.republishes {
            further.extend(["--republish".to_owned(), stage.wait_queue()]);
        }
        let before = broker_cpu();
        let bare = stage.bare(library, &self.urls, &further);
        let report = bench.endpoints.after(self.group, self.deliveries()).await;
        let figures = self.figures(&report, &[bare.id()], before);
        // Its last acks.
        tokio::time::sleep(Duration::from_millis(100)).await;
        figures
    }

    fn figures(&self, report: &Report, processes: &[u32], broker_before: f64) -> Figures {
        let group = report.groups.get(self.group).cloned().unwrap_or_default();
        assert!(
            group.requests >= self.deliveries(),
            "{} {}: {} of {} deliveries came in time",
            self.scenario,
            self.name,
            group.requests,
            self.deliveries()
        );
        let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let seconds = count(group.last - group.first) / 1e6;
        let thousands = count(group.requests) / 1_000.0;
        let cpu: f64 = processes.iter().map(|process| cpu_seconds(*process)).sum();
        let peak = processes.iter().map(|process| peak_mib(*process)).fold(0.0, f64::max);
        Figures::default()
            .with("per_second", (count(group.requests) - 1.0) / seconds)
            .with("cpu_ms", cpu * 1_000.0 / thousands)
            .with("broker_cpu_ms", (broker_cpu() - broker_before) * 1_000.0 / thousands)
            .with("peak_mib", peak)
    }

    /// homing and the bare loops in turns.
    pub(crate) async fn rows(&self, bench: &Bench, rounds: usize) -> Vec<Row> {
        let stage = Box::pin(self.stage()).await;
        let mut measured = Rounds::default();
        for round in 0..rounds {
            for by in By::in_turns(round) {
                stage.fill(self.events, self.bytes).await;
                let figures = match by {
                    By::Homing => Box::pin(self.homing(bench, &stage)).await,
                    By::Bare(library) => self.bare(bench, &stage, library).await,
                };
                measured.add(by, figures);
                stage.clear().await;
            }
        }
        measured.rows(self.scenario, &self.name, &["per_second"])
    }
}

/// 100,000 events wait for one subscription.
pub(crate) async fn drain(bench: &Bench) -> Vec<Row> {
    let case = Case::new(bench, "drain", "1 kB, 1 subscription");
    let case = Case { events: bench.events(100_000), ..case };
    let mut rows = case.rows(bench, bench.rounds).await;
    if let Some(row) = rows.first_mut() {
        let ratio = row.ratio();
        let peak = row.figures.get("peak_mib");
        *row = row.clone().must("ratio >= 0.8, <= 80 MiB", ratio >= 0.8 && peak <= 80.0);
    }
    rows
}

/// One URL that answers after 60 ms has a backlog: the bare loop has as many requests in flight as
/// homing may have. Held as slow, because deliveries wait for a permit for too long, and not.
pub(crate) async fn backlog(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, permit_wait) in [("60 ms, held", "200ms"), ("60 ms, not held", "60s")] {
        let case = Case::new(bench, "backlog", name);
        let urls = vec![bench.endpoints.url("/after/60/1")];
        let settings = format!("held.queues = 32\nendpoint.permit_wait = \"{permit_wait}\"\n");
        let case = Case { urls, group: "after", settings, ..case };
        let mut both = case.rows(bench, bench.rounds.min(3)).await;
        if let Some(row) = both.first_mut() {
            let ratio = row.ratio();
            *row = row.clone().must("ratio >= 0.95", ratio >= 0.95);
        }
        rows.extend(both);
    }
    rows
}

/// Every event goes to 10 and to 1,000 subscriptions; the bare loop posts as often.
pub(crate) async fn fan_out(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for (subscriptions, events) in [(10, bench.events(10_000)), (1_000, bench.events(100))] {
        let case = Case::new(bench, "fan-out", format!("1 to {subscriptions}"));
        let urls = (0..subscriptions)
            .map(|number| bench.endpoints.url(&format!("/ok/{number}")))
            .collect();
        let measured = Case { events, urls, ..case }.rows(bench, bench.rounds.min(3)).await;
        rows.extend(if subscriptions == 10 { within(64.0, measured) } else { measured });
    }
    rows
}

/// The memory of the worker, the first row, must be within so many MiB.
fn within(max_mib: f64, mut rows: Vec<Row>) -> Vec<Row> {
    if let Some(row) = rows.first_mut() {
        let reached = row.figures.get("peak_mib") <= max_mib;
        *row = row.clone().must(&format!("<= {max_mib} MiB"), reached);
    }
    rows
}

/// Everything fails, and one of ten first attempts: what failed is published and confirmed.
pub(crate) async fn failing(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, group) in [("all fail", "fail"), ("10 % fail", "tenth")] {
        let case = Case::new(bench, "failing", name);
        let urls = vec![bench.endpoints.url(&format!("/{group}/1"))];
        // Every round fails at the same URL; its circuit must stay closed.
        let settings = "circuit.open_above_percent = 100\n\
                        circuit.open_at_consecutive_failures = 1000000\n\
                        circuit.freeze_at_consecutive_failures = 1000000\n";
        let case = Case { urls, group, republishes: true, settings: settings.to_owned(), ..case };
        rows.extend(case.rows(bench, bench.rounds.min(3)).await);
    }
    rows
}

/// Over TLS.
pub(crate) async fn tls(bench: &Bench) -> Vec<Row> {
    let case = Case::new(bench, "tls", "HTTPS endpoint");
    let ca = bench.endpoints.ca_file().display().to_string();
    let case = Case {
        urls: vec![bench.endpoints.https_url("/ok/1")],
        settings: format!("endpoint.ca_file = \"{ca}\"\n"),
        bare: vec!["--ca".to_owned(), ca],
        ..case
    };
    case.rows(bench, bench.rounds.min(3)).await
}

/// The cost of all that either store remembers: the same events with all of it, with the default
/// settings, with the attempt log alone and with nothing.
pub(crate) async fn store(bench: &Bench) -> Vec<Row> {
    const NOTHING: &str = "nothing";
    let remembered = [
        ("all, every payload", "attempts.payloads = \"all\"\n"),
        ("default", ""),
        ("attempts alone", "history.enabled = false\nledger.enabled = false\n"),
        (NOTHING, "history.enabled = false\nledger.enabled = false\nattempts.enabled = false\n"),
    ];
    let mut rows = Vec::new();
    for postgres in [false, true] {
        let (mut databases, mut cases) = (Vec::new(), Vec::new());
        for (name, settings) in remembered {
            let mut settings = settings.to_owned() + ENCRYPTION;
            if postgres {
                // One for each case: subscriptions stay in it.
                let database = Database::new().await;
                settings.extend(["store.url = \"", &database.url(), "\"\n"]);
                databases.push(database);
            }
            let store = if postgres { "PostgreSQL" } else { "SQLite" };
            let case = Case::new(bench, "store", format!("{store}, {name}"));
            cases.push(Case { settings, ..case });
        }
        let measured = in_turns(bench, cases).await;
        let nothing = measured.last().map(|(_, figures)| figures.clone()).unwrap_or_default();
        for (case, figures) in &measured {
            let row = Row::new("store", &case.name, "homing", figures);
            let row = row.compared("per_second", figures, (NOTHING, &nothing));
            let ratio = row.ratio();
            rows.push(row.must("ratio >= 0.8", ratio >= 0.8));
        }
    }
    rows
}

/// PostgreSQL keeps no key of its own.
const ENCRYPTION: &str =
    "store.encryption_keys = [\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n";

/// Cases of homing alone, round by round in turns; each with a stage of its own.
async fn in_turns(bench: &Bench, cases: Vec<Case>) -> Vec<(Case, Vec<Figures>)> {
    let mut all = Vec::new();
    for case in cases {
        let stage = Box::pin(case.stage()).await;
        all.push((case, stage, Vec::new()));
    }
    for _ in 0..bench.rounds {
        for (case, stage, figures) in &mut all {
            let before = broker_cpu();
            stage.fill(case.events, case.bytes).await;
            let filled = (broker_cpu() - before) * 1e6 / f64::from(case.events);
            let drained = Box::pin(case.homing(bench, stage)).await;
            figures.push(drained.with("publish_cpu_ms", filled));
            stage.clear().await;
        }
    }
    all.into_iter().map(|(case, _, figures)| (case, figures)).collect()
}

/// Several processes share the work.
pub(crate) async fn workers(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for workers in [1, 2, 4] {
        let case = Case::new(bench, "workers", format!("{workers} processes"));
        rows.extend(Case { workers, ..case }.rows(bench, bench.rounds.min(3)).await);
    }
    rows
}

/// The same events through one queue and through several shards, in turns.
pub(crate) async fn shards(bench: &Bench) -> Vec<Row> {
    let cases = [1, 2, 4, 8].map(|shards| {
        let case = Case::new(bench, "shards", format!("{shards} shards"));
        Case { settings: format!("broker.shards = {shards}\n"), ..case }
    });
    let measured = in_turns(bench, cases.into()).await;
    let one = measured.first().map(|(_, figures)| figures.clone()).unwrap_or_default();
    let rows = measured.iter().map(|(case, figures)| {
        let row = Row::new("shards", &case.name, "homing", figures);
        let row = row.compared("cpu_ms", figures, ("one", &one));
        let ratio = row.ratio();
        row.must("ratio <= 1.1", ratio <= 1.1)
    });
    rows.collect()
}

/// From a kilobyte to a mebibyte.
pub(crate) async fn size(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, bytes, events) in [
        ("1 kB", 1_000, 20_000),
        ("10 kB", 10_000, 10_000),
        ("100 kB", 100_000, 3_000),
        ("1 MiB", 1_024 * 1_024, 600),
    ] {
        let case = Case::new(bench, "size", name);
        let case = Case { bytes, events: bench.events(events), ..case };
        rows.extend(within(80.0, case.rows(bench, bench.rounds.min(3)).await));
    }
    rows
}

/// The memory of a worker with a million events waiting.
pub(crate) async fn memory(bench: &Bench) -> Vec<Row> {
    let case = Case::new(bench, "memory", "of 1,000,000 waiting");
    let stage = case.stage().await;
    stage.fill(bench.events(1_000_000), case.bytes).await;
    let figures = case.homing(bench, &stage).await;
    stage.clear().await;
    let reached = figures.get("peak_mib") <= 80.0;
    vec![Row::new("memory", case.name, "homing", &[figures]).must("<= 80 MiB", reached)]
}
