//! The fields of a subscription that a file states, in the order of the file: `export` writes them, and
//! `apply` sets each of them, those that the file leaves out to their default.

use serde_json::{Map, Value};

use crate::registry::View;

/// Their names; those of the API.
pub(super) const STATED: [&str; 15] = [
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
];

/// The fields of `view` by name, in the form in which the API takes them; null: the default.
pub(super) fn stated(view: &View) -> Map<String, Value> {
    let shown = serde_json::to_value(view).unwrap_or_default();
    let value = |name: &str| match name {
        // One filter needs no connector.
        "filter_connector" if view.filters.len() < 2 => Value::Null,
        "verification" => {
            serde_json::to_value(view.verification.as_ref().map(|it| it.method)).unwrap_or_default()
        }
        name => shown.get(name).cloned().unwrap_or_default(),
    };
    STATED.into_iter().map(|name| (name.to_owned(), value(name))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use homing_domain::subscription::Draft;

    use super::*;

    /// Fields of a draft that a file does not set in a subscription that is there.
    const SECRETS: [&str; 6] = [
        "auth_token",
        "authentication",
        "client_certificate",
        "headers",
        "secrets",
        "signature_scheme",
    ];

    #[test]
    fn every_field_of_a_subscription_is_stated_or_secret() {
        let draft: Draft =
            serde_json::from_value(serde_json::json!({"url": "https://a/", "topics": ["t"]}))
                .unwrap();
        let fields = serde_json::to_value(draft).unwrap();
        let fields: BTreeSet<_> = fields.as_object().unwrap().keys().map(String::as_str).collect();
        let known: BTreeSet<_> = STATED.into_iter().chain(SECRETS).collect();
        let unknown: Vec<_> = fields.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
