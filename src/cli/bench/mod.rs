//! `homing bench`
//!
//! [`load::Load`] on the configured broker, to size a pool of workers. It goes to queues of its own
//! ([`sandbox`]), through workers as `homing run` has them ([`worker`]), each a process, to a sink
//! in this one ([`sink`]). [`stage`] starts them and publishes, [`figures`] are the results.
//!
//! Promises: the installation that the settings name is not touched; everything that was created is
//! deleted at the end, also after an interrupt or a failure; the load ends at `--duration`.

mod figures;
mod load;
mod sandbox;
mod sink;
mod stage;
mod worker;

use self::{load::Load, sandbox::Sandbox, stage::failed};
use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    run::Signals,
};

const EXAMPLES: &str = "\
Examples:
  homing bench                                 as fast as possible
  homing bench --rate 1000                     latency at 1,000 events a second
  homing bench --latency 200 --endpoints 5     endpoints that take 200 ms to answer
  homing bench --workers 2 --size 20000 --json
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
    load: Load,
}

/// A process of the bench; its settings come through standard input.
#[derive(clap::Subcommand)]
enum Part {
    /// Delivers
    #[command(hide = true)]
    Worker,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    if let Some(Part::Worker) = arguments.part {
        return Box::pin(worker::run(globals)).await;
    }
    let (settings, load) = (globals.settings_of_command()?, &arguments.load);
    load.check(&settings)?;
    let mut signals = Signals::listen()?;
    let sandbox = tokio::select! {
        sandbox = Sandbox::claim(settings) => sandbox?,
        () = signals.next() => return Ok(Exit::Failed),
    };
    let measured = tokio::select! {
        measured = Box::pin(stage::measure(&sandbox, load, output)) => measured,
        () = signals.next() => Err(failed("interrupted")),
    };
    // Also if measuring failed.
    let cleared = tokio::select! {
        cleared = sandbox.clear() => cleared,
        () = signals.next() => Err(failed("stopped; the next `homing bench` deletes its queues")),
    };
    let figures = measured.inspect_err(|_failure| {
        if let Err(left) = &cleared {
            output.notice(left.report());
        }
    })?;
    if output.json { output.document(&figures) } else { figures.write(output) }?;
    cleared.map(|()| Exit::Done)
}
