//! `homing tokens`

use serde_json::json;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
    words,
};
use crate::services::Services;
use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest, TokenName, token_text},
    clock,
};

const EXAMPLES: &str = "\
Examples:
  homing tokens create ci
  homing tokens create grafana --scope read
  homing tokens list
  homing tokens delete ci

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
        .with_services(async |services| match command {
            Command::Create(arguments) => create(services, arguments, output).await,
            Command::List => list(services, output).await,
            Command::Delete(arguments) => delete(services, &arguments, output).await,
        })
        .await
}

async fn create(
    services: &Services,
    arguments: CreateArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let text = token_text(&clock::random().map_err(Failure::Randomness)?);
    let CreateArguments { name, scope } = arguments;
    let digest = TokenDigest::of(text.as_bytes());
    let token = ApiToken { name, digest, scope, created: clock::now() };
    if !services.store.insert_token(&token).await.map_err(Failure::Store)? {
        let name = &token.name;
        let delete = words::with_operand("homing tokens delete", &name.to_string());
        let text = format!("there is a token `{name}` already; `{delete}` first");
        return Err(Failure::Taken(text));
    }
    if output.json {
        output.document(&json!({ "name": token.name, "scope": scope, "token": text }))?;
    } else {
        output.line(format_args!("token  {text}"))?;
        output.aside(format_args!("Send it as `Authorization: Bearer …`; it is not shown again."));
    }
    Ok(Exit::Done)
}

async fn list(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let tokens = services.store.tokens().await.map_err(Failure::Store)?;
    if output.json {
        let tokens = tokens.iter().map(|token| {
            let created = token.created.to_string();
            json!({ "name": token.name, "scope": token.scope, "created": created })
        });
        output.document(&json!({ "tokens": tokens.collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    if tokens.is_empty() {
        output.aside("There are no tokens; `homing tokens create NAME` adds one.");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["NAME", "SCOPE", "CREATED"]);
    for token in tokens {
        rows.add([token.name.to_string(), token.scope.to_string(), token.created.to_string()]);
    }
    rows.write(output, &[])?;
    Ok(Exit::Done)
}

async fn delete(
    services: &Services,
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
    if !services.store.remove_token(name.as_str()).await.map_err(Failure::Store)? {
        return Err(Failure::NotFound(format!("there is no token `{name}`")));
    }
    if output.json {
        output.document(&json!({ "deleted": name }))?;
    } else {
        output.line(format_args!("deleted {name}"))?;
    }
    Ok(Exit::Done)
}
