//! `homing subscriptions change`

use serde_json::Value;

use super::{add, fields::Fields};
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        globals,
    },
    domain::{id::SubscriptionId, signature::SigningSecret},
    registry::{self, Made},
    service::Parts,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions change 01931f5a-9c4e-7000-8000-0123456789ab --url https://example.com/new
  homing subscriptions change 01931f5a-9c4e-7000-8000-0123456789ab --topic a.b --topic 'c.*'
  homing subscriptions change 01931f5a-9c4e-7000-8000-0123456789ab --clear rate_limit
  homing subscriptions change 01931f5a-9c4e-7000-8000-0123456789ab --rotate-secret

What is given replaces that field as a whole (all topics, all filters, all headers); the rest stays.
--rotate-secret prints the new secret this once. Requests are signed with it and the newest old one;
once the receiver has the new one, --drop-old-secrets ends that.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Which one
    id: SubscriptionId,
    #[command(flatten)]
    fields: Fields,
    /// Set a field back; may be repeated
    #[arg(long, value_name = "FIELD", value_parser = CLEARABLE)]
    clear: Vec<String>,
    /// Make a new signing secret; the newest old one signs too
    #[arg(long, conflicts_with_all = ["unsigned", "secret_file"])]
    rotate_secret: bool,
    /// Sign with the newest secret only, which may be the one just made
    #[arg(long, conflicts_with_all = ["unsigned", "secret_file"])]
    drop_old_secrets: bool,
}

const CLEARABLE: [&str; 6] =
    ["filters", "auth_token", "headers", "schedule", "rate_limit", "description"];

pub(super) async fn run(
    parts: &Parts,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let id = arguments.id;
    let mut changes = arguments.fields.given().await?;
    changes.extend(arguments.clear.into_iter().map(|field| (field, Value::Null)));
    let is_rotated = arguments.rotate_secret;
    let secret = is_rotated.then(registry::new_secret).transpose().map_err(Failure::Registry)?;
    if is_rotated || arguments.drop_old_secrets {
        let found = parts.registry.get(id).await.map_err(Failure::Registry)?;
        let kept = usize::from(is_rotated && !arguments.drop_old_secrets).saturating_add(1);
        let secrets = secret.iter().chain(&found.terms.secrets).take(kept);
        changes.insert("secrets".to_owned(), secrets.map(SigningSecret::reveal).collect());
    }
    if changes.is_empty() {
        return Err(Failure::Usage("name what to change, such as --url or --topic".to_owned()));
    }
    let has_url = changes.contains_key("url");
    // Telling the workers connects, which may create queues.
    globals::remember_queues(parts).await.map_err(Failure::Store)?;
    let subscription = parts.registry.change(id, changes).await.map_err(Failure::Registry)?;
    let made = Made { subscription, secret };
    add::write("changed", &made, output)?;
    if has_url {
        add::warn_of_address(parts, &made.subscription, output)?;
    }
    Ok(Exit::Done)
}
