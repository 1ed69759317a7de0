//! `homing source`

mod get;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    failure::{Exit, Failure},
    globals::{self, Globals},
    output::Output,
};
use crate::services::Services;
use homing_domain::source::Reset;
use homing_livestream::{SourceAdminError, View};

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
    globals.with_services(async |services| act(services, command, output).await).await
}

async fn act(
    services: &Services,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let source_admin = &services.source_admin;
    match command {
        Command::List => get::list(&source_admin.list().await.map_err(Failure::Store)?, output),
        Command::Get(Named { name }) => {
            get::one(&source_admin.get(&name).await.map_err(Failure::Source)?, output)
        }
        Command::Pause(Named { name }) => {
            announced(services).await?;
            report(source_admin.pause(&name).await, "paused", output)
        }
        Command::Resume(Named { name }) => {
            announced(services).await?;
            report(source_admin.resume(&name).await, "resumed", output)
        }
        Command::Reset(ResetArguments { name, to }) => {
            let view = source_admin.reset(&name, to).await.map_err(Failure::Source)?;
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

/// Remembers the queues that announcing the change may create.
async fn announced(services: &Services) -> Result<(), Failure> {
    globals::remember_queues(services).await.map_err(Failure::Store)
}

fn report(
    set: Result<View, SourceAdminError>,
    done: &str,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = set.map_err(Failure::Source)?;
    if output.json {
        output.document(&view)?;
    } else {
        output.line(format_args!("{done} {}", view.name))?;
    }
    Ok(Exit::Done)
}
