//! Tests of the requests that are built.

use futures_util::FutureExt;
use http_body_util::BodyExt;

use super::*;
use crate::endpoint::tests::samples::{delivery, event, subscription};
use homing_domain::{delivery::Delivery, subscription::Subscription, time::UnixMillis};

fn sent(
    delivery: &Delivery,
    subscription: &Subscription,
    now: UnixMillis,
) -> Result<Request<Full<Bytes>>, RequestError> {
    let (source, purpose) = ("/shop", Purpose::Delivery);
    build(&Sent { delivery, subscription, now, token: None, source, purpose })
}

fn built(event_type: (&str, &str), changes: &serde_json::Value) -> Request<Full<Bytes>> {
    let subscription = subscription("https://example.com/hook?key=1", changes);
    let mut event = event();
    event.topic = homing_domain::topic::Topic::new(event_type.0).unwrap();
    event.content_type = event_type.1.to_owned();
    let now = UnixMillis::new(1_700_000_000_999);
    sent(&delivery(event, &subscription), &subscription, now).unwrap()
}

fn body(request: &Request<Full<Bytes>>) -> Bytes {
    let whole = request.body().clone().collect();
    whole.now_or_never().unwrap().unwrap().to_bytes()
}

fn texts(request: &Request<Full<Bytes>>) -> Vec<String> {
    let mut texts: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    texts.sort();
    texts
}

