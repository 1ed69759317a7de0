//! `homing tokens`

use serde_json::json;

use super::{
    Output,
    failure::{Exit, Failure},
    globals::Globals,
    table::Rows,
    words,
};
use crate::service::Parts;
use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest, TokenName, token_text},
    clock,
};

const EXAMPLES: &str = "\
Examples:
  homing tokens add ci
  homing tokens add grafana --scope read
  homing tokens list
  homing tokens remove ci

As soon as there is one token, the API answers only requests that show one, as
`Authorization: Bearer <token>`. A change is followed within a second.";

const ADD_EXAMPLES: &str = "\
Examples:
  homing tokens add ci
  homing tokens add grafana --scope read
  TOKEN=$(homing tokens add deploy --json | jq -r .token)";

const LIST_EXAMPLES: &str = "\
Examples:
  homing tokens list
  homing tokens list --json | jq -r '.tokens[] | [.name, .scope] | @tsv'";

const REMOVE_EXAMPLES: &str = "\
Examples:
  homing tokens remove ci";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a token; it is printed this once
    Add(AddArguments),
    /// List tokens by name
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Remove a token; whoever shows it is refused from then on
    Remove(RemoveArguments),
}

#[derive(clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct AddArguments {
    /// What you call it: 1 to 64 letters, digits, `-`, `_` and `.`
    name: TokenName,
    /// What its bearer may do: read, or write (which includes read)
    #[arg(long, default_value_t = Scope::Write)]
    scope: Scope,
}

#[derive(clap::Args)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(super) struct RemoveArguments {
    /// Which one
    name: TokenName,
}

pub(super) async fn run(
    globals: &Globals,
    command: Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let parts = globals.parts().await?;
    let ended = match command {
        Command::Add(arguments) => add(&parts, arguments, output).await,
        Command::List => list(&parts, output).await,
        Command::Remove(arguments) => remove(&parts, &arguments, output).await,
    };
    parts.close().await;
    ended
}

async fn add(
    parts: &Parts,
    arguments: AddArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let text = token_text(&clock::random().map_err(Failure::Randomness)?);
    let AddArguments { name, scope } = arguments;
    let digest = TokenDigest::of(text.as_bytes());
    let token = ApiToken { name, digest, scope, created: clock::now() };
    if !parts.store.insert_token(&token).await.map_err(Failure::Store)? {
        let name = &token.name;
        let remove = words::with_operand("homing tokens remove", &name.to_string());
        let text = format!("there is a token `{name}` already; `{remove}` first");
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

async fn list(parts: &Parts, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let tokens = parts.store.tokens().await.map_err(Failure::Store)?;
    if output.json {
        let tokens = tokens.iter().map(|token| {
            let created = token.created.to_string();
            json!({ "name": token.name, "scope": token.scope, "created": created })
        });
        output.document(&json!({ "tokens": tokens.collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    if tokens.is_empty() {
        output.aside("There are no tokens; `homing tokens add NAME` makes one.");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["NAME", "SCOPE", "CREATED"]);
    for token in tokens {
        rows.add([token.name.to_string(), token.scope.to_string(), token.created.to_string()]);
    }
    rows.write(output, &[])?;
    Ok(Exit::Done)
}

async fn remove(
    parts: &Parts,
    arguments: &RemoveArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let name = &arguments.name;
    if !parts.store.remove_token(name.as_str()).await.map_err(Failure::Store)? {
        return Err(Failure::NotFound(format!("there is no token `{name}`")));
    }
    if output.json {
        output.document(&json!({ "removed": name }))?;
    } else {
        output.line(format_args!("removed {name}"))?;
    }
    Ok(Exit::Done)
}
