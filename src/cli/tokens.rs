//! `homing tokens`

use serde_json::json;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
    target::{Needs, Target},
};
use homing_domain::api_token::{Scope, TokenName};

const EXAMPLES: &str = "\
Examples:
  homing tokens create ci
  homing tokens create grafana --scope read
  homing tokens list
  homing tokens delete ci
  homing tokens list --api https://homing.example.com --token-file token

As soon as one token exists, the API answers only requests that show one, as
`Authorization: Bearer <token>`. A change takes effect within a second.";

const CREATE_EXAMPLES: &str = "\
Examples:
  homing tokens create ci
  homing tokens create grafana --scope read
  TOKEN=$(homing tokens create deploy --json | jq -r .token)";

const LIST_EXAMPLES: &str = "\
Examples:
  homing tokens list
  homing tokens list --json | jq -r '.tokens[] | [.name, .scope] | @tsv'";

const DELETE_EXAMPLES: &str = "\
Examples:
  homing tokens delete ci";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Create a token; it is printed only once
    #[command(alias = "add")]
    Create(CreateArguments),
    /// List tokens by name
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Delete a token; requests that show it are refused from then on
    #[command(alias = "remove")]
    Delete(DeleteArguments),
}

#[derive(clap::Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct CreateArguments {
    /// A name of 1 to 64 letters, digits, `-`, `_` and `.`
    #[arg(value_parser = TokenName::of_new)]
    name: TokenName,
    /// Scope: read, or write (which includes read)
    #[arg(long, default_value_t = Scope::Write)]
    scope: Scope,
}

#[derive(clap::Args)]
#[command(after_help = DELETE_EXAMPLES)]
pub(super) struct DeleteArguments {
    /// Name of the token
    name: TokenName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    globals
        .with_target(Needs::Services, async |target| match command {
            Command::Create(CreateArguments { name, scope }) => {
                create(target, (name, scope), output).await
            }
            Command::List => list(target, output).await,
            Command::Delete(arguments) => delete(target, &arguments, output).await,
        })
        .await
}

async fn create(
    target: Target<'_>,
    (name, scope): (TokenName, Scope),
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let created = target.create_token(name, scope).await?;
    if output.json {
        output.document(&created)?;
    } else {
        output.line(format_args!("token  {}", created.token))?;
        output.aside(format_args!("Send it as `Authorization: Bearer …`; it is not shown again."));
    }
    Ok(Exit::Done)
}

async fn list(target: Target<'_>, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let list = target.tokens().await?;
    if output.json {
        output.document(&list)?;
        return Ok(Exit::Done);
    }
    if list.tokens.is_empty() {
        output.aside("There are no tokens; `homing tokens create NAME` adds one.");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["NAME", "SCOPE", "CREATED"]);
    for token in list.tokens {
        rows.add([token.name, token.scope.to_string(), token.created]);
    }
    rows.write(output, &[])?;
    Ok(Exit::Done)
}

async fn delete(
    target: Target<'_>,
    arguments: &DeleteArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let name = &arguments.name;
    let asks = !arguments.yes && !output.json && output.can_ask();
    if asks
        && !output.ask(format_args!("Delete the token `{name}`? Its clients are refused then."))?
    {
        output.line("Nothing was deleted.")?;
        return Ok(Exit::Failed);
    }
    target.delete_token(name).await?;
    if output.json {
        output.document(&json!({ "deleted": name }))?;
    } else {
        output.line(format_args!("deleted {name}"))?;
    }
    Ok(Exit::Done)
}
