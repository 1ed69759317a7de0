//! `homing config`

use super::{
    failure::{Exit, Failure},
    output::Output,
};
use crate::config::{self, Settings};

const EXAMPLES: &str = "\
Examples:
  homing config > homing.toml      a file to edit; as it is, it changes nothing
  homing run --check               the settings in force instead of the defaults";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

pub(super) fn run(output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(&Settings::from_toml("").map_err(Failure::Settings)?)?;
    } else {
        output.text(&config::template())?;
    }
    Ok(Exit::Done)
}
