//! `homing subscriptions`

mod apply;
mod authentication;
mod create;
mod delete;
mod export;
mod fields;
mod get;
mod rotate;
mod stated;
mod template;
mod test;
mod update;
mod verify;

pub(super) use self::{create::refused_address, fields::parse_filter};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    target::Needs,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions create --url https://example.com/hook --topic 'order.*'
  homing subscriptions list
  homing subscriptions update 01931f5a-9c4e-7000-8000-0123456789ab --topic 'order.#'
  homing subscriptions rotate-secret 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions delete 01931f5a-9c4e-7000-8000-0123456789ab

Workers follow a change within a second; within five seconds where the broker loses its announcement.";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Create a subscription: send events of these topics to a URL
    #[command(alias = "add")]
    Create(create::Arguments),
    /// List subscriptions, oldest first
    List(get::ListArguments),
    /// Show one subscription; secrets are masked
    #[command(alias = "show")]
    Get(get::Arguments),
    /// Change the given fields
    #[command(alias = "change")]
    Update(update::Arguments),
    /// Create a new signing secret; the present one also signs for a while
    RotateSecret(rotate::Arguments),
    /// Delete subscriptions; their pending deliveries are parked when they come due
    #[command(alias = "remove")]
    Delete(delete::Arguments),
    /// Send one test event right now and show what the endpoint answers
    Test(test::Arguments),
    /// Ask the endpoint whether it wants to be called
    Verify(verify::Arguments),
    /// Write all subscriptions as YAML, without secrets
    Export(export::Arguments),
    /// Create, update and delete until the subscriptions are those of a file
    Apply(apply::Arguments),
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals
        .with_target(Needs::Services, async |target| match command {
            Command::Create(arguments) => create::run(target, arguments, output).await,
            Command::List(arguments) => get::list(target, &arguments, output).await,
            Command::Get(arguments) => get::run(target, &arguments, output).await,
            Command::Update(arguments) => update::run(target, arguments, output).await,
            Command::RotateSecret(arguments) => rotate::run(target, &arguments, output).await,
            Command::Delete(arguments) => delete::run(target, &arguments, output).await,
            Command::Test(arguments) => test::run(target, &arguments, output).await,
            Command::Verify(arguments) => verify::run(target, &arguments, output).await,
            Command::Export(arguments) => export::run(target, &arguments, output).await,
            Command::Apply(arguments) => apply::run(target, &arguments, output).await,
        })
        .await
}
