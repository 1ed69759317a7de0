//! Forms and the drafts that they become.

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
    put_error(&FieldError::new("topics[1]", "bad"), &[], &mut wrong);
    for field in ["filters", "headers", "rate_limit", "topics"] {
        assert!(wrong.with(field).is_some(), "{field}");
    }
    assert_eq!(wrong.with("topics"), Some("topics[1]: bad"));
    put_error(&FieldError::new("filters[1].comparison", "bad"), &[0, 3], &mut wrong);
    assert_eq!(wrong.with("filter_3"), Some("comparison: bad"));
}

#[tokio::test]
async fn a_topic_is_added_and_labels_and_a_template_are_read() {
    let fields = read(&[
        ("topics", "a.*\nb"),
        ("add_topic", "c"),
        ("labels", "team = billing\r\ntier=1"),
        ("template_receiver", "email"),
        ("template_from", "a@example.com"),
        ("template_to", "b@example.com, c@example.com"),
    ])
    .await;
    let mut wrong = Wrong::default();
    let draft = Value::Object(draft(&fields, true, &mut wrong));
    assert!(wrong.is_empty());
    assert_eq!(draft["topics"], json!(["a.*", "b", "c"]));
    assert_eq!(draft["labels"], json!({"team": "billing", "tier": "1"}));
    let to = json!(["b@example.com", "c@example.com"]);
    let template = json!({"receiver": "email", "from": "a@example.com", "to": to});
    assert_eq!(draft["template"], template);
    labels(&read(&[("labels", "a")]).await, &mut wrong);
    assert!(wrong.with("labels").is_some());
}
