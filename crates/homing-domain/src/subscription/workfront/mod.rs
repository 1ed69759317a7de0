//! The form in which Adobe Workfront sends events, for subscriptions made as its API makes them.
//!
//! Source: Adobe Workfront, *Event subscription API*: the fields of the subscription resource, and
//! the examples of event payloads.

use std::{fmt, str::FromStr, time::Duration};

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

/// The time after a change of the version for which events are sent in both. Source: Adobe
/// Workfront, *Event subscription API*, event subscription versions.
pub const BOTH_VERSIONS: Duration = Duration::from_mins(5);

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
    /// The time of the last change of the version; `None`: it never changed. Set by homing alone.
    #[serde(skip)]
    pub version_updated: Option<UnixMillis>,
}

/// The version of a subscription. homing's messages are the same in both.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = WorkfrontVersion)]
pub enum Version {
    /// `v1`
    V1,
    /// `v2`
    #[default]
    V2,
}

impl Version {
    /// Both, the older one first.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::V1 => Self::V2,
            Self::V2 => Self::V1,
        }
    }
}

/// The version that a delivery is sent in, fixed when it was made, so that no later change of its
/// subscription has it come twice in one version, and never in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FixedVersion {
    /// The version.
    pub version: Version,
    /// True if this was the former version then: another delivery has the present one.
    pub is_former: bool,
}

/// `v2`, or `v1 former`.
impl fmt::Display for FixedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.as_str())?;
        f.write_str(if self.is_former { FORMER } else { "" })
    }
}

const FORMER: &str = " former";

impl FromStr for FixedVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let former = text.strip_suffix(FORMER);
        Ok(Self { version: former.unwrap_or(text).parse()?, is_former: former.is_some() })
    }
}

/// The text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is `v1` or `v2`")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(VersionError)
    }
}

/// The reason why an event does not fit the form of a subscription. Permanent.
#[derive(Debug, thiserror::Error)]
pub enum UnfitEvent {
    /// The body is something else.
    #[error("the body is not a JSON object, which Workfront's form needs")]
    NotAnObject,
    /// The body cannot be read.
    #[error("the body cannot be read as Workfront's form needs it: {0}")]
    Unreadable(BodyError),
    /// The message cannot be written.
    #[error("the event cannot be written in this form: {0}")]
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

    /// The end of the time for which events are sent in both versions; `None`: the version never
    /// changed.
    #[must_use]
    pub fn both_until(&self) -> Option<UnixMillis> {
        self.version_updated.map(|updated| updated.plus(BOTH_VERSIONS))
    }

    /// The present version and the former one, if events that come at `now` are sent in both. A
    /// change that lies further ahead than that time is one by a clock that is wrong.
    #[must_use]
    pub fn both_versions(&self, now: UnixMillis) -> Option<[FixedVersion; 2]> {
        let updated = self.version_updated?;
        let both = updated.minus(BOTH_VERSIONS)..updated.plus(BOTH_VERSIONS);
        both.contains(&now).then(|| {
            [(self.version, false), (self.version.other(), true)]
                .map(|(version, is_former)| FixedVersion { version, is_former })
        })
    }

    /// Takes the time of the last change of the version over from `former`, the form before this
    /// change; it is `now` where this one changes the version.
    pub fn keep_version_time(&mut self, former: &Self, now: UnixMillis) {
        let is_same = self.version == former.version;
        self.version_updated = if is_same { former.version_updated } else { Some(now) };
    }

    /// The message for `subscription`. The states are the bytes as published. The body as a whole
    /// is the new state, as it is for filters, without a `newState`; a `newState` of null beside an
    /// `oldState` is an empty one. `now` is sent if neither the event has a time nor homing a time
    /// of receipt.
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
            subscription_version: delivery
                .progress
                .version
                .map_or(self.version, |fixed| fixed.version),
            customer_id: published.customer_id,
            user_id: published.user_id,
            new_state: self.state(published.new_state(whole, nothing)),
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
    is_new_state_null: bool,
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
                "newState" => {
                    published.is_new_state_null = value.kind() == Kind::Null;
                    &mut published.new_state
                }
                "oldState" => &mut published.old_state,
                _ => continue,
            };
            *place = if value.kind() == Kind::Null { None } else { Some(raw(value)?) };
        }
        Ok(published)
    }

    /// The new state: the published one, `nothing` or the `whole` body.
    fn new_state(&self, whole: &'a RawValue, nothing: &'a RawValue) -> &'a RawValue {
        let is_empty = self.is_new_state_null && object(self.old_state).is_some();
        object(self.new_state).unwrap_or(if is_empty { nothing } else { whole })
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
mod tests;
