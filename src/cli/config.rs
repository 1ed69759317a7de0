//! `homing config`

use super::{
    Output,
    failure::{Exit, Failure},
};
use crate::config::{DEFAULTS, Settings};

const EXAMPLES: &str = "\
Examples:
  homing config > homing.toml      a file to start from
  homing run --check               the settings in force instead of the defaults";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

pub(super) fn run(output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(&Settings::from_toml("").map_err(Failure::Settings)?)?;
    } else {
        output.text(DEFAULTS)?;
    }
    Ok(Exit::Done)
}
