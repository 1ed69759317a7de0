//! The form in which Adobe Workfront sends events, for subscriptions made as its API makes them.
//!
//! Source: Adobe Workfront, *Event subscription API*: the fields of the subscription resource, and
//! the examples of event payloads.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FieldError;
use crate::{
    delivery::Delivery,
    event::ContentEncoding,
    id::SubscriptionId,
    json::{BodyError, Document, Json, Kind},
    time::UnixMillis,
    topic::TopicPattern,
};

/// The objects that events are about, in the case in which Workfront writes them.
pub const OBJ_CODES: [&str; 31] = [
    "approval",
    "approval_stage",
    "approval_stage_participant",
    "ASSGN",
    "CMPY",
    "PTLTAB",
    "DOCU",
    "DOCV",
    "EXPNS",
    "FIELD",
    "HOUR",
    "OPTASK",
    "NOTE",
    "PORT",
    "PRGM",
    "PROJ",
    "PRFAPL",
    "RECORD",
    "RECORD_TYPE",
    "PTLSEC",
    "STAFFP",
    "SPVAL",
    "STAFFR",
    "SPAVAL",
    "SAVSET",
    "SRPVAL",
    "TASK",
    "TMPL",
    "TSHET",
    "USER",
    "WORKSPACE",
];

/// The things that happen to objects.
pub const EVENT_TYPES: [&str; 3] = ["CREATE", "UPDATE", "DELETE"];

const MAX_OBJ_ID_CHARS: usize = 255;

/// Workfront's form of a subscription's events, and a selection of them.
///
/// Such a subscription has one topic, `<objCode>.<eventType>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkfrontForm {
    /// Only events about the object with this id.
    #[serde(default)]
    pub obj_id: Option<String>,
    /// Sent in every message as `subscriptionVersion`.
    #[serde(default)]
    pub version: Version,
    /// Sends the two states as base64 of their JSON.
    #[serde(default)]
    pub base64_encoding: bool,
}

/// The version of a subscription. homing's messages are the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WorkfrontVersion)]
pub enum Version {
    /// `v1`
    V1,
    /// `v2`
    #[default]
    V2,
}

/// The reason why an event does not fit Workfront's form. Permanent.
#[derive(Debug, thiserror::Error)]
pub enum UnfitEvent {
    /// The body is something else.
    #[error("the body is not a JSON object, which Workfront's form needs")]
    NotAnObject,
    /// The body cannot be read.
    #[error("the body cannot be read as Workfront's form needs it: {0}")]
    Unreadable(BodyError),
    /// The message cannot be written.
    #[error("the event cannot be written in Workfront's form: {0}")]
    Unwritable(serde_json::Error),
}

/// `objCode` and `eventType` of a topic that names both.
#[must_use]
pub fn split_topic(topic: &str) -> Option<(&str, &str)> {
    let (object, event) = topic.rsplit_once('.')?;
    (OBJ_CODES.contains(&object) && EVENT_TYPES.contains(&event)).then_some((object, event))
}

