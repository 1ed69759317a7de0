//! Reads messages leniently: publishers are not under our control.

use std::sync::Arc;

use bytes::Bytes;
use lapin::{BasicProperties, types::ShortString};

use super::{
    Carried, MAX_NAMED, Message, Outgoing, Parked, Recipients, amqp10, header,
    origin::{Origin, Sender},
    write::PERSISTENT,
};
use crate::{
    headers::{self, Headers},
    settings::{SubscriptionHeader, TopicFrom},
};
use homing_domain::{
    delivery::{Hold, Progress},
    event::{CONTENT_TYPE_DEFAULT, ContentEncoding, Event},
    id::{EventId, SubscriptionIdError},
    schedule::Step,
    time::UnixMillis,
    topic::{Topic, TopicError},
    trace::TraceContext,
    verdict::ParkReason,
};

/// A message that is not an event. It is parked unchanged, never dropped.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The reason why it is not an event.
    pub why: UnreadableReason,
    /// The publisher's `message_id`.
    pub id: Option<String>,
    /// Its bytes.
    pub body: Bytes,
    /// Reason and time of parking, if it is parked.
    pub parked: Option<Parked>,
    pub(super) properties: BasicProperties,
}

/// Reasons why a message is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableReason {
    /// The topic is missing or malformed.
    #[error("no topic ({error}): {advice}")]
    Topic {
        /// The error of the topic.
        error: TopicError,
        /// Advice for the publisher.
        advice: &'static str,
    },
    /// A publisher used a topic of homing's own events.
    #[error("topic `{0}` is reserved: topics that begin with `homing.` are homing's own")]
    Reserved(Topic),
    /// The header is not a subscription id.
    #[error("header `x-homing-subscription`: {0}")]
    Subscription(SubscriptionIdError),
    /// The header is not a list of subscription ids.
    #[error("header `x-homing-subscriptions`: {0}")]
    Subscriptions(ListError),
    /// A publisher named subscriptions in this header, which the settings refuse.
    #[error(
        "header `{0}`: not accepted from publishers; publish over HTTP with `?subscription=`, or \
         set `events.subscription_header` to \"accept\""
    )]
    SubscriptionRefused(&'static str),
    /// A part of it is malformed AMQP, or too large.
    #[error("{0}")]
    Unparsed(String),
    /// Its body is in AMQP 1.0 encoding, and is not bytes.
    #[error(
        "its body is {0} in AMQP 1.0 encoding; send a data section, or one text or binary value"
    )]
    Amqp10(&'static str),
}

/// An error in a list of subscription ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is not an array of texts, is empty or too long, or there is the header for one id, too.
    #[error(
        "it takes an array of 1 to {MAX_NAMED} subscription ids as text, without \
         `x-homing-subscription` beside it"
    )]
    NoList,
    /// One of its texts is not a subscription id.
    #[error(transparent)]
    Id(#[from] SubscriptionIdError),
}

impl Message {
    /// Reads a message; `new_id` is used where the publisher gave no usable id. Which parts of it
    /// are trusted depends on its `origin`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: the message, unchanged.
    pub fn read(
        properties: &BasicProperties,
        origin: &Origin<'_>,
        body: Bytes,
        new_id: impl FnOnce() -> EventId,
    ) -> Result<Self, Box<Unreadable>> {
        let headers = Headers(properties.headers().as_ref());
        let id = text(properties.message_id().as_ref())
            .or_else(|| cloud_event(&headers, header::CLOUD_EVENT_ID));
        let sender = origin.sender();
        let is_foreign = *sender != Sender::Homing;
        let is_encoded = is_foreign && amqp10::is_encoded(properties, &body);
        // The broker's mark of an encoded body is not an event's type.
        let is_brokers = is_encoded || is_foreign && amqp10::is_called_binary(properties);
        let kind = properties.kind().as_ref().filter(|_| !is_brokers);
        let read = read_unparsed(&headers)
            .map_or(Ok(()), |what| Err(UnreadableReason::Unparsed(what)))
            .and_then(|()| read_topic(kind, &headers, sender))
            .and_then(|topic| {
                let recipients = read_recipients(&headers, sender)?;
                let value = is_encoded.then(|| amqp10::unwrapped(body.clone())).transpose();
                Ok((topic, recipients, value.map_err(UnreadableReason::Amqp10)?))
            });
        match read {
            Ok((topic, recipients, value)) => Ok(Self {
                event: Arc::new(Event {
                    id: id.and_then(|id| EventId::new(&id).ok()).unwrap_or_else(new_id),
                    topic,
                    content_type: text(properties.content_type().as_ref())
                        .unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned()),
                    content_encoding: text(properties.content_encoding().as_ref())
                        .and_then(|text| ContentEncoding::new(&text)),
                    body: value.unwrap_or(body),
                }),
                recipients,
                progress: read_progress(&headers, sender),
                parked: read_parked(&headers),
                trace: read_trace(&headers),
                carried: Arc::new(Carried(without_effects(properties))),
            }),
            Err(why) => Err(Box::new(Unreadable {
                why,
                id,
                body,
                parked: read_parked(&headers),
                properties: as_received(properties, &headers, sender),
            })),
        }
    }
}

