//! `homing parked`

mod act;
mod export;
mod filters;
mod get;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
};
use homing_delivery::parking::Parking;

const EXAMPLES: &str = "\
Examples:
  homing parked list --reason exhausted --parked-after 2h
  homing parked get o-7
  homing parked replay --subscription 01931f5a-9c4e-7000-8000-0123456789ab --dry-run
  homing parked export backup.jsonl

Only one scan of the parking queue runs at a time; another one waits for ten seconds and then fails.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List parked messages, oldest first
    List(get::ListArguments),
    /// Show everything about the messages of one event, body included
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
    let command = command.check(output)?;
    let broker = globals.passive_broker().await?;
    let parking = Parking::new(broker.clone());
    let stopped = match &command {
        Checked::Act(act) if act.replays() => globals.stopped(&broker, output).await,
        Checked::List(_) | Checked::Get(_) | Checked::Act(_) | Checked::Export(_) => Vec::new(),
    };
    let ended = match command {
        Checked::List(list) => list.run(&parking, output).await,
        Checked::Get(get) => get.run(&parking, output).await,
        Checked::Act(act) => act.run(&parking, stopped, output).await,
        Checked::Export(export) => export.run(&parking, output).await,
    };
    parking.finish().await;
    broker.close().await;
    ended
}

/// A command whose arguments make sense.
enum Checked {
    List(get::List),
    Get(get::Arguments),
    Act(act::Act),
    Export(export::Export),
}

impl Command {
    fn check(self, output: &Output<'_>) -> Result<Checked, Failure> {
        Ok(match self {
            Self::List(arguments) => Checked::List(arguments.check()?),
            Self::Get(arguments) => Checked::Get(arguments),
            Self::Replay(arguments) => Checked::Act(arguments.check()?),
            Self::Drop(arguments) => Checked::Act(arguments.check(output)?),
            Self::Export(arguments) => Checked::Export(arguments.check()?),
        })
    }
}
