//! Figures, not tests: cost and latency of deliveries, beside bare loops of the same libraries on
//! the same machine in the same minutes.
//!
//! `make bench` starts a broker and a database for it; `make bench ARGS="drain hung"` measures some
//! scenarios only, `ARGS=--help` lists them. `sink` holds the endpoints and `bare` the loops, each
//! in processes of their own; `stage` is what a scenario needs, `turns` has homing and the loops
//! take turns, `drain`, `steady`, `outage`, `slow` and `archive` are the scenarios; `report` and `picture` show
//! the results.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::disallowed_methods,
    unused_crate_dependencies,
    dead_code,
    reason = "a program that prints figures, with the parts of the tests"
)]

mod archive;
mod bare;
mod count;
mod drain;
mod machine;
mod matching;
mod outage;
mod picture;
mod report;
mod sink;
mod slow;
mod stage;
mod steady;
mod turns;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use self::{
    machine::Machine,
    report::{Row, Run},
    stage::Endpoints,
};

/// Measures deliveries.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Measure these scenarios; all, if none is named
    scenarios: Vec<Scenario>,
    /// Repeat so often and take the median; long scenarios repeat less
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Use so many per cent of the usual number of events
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Write the figures there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw them there, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Ignored: `cargo bench` passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Processes of the benchmark's own.
#[derive(Subcommand)]
#[command(hide = true)]
enum Part {
    /// Answer requests; the certificate is in this folder
    Sink { folder: PathBuf },
    /// Deliver without homing
    Bare(bare::Arguments),
    /// Deliver so many messages without a broker, for `benches/instructions`
    Count { messages: u32 },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// 100,000 waiting events
    Drain,
    /// 20,000 events for a URL that answers after 60 ms
    Backlog,
    /// Events for 10 and for 1,000 subscriptions
    FanOut,
    /// All fail; one of ten fails
    Failing,
    /// From publish to endpoint at 1,000 and 5,000 a second
    Latency,
    /// One of ten endpoints hangs
    Hung,
    /// Slow URLs beside a quick one
    Slow,
    /// An endpoint that is down for a while
    Outage,
    /// Lateness of retries
    Lateness,
    /// From the start to the first delivery
    Start,
    /// HTTPS endpoints
    Tls,
    /// All that `SQLite` and `PostgreSQL` remember, and nothing
    Store,
    /// 1, 2 and 4 processes
    Workers,
    /// 1, 2, 4 and 8 shards
    Shards,
    /// Bodies from 1 kB to 1 MiB
    Size,
    /// From 1 to 100,000 subscriptions
    Matching,
    /// A million waiting events
    Memory,
    /// Publishing and a drain, with the archive and without
    Archive,
    /// 200,000 events of the archive beside live ones
    Replay,
}

/// Shared by all scenarios.
pub(crate) struct Bench {
    endpoints: Endpoints,
    rounds: usize,
    percent: u32,
}

impl Bench {
    /// So many events, or the requested part of them.
    fn events(&self, usual: u32) -> u32 {
        (usual / 100 * self.percent).max(usual.min(100))
    }

    /// The report of `group`, which must have `count` requests.
    async fn came(&self, group: &str, count: u32) -> sink::Group {
        let mut report = self.endpoints.after(group, count.into()).await;
        let came = report.groups.remove(group).unwrap_or_default();
        assert!(came.requests >= count.into(), "{} of {count} requests came", came.requests);
        came
    }

    async fn measure(&self, scenario: Scenario) -> Vec<Row> {
        match scenario {
            Scenario::Drain => Box::pin(drain::drain(self)).await,
            Scenario::Backlog => Box::pin(drain::backlog(self)).await,
            Scenario::FanOut => Box::pin(drain::fan_out(self)).await,
            Scenario::Failing => Box::pin(drain::failing(self)).await,
            Scenario::Latency => Box::pin(steady::latency(self)).await,
            Scenario::Hung => Box::pin(steady::hung(self)).await,
            Scenario::Slow => Box::pin(slow::slow(self)).await,
            Scenario::Outage => Box::pin(outage::outage(self)).await,
            Scenario::Lateness => Box::pin(steady::lateness(self)).await,
            Scenario::Start => Box::pin(steady::start(self)).await,
            Scenario::Tls => Box::pin(drain::tls(self)).await,
            Scenario::Store => Box::pin(drain::store(self)).await,
            Scenario::Workers => Box::pin(drain::workers(self)).await,
            Scenario::Shards => Box::pin(drain::shards(self)).await,
            Scenario::Size => Box::pin(drain::size(self)).await,
            Scenario::Matching => matching::matching(self.rounds),
            Scenario::Memory => Box::pin(drain::memory(self)).await,
            Scenario::Archive => Box::pin(archive::cost(self)).await,
            Scenario::Replay => Box::pin(archive::replay(self)).await,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    // The clients take the process's own.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(arguments.part, Some(Part::Sink { .. } | Part::Count { .. })) {
        // The endpoints must not take more of the machine than they need, and what is counted
        // must not depend on threads.
        runtime = tokio::runtime::Builder::new_current_thread();
    }
    let runtime = runtime.enable_all().build()?;
    match arguments.part {
        Some(Part::Sink { folder }) => Ok(runtime.block_on(sink::run(&folder))?),
        Some(Part::Bare(arguments)) => runtime.block_on(bare::run(arguments)),
        Some(Part::Count { messages }) => {
            runtime.block_on(count::run(messages));
            Ok(())
        }
        None => runtime.block_on(measure(arguments)),
    }
}

async fn measure(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { rounds, percent, .. } = arguments;
    let bench = Bench { endpoints: Endpoints::start(), rounds: rounds.max(1), percent };
    let version = env!("CARGO_PKG_VERSION");
    let mut run = Run { homing: version, machine: Machine::here(), rows: Vec::new() };
    run.print_head();
    let named = arguments.scenarios;
    let scenarios = if named.is_empty() { Scenario::value_variants() } else { &named };
    for scenario in scenarios {
        run.add(Box::pin(bench.measure(*scenario)).await);
        // Written each time: a run that is interrupted leaves what it has.
        if let Some(file) = &arguments.json {
            run.write_json(file)?;
        }
        if let Some(file) = &arguments.svg {
            std::fs::write(file, picture::draw(&run))?;
        }
    }
    Ok(())
}
