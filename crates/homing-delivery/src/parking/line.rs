//! A parked message as a line of a file.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Entry;
use homing_domain::id::SubscriptionId;

/// A line in the form that `homing publish` reads.
#[derive(Serialize)]
struct Line<'a> {
    topic: Option<&'a str>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<SubscriptionId>,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    parked: &'a Entry,
}

/// `entry`, its body included, as one line of JSON that `homing publish` reads.
#[must_use]
pub fn export_line(entry: &Entry) -> Vec<u8> {
    let body = entry.body.as_deref().unwrap_or_default();
    let data = json_line(body);
    let line = Line {
        topic: entry.topic.as_deref(),
        id: &entry.event_id,
        subscription: entry.subscription_id,
        content_type: &entry.content_type,
        content_encoding: entry.content_encoding.as_deref(),
        data,
        body_base64: data.is_none().then(|| BASE64_STANDARD.encode(body)),
        parked: entry,
    };
    // Strings, numbers and checked JSON: this cannot fail.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The body as JSON, if writing it into a line leaves every byte unchanged.
fn json_line(body: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let is_whole = raw.get().len() == body.len();
    (is_whole && !body.iter().any(|byte| matches!(byte, b'\n' | b'\r'))).then_some(raw)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use homing_domain::{time::UnixMillis, verdict::ParkReason};

    fn exported(body: &'static str) -> String {
        let entry = Entry {
            id: homing_store::ParkedId::of_message(None, 7),
            event_id: "o-7".to_owned(),
            topic: Some("order.paid".to_owned()),
            subscription_id: None,
            delivery_id: None,
            url: None,
            reason: ParkReason::TooLarge,
            status: None,
            parked_ms: Some(UnixMillis::new(1_700_000_000_000)),
            received_ms: None,
            first_failure_ms: None,
            attempts: 0,
            replays: 0,
            last_outcome: None,
            error: None,
            content_type: "application/json".to_owned(),
            content_encoding: None,
            body_bytes: u64::try_from(body.len()).unwrap(),
            headers: [].into(),
            body: Some(Bytes::from_static(body.as_bytes())),
            unreadable: None,
        };
        String::from_utf8(export_line(&entry)).unwrap()
    }

    #[test]
    fn json_on_one_line_is_exported_as_it_is_written() {
        insta::assert_snapshot!(exported(r#"{"b" :1.50, "a":2}"#), @r#"{"topic":"order.paid","id":"o-7","content_type":"application/json","data":{"b" :1.50, "a":2},"parked":{"id":"00000000000000000000000000070000","event":"o-7","topic":"order.paid","subscription":null,"delivery":null,"url":null,"reason":"too_large","status":null,"parked":"2023-11-14T22:13:20.000Z","received":null,"first_failure":null,"attempts":0,"replays":0,"last_outcome":null,"error":null,"content_type":"application/json","body_bytes":18}}"#);
    }

    #[test]
    fn a_body_that_a_line_would_change_is_exported_as_bytes() {
        for body in ["{\n}", "{} ", "plain", ""] {
            let line = exported(body);
            let value: Value = serde_json::from_str(&line).unwrap();
            let bytes = BASE64_STANDARD.decode(value["body_base64"].as_str().unwrap()).unwrap();
            assert_eq!(bytes, body.as_bytes());
            assert!(value.get("data").is_none());
        }
    }
}
