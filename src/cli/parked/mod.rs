//! `homing parked`

mod act;
mod export;
mod filters;
mod show;

use super::{
    Output,
    failure::{Exit, Failure},
    globals::Globals,
};
use homing_delivery::parking::Parking;

const EXAMPLES: &str = "\
Examples:
  homing parked list --reason exhausted --parked-after 2h
  homing parked show o-7
  homing parked replay --subscription 01931f5a-9c4e-7000-8000-0123456789ab --dry-run
  homing parked export backup.jsonl

One goes through what is parked at a time; another one waits for ten seconds and then fails.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List what is parked, oldest first
    List(show::ListArguments),
    /// Show everything about the messages of one event, body included
    Show(show::Arguments),
    /// Send again, from attempt 1
    Replay(act::ReplayArguments),
    /// Remove for ever
    Drop(act::DropArguments),
    /// Write to a file, without removing; `homing publish` takes it back
    Export(export::Arguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    // What is wrong with the arguments is said before anything is connected.
    let command = command.check(output)?;
    let broker = globals.looking_broker().await?;
    let parking = Parking::new(broker.clone());
    let stopped = match &command {
        Checked::Act(act) if act.replays() => globals.stopped(&broker, output).await,
        Checked::List(_) | Checked::Show(_) | Checked::Act(_) | Checked::Export(_) => Vec::new(),
    };
    let ended = match command {
        Checked::List(list) => list.run(&parking, output).await,
        Checked::Show(show) => show.run(&parking, output).await,
        Checked::Act(act) => act.run(&parking, stopped, output).await,
        Checked::Export(export) => export.run(&parking, output).await,
    };
    broker.close().await;
    ended
}

/// A command whose arguments make sense.
enum Checked {
    List(show::List),
    Show(show::Arguments),
    Act(act::Act),
    Export(export::Export),
}

impl Command {
    fn check(self, output: &Output<'_>) -> Result<Checked, Failure> {
        Ok(match self {
            Self::List(arguments) => Checked::List(arguments.check()?),
            Self::Show(arguments) => Checked::Show(arguments),
            Self::Replay(arguments) => Checked::Act(arguments.check()?),
            Self::Drop(arguments) => Checked::Act(arguments.check(output)?),
            Self::Export(arguments) => Checked::Export(arguments.check()?),
        })
    }
}
