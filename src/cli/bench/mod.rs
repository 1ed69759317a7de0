//! `homing bench`
//!
//! [`load::Load`] on the configured broker, to size a pool of workers; with `--plan`, the costs of a
//! delivery, and from them what a rate needs ([`plan`]). It goes to queues of its own
//! ([`sandbox`]), through workers as `homing run` has them ([`worker`]), each a process, to a sink
//! in this one ([`sink`]). [`stage`] starts them and publishes, [`figures`] are the results.
//!
//! Promises: the installation that the settings name is not touched; everything that was created is
//! deleted at the end, also after an interrupt or a failure; the load ends at `--duration`.

mod figures;
mod load;
mod plan;
mod sandbox;
mod sink;
mod stage;
mod worker;

use serde::Serialize;

use self::{
    figures::Figures,
    load::Load,
    plan::{Plan, Planned, Shape},
    sandbox::Sandbox,
    stage::failed,
};
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
  homing bench --plan 10000 --fan-out 3 --fail 2

The broker and the account, [worker] and [endpoint] are those of the settings. Events, queues,
subscriptions and the store of the installation are not touched: the bench uses queues with the
prefix PREFIX.homing-bench (the account needs permission for them), an SQLite store in a temporary
folder and endpoints on 127.0.0.1; it sends no traces and lets no circuit open. All of that is
deleted at the end, after Ctrl-C, too. The next run deletes what a killed run left.

The bench, its sink and the workers run on this machine: start it where workers will run.

--plan measures the CPU, in milliseconds per 1,000, of an event (e), of a delivery (d) and of a
failed attempt with its way through a wait queue (f), of the worker and of the broker, and computes
  failures of a delivery   f* = p + p² + … (as many as the schedule allows attempts), p = P / 100
  groups of an event       g  = F / worker.max_fan_out_inline, rounded up; 0 if F is not above it
  cores                    RATE × (e × (1 + g) + F × (d + f* × f)) / 1,000,000
  workers                  cores / 0.7, or attempts × --latency / (0.7 × places of a lane)
  shards                   the larger of RATE and RATE × (g + F × f*), by messages for each shard
  deliveries that wait     RATE × F × (p × first wait + p² × second wait + …)
The broker's CPU is measured if `broker.url` names one node, which runs on this machine and whose
process this user may see (all its CPU counts: let it have nothing else to do); else, and where it
says so, figures are those that were recorded with RabbitMQ 3.10. Each replica of a queue costs its node about as much again.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    plan: Planned,
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
    let planned = arguments.plan.shape(&settings, load).map(|shape| (arguments.plan, shape));
    let wait = if planned.is_some() { sandbox::SOON } else { sandbox::NEVER };
    let mut signals = Signals::listen()?;
    let sandbox = tokio::select! {
        sandbox = Sandbox::claim(settings, wait) => sandbox?,
        () = signals.next() => return Ok(Exit::Failed),
    };
    let measured = tokio::select! {
        measured = Box::pin(Report::measure(&sandbox, load, planned, output)) => measured,
        () = signals.next() => Err(failed("interrupted")),
    };
    // Also if measuring failed.
    let cleared = tokio::select! {
        cleared = sandbox.clear() => cleared,
        () = signals.next() => Err(failed("stopped; the next `homing bench` deletes its queues")),
    };
    let report = measured.inspect_err(|_failure| {
        if let Err(left) = &cleared {
            output.notice(left.report());
        }
    })?;
    if output.json { output.document(&report) } else { report.write(output) }?;
    cleared.map(|()| Exit::Done)
}

/// The results of a run.
#[derive(Serialize)]
#[serde(untagged)]
enum Report {
    Load(Box<Figures>),
    Plan(Box<Plan>),
}

impl Report {
    async fn measure(
        sandbox: &Sandbox,
        load: &Load,
        planned: Option<(Planned, Shape)>,
        output: &Output<'_>,
    ) -> Result<Self, Failure> {
        match planned {
            None => Ok(Self::Load(Box::new(stage::measure(sandbox, load, output).await?))),
            Some(planned) => {
                let plan = Box::pin(plan::measure(sandbox, load, planned, output)).await?;
                Ok(Self::Plan(Box::new(plan)))
            }
        }
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Load(figures) => figures.write(output),
            Self::Plan(plan) => plan.write(output),
        }
    }
}
