//! Changes of a subscription, and those that are refused.

use serde_json::{Map, Value};
use url::{Origin, Url};

use super::RegistryError;
use homing_domain::{
    filter::Connector,
    report::without_types,
    signature::SigningSecret,
    subscription::{Draft, FieldError},
    url::EndpointUrl,
};
use homing_store::Damaged;

/// A member beside the fields of a change: secrets may be sent to another origin.
pub(super) const KEEP_SECRETS: &str = "keep_secrets";

/// The draft of `present` with `changes`; checks only shape, field names and a change of the
/// origin.
pub(super) fn changed(
    present: &Damaged,
    mut changes: Map<String, Value>,
) -> Result<Draft, RegistryError> {
    let keep_secrets = match changes.remove(KEEP_SECRETS) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(keep)) => keep,
        Some(_) => return Err(field(FieldError::new(KEEP_SECRETS, "true or false"))),
    };
    refuse_what_cannot_be_read(present, &changes)?;
    let kept = secrets_kept(&present.draft, &changes);
    let draft = with(&present.draft, changes).map_err(field)?;
    if draft.url != present.draft.url {
        let typed = EndpointUrl::typed(&draft.url);
        let typed = typed.map_err(|error| field(FieldError::new("url", error)))?;
        let (from, to) = (origin(&present.draft.url), typed.url().origin());
        if from.as_ref() != Some(&to) && !keep_secrets && !kept.is_empty() {
            let from =
                from.map_or_else(|| present.draft.url.clone(), |from| from.ascii_serialization());
            return Err(RegistryError::OriginChanged { from, to: to.ascii_serialization(), kept });
        }
    }
    Ok(draft)
}

fn field(error: FieldError) -> RegistryError {
    RegistryError::Field(error)
}

/// Scheme, host and port: the receiver of secrets.
fn origin(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

/// The fields with secrets that stay unchanged.
fn secrets_kept(present: &Draft, changes: &Map<String, Value>) -> Vec<&'static str> {
    let has_secrets = present.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty());
    let fields = [
        ("auth_token", present.auth_token.is_some()),
        ("authentication", present.authentication.is_some()),
        ("client_certificate", present.client_certificate.is_some()),
        ("headers", !present.headers.is_empty()),
        ("secrets", has_secrets),
    ];
    let kept = fields.into_iter().filter(|(name, is_set)| *is_set && !changes.contains_key(*name));
    kept.map(|(name, _)| name).collect()
}

/// Refuses changes that leave an unreadable field.
fn refuse_what_cannot_be_read(
    present: &Damaged,
    changes: &Map<String, Value>,
) -> Result<(), RegistryError> {
    let name =
        |flaw: &FieldError| flaw.field.split(['[', '.']).next().unwrap_or_default().to_owned();
    match present.flaws.iter().find(|flaw| !changes.contains_key(&name(flaw))) {
        None => Ok(()),
        Some(FieldError { field: name, message }) => {
            let message = format!("cannot be read ({message}); give a new value in this change");
            Err(field(FieldError::new(name.as_str(), message)))
        }
    }
}

/// Keeps the expiry of unchanged secrets, which a draft does not show.
pub(super) fn keep_expiries(present: &[SigningSecret], secrets: &mut [SigningSecret]) {
    for secret in secrets {
        if let Some(same) = present.iter().find(|present| present.is_same(secret)) {
            *secret = same.clone();
        }
    }
}

fn with(draft: &Draft, changes: Map<String, Value>) -> Result<Draft, FieldError> {
    let draft =
        serde_json::to_value(draft).map_err(|error| FieldError::new("subscription", error))?;
    let Value::Object(mut fields) = draft else {
        return Err(FieldError::new("subscription", "not an object"));
    };
    for (name, value) in changes {
        if !fields.contains_key(&name) {
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            let message = format!("no such field; one of {}", names.join(", "));
            return Err(FieldError::new(name, message));
        }
        if value.is_null() && matches!(name.as_str(), "url" | "topics" | "secrets") {
            let message = "cannot be set back; `secrets: []` sends requests unsigned";
            return Err(FieldError::new(name, message));
        }
        let value = if value.is_null() { defaults(&name) } else { value };
        fields.insert(name, value);
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let message = error.inner().to_string();
        FieldError::new(error.path().to_string(), without_types(&message))
    })
}

/// The default of a field.
fn defaults(name: &str) -> Value {
    match name {
        "filters" => Value::Array(Vec::new()),
        "headers" | "labels" => Value::Object(Map::new()),
        "filter_connector" => Value::from(Connector::default().as_str()),
        _ => Value::Null,
    }
}
