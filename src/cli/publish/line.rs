//! One line of input as an event.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use homing_broker::Message;
use homing_domain::{
    clock,
    delivery::Progress,
    event::{CONTENT_TYPE_DEFAULT, ContentEncoding, Event, NO_CODING},
    id::{EventId, SubscriptionId},
    report::without_types,
    topic::Topic,
};

/// Turns lines into messages.
pub(super) struct Reader {
    pub(super) form: Form,
    /// `worker.max_event_bytes`
    pub(super) max_body_bytes: usize,
}

/// The form of a line.
pub(super) enum Form {
    /// A JSON object with topic and data.
    Envelope,
    /// The body of an event.
    Body {
        topic: String,
        id: Option<String>,
        subscription: Option<SubscriptionId>,
        content_type: String,
    },
}

/// A line as a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    topic: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    subscription: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    content_encoding: Option<String>,
    #[serde(default, borrow, deserialize_with = "as_written")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    body_base64: Option<String>,
    /// The history of a message from `homing parked export`; ignored here.
    #[serde(default, rename = "parked")]
    _parked: Option<IgnoredAny>,
}

/// `null` is data too.
fn as_written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// An event before it is checked.
struct Parts {
    topic: String,
    id: Option<String>,
    subscription: Option<SubscriptionId>,
    content_type: String,
    content_encoding: Option<String>,
    body: Bytes,
}

impl Reader {
    /// Topic, ids and names of fields, and the third that base64 adds.
    const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

    /// Bytes of the longest line that can hold an event.
    pub(super) fn max_line_bytes(&self) -> usize {
        let base64 = self.max_body_bytes.saturating_add(self.max_body_bytes / 3);
        base64.saturating_add(Self::MAX_ENVELOPE_BYTES)
    }

    /// The message of `line`, and the id of its event; or what is wrong with it.
    pub(super) fn read(&self, line: &Bytes) -> Result<(EventId, Message), String> {
        let parts = match &self.form {
            Form::Envelope => read_envelope(line)?,
            Form::Body { topic, id, subscription, content_type } => Parts {
                topic: topic.clone(),
                id: id.clone(),
                subscription: *subscription,
                content_type: content_type.clone(),
                content_encoding: None,
                body: line.clone(),
            },
        };
        if parts.body.len() > self.max_body_bytes {
            return Err(format!(
                "the body has {} bytes, an event at most {} (`worker.max_event_bytes`)",
                parts.body.len(),
                self.max_body_bytes
            ));
        }
        build(parts)
    }
}

fn read_envelope(line: &Bytes) -> Result<Parts, String> {
    let envelope: Envelope<'_> = serde_json::from_slice(line).map_err(|error| {
        let not_json = if error.is_data() { "" } else { "not JSON: " };
        format!("{not_json}{}", json_error(&error))
    })?;
    let body = match (envelope.data, envelope.body_base64) {
        (Some(data), None) => line.slice_ref(data.get().as_bytes()),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("`body_base64` is not base64: {error}"))?
            .into(),
        (None, None) => return Err("missing field `data`".to_owned()),
        (Some(_), Some(_)) => return Err("give either `data` or `body_base64`".to_owned()),
    };
    let subscription = envelope
        .subscription
        .map(|text| text.parse().map_err(|error| format!("`subscription`: {error}")))
        .transpose()?;
    Ok(Parts {
        topic: envelope.topic,
        id: envelope.id,
        subscription,
        content_type: envelope.content_type.unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned()),
        content_encoding: envelope.content_encoding,
        body,
    })
}

fn build(parts: Parts) -> Result<(EventId, Message), String> {
    let Parts { topic, id, subscription, content_type, content_encoding, body } = parts;
    if !(1..=255).contains(&content_type.len()) || content_type.chars().any(char::is_control) {
        return Err("`content_type` has 1 to 255 bytes and no control characters".to_owned());
    }
    let content_encoding = content_encoding.map(|text| {
        ContentEncoding::new(&text).ok_or_else(|| format!("`content_encoding`: {NO_CODING}"))
    });
    let content_encoding = content_encoding.transpose()?;
    if content_type == CONTENT_TYPE_DEFAULT && content_encoding.is_none() {
        serde_json::from_slice::<IgnoredAny>(&body).map_err(|error| {
            format!(
                "the body is not JSON ({}); what else it is, its content type says",
                json_error(&error)
            )
        })?;
    }
    let id = match id {
        Some(id) => EventId::new(&id).map_err(|error| format!("`id`: {error}"))?,
        None => EventId::from(clock::new_id()),
    };
    let topic = Topic::for_publishing(&topic).map_err(|error| format!("`topic`: {error}"))?;
    let message =
        Message::of_event(Event { id: id.clone(), topic, content_type, content_encoding, body });
    let message = match subscription {
        Some(subscription) => message.for_subscription(subscription, Progress::default()),
        None => message,
    };
    Ok((id, message))
}