impl WorkfrontForm {
    /// Checks that a subscription with these topics can have this form.
    pub(super) fn check(&self, topics: &[TopicPattern]) -> Result<(), FieldError> {
        if !matches!(topics, [topic] if split_topic(topic.as_str()).is_some()) {
            let message = "Workfront's form goes with one topic, an object's code and CREATE, \
                           UPDATE or DELETE: `TASK.UPDATE`";
            return Err(FieldError::new("topics", message));
        }
        match &self.obj_id {
            Some(id) if id.is_empty() || id.chars().count() > MAX_OBJ_ID_CHARS => {
                let message = format!("an id has 1 to {MAX_OBJ_ID_CHARS} characters");
                Err(FieldError::new("workfront.obj_id", message))
            }
            Some(id) if id.chars().any(char::is_control) => {
                Err(FieldError::new("workfront.obj_id", "has control characters"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The message for `subscription`. The states are the bytes as published; without a `newState`
    /// the body as a whole is the new state, as it is for filters. `now` is sent if neither the
    /// event has a time nor homing a time of receipt.
    ///
    /// # Errors
    ///
    /// [`UnfitEvent`].
    pub fn message(&self, delivery: &Delivery, now: UnixMillis) -> Result<Bytes, UnfitEvent> {
        let event = &delivery.event;
        let encoding = event.content_encoding.as_ref().map(ContentEncoding::as_str);
        let document = Document::of_body(&event.body, encoding).map_err(UnfitEvent::Unreadable)?;
        let whole = document.root().filter(|whole| whole.kind() == Kind::Object);
        let whole = whole.ok_or(UnfitEvent::NotAnObject)?;
        let published = Published::of(whole).map_err(UnfitEvent::Unwritable)?;
        let nothing: &RawValue = serde_json::from_str("{}").map_err(UnfitEvent::Unwritable)?;
        let whole = raw(whole).map_err(UnfitEvent::Unwritable)?;
        let event_time = object(published.event_time).map_or_else(
            || EventTime::from(delivery.progress.received.unwrap_or(now)),
            EventTime::Published,
        );
        let message = Message {
            event_type: delivery.event.topic.as_str().rsplit('.').next().unwrap_or_default(),
            subscription_id: delivery.subscription,
            event_time,
            event_version: published
                .event_version
                .map_or(EventVersion::Here(Version::V2), EventVersion::Published),
            subscription_version: self.version,
            customer_id: published.customer_id,
            user_id: published.user_id,
            new_state: self.state(object(published.new_state).unwrap_or(whole)),
            old_state: self.state(object(published.old_state).unwrap_or(nothing)),
        };
        let written = serde_json::to_vec(&message).map_err(UnfitEvent::Unwritable)?;
        Ok(written.into())
    }

    fn state<'a>(&self, state: &'a RawValue) -> State<'a> {
        if self.base64_encoding {
            State::Encoded(STANDARD.encode(state.get()))
        } else {
            State::Plain(state)
        }
    }
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn object(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| is_object(value))
}

/// The text of a value, to be written unchanged.
fn raw(value: Json<'_>) -> serde_json::Result<&RawValue> {
    serde_json::from_str(value.raw())
}

/// The parts taken over from the body of an event, unchanged; the last of each name.
#[derive(Default)]
struct Published<'a> {
    event_time: Option<&'a RawValue>,
    event_version: Option<&'a RawValue>,
    customer_id: Option<&'a RawValue>,
    user_id: Option<&'a RawValue>,
    new_state: Option<&'a RawValue>,
    old_state: Option<&'a RawValue>,
}

impl<'a> Published<'a> {
    fn of(whole: Json<'a>) -> serde_json::Result<Self> {
        let mut published = Self::default();
        for (name, value) in whole.fields() {
            let name = name.text().unwrap_or_default();
            let place = match &*name {
                "eventTime" => &mut published.event_time,
                "eventVersion" => &mut published.event_version,
                "customerId" => &mut published.customer_id,
                "userId" => &mut published.user_id,
                "newState" => &mut published.new_state,
                "oldState" => &mut published.old_state,
                _ => continue,
            };
            *place = if value.kind() == Kind::Null { None } else { Some(raw(value)?) };
        }
        Ok(published)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    event_type: &'a str,
    subscription_id: SubscriptionId,
    event_time: EventTime<'a>,
    event_version: EventVersion<'a>,
    subscription_version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a RawValue>,
    new_state: State<'a>,
    old_state: State<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum State<'a> {
    Plain(&'a RawValue),
    Encoded(String),
}

#[derive(Serialize)]
#[serde(untagged)]
enum EventVersion<'a> {
    Published(&'a RawValue),
    Here(Version),
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum EventTime<'a> {
    Published(&'a RawValue),
    Here { epoch_second: i64, nano: i64 },
}

impl From<UnixMillis> for EventTime<'_> {
    fn from(instant: UnixMillis) -> Self {
        let nano = instant.get().rem_euclid(1_000).saturating_mul(1_000_000);
        Self::Here { epoch_second: instant.seconds(), nano }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{delivery::Progress, event::Event, id::EventId, topic::Topic};

    const RECEIVED: UnixMillis = UnixMillis::new(1_507_319_336_998);

    fn delivery(topic: &str, body: impl Into<Bytes>) -> Delivery {
        let event = Event {
            id: EventId::new("e1").unwrap(),
            topic: Topic::new(topic).unwrap(),
            content_type: "application/json".to_owned(),
            content_encoding: None,
            body: body.into(),
        };
        let subscription = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
        let progress = Progress { received: Some(RECEIVED), ..Progress::default() };
        Delivery::new(Arc::new(event), subscription, progress)
    }

    fn message(form: &WorkfrontForm, topic: &str, body: &str) -> Value {
        let now = RECEIVED.plus(std::time::Duration::from_secs(9));
        let message = form.message(&delivery(topic, body.to_owned()), now).unwrap();
        serde_json::from_slice(&message).unwrap()
    }

    /// Published by Adobe: what is sent for an event in this form is the event with the id and the
    /// version of the subscription.
    #[test]
    fn the_published_examples_come_out_as_they_are_published() {
        let form = WorkfrontForm::default();
        for (sample, topic) in [
            (include_str!("../../../../tests/samples/workfront-create.json"), "PROJ.CREATE"),
            (include_str!("../../../../tests/samples/workfront-update.json"), "PROJ.UPDATE"),
        ] {
            let mut expected: Value = serde_json::from_str(sample).unwrap();
            expected["subscriptionId"] = json!("01931f5a-9c4e-7000-8000-000000000001");
            assert_eq!(message(&form, topic, sample), expected);
        }
    }

    #[test]
    fn states_in_base64_are_their_bytes_and_the_rest_stays_plain() {
        let form = WorkfrontForm { base64_encoding: true, ..WorkfrontForm::default() };
        let sample = include_str!("../../../../tests/samples/workfront-update.json");
        let sent = message(&form, "PROJ.UPDATE", sample);
        let expected: Value = serde_json::from_str(sample).unwrap();
        for state in ["newState", "oldState"] {
            let bytes = STANDARD.decode(sent[state].as_str().unwrap()).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(sample.contains(&text), "the bytes as published");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected[state]);
        }
        assert_eq!(sent["eventTime"], expected["eventTime"]);
    }

    #[test]
    fn an_event_of_another_publisher_is_the_new_state() {
        let form = WorkfrontForm { version: Version::V1, ..WorkfrontForm::default() };
        let body = r#"{"ID": "a", "cost": 1.50, "newState": null}"#;
        let sent = form.message(&delivery("TASK.CREATE", body), RECEIVED).unwrap();
        insta::assert_snapshot!(String::from_utf8(sent.to_vec()).unwrap(), @r#"{"eventType":"CREATE","subscriptionId":"01931f5a-9c4e-7000-8000-000000000001","eventTime":{"epochSecond":1507319336,"nano":998000000},"eventVersion":"v2","subscriptionVersion":"v1","newState":{"ID": "a", "cost": 1.50, "newState": null},"oldState":{}}"#);
    }

    #[test]
    fn the_author_of_a_change_is_passed_on() {
        let body = r#"{"newState": {}, "customerId": "c", "userId": "u", "eventVersion": "v9"}"#;
        let sent = message(&WorkfrontForm::default(), "TASK.DELETE", body);
        assert_eq!((&sent["customerId"], &sent["userId"]), (&json!("c"), &json!("u")));
        assert_eq!(sent["eventVersion"], "v9");
        assert_eq!(sent["oldState"], json!({}));
    }

    #[test]
    fn bodies_that_are_no_object_do_not_fit() {
        for body in ["[]", "1", "", "nothing", "{", "{\"newState\": {}"] {
            let unfit = WorkfrontForm::default().message(&delivery("TASK.CREATE", body), RECEIVED);
            assert!(unfit.is_err(), "{body}");
        }
    }

    #[test]
    fn json_that_other_readers_refuse_is_sent_unchanged() {
        let states = r#"{"max":1e400,"name":"cut \ud83d","id":12345678901234567890123}"#;
        let body = format!(
            "\u{feff}{{\"newState\":{states},\"\\ud83d\":{}1{}}}",
            "[".repeat(500),
            "]".repeat(500)
        );
        let sent = WorkfrontForm::default().message(&delivery("TASK.UPDATE", body), RECEIVED);
        let sent = String::from_utf8(sent.unwrap().to_vec()).unwrap();
        assert!(sent.contains(&format!(r#""newState":{states},"oldState":{{}}"#)), "{sent}");
    }

    #[test]
    fn topics_of_workfront_name_an_object_and_what_happens_to_it() {
        assert_eq!(split_topic("TASK.UPDATE"), Some(("TASK", "UPDATE")));
        assert_eq!(split_topic("approval_stage.CREATE"), Some(("approval_stage", "CREATE")));
        for topic in ["task.UPDATE", "TASK.update", "TASK.*", "TASK", "#", "a.TASK.UPDATE"] {
            assert_eq!(split_topic(topic), None, "{topic}");
        }
    }
}
