//! Reading messages, leniently: publishers are not ours.

use std::sync::Arc;

use bytes::Bytes;
use lapin::{BasicProperties, types::ShortString};

use super::{Carried, Message, Parked, header};
use crate::{
    broker::headers::{self, Headers},
    domain::{
        delivery::Progress,
        event::{CONTENT_TYPE_DEFAULT, ContentEncoding, Event},
        id::{EventId, SubscriptionId, SubscriptionIdError},
        schedule::Step,
        time::UnixMillis,
        topic::{Topic, TopicError},
        trace::TraceContext,
        verdict::ParkReason,
    },
};

/// A message that is not an event. It is parked as it came, never dropped.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What is wrong with it.
    pub why: Why,
    /// The publisher's `message_id`.
    pub id: Option<String>,
    /// Its bytes.
    pub body: Bytes,
    /// Since when it is parked.
    pub parked: Option<Parked>,
    pub(super) properties: BasicProperties,
}

/// What is wrong with a message that is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Neither `type` nor routing key is a topic.
    #[error("no topic ({0}): set the routing key or the `type` property")]
    Topic(TopicError),
    /// The header is there, and is no subscription id.
    #[error("header `x-homing-subscription`: {0}")]
    Subscription(SubscriptionIdError),
}

impl Message {
    /// Reads a message; `fresh_id` is used where the publisher gave no id that can be used.
    /// `routing_key` is the publisher's; `None` where homing or a wait queue sent the message, so
    /// that its routing key is the name of a queue.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: the message as it came.
    pub fn read(
        properties: &BasicProperties,
        routing_key: Option<&str>,
        body: Bytes,
        fresh_id: impl FnOnce() -> EventId,
    ) -> Result<Self, Box<Unreadable>> {
        let headers = Headers(properties.headers().as_ref());
        let id = text(properties.message_id().as_ref()).or_else(|| cloud_event(&headers, "id"));
        let read = read_topic(properties, &headers, routing_key)
            .map_err(Why::Topic)
            .and_then(|topic| Ok((topic, read_subscription(&headers).map_err(Why::Subscription)?)));
        match read {
            Ok((topic, subscription)) => Ok(Self {
                event: Arc::new(Event {
                    id: id.and_then(|id| EventId::new(&id).ok()).unwrap_or_else(fresh_id),
                    topic,
                    content_type: text(properties.content_type().as_ref())
                        .unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned()),
                    content_encoding: text(properties.content_encoding().as_ref())
                        .and_then(|text| ContentEncoding::new(&text)),
                    body,
                }),
                subscription,
                progress: read_progress(&headers),
                parked: read_parked(&headers),
                trace: read_trace(&headers),
                carried: Arc::new(Carried(without_effects(properties))),
            }),
            Err(why) => Err(Box::new(Unreadable {
                why,
                id,
                body,
                parked: read_parked(&headers),
                properties: as_it_came(properties, &headers, routing_key),
            })),
        }
    }
}

fn text(property: Option<&ShortString>) -> Option<String> {
    property.map(|text| text.as_str().to_owned()).filter(|text| !text.is_empty())
}

/// An attribute of `CloudEvents` in binary mode, in either spelling of its prefix.
fn cloud_event(headers: &Headers<'_>, attribute: &str) -> Option<String> {
    ["cloudEvents:", "cloudEvents_"]
        .iter()
        .find_map(|prefix| headers.text(&format!("{prefix}{attribute}")))
        .filter(|text| !text.is_empty())
}

fn read_topic(
    properties: &BasicProperties,
    headers: &Headers<'_>,
    routing_key: Option<&str>,
) -> Result<Topic, TopicError> {
    let named = text(properties.kind().as_ref())
        .or_else(|| cloud_event(headers, "type"))
        .or_else(|| routing_key.map(str::to_owned))
        .or_else(|| headers.first_routing_key());
    Topic::new(&named.unwrap_or_default())
}

fn read_subscription(headers: &Headers<'_>) -> Result<Option<SubscriptionId>, SubscriptionIdError> {
    if !headers.contains(header::SUBSCRIPTION) {
        return Ok(None);
    }
    headers.text(header::SUBSCRIPTION).unwrap_or_default().parse().map(Some)
}

