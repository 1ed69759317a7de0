//! `homing bench`
//!
//! Load against the configured broker, to size a pool of workers. It goes to queues of its own
//! ([`sandbox`]), through workers as `homing run` has them ([`worker`]), each a process, to a sink
//! in this one ([`sink`]). [`stage`] starts them and publishes, [`figures`] are the results.
//!
//! Promises: the installation that the settings name is not touched; everything that was created is
//! deleted at the end, also after an interrupt or a failure; the load ends at `--duration`.

mod figures;
mod sandbox;
mod sink;
mod stage;
mod worker;

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::{figures::Figures, sandbox::Sandbox, stage::Stage};
use super::{
    Output,
    failure::{Exit, Failure},
    globals::Globals,
    run::Signals,
    words,
};
use crate::config::Settings;
use homing_domain::settings::SettingsError;

const EXAMPLES: &str = "\
Examples:
  homing bench                                 as fast as possible
  homing bench --rate 1000                     latency at 1,000 events a second
  homing bench --latency 200 --endpoints 5     endpoints that take 200 ms to answer
  homing bench --workers 2 --size 20000
  homing bench --fail 10 --json
  homing bench --set worker.max_in_flight=4096

The broker and the account, [worker] and [endpoint] are those of the settings. Events, queues,
subscriptions and the store of the installation are not touched: the bench uses queues with the
prefix PREFIX.homing-bench (the account needs permission for them), an SQLite store in a temporary
folder and endpoints on 127.0.0.1; it sends no traces and lets no circuit open. All of that is
deleted at the end, after Ctrl-C, too. The next run deletes what a killed run left.

The bench, its sink and the workers run on this machine: start it where workers will run.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    wanted: Wanted,
    /// Only delete what a killed run left at the broker
    #[arg(long)]
    clean: bool,
}

/// A process of the bench; its settings come through standard input.
#[derive(clap::Subcommand)]
enum Part {
    /// Delivers
    #[command(hide = true)]
    Worker,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "such as 90s, 15m, 1h".to_owned())
}

/// The requested load.
#[derive(clap::Args, Clone, Debug, Serialize)]
struct Wanted {
    /// Events to deliver [default: 100000; with --rate, those of 15 seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: Option<u32>,
    /// Size of each event
    #[arg(long, default_value_t = 1_000, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=128 * 1_024 * 1_024))]
    size: u32,
    /// Events per second [default: as fast as they are delivered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// URLs of the sink, each with a subscription of its own; every event goes to one of them
    #[arg(long, default_value_t = 10, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    endpoints: u32,
    /// Time that the sink takes to answer, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency: u32,
    /// Deliveries of a hundred that the sink answers with 500; they end in a wait queue
    #[arg(long, default_value_t = 0, value_name = "PERCENT")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    fail: u32,
    /// Worker processes
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// End the load after this time, with the results so far
    #[arg(long, default_value = "60s", value_parser = duration)]
    #[serde(skip)]
    duration: Duration,
}

/// The end of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ended {
    /// Everything was delivered.
    Complete,
    /// `--duration` was over.
    Duration,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

impl Wanted {
    const EVENTS: u32 = 100_000;
    const SECONDS: u32 = 15;

    fn events(&self) -> u32 {
        let of_rate = self.rate.map_or(Self::EVENTS, |rate| rate.saturating_mul(Self::SECONDS));
        self.events.unwrap_or(of_rate)
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency.into())
    }

    fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let wrong =
            |key, message: String| Err(Failure::Settings(SettingsError::value(key, message)));
        let max_bytes = settings.worker.max_event_bytes;
        if usize::try_from(self.size).unwrap_or(usize::MAX) > max_bytes {
            let message = format!("workers take no events of {} bytes; raise it", self.size);
            return wrong("worker.max_event_bytes", message);
        }
        let deadline = settings.endpoint.deadline;
        if self.latency() >= deadline {
            let deadline = words::duration(deadline);
            let message = format!(
                "an attempt ends after {deadline}, before the sink would answer; lower --latency"
            );
            return wrong("endpoint.deadline", message);
        }
        Ok(())
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    if let Some(Part::Worker) = arguments.part {
        return Box::pin(worker::run(globals)).await;
    }
    let settings = globals.settings_of_command()?;
    arguments.wanted.check(&settings)?;
    let mut signals = Signals::listen()?;
    let sandbox = tokio::select! {
        sandbox = Sandbox::claim(settings) => sandbox?,
        () = signals.next() => return Ok(Exit::Failed),
    };
    if arguments.clean {
        return clean(sandbox, output).await;
    }
    let stop = CancellationToken::new();
    let measured = {
        let measuring = Box::pin(measure(&sandbox, &arguments.wanted, &stop, output));
        signals.bound(&stop, measuring).await.unwrap_or(Ok(None))
    };
    // Also if measuring failed; the first failure is reported.
    let cleared = tokio::select! {
        cleared = sandbox.clear() => cleared,
        () = signals.next() => Err(left_behind()),
    };
    let Some(figures) = measured? else {
        cleared?;
        output.notice(
            "interrupted before anything was measured; everything that was created is deleted",
        );
        return Ok(Exit::Failed);
    };
    let shown = if output.json { output.document(&figures) } else { figures.write(output) };
    shown?;
    cleared?;
    Ok(if figures.ended == Ended::Interrupted { Exit::Failed } else { Exit::Done })
}

fn left_behind() -> Failure {
    Failure::Bench("stopped at once; `homing bench --clean` deletes its queues".to_owned())
}

async fn clean(sandbox: Sandbox, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let found = sandbox.found();
    sandbox.clear().await?;
    if output.json {
        output.document(&json!({ "deleted_queues": found }))?;
    } else if found == 0 {
        output.line("There is nothing to delete.")?;
    } else {
        output.line(format_args!("Deleted {} of a killed run.", words::count(found, "queue")))?;
    }
    Ok(Exit::Done)
}

/// `None`: it was interrupted before anything was measured.
async fn measure(
    sandbox: &Sandbox,
    wanted: &Wanted,
    stop: &CancellationToken,
    output: &mut Output<'_>,
) -> Result<Option<Figures>, Failure> {
    let deadline = tokio::time::Instant::now() + wanted.duration;
    let starting = tokio::time::timeout_at(deadline, Stage::start(sandbox, wanted));
    let Some(started) = stop.run_until_cancelled(Box::pin(starting)).await else {
        return Ok(None);
    };
    let stage = started.map_err(|_elapsed| {
        let duration = words::duration(wanted.duration);
        Failure::Bench(format!("nothing was delivered within {duration}; give it more --duration"))
    })??;
    let measured = Box::pin(stage.measure((deadline, stop), output)).await?;
    Ok(Some(Figures::of(wanted, sandbox, measured)))
}
