//! `homing man`

use std::{fs, path::PathBuf};

use super::{
    failure::{Exit, Failure},
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  homing man ~/.local/share/man/man1      then: man homing, man homing-publish";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A folder; created where it is not there
    folder: PathBuf,
}

/// Writes a page for `command`, the whole program, and one for each of its commands.
pub(super) fn run(
    arguments: &Arguments,
    command: clap::Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let what = arguments.folder.display().to_string();
    fs::create_dir_all(&arguments.folder)
        .and_then(|()| clap_mangen::generate_to(command, &arguments.folder))
        .map_err(|source| Failure::Write { what: what.clone(), source })?;
    output.notice(format_args!("wrote the manual pages to {what}"));
    Ok(Exit::Done)
}
