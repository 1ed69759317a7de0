//! `homing subscriptions list` and `get`

use std::collections::BTreeMap;

use clap_complete::ArgValueCandidates;

use super::verify;
use crate::{
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        table::Rows,
        target::Target,
    },
    overview::UnreadableSubscription,
    registry::{CertificateView, SecretView, TokenView, View},
};
use homing_domain::{
    id::SubscriptionId,
    subscription::{Authentication, OAuth2Credentials, Template},
};
use homing_store::Page;

const LIST_EXAMPLES: &str = "\
Examples:
  homing subscriptions list
  homing subscriptions list --limit 20 --after 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions list --json | jq -r '.subscriptions[] | [.id, .url] | @tsv'";

const EXAMPLES: &str = "\
Examples:
  homing subscriptions get 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions get 01931f5a-9c4e-7000-8000-0123456789ab --json";

#[derive(clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(in crate::cli) struct ListArguments {
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Begin after this subscription
    #[arg(long, value_name = "ID")]
    after: Option<SubscriptionId>,
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    id: SubscriptionId,
}

pub(super) async fn list(
    target: Target<'_>,
    arguments: &ListArguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let page = Page { after: arguments.after, limit: arguments.limit };
    let listing = target.subscriptions(page).await?;
    if output.json {
        output.document(&listing)?;
    } else {
        write(&listing.subscriptions, output)?;
        if let Some(next) = listing.next {
            output.aside(format_args!("There are more: --after {next}"));
        }
    }
    for one in &listing.corrupt {
        let UnreadableSubscription { id, field, message } = one;
        let advice = one.advice();
        output.notice(format_args!(
            "subscription {id} cannot be read: `{field}`: {message}; {advice}"
        ));
    }
    Ok(if listing.corrupt.is_empty() { Exit::Done } else { Exit::Failed })
}

fn write(views: &[View], output: &mut Output<'_>) -> Result<(), Failure> {
    if views.is_empty() {
        output.aside("There are no subscriptions; `homing subscriptions create` makes one.");
        return Ok(());
    }
    let mut rows = Rows::new(output, &["ID", "TOPICS", "FILTERS", "URL", "DESCRIPTION"]);
    for view in views {
        rows.add([
            view.id.to_string(),
            view.topics.join(" "),
            view.filters.len().to_string(),
            view.url.clone(),
            view.description.clone().unwrap_or_default(),
        ]);
    }
    rows.write(output, &[2])?;
    for view in views {
        verify::advise(view, output);
    }
    Ok(())
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let view = target.subscription(arguments.id).await?;
    if output.json {
        output.document(&view)?;
        return Ok(Exit::Done);
    }
    let none = || "none".to_owned();
    let limits = limits(&view);
    let (basic, oauth2) = view.authentication.as_ref().map(authentication).unwrap_or_default();
    let fields = [
        ("id", view.id.to_string()),
        ("url", view.url),
        ("topics", view.topics.join(" ")),
        ("filters", filters(&view.filters, &view.filter_connector.to_string())),
        (
            "schedule",
            view.schedule.unwrap_or_else(|| match target.here() {
                Some(services) => format!("{} (the default)", services.schedules.default_name()),
                None => "the default".to_owned(),
            }),
        ),
        ("limits", limits),
        ("format", view.format.map(|format| format.to_string()).unwrap_or_default()),
        ("verified", view.verification.as_ref().map(verify::state).unwrap_or_default()),
        ("signed", signed(&view.secrets)),
        ("auth token", view.auth_token.unwrap_or_else(none)),
        ("basic", basic.unwrap_or_default()),
        ("oauth2", oauth2.unwrap_or_default()),
        ("its token", view.oauth2_token.as_ref().map(token).unwrap_or_default()),
        ("certificate", view.client_certificate.as_ref().map(certificate).unwrap_or_default()),
        ("headers", view.headers.into_keys().collect::<Vec<_>>().join(", ")),
        ("description", view.description.unwrap_or_default()),
        ("owner", view.owner.unwrap_or_default()),
        ("labels", labels(&view.labels)),
        ("template", view.template.as_ref().map(template).unwrap_or_default()),
        ("problem", view.filters_over_budget.as_deref().map(over_budget).unwrap_or_default()),
        ("not called", view.not_called.unwrap_or_default()),
        ("created", view.created),
        ("updated", view.updated),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format_args!("{name:<13}{value}"))?;
    }
    Ok(Exit::Done)
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(" ")
}

fn template(template: &Template) -> String {
    match template.to.as_slice() {
        [] => format!("messages for {}", template.receiver.title()),
        to => format!("mails to {}", to.join(", ")),
    }
}

fn over_budget(last: &str) -> String {
    format!("its filters cost too much: events are parked for it, the last at {last}")
}

fn limits(view: &View) -> String {
    let limits = [
        view.rate_limit.map(|limit| format!("{limit} requests a second")),
        view.max_concurrency.map(|limit| format!("{limit} at a time")),
        view.deadline.as_ref().map(|deadline| format!("{deadline} for each")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn signed(secrets: &[SecretView]) -> String {
    let until = |secret: &SecretView| {
        let what = match &secret.public_key {
            Some(key) => format!("the key pair of {key}"),
            None => "one secret".to_owned(),
        };
        match &secret.expires {
            Some(expires) => format!("{what} until {expires}"),
            None => what,
        }
    };
    let texts: Vec<_> = secrets.iter().map(until).collect();
    if texts.is_empty() { "no".to_owned() } else { format!("with {}", texts.join(" and ")) }
}

fn certificate(certificate: &CertificateView) -> String {
    format!("{} until {}", certificate.subject, certificate.expires)
}

/// Basic credentials, and those for OAuth 2.0.
fn authentication(authentication: &Authentication) -> (Option<String>, Option<String>) {
    match authentication {
        Authentication::Basic(basic) => (Some(format!("as `{}`", basic.username)), None),
        Authentication::OAuth2(oauth2) => {
            let OAuth2Credentials { token_url, client_id, scope, audience, .. } = oauth2;
            let further = [("scope", scope), ("audience", audience)];
            let further = further
                .iter()
                .filter_map(|(name, value)| Some(format!(", {name} `{}`", value.as_ref()?)));
            let further: String = further.collect();
            (None, Some(format!("as `{client_id}` of {token_url}{further}")))
        }
    }
}

fn token(token: &TokenView) -> String {
    let TokenView { expires, failing_since, error, .. } = token;
    let present = match expires {
        Some(expires) => format!("until {expires}"),
        None => "none yet".to_owned(),
    };
    match (failing_since, error) {
        (Some(since), Some(error)) => format!("{present}; not renewed since {since}: {error}"),
        (Some(_) | None, _) => present,
    }
}

fn filters(filters: &[serde_json::Value], connector: &str) -> String {
    let texts: Vec<_> = filters.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(&format!(" {connector} ")) }
}