/// Copies a message for republishing to its queue through the route exchange: unchanged, without
/// that on which the broker acts. What is held has its [time](hold_time) again.
pub(crate) fn renewed(properties: &BasicProperties, origin: &Origin<'_>, body: Bytes) -> Outgoing {
    let headers = Headers(properties.headers().as_ref());
    let copy = as_received(properties, &headers, origin.sender());
    let mut table = copy.headers().clone().unwrap_or_default();
    if *origin.sender() == Sender::Homing {
        headers.put_own_into(&mut table);
    }
    let renewals = i64::from(headers.count(header::RENEWALS)).saturating_add(1);
    headers::put_integer(&mut table, header::RENEWALS, renewals);
    Outgoing {
        id: text(properties.message_id().as_ref()).unwrap_or_default(),
        topic: String::new(),
        is_privileged: false,
        body,
        properties: Arc::new(copy.with_delivery_mode(PERSISTENT).with_headers(table)),
    }
    .ending_after(hold_time(properties, origin))
}

/// The time after which the broker parks a message that is held; homing gives it to no others. The
/// broker counts it from the publish: a copy may be parked late, and never early.
pub(crate) fn hold_time(properties: &BasicProperties, origin: &Origin<'_>) -> Option<ShortString> {
    properties.expiration().clone().filter(|_| *origin.sender() == Sender::Homing)
}

fn text(property: Option<&ShortString>) -> Option<String> {
    property.map(|text| text.as_str().to_owned()).filter(|text| !text.is_empty())
}

/// An attribute of `CloudEvents` in binary mode, in either spelling.
fn cloud_event(headers: &Headers<'_>, spellings: [&str; 2]) -> Option<String> {
    let found = spellings.into_iter().find_map(|name| headers.text(name));
    found.filter(|text| !text.is_empty())
}

/// The parts that the transport had to change, truncated for display.
fn read_unparsed(headers: &Headers<'_>) -> Option<String> {
    if !headers.contains(header::UNPARSED) {
        return None;
    }
    let text = headers.text(header::UNPARSED).unwrap_or_default();
    Some(text.get(..text.floor_char_boundary(MAX_UNPARSED_BYTES)).unwrap_or_default().to_owned())
}

fn read_topic(
    kind: Option<&ShortString>,
    headers: &Headers<'_>,
    sender: &Sender<'_>,
) -> Result<Topic, UnreadableReason> {
    let (topic, advice) = match sender {
        Sender::Homing => (
            Topic::new(&text(kind).unwrap_or_default()),
            "homing writes it into the `type` property",
        ),
        Sender::Publisher { routing_key, rules } if rules.topic_from == TopicFrom::RoutingKey => {
            let advice = "set the routing key; `type` is read only with `events.topic_from`";
            (Topic::new(routing_key), advice)
        }
        Sender::Publisher { routing_key, .. } => {
            let named = text(kind).or_else(|| cloud_event(headers, header::CLOUD_EVENT_TYPE));
            let topic = Topic::new(named.as_deref().unwrap_or(routing_key));
            (topic, "set the routing key or the `type` property")
        }
    };
    let topic = topic.map_err(|error| UnreadableReason::Topic { error, advice })?;
    if topic.is_own() && *sender != Sender::Homing {
        return Err(UnreadableReason::Reserved(topic));
    }
    Ok(topic)
}

fn read_recipients(
    headers: &Headers<'_>,
    sender: &Sender<'_>,
) -> Result<Recipients, UnreadableReason> {
    let named = [header::SUBSCRIPTION, header::SUBSCRIPTIONS];
    let Some(name) = named.into_iter().find(|name| headers.contains(name)) else {
        return Ok(Recipients::Matching);
    };
    if let Sender::Publisher { rules, .. } = sender
        && rules.subscription_header == SubscriptionHeader::Refuse
    {
        return Err(UnreadableReason::SubscriptionRefused(name));
    }
    if headers.contains(header::SUBSCRIPTIONS) {
        return read_list(headers).map_err(UnreadableReason::Subscriptions);
    }
    let id = headers.text(header::SUBSCRIPTION).unwrap_or_default().parse();
    id.map(Recipients::One).map_err(UnreadableReason::Subscription)
}

fn read_list(headers: &Headers<'_>) -> Result<Recipients, ListError> {
    let texts = headers.texts(header::SUBSCRIPTIONS, MAX_NAMED + 1);
    let texts = texts.filter(|texts| (1..=MAX_NAMED).contains(&texts.len()));
    let texts = texts.filter(|_| !headers.contains(header::SUBSCRIPTION));
    let texts: Vec<_> =
        texts.and_then(|texts| texts.into_iter().collect()).ok_or(ListError::NoList)?;
    let ids: Vec<_> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    Ok(Recipients::named(ids))
}

