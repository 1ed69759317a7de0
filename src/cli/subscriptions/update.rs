//! `homing subscriptions update`

use clap_complete::ArgValueCandidates;
use serde_json::Value;

use super::{create, fields::Fields, verify};
use crate::cli::{
    complete,
    failure::{Exit, Failure},
    output::Output,
    target::Target,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions update 01931f5a-9c4e-7000-8000-0123456789ab --url https://example.com/new
  homing subscriptions update 01931f5a-9c4e-7000-8000-0123456789ab --topic a.b --topic 'c.*'
  homing subscriptions update 01931f5a-9c4e-7000-8000-0123456789ab --clear rate_limit

What is given replaces that field as a whole (all topics, all filters, all headers); the rest stays.
A URL with another scheme, host or port is refused while a bearer token, credentials, a client
certificate, headers or signing secrets are stored that were given for the present one: give new
ones, or say --keep-secrets.
To replace the signing secret: `homing subscriptions rotate-secret`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    id: SubscriptionId,
    #[command(flatten)]
    fields: Fields,
    /// Set a field back; may be repeated
    #[arg(long, value_name = "FIELD", value_parser = CLEARABLE)]
    clear: Vec<String>,
    /// Send the stored token, credentials, headers and signatures to the new URL too
    #[arg(long)]
    keep_secrets: bool,
}

const CLEARABLE: [&str; 15] = [
    "filters",
    "auth_token",
    "authentication",
    "client_certificate",
    "headers",
    "schedule",
    "rate_limit",
    "deadline",
    "max_concurrency",
    "format",
    "verification",
    "description",
    "owner",
    "labels",
    "template",
];

pub(super) async fn run(
    target: Target<'_>,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let id = arguments.id;
    let mut changes = arguments.fields.given().await?;
    changes.extend(arguments.clear.into_iter().map(|field| (field, Value::Null)));
    if changes.is_empty() {
        return Err(Failure::Usage("name what to change, such as --url or --topic".to_owned()));
    }
    if arguments.keep_secrets {
        changes.insert("keep_secrets".to_owned(), Value::Bool(true));
    }
    let has_url = changes.contains_key("url");
    let updated = target.update_subscription(id, changes).await?;
    create::write("updated", &updated, output)?;
    verify::advise(&updated.view, output);
    if has_url {
        create::warn_of_address(target, &updated.view, output)?;
    }
    Ok(Exit::Done)
}
