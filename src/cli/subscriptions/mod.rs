//! `homing subscriptions`

mod add;
mod change;
mod fields;
mod remove;
mod rotate;
mod show;
mod test;

use super::{
    Output,
    failure::{Exit, Failure},
    globals::Globals,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions add --url https://example.com/hook --topic 'order.*'
  homing subscriptions list
  homing subscriptions change 01931f5a-9c4e-7000-8000-0123456789ab --topic 'order.#'
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions remove 01931f5a-9c4e-7000-8000-0123456789ab

Workers follow a change within a second; within five seconds where the broker loses its announcement.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Send events of these topics to a URL from now on
    Add(add::Arguments),
    /// List subscriptions, oldest first
    List(show::ListArguments),
    /// Show one subscription; secrets are masked
    Show(show::Arguments),
    /// Change what is named
    Change(change::Arguments),
    /// Make a new signing secret; the present one signs too for a while
    RotateSecret(rotate::Arguments),
    /// Remove subscriptions; what is owed to them is parked when it comes due
    Remove(remove::Arguments),
    /// Send one sample event right now and show what the endpoint does
    Test(test::Arguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let parts = globals.parts().await?;
    let ended = match command {
        Command::Add(arguments) => add::run(&parts, arguments, output).await,
        Command::List(arguments) => show::list(&parts, &arguments, output).await,
        Command::Show(arguments) => show::run(&parts, &arguments, output).await,
        Command::Change(arguments) => change::run(&parts, arguments, output).await,
        Command::RotateSecret(arguments) => rotate::run(&parts, &arguments, output).await,
        Command::Remove(arguments) => remove::run(&parts, &arguments, output).await,
        Command::Test(arguments) => test::run(&parts, &arguments, output).await,
    };
    parts.close().await;
    ended
}