fn read_progress(headers: &Headers<'_>) -> Progress {
    let instant = |name| headers.integer(name).map(UnixMillis::new);
    Progress {
        attempts: headers.count(header::ATTEMPTS),
        step: Step::new(headers.count(header::STEP)),
        holds: headers.count(header::HOLDS),
        turned_away: headers.count(header::TURNED_AWAY),
        replays: headers.count(header::REPLAYS),
        received: instant(header::RECEIVED),
        first_failure: instant(header::FIRST_FAILURE),
        not_before: instant(header::NOT_BEFORE),
        last_outcome: headers.text(header::LAST_OUTCOME),
    }
}

/// One that cannot be read is nobody's fault but its own.
fn read_trace(headers: &Headers<'_>) -> Option<TraceContext> {
    let named = |name| headers.text(name).or_else(|| cloud_event(headers, name));
    let context: TraceContext = named(header::TRACE_PARENT)?.parse().ok()?;
    Some(context.with_state(named(header::TRACE_STATE)))
}

/// What homing parked has a reason; what the broker moved has only its own `x-death`.
fn read_parked(headers: &Headers<'_>) -> Option<Parked> {
    let reason = headers.text(header::PARKED_REASON).and_then(|word| word.parse().ok());
    let since = headers.integer(header::PARKED).map(UnixMillis::new);
    let by_broker = || headers.contains("x-death").then_some(ParkReason::RejectedByBroker);
    reason.or_else(by_broker).map(|reason| Parked { reason, since })
}

/// The properties that a copy may have: all but those that homing writes anew, and those on which
/// the broker acts: `expiration` would end a wait early, `user_id` must be our own user, `reply_to`
/// can ask for a consumer that we are not, `priority` has no meaning in a quorum queue.
fn without_effects(properties: &BasicProperties) -> BasicProperties {
    let mut copy = BasicProperties::default();
    if let Some(table) = properties.headers() {
        copy = copy.with_headers(headers::carried(table));
    }
    if let Some(encoding) = properties.content_encoding() {
        copy = copy.with_content_encoding(encoding.clone());
    }
    if let Some(correlation) = properties.correlation_id() {
        copy = copy.with_correlation_id(correlation.clone());
    }
    if let Some(timestamp) = properties.timestamp() {
        copy = copy.with_timestamp(*timestamp);
    }
    if let Some(app) = properties.app_id() {
        copy = copy.with_app_id(app.clone());
    }
    copy
}

/// How much of a header that cannot be read is kept.
const SHOWN_CHARS_MAX: usize = 200;

