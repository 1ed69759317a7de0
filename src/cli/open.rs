//! `homing open`

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
};
use crate::process;

const EXAMPLES: &str = "\
Examples:
  homing open                        the dashboard of the homing of these settings
  homing open --profile production
  homing open --print                only its address

The address is that of `api.listen`, or of --api. It is opened in a browser where there is a desktop
(xdg-open), and printed in any case.";

/// The program that opens what the desktop has a program for. Source: xdg-utils.
const OPENER: &str = "xdg-open";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only print the address
    #[arg(long)]
    print: bool,
}

pub(super) fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let url = if let Some(api) = globals.remote()? {
        api.url().as_str().to_owned()
    } else {
        process::url_of(globals.settings()?.api.listen)
    };
    if output.json {
        output.document(&json!({ "url": url }))?;
    } else {
        output.line(&url)?;
    }
    let has_desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|it| std::env::var_os(it).is_some());
    if arguments.print || output.json || !has_desktop {
        return Ok(Exit::Done);
    }
    let null = Stdio::null;
    let opened = Command::new(OPENER).arg(&url).stdin(null()).stdout(null()).stderr(null()).spawn();
    match opened {
        Ok(_goes_on) => Ok(Exit::Done),
        Err(error) => {
            output
                .notice(format_args!("{OPENER} cannot be run: {error}; open the address yourself"));
            Ok(Exit::Failed)
        }
    }
}
