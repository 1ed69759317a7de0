//! Differences of what is in the store, masked.

use serde_json::{Map, Value, json};

use homing_domain::{
    audit::from_to,
    circuit::{CircuitTransition, Turn},
    signature::SigningSecret,
    subscription::{
        Authentication, ClientCertificate, Draft, Subscription, SubscriptionSpec, Verification,
    },
    topic::TopicPattern,
};

const MASK: &str = "****";

/// A field of a subscription: its name, its value as it may be shown, and whether it is the same in
/// another one.
type Field = (
    &'static str,
    fn(&SubscriptionSpec) -> Value,
    fn(&SubscriptionSpec, &SubscriptionSpec) -> bool,
);

/// Every field of a specification. Secrets are compared as they are, and shown masked.
const FIELDS: [Field; 19] = [
    ("url", |spec| spec.url.as_str().into(), |one, other| one.url == other.url),
    ("topics", topics, |one, other| one.topics == other.topics),
    ("filters", filters, |one, other| one.filters == other.filters),
    ("auth_token", auth_token, |one, other| one.auth_token == other.auth_token),
    ("authentication", authentication, |one, other| one.authentication == other.authentication),
    ("client_certificate", client_certificate, |one, other| {
        one.client_certificate == other.client_certificate
    }),
    ("secrets", secrets, |one, other| one.secrets == other.secrets),
    ("headers", headers, |one, other| one.headers == other.headers),
    ("schedule", |spec| json!(spec.schedule), |one, other| one.schedule == other.schedule),
    ("rate_limit", |spec| json!(spec.rate_limit), |one, other| one.rate_limit == other.rate_limit),
    ("deadline", deadline, |one, other| one.deadline == other.deadline),
    (
        "max_concurrency",
        |spec| json!(spec.max_concurrency),
        |one, other| one.max_concurrency == other.max_concurrency,
    ),
    (
        "description",
        |spec| json!(spec.description),
        |one, other| one.description == other.description,
    ),
    ("owner", |spec| json!(spec.owner), |one, other| one.owner == other.owner),
    ("labels", |spec| json!(spec.labels), |one, other| one.labels == other.labels),
    ("workfront", |spec| json!(spec.workfront), |one, other| one.workfront == other.workfront),
    (
        "format",
        |spec| json!(spec.format.other_than_native()),
        |one, other| one.format == other.format,
    ),
    ("verification", verification, |one, other| one.verification == other.verification),
    ("template", |spec| json!(spec.template), |one, other| one.template == other.template),
];

fn topics(spec: &SubscriptionSpec) -> Value {
    spec.topics.iter().map(TopicPattern::as_str).collect()
}

fn filters(spec: &SubscriptionSpec) -> Value {
    let filters = spec.filters.to_json();
    if filters.is_empty() {
        return json!([]);
    }
    json!({ "connector": spec.filters.connector(), "filters": filters })
}

fn auth_token(spec: &SubscriptionSpec) -> Value {
    json!(spec.auth_token.as_ref().map(|_| MASK))
}

fn authentication(spec: &SubscriptionSpec) -> Value {
    let shown = |it: &Authentication| Map::from_iter([(it.name().to_owned(), json!(MASK))]);
    json!(spec.authentication.as_ref().map(shown))
}

fn client_certificate(spec: &SubscriptionSpec) -> Value {
    let shown = |it: &ClientCertificate| format!("{}, until {}", it.subject(), it.expires());
    json!(spec.client_certificate.as_ref().map(shown))
}

fn secrets(spec: &SubscriptionSpec) -> Value {
    let shown = |secret: &SigningSecret| match secret.expires() {
        Some(end) => format!("{MASK} until {end}"),
        None => MASK.to_owned(),
    };
    spec.secrets.iter().map(shown).collect()
}

fn deadline(spec: &SubscriptionSpec) -> Value {
    json!(spec.deadline.map(Draft::written_deadline))
}

fn verification(spec: &SubscriptionSpec) -> Value {
    let shown = |it: &Verification| match it.consent_of(&spec.url) {
        Some(consent) => format!("{}, verified at {}", it.method, consent.at()),
        None => it.method.to_string(),
    };
    json!(spec.verification.as_ref().map(shown))
}

fn headers(spec: &SubscriptionSpec) -> Value {
    spec.headers.keys().map(|name| (name.clone(), json!(MASK))).collect::<Map<_, _>>().into()
}

/// The fields in which two specifications differ; `None`: there is none, or it cannot be read.
pub(in crate::audit) fn of_specs(
    before: Option<&SubscriptionSpec>,
    after: Option<&SubscriptionSpec>,
) -> Map<String, Value> {
    let mut difference = Map::new();
    for (name, shown, same) in FIELDS {
        if let (Some(before), Some(after)) = (before, after)
            && same(before, after)
        {
            continue;
        }
        let (before, after) = (before.map(shown), after.map(shown));
        let is_empty = |value: &Option<Value>| {
            value.as_ref().is_none_or(|value| {
                value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
            })
        };
        if !(is_empty(&before) && is_empty(&after)) {
            difference.insert(name.to_owned(), from_to(before, after));
        }
    }
    difference
}

/// The difference of a subscription that was changed, added or removed.
pub(crate) fn subscription(
    before: Option<&Subscription>,
    after: Option<&Subscription>,
) -> Map<String, Value> {
    of_specs(before.map(|one| &one.spec), after.map(|one| &one.spec))
}

/// The difference of a circuit.
pub(crate) fn circuit((_, change): &Turn) -> Map<String, Value> {
    let state = |CircuitTransition { from, to, .. }: &CircuitTransition| {
        let state = from_to(from.name().as_str(), to.name().as_str());
        ("state".to_owned(), state)
    };
    change.iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use homing_domain::subscription::Draft;

    fn spec(change: impl FnOnce(&mut Draft)) -> SubscriptionSpec {
        let mut draft = Draft::new("https://example.com/hook", "order.#");
        draft.secrets = Some(vec![SigningSecret::from_bytes(vec![7; 32]).unwrap().reveal()]);
        change(&mut draft);
        draft.build(&[]).unwrap()
    }

    /// Goal: what is secret shows that it has changed, and nothing else.
    #[test]
    fn secrets_are_compared_and_never_shown() {
        let before = spec(|draft| draft.auth_token = Some("token-of-before-abcd".to_owned()));
        let after = spec(|draft| {
            draft.secrets = Some(vec![SigningSecret::from_bytes(vec![8; 32]).unwrap().reveal()]);
            draft.headers = BTreeMap::from([("x-key".to_owned(), "hidden-value".to_owned())]);
            draft.auth_token = None;
            let basic = json!({"basic": {"username": "hidden", "password": "hidden"}});
            draft.authentication = Some(serde_json::from_value(basic).unwrap());
        });
        let difference = of_specs(Some(&before), Some(&after));
        insta::assert_snapshot!(Value::from(difference), @r#"{"auth_token":{"after":null,"before":"****"},"authentication":{"after":{"basic":"****"},"before":null},"headers":{"after":{"x-key":"****"},"before":{}},"secrets":{"after":["****"],"before":["****"]}}"#);
    }

    #[test]
    fn a_new_one_differs_in_all_that_is_set() {
        let created = of_specs(None, Some(&spec(|_| ())));
        insta::assert_snapshot!(Value::from(created), @r#"{"secrets":{"after":["****"],"before":null},"topics":{"after":["order.#"],"before":null},"url":{"after":"https://example.com/hook","before":null}}"#);
        let same = of_specs(Some(&spec(|_| ())), Some(&spec(|_| ())));
        assert!(same.is_empty(), "{same:?}");
    }
}
