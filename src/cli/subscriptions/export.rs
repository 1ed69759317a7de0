//! `homing subscriptions export`

use serde_json::{Map, Value, json};

use super::stated::{STATED, stated};
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
        let entries = entries.into_iter().map(|entry| entry.into_iter().collect());
        let entries: Vec<Map<_, _>> = entries.collect();
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

/// A subscription of a file: names and values, in the order of the file.
type Entry = Vec<(String, Value)>;

/// The fields of a subscription that a file states, without those that have their default.
fn entry(view: &View, with_id: bool) -> Entry {
    let mut stated = stated(view);
    let mut entry = Entry::new();
    entry.extend(with_id.then(|| ("id".to_owned(), json!(view.id))));
    entry.extend(STATED.iter().filter_map(|name| stated.remove_entry(*name)));
    entry.extend(signs_by_key_pair(view).then(|| ("signature_scheme".to_owned(), json!("v1a"))));
    // Absent, one would be generated.
    entry.extend(view.secrets.is_empty().then(|| ("secrets".to_owned(), json!([]))));
    let is_default = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    entry.retain(|(name, value)| name == "secrets" || !is_default(value));
    entry
}

/// True if its newest signing secret is a key pair.
fn signs_by_key_pair(view: &View) -> bool {
    view.secrets.first().is_some_and(|secret| secret.public_key.is_some())
}

/// A list of entries in YAML; each value is on one line, in the form that it has in JSON.
///
/// Source: YAML 1.2.2, 1.3: JSON is a subset of it.
fn yaml(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "subscriptions: []\n".to_owned();
    }
    let lines = entries.iter().flat_map(|entry| {
        entry.iter().enumerate().map(|(number, (name, value))| {
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
        let Value::Object(fields) = &entry else { unreachable!() };
        let fields: Entry = fields.clone().into_iter().collect();
        let text = yaml(&[fields.clone(), fields]);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, json!({ "subscriptions": [entry, entry] }), "{text}");
        let none: Value = serde_saphyr::from_str(&yaml(&[])).unwrap();
        assert_eq!(none, json!({ "subscriptions": [] }));
    }
}
