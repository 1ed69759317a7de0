//! A subscription as a form: its fields as texts, and the texts as a draft or as changes.

use serde_json::{Map, Value, json};

use super::{
    fields::{Fields, Wrong},
    filter_rows::{FilterTexts, error_of},
};
use crate::registry::View;
use homing_domain::{
    signature::SignatureScheme,
    subscription::{EventFormat, FieldError, VerificationMethod},
};

/// The texts in the fields of the form.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) url: String,
    /// One a line.
    pub(super) topics: String,
    /// One of those that were seen, to be added to the others.
    pub(super) add_topic: String,
    pub(super) filters: FilterTexts,
    pub(super) filter_connector: String,
    pub(super) schedule: String,
    pub(super) rate_limit: String,
    pub(super) deadline: String,
    pub(super) max_concurrency: String,
    pub(super) format: String,
    pub(super) verification: String,
    pub(super) description: String,
    pub(super) owner: String,
    /// `name=value`, one a line.
    pub(super) labels: String,
    pub(super) template: TemplateTexts,
    pub(super) basic_username: String,
    pub(super) oauth2: OAuth2Texts,
    pub(super) client_certificate: String,
    pub(super) signature_scheme: String,
    /// `name: value`, one a line; never filled in, because values are secret.
    pub(super) headers: String,
}

/// The texts in the fields about a template.
#[derive(Default)]
pub(super) struct TemplateTexts {
    /// The word of a receiver; empty: none.
    pub(super) receiver: String,
    pub(super) from: String,
    /// With commas between them.
    pub(super) to: String,
}

/// The texts in the fields about OAuth 2.0 but the secret.
#[derive(Default)]
pub(super) struct OAuth2Texts {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) audience: String,
    pub(super) method: String,
}

impl Texts {
    /// Of an existing subscription.
    pub(super) fn of(view: &View) -> Self {
        let template = view.template.as_ref();
        let label = |(name, value): (&String, &String)| format!("{name}={value}");
        Self {
            url: view.url.clone(),
            topics: view.topics.join("\n"),
            add_topic: String::new(),
            filters: FilterTexts::of(&view.filters),
            filter_connector: view.filter_connector.as_str().to_owned(),
            schedule: view.schedule.clone().unwrap_or_default(),
            rate_limit: view.rate_limit.map(|limit| limit.to_string()).unwrap_or_default(),
            deadline: view.deadline.clone().unwrap_or_default(),
            max_concurrency: view.max_concurrency.map(|it| it.to_string()).unwrap_or_default(),
            format: view.format.map(|format| format.to_string()).unwrap_or_default(),
            verification: view
                .verification
                .as_ref()
                .map(|it| it.method.to_string())
                .unwrap_or_default(),
            description: view.description.clone().unwrap_or_default(),
            owner: view.owner.clone().unwrap_or_default(),
            labels: view.labels.iter().map(label).collect::<Vec<_>>().join("\n"),
            template: TemplateTexts {
                receiver: template.map(|it| it.receiver.as_str().to_owned()).unwrap_or_default(),
                from: template.and_then(|it| it.from.clone()).unwrap_or_default(),
                to: template.map(|it| it.to.join(", ")).unwrap_or_default(),
            },
            basic_username: String::new(),
            oauth2: OAuth2Texts::default(),
            client_certificate: String::new(),
            signature_scheme: String::new(),
            headers: String::new(),
        }
    }

