//! `homing completions`

use clap_complete::{Shell, env::Shells};

use super::{
    complete::{NAME, VARIABLE},
    failure::{Exit, Failure},
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  source <(homing completions bash)                 in ~/.bashrc
  source <(homing completions zsh)                  in ~/.zshrc, after compinit
  homing completions fish | source                  in ~/.config/fish/config.fish

The shell runs `homing` at every TAB, which knows ids of subscriptions, URLs and topics, too: those of
the settings in the present folder, or over --api and --profile. Print it anew after an upgrade.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (name, shells, mut script) = (arguments.shell.to_string(), Shells::builtins(), Vec::new());
    let completer = shells
        .completer(&name)
        .ok_or_else(|| Failure::Usage(format!("there are no completions for {name}")))?;
    completer
        .write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
        .map_err(Failure::Output)?;
    output.bytes(&script)?;
    Ok(Exit::Done)
}
