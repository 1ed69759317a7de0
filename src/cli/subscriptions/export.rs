//! `homing subscriptions export`

use serde_json::{Map, Value, json};

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::Output,
        target::Target,
    },
    registry::View,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions export > subscriptions.yaml
  homing subscriptions export --json | jq '.subscriptions | length'
  homing subscriptions export --api https://old.example --without-ids > subscriptions.yaml

YAML in the form that `homing subscriptions apply` takes. Secrets are left out: tokens, credentials,
client certificates, signing secrets, and the values of headers.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Leave ids out, for another installation
    #[arg(long)]
    without_ids: bool,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let views = target.all_subscriptions().await?;
    let entries: Vec<_> = views.iter().map(|view| entry(view, !arguments.without_ids)).collect();
    if output.json {
        output.document(&json!({ "subscriptions": entries }))?;
    } else {
        output.text(&yaml(&entries))?;
    }
    let with_secrets = views.iter().filter(|view| has_secrets(view)).count();
    if with_secrets > 0 {
        output.aside(format_args!(
            "{with_secrets} of {} have a token, credentials, a client certificate or headers, which \
             are left out.",
            views.len()
        ));
    }
    Ok(Exit::Done)
}

fn has_secrets(view: &View) -> bool {
    view.auth_token.is_some()
        || view.authentication.is_some()
        || view.client_certificate.is_some()
        || !view.headers.is_empty()
}

/// The fields of a subscription that a file states, without those that have their default.
pub(super) fn entry(view: &View, with_id: bool) -> Map<String, Value> {
    let fields = [
        ("id", with_id.then(|| json!(view.id))),
        ("description", view.description.as_ref().map(|text| json!(text))),
        ("url", Some(json!(view.url))),
        ("topics", Some(json!(view.topics))),
        ("filters", (!view.filters.is_empty()).then(|| json!(view.filters))),
        ("filter_connector", (view.filters.len() > 1).then(|| json!(view.filter_connector))),
        ("schedule", view.schedule.as_ref().map(|name| json!(name))),
        ("rate_limit", view.rate_limit.map(|number| json!(number))),
        ("deadline", view.deadline.as_ref().map(|text| json!(text))),
        ("max_concurrency", view.max_concurrency.map(|number| json!(number))),
        ("format", view.format.map(|format| json!(format))),
        ("verification", view.verification.as_ref().map(|it| json!(it.method))),
        ("owner", view.owner.as_ref().map(|text| json!(text))),
        ("labels", (!view.labels.is_empty()).then(|| json!(view.labels))),
        ("template", view.template.as_ref().map(|template| json!(template))),
        ("workfront", view.workfront.as_ref().map(|form| json!(form))),
        ("signature_scheme", signs_by_key_pair(view).then(|| json!("v1a"))),
        // Absent, one would be generated.
        ("secrets", view.secrets.is_empty().then(|| json!([]))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// True if its newest signing secret is a key pair.
fn signs_by_key_pair(view: &View) -> bool {
    view.secrets.first().is_some_and(|secret| secret.public_key.is_some())
}

/// The fields in the order in which a file has them.
const ORDER: [&str; 18] = [
    "id",
    "description",
    "owner",
    "labels",
    "url",
    "topics",
    "filters",
    "filter_connector",
    "schedule",
    "rate_limit",
    "deadline",
    "max_concurrency",
    "format",
    "verification",
    "template",
    "workfront",
    "signature_scheme",
    "secrets",
];

/// A list of entries in YAML; each value is on one line, in the form that it has in JSON.
///
/// Source: YAML 1.2.2, 1.3: JSON is a subset of it.
fn yaml(entries: &[Map<String, Value>]) -> String {
    if entries.is_empty() {
        return "subscriptions: []\n".to_owned();
    }
    let lines = entries.iter().flat_map(|entry| {
        let fields = ORDER.iter().filter_map(move |name| Some((*name, entry.get(*name)?)));
        fields.enumerate().map(|(number, (name, value))| {
            let indent = if number == 0 { "  - " } else { "    " };
            format!("{indent}{name}: {value}\n")
        })
    });
    std::iter::once("subscriptions:\n".to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_read_again() {
        let tricky = "a: b # \"c\" 'd' \u{e9} {x} \\ - ?\t\u{1F600}";
        let entry = json!({
            "id": "01931f5a-9c4e-7000-8000-0123456789ab",
            "description": tricky,
            "url": "https://example.com/hook?a=1&b=%20#",
            "topics": ["order.*", "#"],
            "filters": [{"fieldName": "a", "fieldValue": "on", "comparison": "eq"}],
            "rate_limit": 10,
        });
        let Value::Object(entry) = entry else { unreachable!() };
        let text = yaml(&[entry.clone(), entry.clone()]);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, json!({ "subscriptions": [entry, entry] }), "{text}");
        let none: Value = serde_saphyr::from_str(&yaml(&[])).unwrap();
        assert_eq!(none, json!({ "subscriptions": [] }));
    }
}