    /// As sent, to be shown again.
    pub(super) fn sent(fields: &Fields) -> Self {
        let text = |name| fields.text(name).to_owned();
        Self {
            url: text("url"),
            topics: text("topics"),
            add_topic: text("add_topic"),
            filters: FilterTexts::sent(fields),
            filter_connector: text("filter_connector"),
            schedule: text("schedule"),
            rate_limit: text("rate_limit"),
            deadline: text("deadline"),
            max_concurrency: text("max_concurrency"),
            format: text("format"),
            verification: text("verification"),
            description: text("description"),
            owner: text("owner"),
            labels: text("labels"),
            template: TemplateTexts {
                receiver: text("template_receiver"),
                from: text("template_from"),
                to: text("template_to"),
            },
            basic_username: text("basic_username"),
            oauth2: OAuth2Texts {
                token_url: text("oauth2_token_url"),
                client_id: text("oauth2_client_id"),
                scope: text("oauth2_scope"),
                audience: text("oauth2_audience"),
                method: text("oauth2_token_endpoint_auth_method"),
            },
            client_certificate: text("client_certificate"),
            signature_scheme: text("signature_scheme"),
            headers: text("headers"),
        }
    }
}

/// The draft of the fields; or, for an existing subscription, the changes: empty fields with
/// secrets change nothing.
pub(super) fn draft(fields: &Fields, is_new: bool, wrong: &mut Wrong) -> Map<String, Value> {
    let mut draft = Map::new();
    let mut put = |name: &str, value: Value| drop(draft.insert(name.to_owned(), value));
    put("url", json!(fields.text("url")));
    put("topics", json!(topics(fields)));
    put("filters", FilterTexts::sent(fields).given(wrong).filters.into());
    put("filter_connector", json!(fields.given("filter_connector").unwrap_or("AND")));
    put("schedule", json!(fields.given("schedule")));
    put("description", json!(fields.given("description")));
    put("owner", json!(fields.given("owner")));
    put("labels", labels(fields, wrong));
    put("template", template(fields));
    put("rate_limit", json!(fields.get::<u32>("rate_limit", wrong)));
    put("deadline", json!(fields.given("deadline")));
    put("max_concurrency", json!(fields.get::<u32>("max_concurrency", wrong)));
    put("verification", json!(fields.get::<VerificationMethod>("verification", wrong)));
    put("format", json!(fields.get::<EventFormat>("format", wrong)));
    if is_new || fields.given("auth_token").is_some() {
        put("auth_token", json!(fields.given("auth_token")));
    } else if fields.is_set("no_auth_token") {
        put("auth_token", Value::Null);
    }
    let (basic, oauth2) = (basic(fields, is_new, wrong), oauth2(fields, wrong));
    if basic.is_some() && oauth2.is_some() {
        wrong.add(
            "authentication",
            "enter either Basic credentials or those for OAuth 2.0".to_owned(),
        );
    }
    let oauth2 = oauth2.map(|oauth2| json!({ "oauth2": oauth2 }));
    if let Some(authentication) = basic.map(|basic| json!({ "basic": basic })).or(oauth2) {
        put("authentication", authentication);
    } else if fields.is_set("no_authentication") {
        put("authentication", Value::Null);
    }
    let pem = (fields.given("client_certificate"), fields.given("client_key"));
    if let (Some(certificate), Some(key)) = pem {
        put("client_certificate", json!({ "certificate": certificate, "key": key }));
    } else if pem.0.or(pem.1).is_some() {
        wrong.add("client_certificate", "enter the certificate and its key".to_owned());
    } else if fields.is_set("no_client_certificate") {
        put("client_certificate", Value::Null);
    }
    if is_new || fields.given("headers").is_some() {
        put("headers", headers(fields, wrong));
    } else if fields.is_set("no_headers") {
        put("headers", json!({}));
    }
    if !is_new && fields.is_set("keep_secrets") {
        put("keep_secrets", json!(true));
    }
    if is_new && fields.is_set("unsigned") {
        put("secrets", json!([]));
    } else if is_new {
        let scheme: Option<SignatureScheme> = fields.get("signature_scheme", wrong);
        put("signature_scheme", json!(scheme));
    }
    draft
}

