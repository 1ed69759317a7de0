//! `homing ledger`

mod compare;
mod get;
mod received;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    target::Needs,
};

const EXAMPLES: &str = "\
Examples:
  homing ledger get 01931f5a-9c4e-7000-8000-0123456789ab --since 2d
  homing ledger compare 01931f5a-9c4e-7000-8000-0123456789ab received.txt

A receiver that logs `webhook-id` and `webhook-timestamp` of what it answers with 2xx can prove that
it lost nothing behind its own answers: docs/ledger.md has the computation.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Show the number and a checksum of what was delivered, by the hour
    Get(get::Arguments),
    /// Compare with what a receiver has logged; exit code 3 if an hour differs
    Compare(compare::Arguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    match command {
        Command::Get(arguments) => {
            globals
                .with_target(Needs::Services, async |target| {
                    get::run(target, &arguments, output).await
                })
                .await
        }
        Command::Compare(arguments) => {
            globals
                .with_services(async |services| compare::run(services, &arguments, output).await)
                .await
        }
    }
}
