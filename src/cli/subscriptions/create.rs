//! `homing subscriptions create`

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::{
    fields::{self, Fields},
    verify,
};
use crate::{
    api::forms::CreatedSubscription,
    cli::{
        failure::{Exit, Failure},
        output::Output,
        target::Target,
    },
    registry::View,
    services::Services,
};
use homing_delivery::endpoint;
use homing_domain::{signature::SignatureScheme, subscription::Draft, url::EndpointUrl};

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
        "basic", "basic_file", "oauth2_token_url", "client_certificate", "client_key", "header", "schedule", "rate_limit", "description", "owner",
        "label", "template", "unsigned",
        "deadline", "max_concurrency", "format", "verification",
        "secret_file", "signature_scheme",
    ])]
    from: Option<String>,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let given = if let Some(file) = &arguments.from {
        let text = fields::read(file).await?;
        // An error names the field at fault.
        drop(fields::parse::<Draft>(&text, "subscription")?);
        fields::parse(&text, "subscription")?
    } else {
        let mut given = arguments.fields.given().await?;
        let scheme = arguments.signature_scheme.map(|scheme| json!(scheme));
        given.extend(scheme.map(|scheme| ("signature_scheme".to_owned(), scheme)));
        given
    };
    let created = target.create_subscription(given).await?;
    write("created", &created, output)?;
    verify::advise(&created.view, output);
    warn_of_address(target, &created.view, output)?;
    Ok(Exit::Done)
}

/// Writes the subscription that was created or changed, and its new secret.
pub(super) fn write(
    done: &str,
    created: &CreatedSubscription,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if output.json {
        return output.document(created);
    }
    let CreatedSubscription { view: subscription, secret } = created;
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

/// Warns of a private address now rather than at the first delivery, where the settings are known.
/// Names are not looked up.
pub(super) fn warn_of_address(
    target: Target<'_>,
    subscription: &View,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if let Some(services) = target.here()
        && let Ok(url) = subscription.url.parse::<EndpointUrl>()
        && let Some(address) = refused_address(services, &url)?
    {
        output.notice(format_args!(
            "note: {address} is not public; homing does not call it unless \
             `endpoint.allow_networks` has it"
        ));
    }
    Ok(())
}

/// The address in `url` that a homing with these settings does not call.
pub(in crate::cli) fn refused_address(
    services: &Services,
    url: &EndpointUrl,
) -> Result<Option<IpAddr>, Failure> {
    let url = url.url();
    let is_local = url.host_str() == Some("localhost");
    let local = is_local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let networks = services.settings.endpoint.networks().map_err(Failure::Settings)?;
    let address = endpoint::literal(url).or(local);
    Ok(address.filter(|address| !endpoint::allowed(*address, &networks)))
}
