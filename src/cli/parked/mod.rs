//! `homing parked`

mod act;
mod export;
mod filters;
mod get;
mod workers;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    target::{Needs, Target},
};
use crate::services::Services;
use homing_delivery::parking::{Action, Arriving, Selection};

const EXAMPLES: &str = "\
Examples:
  homing parked list --reason exhausted --parked-after 2h
  homing parked get o-7
  homing parked replay --subscription 01931f5a-9c4e-7000-8000-0123456789ab --dry-run
  homing parked export backup.jsonl

What is parked is in the store; what has just been parked is on its way there, and every list says
how much that is.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List parked deliveries, the newest first
    List(get::ListArguments),
    /// Show everything about the parked deliveries of one event, body included
    #[command(alias = "show")]
    Get(get::Arguments),
    /// Send again, from attempt 1
    Replay(act::ReplayArguments),
    /// Remove for ever
    Drop(act::DropArguments),
    /// Write to a file, without removing; `homing publish` reads it
    Export(export::Arguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    // Wrong arguments are reported before anything is connected.
    let command = match command {
        Command::Export(arguments) => return export(globals, arguments, output).await,
        Command::List(arguments) => Checked::List(arguments.check()?),
        Command::Get(arguments) => Checked::Get(arguments),
        Command::Replay(arguments) => Checked::Act(arguments.check()?),
        Command::Drop(arguments) => Checked::Act(arguments.check(output)?),
    };
    globals
        .with_target(Needs::Existing, async |target| {
            let is_foreign = match target {
                Target::Here(services) => is_foreign(services, command.publishes(), output).await?,
                Target::There(_) => false,
            };
            let exit = command.run(target, output).await?;
            Ok(if is_foreign && exit == Exit::Done { Exit::Failed } else { exit })
        })
        .await
}

async fn export(
    globals: &Globals,
    arguments: export::Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let export = arguments.check()?;
    globals
        .with_existing_services(async |services| {
            let is_foreign = is_foreign(services, false, output).await?;
            let exit = export.run(&services.parking, output).await?;
            Ok(if is_foreign && exit == Exit::Done { Exit::Failed } else { exit })
        })
        .await
}

/// Connects, and finds out if what workers park is in another store. What is in the store is found
/// without the broker.
async fn is_foreign(
    services: &Services,
    needs_broker: bool,
    output: &mut Output<'_>,
) -> Result<bool, Failure> {
    match services.broker.connect_to_publish().await {
        Ok(()) => workers::use_another_store(services, output).await,
        Err(error) if needs_broker || !error.is_away() => Err(Failure::Broker(error)),
        Err(_) => Ok(false),
    }
}

/// Says what is parked and in no list.
pub(super) fn write_arriving(arriving: Arriving, output: &mut Output<'_>) {
    if let Some(note) = arriving.note() {
        output.notice(note);
    }
}

/// Says which deliveries have no error, where there are none with the one that was asked for.
fn write_without_error(selection: &Selection, output: &mut Output<'_>) {
    if selection.error.is_some() {
        output.notice(
            "only an attempt that failed, and is in the attempt log, parks with an error: what a \
             circuit parked, or what was parked without an attempt, has none, nor has what a worker \
             of an earlier version parked or took from the parking queue; --url and --reason select \
             it",
        );
    }
}

/// A command whose arguments make sense.
enum Checked {
    List(get::List),
    Get(get::Arguments),
    Act(act::Act),
}

impl Checked {
    async fn run(self, target: Target<'_>, output: &mut Output<'_>) -> Result<Exit, Failure> {
        match (self, target) {
            (Self::List(list), _) => list.run(target, output).await,
            (Self::Get(get), _) => get.run(target, output).await,
            (Self::Act(act), Target::Here(services)) => act.run(services, output).await,
            (Self::Act(act), Target::There(api)) => act.run_there(api, output).await,
        }
    }

    /// True if it needs the broker.
    fn publishes(&self) -> bool {
        matches!(self, Self::Act(act) if act.action() == Action::Replay)
    }
}
