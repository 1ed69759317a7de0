//! `homing completions`

use clap_complete::Shell;

use super::{
    failure::{Exit, Failure},
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  homing completions bash > /etc/bash_completion.d/homing
  homing completions zsh > ~/.zfunc/_homing
  homing completions fish > ~/.config/fish/completions/homing.fish";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// For which shell
    shell: Shell,
}

/// Completes the words of `command`, the whole program.
pub(super) fn run(
    arguments: &Arguments,
    mut command: clap::Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "homing", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Done)
}