/// Assigns an error to a field of the form: `filters[0].comparison` belongs to the row of that
/// filter in `rows`, or to `filters` where there is none.
pub(super) fn put_error(error: &FieldError, rows: &[usize], wrong: &mut Wrong) {
    if let Some((index, part)) = filter(&error.field)
        && let Some(row) = rows.get(index)
    {
        let part = if part.is_empty() { String::new() } else { format!("{part}: ") };
        return wrong.add(&error_of(*row), format!("{part}{}", error.message));
    }
    let field: String =
        error.field.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let message = if field == error.field {
        error.message.clone()
    } else {
        format!("{}: {}", error.field, error.message)
    };
    wrong.add(&field, message);
}

/// The index in `filters[2].comparison`, and the part behind it.
fn filter(field: &str) -> Option<(usize, &str)> {
    let (index, part) = field.strip_prefix("filters[")?.split_once(']')?;
    Some((index.parse().ok()?, part.trim_start_matches('.')))
}

/// The topics, with the one that is to be added to them.
pub(super) fn topics(fields: &Fields) -> Vec<&str> {
    let mut topics: Vec<_> = lines(fields.text("topics")).collect();
    topics.extend(fields.given("add_topic").filter(|topic| !topics.contains(topic)));
    topics
}

fn labels(fields: &Fields, wrong: &mut Wrong) -> Value {
    let mut labels = Map::new();
    for line in lines(fields.text("labels")) {
        match line.split_once('=') {
            Some((name, value)) => {
                let name = name.trim();
                if labels.insert(name.to_owned(), json!(value.trim())).is_some() {
                    wrong.add("labels", format!("`{name}` is given twice"));
                }
            }
            None => wrong.add("labels", "write each as `name=value`".to_owned()),
        }
    }
    Value::Object(labels)
}

fn template(fields: &Fields) -> Value {
    let Some(receiver) = fields.given("template_receiver") else { return Value::Null };
    let to: Vec<_> = fields.text("template_to").split([',', '\n']).map(str::trim).collect();
    let to: Vec<_> = to.into_iter().filter(|address| !address.is_empty()).collect();
    json!({ "receiver": receiver, "from": fields.given("template_from"), "to": to })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Basic credentials, if they were given: one of them may be empty where there are none to replace.
fn basic(fields: &Fields, is_new: bool, wrong: &mut Wrong) -> Option<Value> {
    let (username, password) = (fields.given("basic_username"), fields.given("basic_password"));
    username.or(password)?;
    if !is_new && (username.is_none() || password.is_none()) {
        wrong.add("authentication", "enter user name and password, to replace both".to_owned());
    }
    let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
    Some(json!({ "username": username, "password": password }))
}

/// Credentials for OAuth 2.0, if any were given: those that are there are not kept.
fn oauth2(fields: &Fields, wrong: &mut Wrong) -> Option<Value> {
    const NEEDED: [&str; 3] = ["token_url", "client_id", "client_secret"];
    let names = NEEDED.into_iter().chain(["scope", "audience"]);
    let given = |name| Some((name, fields.given(&format!("oauth2_{name}"))?));
    let given: Vec<_> = names.filter_map(given).collect();
    if given.is_empty() {
        return None;
    }
    if !NEEDED.iter().all(|name| given.iter().any(|(given, _)| given == name)) {
        let message = "OAuth 2.0: enter token URL, client ID and client secret, to replace all";
        wrong.add("authentication", message.to_owned());
    }
    let method = fields.given("oauth2_token_endpoint_auth_method");
    let method = method.map(|method| ("token_endpoint_auth_method", method));
    let fields = given.into_iter().chain(method);
    Some(fields.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>().into())
}

fn headers(fields: &Fields, wrong: &mut Wrong) -> Value {
    let mut headers = Map::new();
    for line in lines(fields.text("headers")) {
        match line.split_once(':') {
            Some((name, value)) => {
                let name = name.trim();
                if headers.insert(name.to_owned(), json!(value.trim())).is_some() {
                    wrong.add("headers", format!("`{name}` is given twice"));
                }
            }
            None => wrong.add("headers", "write each as `name: value`".to_owned()),
        }
    }
    Value::Object(headers)
}

#[cfg(test)]
mod tests;
