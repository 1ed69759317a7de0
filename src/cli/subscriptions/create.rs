//! `homing subscriptions create`

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::fields::{self, Fields};
use crate::{
    cli::{
        failure::{Exit, Failure},
        globals,
        output::Output,
    },
    registry::{Created, View},
    services::Services,
};
use homing_delivery::endpoint;
use homing_domain::{
    signature::{SignatureScheme, SigningSecret},
    subscription::{Draft, FieldError, Subscription},
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions create --url https://example.com/hook --topic order.paid --topic 'refund.#'
  homing subscriptions create --url https://example.com/wf --topic TASK.UPDATE \\
      --filter '{\"fieldName\":\"status\",\"comparison\":\"eq\",\"fieldValue\":\"CPL\"}'
  homing subscriptions create --from subscription.json

In a topic `*` is one word and `#` any number of words. A filter has the form of Workfront's; without
--filter-connector all must hold. Without --secret-file or --unsigned a signing secret is generated;
it is printed only once. With --signature-scheme v1a it is a key pair, of which the receiver needs
the public key (whpk_…), which is always shown.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("url", |url| url.required_unless_present("from")))]
#[command(mut_arg("topic", |topic| topic.required_unless_present("from")))]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    fields: Fields,
    /// Of the generated secret: v1 (shared) or v1a (key pair)
    #[arg(long, value_name = "SCHEME", conflicts_with_all = ["unsigned", "secret_file"])]
    signature_scheme: Option<SignatureScheme>,
    /// All of it as JSON, as the API takes it; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "url", "topic", "filter", "filter_connector", "auth_token", "auth_token_file",
        "basic", "basic_file", "oauth2_token_url", "client_certificate", "client_key", "header", "schedule", "rate_limit", "description", "unsigned",
        "secret_file", "signature_scheme",
    ])]
    from: Option<String>,
}

pub(super) async fn run(
    services: &Services,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let draft: Draft = if let Some(file) = &arguments.from {
        fields::parse(&fields::read(file).await?, "subscription")?
    } else {
        let given = Value::Object(arguments.fields.given().await?);
        let draft: Draft = serde_json::from_value(given)
            .map_err(|error| Failure::Field(FieldError::new("subscription", error)))?;
        Draft { signature_scheme: arguments.signature_scheme, ..draft }
    };
    // Announcing the change connects, which may create queues.
    globals::remember_queues(services).await.map_err(Failure::Store)?;
    let created = services.registry.create(draft).await.map_err(Failure::Registry)?;
    write("created", &created, output)?;
    warn_of_address(services, &created.subscription, output)?;
    Ok(Exit::Done)
}

/// Writes the subscription that was created or changed, and its new secret.
pub(super) fn write(done: &str, created: &Created, output: &mut Output<'_>) -> Result<(), Failure> {
    let subscription = View::from(&created.subscription);
    let secret = created.secret.as_ref().map(SigningSecret::reveal);
    if output.json {
        return output.document(&json!({ "subscription": subscription, "secret": secret }));
    }
    output.line(format_args!("{done:<8}{}", subscription.id))?;
    if let Some(secret) = secret {
        output.line(format_args!("secret  {secret}"))?;
        output.aside("The receiver verifies signatures with this secret; it is not shown again.");
    } else if let Some(key) = subscription.secrets.first().and_then(|it| it.public_key.as_ref()) {
        output.line(format_args!("key     {key}"))?;
        output.aside("The receiver verifies signatures with this public key.");
    }
    Ok(())
}

/// Warns of a private address now rather than at the first delivery. Names are not looked up.
pub(super) fn warn_of_address(
    services: &Services,
    subscription: &Subscription,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let url = subscription.spec.url.url();
    let is_local = url.host_str() == Some("localhost");
    let local = is_local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let networks = services.settings.endpoint.networks().map_err(Failure::Settings)?;
    if let Some(address) = endpoint::literal(url).or(local)
        && !endpoint::allowed(address, &networks)
    {
        output.notice(format_args!(
            "note: {address} is not public; homing does not call it unless \
             `endpoint.allow_networks` has it"
        ));
    }
    Ok(())
}