/// As [`without_effects`], with the fields that could not be read left as they are. The routing key
/// becomes the `type`, because the copy gets another one.
fn as_it_came(
    properties: &BasicProperties,
    headers: &Headers<'_>,
    routing_key: Option<&str>,
) -> BasicProperties {
    let mut copy = without_effects(properties);
    if let Some(id) = properties.message_id() {
        copy = copy.with_message_id(id.clone());
    }
    let topic = text(properties.kind().as_ref()).or_else(|| routing_key.map(str::to_owned));
    if let Some(topic) = topic.filter(|topic| !topic.is_empty()) {
        copy = copy.with_type(topic.into());
    }
    if let Some(content_type) = properties.content_type() {
        copy = copy.with_content_type(content_type.clone());
    }
    if headers.contains(header::SUBSCRIPTION) {
        let mut table = copy.headers().clone().unwrap_or_default();
        let text = headers.text(header::SUBSCRIPTION).unwrap_or_default();
        // As much as shows what it was: all headers must fit into a frame.
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        headers::put_text(&mut table, header::SUBSCRIPTION, &shown);
        copy = copy.with_headers(table);
    }
    copy
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    const SUBSCRIPTION: &str = "01931f5a-9c4e-7000-8000-000000000001";

    fn read(properties: &BasicProperties, key: &str) -> Result<Message, Box<Unreadable>> {
        Message::read(properties, Some(key), Bytes::from_static(b"{}"), || {
            EventId::new("fresh").unwrap()
        })
    }

    fn headers(entries: &[(&str, &str)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn a_message_without_any_property_is_an_event() {
        let message = read(&BasicProperties::default(), "order.paid").unwrap();
        assert_eq!(message.event.topic.as_str(), "order.paid");
        assert_eq!(message.event.id.as_str(), "fresh");
        assert_eq!(message.event.content_type, "application/json");
        assert!(message.delivery().is_none());
    }

    #[test]
    fn the_type_goes_before_the_routing_key() {
        let properties = BasicProperties::default().with_type("TASK.UPDATE".into());
        assert_eq!(read(&properties, "key").unwrap().event.topic.as_str(), "TASK.UPDATE");
    }

    #[test]
    fn cloud_events_are_read_in_both_spellings() {
        for prefix in ["cloudEvents:", "cloudEvents_"] {
            let (id, kind) = (format!("{prefix}id"), format!("{prefix}type"));
            let message =
                read(&headers(&[(&id, "ce-1"), (&kind, "com.example.paid")]), "").unwrap();
            assert_eq!(message.event.id.as_str(), "ce-1");
            assert_eq!(message.event.topic.as_str(), "com.example.paid");
        }
    }

    #[test]
    fn a_delivery_is_read_as_it_was_written() {
        let event = read(&headers(&[("traceparent", "00-1")]), "order.paid").unwrap();
        let progress = Progress {
            attempts: 3,
            step: Step::new(4),
            holds: 1,
            turned_away: 3,
            replays: 2,
            received: Some(UnixMillis::new(5)),
            first_failure: Some(UnixMillis::new(6)),
            not_before: Some(UnixMillis::new(7)),
            last_outcome: Some("refused 503".to_owned()),
        };
        let message = event
            .owed_to(SUBSCRIPTION.parse().unwrap(), progress)
            .parked(ParkReason::Exhausted, UnixMillis::new(8));

        let outgoing = message.outgoing();
        let again = read(&outgoing.properties, "ignored").unwrap();

        assert_eq!(*outgoing.properties.delivery_mode(), Some(2));
        assert_eq!(again.event, message.event);
        assert_eq!(again.subscription, message.subscription);
        assert_eq!(again.progress, message.progress);
        assert_eq!(again.parked, message.parked);
        assert_eq!(again.outgoing().properties, outgoing.properties);
    }

    #[test]
    fn properties_on_which_the_broker_acts_are_not_copied() {
        let properties = BasicProperties::default()
            .with_expiration("1000".into())
            .with_user_id("somebody".into())
            .with_priority(9)
            .with_app_id("shop".into());
        let copy = read(&properties, "t").unwrap().outgoing().properties;
        assert_eq!(*copy.expiration(), None);
        assert_eq!(*copy.user_id(), None);
        assert_eq!(*copy.priority(), None);
        assert_eq!(text(copy.app_id().as_ref()).as_deref(), Some("shop"));
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_came_and_says_why() {
        let unreadable = read(&BasicProperties::default(), "").unwrap_err();
        insta::assert_snapshot!(unreadable.why, @"no topic (a topic has 1 to 255 bytes, this one is empty): set the routing key or the `type` property");

        let unreadable = read(&headers(&[(header::SUBSCRIPTION, "nobody")]), "t").unwrap_err();
        insta::assert_snapshot!(unreadable.why, @"header `x-homing-subscription`: `nobody` is not a subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)");
        let parked = unreadable.parked(UnixMillis::new(9)).properties;
        let again =
            Message::read(&parked, None, Bytes::new(), || EventId::new("e").unwrap()).unwrap_err();
        assert_eq!(again.why, unreadable.why);
        assert_eq!(again.parked.unwrap().reason, ParkReason::Unreadable);
    }

    #[test]
    fn what_the_broker_moved_keeps_the_topic_of_its_publisher() {
        let keys = vec![AMQPValue::LongString("order.paid".into())];
        let mut death = FieldTable::default();
        death.insert("routing-keys".into(), AMQPValue::FieldArray(keys.into()));
        let mut table = FieldTable::default();
        let deaths = vec![AMQPValue::FieldTable(death)];
        table.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        let properties = BasicProperties::default().with_headers(table);

        let message =
            Message::read(&properties, None, Bytes::new(), || EventId::new("e").unwrap()).unwrap();

        assert_eq!(message.event.topic.as_str(), "order.paid");
        assert_eq!(message.parked.unwrap().reason, ParkReason::RejectedByBroker);
    }
}
