//! A subscription as a form: its fields as texts, and the texts as a draft or as changes.

use serde_json::{Map, Value, json};

use super::fields::{Fields, Wrong};
use crate::registry::View;
use homing_domain::{signature::SignatureScheme, subscription::FieldError};

/// The texts in the fields of the form.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) url: String,
    /// One a line.
    pub(super) topics: String,
    /// A list in JSON.
    pub(super) filters: String,
    pub(super) filter_connector: String,
    pub(super) schedule: String,
    pub(super) rate_limit: String,
    pub(super) deadline: String,
    pub(super) max_concurrency: String,
    pub(super) description: String,
    pub(super) basic_username: String,
    pub(super) oauth2: OAuth2Texts,
    pub(super) client_certificate: String,
    pub(super) signature_scheme: String,
    /// `name: value`, one a line; never filled in, because values are secret.
    pub(super) headers: String,
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
        let filters = if view.filters.is_empty() {
            String::new()
        } else {
            serde_json::to_string_pretty(&view.filters).unwrap_or_default()
        };
        Self {
            url: view.url.clone(),
            topics: view.topics.join("\n"),
            filters,
            filter_connector: view.filter_connector.as_str().to_owned(),
            schedule: view.schedule.clone().unwrap_or_default(),
            rate_limit: view.rate_limit.map(|limit| limit.to_string()).unwrap_or_default(),
            deadline: view.deadline.clone().unwrap_or_default(),
            max_concurrency: view.max_concurrency.map(|it| it.to_string()).unwrap_or_default(),
            description: view.description.clone().unwrap_or_default(),
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
            filters: text("filters"),
            filter_connector: text("filter_connector"),
            schedule: text("schedule"),
            rate_limit: text("rate_limit"),
            deadline: text("deadline"),
            max_concurrency: text("max_concurrency"),
            description: text("description"),
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
    put("topics", json!(lines(fields.text("topics")).collect::<Vec<_>>()));
    put("filters", filters(fields, wrong));
    put("filter_connector", json!(fields.given("filter_connector").unwrap_or("AND")));
    put("schedule", json!(fields.given("schedule")));
    put("description", json!(fields.given("description")));
    put("rate_limit", json!(fields.get::<u32>("rate_limit", wrong)));
    put("deadline", json!(fields.given("deadline")));
    put("max_concurrency", json!(fields.get::<u32>("max_concurrency", wrong)));
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

/// Assigns an error to a field of the form: `filters[0].comparison` belongs to `filters`.
pub(super) fn put_error(error: &FieldError, wrong: &mut Wrong) {
    let field: String =
        error.field.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let message = if field == error.field {
        error.message.clone()
    } else {
        format!("{}: {}", error.field, error.message)
    };
    wrong.add(&field, message);
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn filters(fields: &Fields, wrong: &mut Wrong) -> Value {
    let Some(text) = fields.given("filters") else { return json!([]) };
    match serde_json::from_str(text) {
        Ok(filters @ Value::Array(_)) => filters,
        Ok(filter @ Value::Object(_)) => json!([filter]),
        Ok(_) => {
            wrong.add("filters", "a list of filters in JSON: [{…}]".to_owned());
            json!([])
        }
        Err(error) => {
            wrong.add("filters", format!("not JSON: {error}"));
            json!([])
        }
    }
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
mod tests {
    use axum::{body::Body, extract::FromRequest, http::Request};

    use super::*;
    use crate::dashboard::links::query;

    async fn read(pairs: &[(&str, &str)]) -> Fields {
        let request = Request::post("/").body(Body::from(query(pairs.iter().copied()))).unwrap();
        Fields::from_request(request, &()).await.unwrap()
    }

    #[tokio::test]
    async fn a_form_becomes_the_draft_that_a_program_would_send() {
        let fields = read(&[
            ("url", "https://example.com"),
            ("topics", "order.*\r\n\r\n t.# "),
            ("filters", r#"{"fieldName": "a", "comparison": "changed"}"#),
            ("headers", "x-a: b: c"),
            ("rate_limit", "5"),
            ("deadline", "30s"),
            ("max_concurrency", ""),
            ("schedule", ""),
        ])
        .await;
        let mut wrong = Wrong::default();
        let draft = Value::Object(draft(&fields, true, &mut wrong));
        assert!(wrong.is_empty());
        assert_eq!(draft["topics"], json!(["order.*", "t.#"]));
        assert_eq!(draft["filters"][0]["comparison"], "changed");
        assert_eq!(draft["headers"], json!({"x-a": "b: c"}));
        assert_eq!((&draft["rate_limit"], &draft["schedule"]), (&json!(5), &Value::Null));
        let limits = (&draft["deadline"], &draft["max_concurrency"]);
        assert_eq!(limits, (&json!("30s"), &Value::Null));
        assert!(draft.get("secrets").is_none() && draft.get("authentication").is_none());
    }

    #[tokio::test]
    async fn basic_credentials_and_a_scheme_are_fields_of_a_draft() {
        let mut wrong = Wrong::default();
        let fields = read(&[("basic_username", "u"), ("signature_scheme", "v1a")]).await;
        let new = draft(&fields, true, &mut wrong);
        let basic = json!({"basic": {"username": "u", "password": ""}});
        assert_eq!((&new["authentication"], &new["signature_scheme"]), (&basic, &json!("v1a")));
        assert!(wrong.is_empty());
        let changes = draft(&fields, false, &mut wrong);
        assert!(!changes.contains_key("signature_scheme"));
        assert!(wrong.with("authentication").is_some(), "the password is not known any more");
        draft(&read(&[("signature_scheme", "v2")]).await, true, &mut wrong);
        assert!(wrong.with("signature_scheme").is_some());
    }

    #[tokio::test]
    async fn credentials_for_oauth2_are_given_as_a_whole() {
        let whole = [
            ("oauth2_token_url", "https://a.example/token"),
            ("oauth2_client_id", "c"),
            ("oauth2_client_secret", " s "),
            ("oauth2_scope", "x y"),
            ("oauth2_token_endpoint_auth_method", "client_secret_post"),
        ];
        let mut wrong = Wrong::default();
        let drafted = draft(&read(&whole).await, false, &mut wrong);
        let oauth2 = json!({"oauth2": {
            "token_url": "https://a.example/token", "client_id": "c", "client_secret": " s ",
            "scope": "x y", "token_endpoint_auth_method": "client_secret_post",
        }});
        assert!(wrong.is_empty());
        assert_eq!(drafted["authentication"], oauth2);
        let method_alone = draft(&read(&whole[4..]).await, false, &mut wrong);
        assert!(!method_alone.contains_key("authentication") && wrong.is_empty());
        draft(&read(&whole[..2]).await, false, &mut wrong);
        assert!(wrong.with("authentication").is_some());
        let mut wrong = Wrong::default();
        let both = [&whole[..], &[("basic_username", "u"), ("basic_password", "p")]].concat();
        draft(&read(&both).await, true, &mut wrong);
        assert!(wrong.with("authentication").is_some_and(|it| it.contains("either")));
    }

    #[tokio::test]
    async fn secrets_left_empty_stay() {
        let mut wrong = Wrong::default();
        let fields = read(&[("url", "u"), ("auth_token", ""), ("headers", "")]).await;
        let changes = draft(&fields, false, &mut wrong);
        for secret in ["auth_token", "authentication", "headers"] {
            assert!(!changes.contains_key(secret), "{secret}");
        }
        let no = [("no_auth_token", "on"), ("no_authentication", "on"), ("no_headers", "on")];
        let changes = draft(&read(&no).await, false, &mut wrong);
        assert_eq!((&changes["auth_token"], &changes["headers"]), (&Value::Null, &json!({})));
        assert_eq!(changes["authentication"], Value::Null);
    }

    #[tokio::test]
    async fn errors_are_shown_at_their_field() {
        let fields = read(&[("filters", "{"), ("headers", "x"), ("rate_limit", "many")]).await;
        let mut wrong = Wrong::default();
        draft(&fields, true, &mut wrong);
        put_error(&FieldError::new("topics[1]", "bad"), &mut wrong);
        for field in ["filters", "headers", "rate_limit", "topics"] {
            assert!(wrong.with(field).is_some(), "{field}");
        }
        assert_eq!(wrong.with("topics"), Some("topics[1]: bad"));
    }
}
