//! `homing endpoints`

mod enable;
mod get;
mod set;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    target::Needs,
};

const EXAMPLES: &str = "\
Examples:
  homing endpoints list --state open
  homing endpoints get https://example.com/hook
  homing endpoints disable https://example.com/hook         while it is being repaired
  homing endpoints enable https://example.com/hook --replay

closed: deliveries are attempted. open: the URL kept failing, only a probe is sent now and then; what
comes due is held. frozen: nothing is sent until it is enabled; what comes due is held. Workers
follow a change within a second; within five seconds where the broker loses its announcement.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List the URLs that were ever attempted, with the state of their circuits
    List(get::ListArguments),
    /// Show everything about one URL
    #[command(alias = "show")]
    Get(get::Arguments),
    /// Attempt deliveries again; counts what was parked meanwhile, or replays it
    Enable(enable::Arguments),
    /// Attempt nothing until it is enabled; what comes due is held
    Disable(set::DisableArguments),
    /// Attempt one delivery to an open URL now
    Probe(set::ProbeArguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals
        .with_target(Needs::Services, async |target| match command {
            Command::List(arguments) => get::list(target, arguments, output).await,
            Command::Get(arguments) => get::run(target, &arguments, output).await,
            Command::Enable(arguments) => enable::run(target, &arguments, output).await,
            Command::Disable(arguments) => set::disable(target, &arguments, output).await,
            Command::Probe(arguments) => set::probe(target, &arguments, output).await,
        })
        .await
}