#[test]
fn a_request_describes_its_content_and_its_sender() {
    let request = built(("order.paid", "application/json"), &serde_json::json!({}));
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://example.com/hook?key=1");
    assert_eq!(body(&request), event().body);
    let version = env!("CARGO_PKG_VERSION");
    let text = texts(&request).join("\n").replace(version, "<version>");
    insta::assert_snapshot!(text, @"
    accept: */*
    content-type: application/json
    user-agent: homing/<version>
    webhook-id: b1adf592-7868-5e29-8147-96f73712972a
    webhook-timestamp: 1700000000
    x-homing-attempt: 3
    x-homing-topic: order.paid
    ");
}

#[test]
fn the_subscriptions_headers_are_sent_and_kept_out_of_logs() {
    let request = built(
        ("größe.geändert", "application/cloudevents+json; charset=utf-8"),
        &serde_json::json!({
            "auth_token": "geheim-äöü",
            "headers": {"X-Team": "payroll"},
            "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_AQECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
        }),
    );
    let headers = texts(&request);
    for expected in [
        "authorization: Bearer geheim-äöü",
        "content-type: application/cloudevents+json; charset=utf-8",
        "x-homing-topic: größe.geändert",
        "x-team: payroll",
    ] {
        assert!(headers.contains(&expected.to_owned()), "{expected} in {headers:#?}");
    }
    let signatures = request.headers()[WEBHOOK_SIGNATURE].to_str().unwrap();
    assert_eq!(signatures.split(' ').filter(|text| text.starts_with("v1,")).count(), 2);
    let debug = format!("{:?}", request.headers());
    assert!(!debug.contains("geheim") && !debug.contains("payroll"), "{debug}");
}

#[test]
fn basic_credentials_are_sent_and_kept_out_of_logs() {
    let changes = serde_json::json!({
        "authentication": {"basic": {"username": "Aladdin", "password": "open sesame"}},
    });
    let request = built(("order.paid", "application/json"), &changes);
    let expected = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned();
    assert!(texts(&request).contains(&expected));
    let debug = format!("{:?}", request.headers());
    assert!(!debug.contains("QWxhZGRpb"), "{debug}");
}

#[test]
fn in_workfronts_form_what_is_sent_is_signed() {
    let changes = serde_json::json!({
        "topics": ["TASK.UPDATE"],
        "workfront": {},
        "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
    });
    let request = built(("TASK.UPDATE", "text/plain"), &changes);
    let body = body(&request);
    assert!(body.starts_with(br#"{"eventType":"UPDATE","subscriptionId":"01931f5a"#));
    assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    let webhook = standardwebhooks::Webhook::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
    let headers = request.headers();
    let signed = webhook.unwrap().sign(headers[WEBHOOK_ID].to_str().unwrap(), 1_700_000_000, &body);
    assert_eq!(headers[WEBHOOK_SIGNATURE], signed.unwrap());
}

#[test]
fn a_cloud_event_is_signed_as_it_is_sent() {
    let built = |format: &str| {
        let changes = serde_json::json!({
            "format": format, "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
        });
        built(("order.paid", "application/json"), &changes)
    };
    for (format, content_type, attribute) in [
        ("cloudevents-structured", "application/cloudevents+json", None),
        ("cloudevents-binary", "application/json", Some("/shop")),
    ] {
        let request = built(format);
        let (headers, body) = (request.headers(), body(&request));
        assert_eq!(headers[CONTENT_TYPE], content_type);
        let source = headers.get("ce-source").map(|value| value.to_str().unwrap());
        assert_eq!(source, attribute, "{format}");
        assert_eq!(body == event().body, attribute.is_some());
        let webhook = standardwebhooks::Webhook::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let id = headers[WEBHOOK_ID].to_str().unwrap();
        let signed = webhook.unwrap().sign(id, 1_700_000_000, &body);
        assert_eq!(headers[WEBHOOK_SIGNATURE], signed.unwrap(), "{format}");
    }
}

#[test]
fn by_a_template_a_message_is_sent_and_a_key_in_it_in_no_header() {
    let changes = |receiver: &str| serde_json::json!({"template": {"receiver": receiver}, "auth_token": "the-key-0123"});
    let request = built(("homing.ledger.hour", "text/plain"), &changes("pagerduty"));
    assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    assert!(!request.headers().contains_key(AUTHORIZATION));
    let message: serde_json::Value = serde_json::from_slice(&body(&request)).unwrap();
    assert_eq!(message["routing_key"], "the-key-0123");
    let request = built(("homing.ledger.hour", "text/plain"), &changes("slack"));
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer the-key-0123");
    assert!(!String::from_utf8_lossy(&body(&request)).contains("the-key-0123"));
}

#[test]
fn a_packed_body_is_sent_with_its_coding_and_workfronts_form_without() {
    let subscription = subscription("https://example.com/", &serde_json::json!({}));
    let mut event = event();
    event.content_encoding = ContentEncoding::new("gzip");
    let delivery = delivery(event.clone(), &subscription);
    let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
    assert_eq!(request.headers()[CONTENT_ENCODING], "gzip");

    let form = serde_json::json!({"topics": ["TASK.UPDATE"], "workfront": {}});
    let subscription = crate::endpoint::tests::samples::subscription("https://a.example", &form);
    event.topic = homing_domain::topic::Topic::new("TASK.UPDATE").unwrap();
    let delivery = crate::endpoint::tests::samples::delivery(event, &subscription);
    let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
    assert_eq!(request.headers().get(CONTENT_ENCODING), None);
}

#[test]
fn an_empty_body_has_a_length() {
    let subscription = subscription("https://example.com/", &serde_json::json!({}));
    let mut event = event();
    event.body = Bytes::new();
    let delivery = delivery(event, &subscription);
    let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
    assert_eq!(request.headers()[CONTENT_LENGTH], "0");
}

/// Goal: no request breaks the HTTP/2 connection of others. Method: blanks at every place that
/// a client fills in.
#[test]
fn blanks_at_the_ends_of_values_are_not_sent() {
    let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
    subscription.spec.headers.insert("x-team".into(), " payroll\t".into());
    subscription.spec.auth_token = Some(" geheim ".to_owned().try_into().unwrap());
    let mut event = event();
    event.content_type = "text/plain ".to_owned();
    let delivery = delivery(event, &subscription);
    let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
    for value in request.headers().values() {
        assert_eq!(value.as_bytes(), value.as_bytes().trim_ascii(), "{value:?}");
    }
    assert_eq!(request.headers()["x-team"], "payroll");
}

#[test]
fn a_content_type_that_no_header_can_carry_is_bytes() {
    for unfit in ["", "text/plain\r\nx-evil: 1", "text/größe", "\0"] {
        let request = built(("a", unfit), &serde_json::json!({}));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/octet-stream", "{unfit:?}");
    }
}

#[test]
fn a_subscription_cannot_replace_what_homing_sends() {
    let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
    subscription.spec.headers.insert("webhook-id".into(), "forged".into());
    subscription.spec.headers.insert("User-Agent".into(), "forged".into());
    let delivery = delivery(event(), &subscription);

    let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();

    assert!(!texts(&request).join("\n").contains("forged"));
}

#[test]
fn an_own_accept_header_is_sent() {
    let changes = serde_json::json!({"headers": {"accept": "application/json"}});
    let request = built(("a", "text/plain"), &changes);
    let sent: Vec<_> = request.headers().get_all(ACCEPT).iter().collect();
    assert_eq!(sent, ["application/json"]);
}

#[test]
fn a_header_that_http_cannot_carry_is_named() {
    let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
    subscription.spec.headers.insert("x-team".into(), "a\r\nb".into());
    let delivery = delivery(event(), &subscription);

    let error = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap_err();

    insta::assert_snapshot!(error, @"header `x-team` cannot be sent: its name or value is not one");
}