fn read_progress(headers: &Headers<'_>, sender: &Sender<'_>) -> Progress {
    // What is selected by it is sent or dropped: no publisher may add to that.
    let error = headers.text(header::ERROR).filter(|_| *sender == Sender::Homing);
    let instant = |name| headers.integer(name).map(UnixMillis::new);
    Progress {
        attempts: headers.count(header::ATTEMPTS),
        step: Step::new(headers.count(header::STEP)),
        holds: headers.count(header::HOLDS),
        throttled: headers.count(header::THROTTLED),
        replays: headers.count(header::REPLAYS),
        replay: headers.text(header::REPLAY).and_then(|id| id.parse().ok()),
        received: instant(header::RECEIVED),
        first_failure: instant(header::FIRST_FAILURE),
        not_before: instant(header::NOT_BEFORE),
        hold: read_hold(headers),
        turn: instant(header::TURN),
        last_outcome: headers.text(header::LAST_OUTCOME),
        error: error.and_then(|id| id.parse().ok()),
        unmatched: headers.count(header::UNMATCHED) > 0,
        version: headers.text(header::VERSION).and_then(|version| version.parse().ok()),
    }
}

/// Reads since when it waits for its endpoint, and why.
fn read_hold(headers: &Headers<'_>) -> Option<Hold> {
    let since = headers.integer(header::HELD).map(UnixMillis::new)?;
    let reason = headers.text(header::HELD_REASON)?.parse().ok()?;
    Some(Hold { since, reason })
}

/// Reads the publisher's trace; an unreadable one is ignored.
fn read_trace(headers: &Headers<'_>) -> Option<TraceContext> {
    let named = |name, spellings| headers.text(name).or_else(|| cloud_event(headers, spellings));
    let context: TraceContext =
        named(header::TRACE_PARENT, header::CLOUD_EVENT_TRACE_PARENT)?.parse().ok()?;
    Some(context.with_state(named(header::TRACE_STATE, header::CLOUD_EVENT_TRACE_STATE)))
}

/// Reads reason and time of parking. What homing parked has a reason; what the broker moved has
/// only its own `x-death`. Homing rejects only messages of which the broker takes no copy, because
/// they are too large for it. What waited for its endpoint for too long has the reason for that.
fn read_parked(headers: &Headers<'_>) -> Option<Parked> {
    let reason = headers.text(header::PARKED_REASON).and_then(|word| word.parse().ok());
    let since = headers.integer(header::PARKED).map(UnixMillis::new);
    let by_broker = || {
        let death = headers.last_death_reason();
        let held = || read_hold(headers).map(|hold| hold.reason);
        let reason = match death.as_deref() {
            Some("rejected") => ParkReason::TooLarge,
            Some("expired") => held().unwrap_or(ParkReason::RejectedByBroker),
            Some(_) | None => ParkReason::RejectedByBroker,
        };
        headers.contains("x-death").then_some(reason)
    };
    reason.or_else(by_broker).map(|reason| Parked { reason, since })
}

/// The properties that a copy may have: all but those that homing writes again, and those on which
/// the broker acts: `expiration` would end a wait early, `user_id` must be our own user, `reply_to`
/// can request a consumer that we are not, `priority` has no meaning in a quorum queue.
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

/// Characters that are kept of an unreadable header.
const MAX_SHOWN_CHARS: usize = 200;
/// Characters that are kept of each id in a list.
const MAX_SHOWN_ID_CHARS: usize = 45;
/// Bytes that are kept of [`header::UNPARSED`]: those of every short string, and their names.
const MAX_UNPARSED_BYTES: usize = 12_288;

/// As [`without_effects`], with the unreadable fields unchanged. A publisher's routing key becomes
/// a header, because the copy gets another routing key; that header marks the copy as a publisher's
/// wherever it goes.
fn as_received(
    properties: &BasicProperties,
    headers: &Headers<'_>,
    sender: &Sender<'_>,
) -> BasicProperties {
    let mut copy = without_effects(properties);
    if let Some(id) = properties.message_id() {
        copy = copy.with_message_id(id.clone());
    }
    if let Some(kind) = properties.kind() {
        copy = copy.with_type(kind.clone());
    }
    if let Some(content_type) = properties.content_type() {
        copy = copy.with_content_type(content_type.clone());
    }
    let mut table = copy.headers().clone().unwrap_or_default();
    if let Sender::Publisher { routing_key, .. } = sender {
        headers::put_text(&mut table, header::ROUTING_KEY, routing_key);
    }
    if let Some(what) = read_unparsed(headers) {
        headers::put_text(&mut table, header::UNPARSED, &what);
    }
    if headers.contains(header::SUBSCRIPTION) {
        let text = headers.text(header::SUBSCRIPTION).unwrap_or_default();
        // Enough to recognise it.
        let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
        headers::put_text(&mut table, header::SUBSCRIPTION, &shown);
    }
    if headers.contains(header::SUBSCRIPTIONS) {
        // One more than may be: too many stay too many.
        let texts = headers.texts(header::SUBSCRIPTIONS, MAX_NAMED + 1).unwrap_or_default();
        let shown = |text: String| text.chars().take(MAX_SHOWN_ID_CHARS).collect();
        let texts = texts.into_iter().map(|text| text.map(shown));
        headers::put_texts(&mut table, header::SUBSCRIPTIONS, texts);
    }
    copy.with_headers(table)
}
