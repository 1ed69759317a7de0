//! `homing source`

mod get;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    target::{Needs, Target},
};
use homing_domain::source::Reset;
use homing_livestream::View;

const EXAMPLES: &str = "\
Examples:
  homing source list
  homing source get main
  homing source pause main             its connections end until it is resumed
  homing source resume main            also after the service refused it for good
  homing source reset main --to largest

Sources are sections [source.livestream.NAME] of the settings. Processes follow a change within a
second; a process waits `source.reconnect_wait` before it connects again, as the service demands.";

const RESET_EXAMPLES: &str = "\
Examples:
  homing source reset main --to largest     skip the backlog, go on with the newest
  homing source reset main --to smallest    begin with the oldest data that the service has

The next connect asks for it once; the position in the stream is lost. A connection that exists stays
as it is; to reset now, `homing source pause NAME`, then resume it.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List the sources and their states
    #[command(after_help = "Examples:\n  homing source list\n  homing source list --json")]
    List,
    /// Show everything about one source and its connections
    #[command(after_help = "Example:\n  homing source get main", alias = "show")]
    Get(Named),
    /// End the connections until the source is resumed
    #[command(after_help = "Example:\n  homing source pause main")]
    Pause(Named),
    /// Read the source again
    #[command(after_help = "Example:\n  homing source resume main")]
    Resume(Named),
    /// Make the next connect begin with the oldest or the newest data
    Reset(ResetArguments),
}

/// One source.
#[derive(clap::Args)]
pub(super) struct Named {
    /// Name of the source in the settings
    name: String,
}

#[derive(clap::Args)]
#[command(after_help = RESET_EXAMPLES)]
pub(super) struct ResetArguments {
    /// Name of the source in the settings
    name: String,
    /// Where the next connect begins
    #[arg(long, value_parser = PossibleValuesParser::new(Reset::ALL.map(Reset::as_str))
        .try_map(|word| word.parse::<Reset>()))]
    to: Reset,
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let act = async |target: Target<'_>| act(target, command, output).await;
    globals.with_target(Needs::Services, act).await
}

async fn act(
    target: Target<'_>,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    match command {
        Command::List => get::list(&target.sources().await?, output),
        Command::Get(Named { name }) => get::one(&target.source(&name).await?, output),
        Command::Pause(Named { name }) => {
            report(&target.pause_source(&name).await?, "paused", output)
        }
        Command::Resume(Named { name }) => {
            report(&target.resume_source(&name).await?, "resumed", output)
        }
        Command::Reset(ResetArguments { name, to }) => {
            let view = target.reset_source(&name, to).await?;
            if output.json {
                output.document(&view)?;
                return Ok(Exit::Done);
            }
            output.line(format_args!("the next connect of {name} will ask for reset={to}"))?;
            if view.connected > 0 {
                let advice = "It is connected; to reset now, pause and resume it.";
                output.aside(advice);
            }
            Ok(Exit::Done)
        }
    }
}

fn report(view: &View, done: &str, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(view)?;
    } else {
        output.line(format_args!("{done} {}", view.name))?;
    }
    Ok(Exit::Done)
}
