//! Credentials and key pairs of subscriptions: set, shown masked, replaced.

use serde_json::{Value, json};

use super::start;
use crate::support::receiver::Receiver;

fn basic(username: &str, password: &str) -> Value {
    json!({"basic": {"username": username, "password": password}})
}

#[tokio::test]
async fn basic_credentials_are_sent_and_shown_masked() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let draft = json!({
        "url": receiver.url("/"), "topics": ["t"], "authentication": basic("Aladdin", "open sesame"),
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let masked = basic("Aladdin", "****");
    assert_eq!(made.body["authentication"], masked);
    let path = made.headers["location"].to_str().expect("text");
    assert_eq!(running.get(path).await.expect(200).body["authentication"], masked);
    running.post(&format!("{path}/test"), &json!({})).await.expect(200);
    let request = receiver.wait_for(1).await.remove(0);
    let expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert_eq!(request.header("authorization"), Some(expected));

    let token = json!({"authentication": null, "auth_token": "0123456789"});
    let changed = running.patch(path, &token).await.expect(200).body;
    assert_eq!((changed.get("authentication"), &changed["auth_token"]), (None, &json!("****6789")));
}

#[tokio::test]
async fn credentials_that_cannot_be_sent_are_refused_by_field() {
    let running = start().await;
    let draft = json!({"url": "https://example.com/1", "topics": ["t"]});
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    for (changes, field) in [
        (json!({"authentication": basic("a:b", "c")}), "authentication.basic.username"),
        (json!({"authentication": basic("", "")}), "authentication.basic.username"),
        (json!({"authentication": basic("a", "\n")}), "authentication.basic.password"),
        (json!({"authentication": {"basic": {"username": "a"}}}), "authentication.basic.password"),
        (json!({"authentication": basic("a", "b"), "auth_token": "t"}), "authentication"),
        (
            json!({"authentication": basic("a", "b"), "headers": {"authorization": "x"}}),
            "headers.authorization",
        ),
        (json!({"secrets": ["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]}), "secrets[0]"),
        (json!({"secrets": ["whsk_AAAA"]}), "secrets[0]"),
    ] {
        let mut whole = json!({"url": "https://example.com/2", "topics": ["t"]});
        for (name, value) in changes.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        assert_eq!(running.post("/v1/subscriptions", &whole).await.field(), field, "{whole}");
        assert_eq!(running.patch(path, &changes).await.field(), field, "{changes}");
    }
}

#[tokio::test]
async fn another_origin_gets_no_credentials_that_were_given_for_the_first() {
    let running = start().await;
    let draft = json!({
        "url": "https://example.com/1", "topics": ["t"], "secrets": [],
        "authentication": basic("a", "b"),
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let path = made.headers["location"].to_str().expect("text");
    let mut elsewhere = json!({"url": "https://example.org/1"});
    let refused = running.patch(path, &elsewhere).await;
    assert_eq!(refused.field(), "url");
    assert!(refused.body["detail"].to_string().contains("`authentication`"), "{}", refused.body);
    elsewhere["authentication"] = basic("c", "d");
    let changed = running.patch(path, &elsewhere).await.expect(200).body;
    assert_eq!(changed["authentication"], basic("c", "****"));
}

fn oauth2(changes: &Value) -> Value {
    let mut oauth2 = json!({
        "token_url": "https://auth.example.com/token", "client_id": "c", "client_secret": "s3cret",
    });
    for (name, value) in changes.as_object().expect("an object") {
        oauth2.as_object_mut().expect("an object").insert(name.clone(), value.clone());
    }
    json!({ "oauth2": oauth2 })
}

#[tokio::test]
async fn credentials_for_oauth2_are_shown_masked_and_refused_by_field() {
    let running = start().await;
    let draft = |authentication: Value| json!({"url": "https://example.com/1", "topics": ["t"], "authentication": authentication});
    let scope = json!({"scope": "a b"});
    let made = running.post("/v1/subscriptions", &draft(oauth2(&scope))).await.expect(201);
    let mut masked = oauth2(&scope);
    masked["oauth2"]["client_secret"] = json!("****");
    masked["oauth2"]["token_endpoint_auth_method"] = json!("client_secret_basic");
    assert_eq!(made.body["authentication"], masked);
    let path = made.headers["location"].to_str().expect("text");
    assert_eq!(running.get(path).await.expect(200).body["authentication"], masked);
    let audit = running.get("/v1/audit").await.expect(200).body;
    let noted = &audit["records"][0]["difference"]["authentication"];
    assert_eq!(*noted, json!({"before": null, "after": {"oauth2": "****"}}));

    let shown_again = running.patch(path, &json!({"authentication": masked})).await;
    assert_eq!(shown_again.field(), "authentication.oauth2.client_secret");
    for (changes, field) in [
        (json!({"token_url": "http://auth.example.com/"}), "token_url"),
        (json!({"token_url": "https://u:p@auth.example.com/"}), "token_url"),
        (json!({"client_id": ""}), "client_id"),
        (json!({"scope": "\u{7}"}), "scope"),
        (json!({"token_endpoint_auth_method": "none"}), "token_endpoint_auth_method"),
    ] {
        let refused = running.patch(path, &json!({"authentication": oauth2(&changes)})).await;
        assert_eq!(refused.field(), format!("authentication.oauth2.{field}"), "{changes}");
        assert!(!refused.body.to_string().contains("s3cret"), "{}", refused.body);
    }
}

/// It is valid until 2030.
const CERTIFICATE: &str =
    include_str!("../../../crates/homing-domain/src/subscription/client_certificate_sample.pem");
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
/// Of another certificate.
const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n\
    -----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_client_certificate_shows_its_subject_and_its_expiry_and_never_its_key() {
    let running = start().await;
    let certificate = json!({"certificate": CERTIFICATE, "key": KEY});
    let draft = json!({
        "url": "https://example.com/1", "topics": ["t"], "client_certificate": certificate,
    });
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    let shown = json!({"subject": "O=Acme, CN=homing", "expires": "2030-01-01T00:00:00.000Z"});
    assert_eq!(made.body["client_certificate"], shown);
    let path = made.headers["location"].to_str().expect("text");
    let plain = json!({"url": "http://example.com/1", "keep_secrets": true});
    assert_eq!(running.patch(path, &plain).await.field(), "client_certificate");
    let elsewhere = running.patch(path, &json!({"url": "https://example.org/1"})).await;
    assert_eq!(elsewhere.field(), "url");
    for (certificate, key, field) in [
        (CERTIFICATE, OTHER_KEY, "client_certificate.key"),
        (CERTIFICATE, CERTIFICATE, "client_certificate.key"),
        (KEY, KEY, "client_certificate.certificate"),
    ] {
        let changes = json!({"client_certificate": {"certificate": certificate, "key": key}});
        let refused = running.patch(path, &changes).await;
        assert_eq!(refused.field(), field);
        assert!(!refused.body.to_string().contains("MC4CAQ"), "{}", refused.body);
    }
    let none = running.patch(path, &json!({"client_certificate": null})).await.expect(200).body;
    assert_eq!(none.get("client_certificate"), None);
}

#[tokio::test]
async fn of_a_key_pair_the_public_key_is_shown_at_any_time() {
    let running = start().await;
    let mut draft = json!({"url": "https://example.com/1", "topics": ["t"]});
    draft["signature_scheme"] = json!("v1a");
    let made = running.post("/v1/subscriptions", &draft).await.expect(201);
    assert_eq!(made.body.get("secret"), None);
    let shown = |body: &Value| body["secrets"][0]["public_key"].as_str().map(str::to_owned);
    let key = shown(&made.body).expect("a public key");
    assert!(key.starts_with("whpk_"), "{key}");
    let path = made.headers["location"].to_str().expect("text");
    assert_eq!(shown(&running.get(path).await.expect(200).body), Some(key.clone()));

    let rotate = format!("{path}/rotate-secret");
    let rotated = running.post(&rotate, &json!({})).await.expect(200).body;
    assert!(shown(&rotated).is_some_and(|new| new != key), "{rotated}");
    assert_eq!(rotated["secrets"][1]["public_key"], json!(key));
    let to = format!("{rotate}?signature_scheme=v1&overlap=0s");
    let shared = running.post(&to, &json!({})).await.expect(200).body;
    assert!(shared["secret"].as_str().is_some_and(|it| it.starts_with("whsec_")), "{shared}");
    assert_eq!(shared["secrets"], json!([{"secret": "****"}]));
    let refused = running.post(&format!("{rotate}?signature_scheme=v2"), &json!({})).await;
    assert_eq!(refused.field(), "signature_scheme");

    let given = json!(["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"]);
    draft["secrets"] = given;
    assert_eq!(running.post("/v1/subscriptions", &draft).await.field(), "signature_scheme");
    let changes = json!({"signature_scheme": "v1a"});
    assert_eq!(running.patch(path, &changes).await.field(), "signature_scheme");
}