/// The line is named by its number in the file; only the column is of use.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = without_types(&text);
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) if error.line() == 1 => format!("{text} at column {}", error.column()),
        Some(_) | None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(form: Form) -> Reader {
        Reader { form, max_body_bytes: 64 }
    }

    fn error(line: &str) -> String {
        reader(Form::Envelope).read(&Bytes::from(line.to_owned())).unwrap_err()
    }

    #[test]
    fn data_stays_as_it_is_written() {
        let read =
            |line: &'static str| read_envelope(&Bytes::from_static(line.as_bytes())).unwrap();
        assert_eq!(
            read(r#"{"topic":"t","data": {"b" :1.50, "a":2} }"#).body,
            r#"{"b" :1.50, "a":2}"#
        );
        assert_eq!(read(r#"{"topic":"t","data":null}"#).body, "null");
        assert_eq!(read(r#"{"topic":"t","data":12.50,"parked":{"x":1}}"#).body, "12.50");
        assert_eq!(read(r#"{"topic":"t","body_base64":"AAEC"}"#).body, [0_u8, 1, 2][..]);
    }

    #[test]
    fn ids_are_kept_or_made() {
        let read = |line: &str| {
            reader(Form::Envelope).read(&Bytes::from(line.to_owned())).unwrap().0.to_string()
        };
        assert_eq!(read(r#"{"topic":"t","id":"o-7","data":1}"#), "o-7");
        assert_eq!(read(r#"{"topic":"t","data":1}"#).len(), 36);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        insta::assert_snapshot!(error("hello"), @"not JSON: expected value at column 1");
        insta::assert_snapshot!(error(r#"{"topic":"t""#), @"not JSON: EOF while parsing an object at column 12");
        insta::assert_snapshot!(error(r#"{"topik":"t","data":1}"#), @"unknown field `topik`, expected one of `topic`, `id`, `subscription`, `content_type`, `content_encoding`, `data`, `body_base64`, `parked` at column 8");
        insta::assert_snapshot!(error(r#"{"data":1}"#), @"missing field `topic` at column 10");
        insta::assert_snapshot!(error(r#"{"topic":"t"}"#), @"missing field `data`");
        insta::assert_snapshot!(error(r#"{"topic":"","data":1}"#), @"`topic`: a topic has 1 to 255 bytes, this one is empty");
        insta::assert_snapshot!(error(r#"{"topic":"homing.x","data":1}"#), @"`topic`: topics that begin with `homing.` are homing's own; publish with another first word");
        insta::assert_snapshot!(error(r#"{"topic":"t","id":"","data":1}"#), @"`id`: an event id has 1 to 255 bytes and no control characters");
        insta::assert_snapshot!(error(r#"{"topic":"t","subscription":"7","data":1}"#), @"`subscription`: `7` is not a subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)");
        insta::assert_snapshot!(error(r#"{"topic":"t","data":1,"body_base64":"AA=="}"#), @"give either `data` or `body_base64`");
        insta::assert_snapshot!(error(r#"{"topic":"t","body_base64":"?"}"#), @"`body_base64` is not base64: Invalid symbol 63, offset 0.");
        let long = format!(r#"{{"topic":"t","data":"{}"}}"#, "x".repeat(80));
        insta::assert_snapshot!(error(&long), @"the body has 82 bytes, an event at most 64 (`worker.max_event_bytes`)");
    }

    #[test]
    fn a_body_of_the_default_type_is_json() {
        let read = |content_type: &str| {
            let form = Form::Body {
                topic: "t".to_owned(),
                id: None,
                subscription: None,
                content_type: content_type.to_owned(),
            };
            reader(form).read(&Bytes::from_static(b"plain"))
        };
        assert!(read("text/plain").is_ok());
        insta::assert_snapshot!(read("application/json").unwrap_err(), @"the body is not JSON (expected value at column 1); what else it is, its content type says");
    }
}
