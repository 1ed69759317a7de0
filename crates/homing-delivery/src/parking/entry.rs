//! A parked delivery as operators see it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use homing_broker::{DeadLettered, Message, Unreadable, fetched::Fetched};
use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, SubscriptionId},
    time::{UnixMillis, iso8601},
    verdict::ParkReason,
};
use homing_store::{ParkedDelivery, ParkedId};

/// A publisher's other headers, shared by the entries of one message.
pub type Carried = Arc<[(String, String)]>;

/// A parked event or delivery.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedMessage)]
pub struct Entry {
    /// Its id while it is parked; ids sort by the time of parking.
    #[schema(value_type = String)]
    pub id: ParkedId,
    /// The event's id; empty where the publisher gave none that can be read.
    #[serde(rename = "event", alias = "event_id")]
    pub event_id: String,
    /// The event's topic, if it has one.
    pub topic: Option<String>,
    /// The subscription that it is for; `None`: an event parked before its fan-out.
    #[serde(rename = "subscription", alias = "subscription_id")]
    pub subscription_id: Option<SubscriptionId>,
    /// The value sent as `webhook-id`.
    #[serde(rename = "delivery", alias = "delivery_id")]
    pub delivery_id: Option<DeliveryId>,
    /// The URL of the subscription when it was parked.
    pub url: Option<String>,
    /// The reason for parking it.
    pub reason: ParkReason,
    /// The HTTP status of the last attempt.
    pub status: Option<u16>,
    /// The time of parking.
    #[serde(rename = "parked", alias = "parked_ms", with = "iso8601::option", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub parked_ms: Option<UnixMillis>,
    /// The time when homing took the event.
    #[serde(rename = "received", alias = "received_ms", with = "iso8601::option", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub received_ms: Option<UnixMillis>,
    /// The time when the first attempt failed.
    #[serde(
        rename = "first_failure",
        alias = "first_failure_ms",
        with = "iso8601::option",
        default
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_failure_ms: Option<UnixMillis>,
    /// HTTP requests made.
    pub attempts: u32,
    /// The number of replays so far.
    pub replays: u32,
    /// The last outcome, or what is wrong with the message; if the broker parked it, the broker's
    /// reason and the queue. Cut after a thousand bytes where the body is left out.
    pub last_outcome: Option<String>,
    /// The id of the error that it was parked for, as the list of errors has it.
    #[schema(value_type = Option<String>)]
    pub error: Option<ErrorId>,
    /// As published.
    pub content_type: String,
    /// The encoding of the body, if the publisher declared one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Size of the body.
    pub body_bytes: u64,
    /// The publisher's other headers; none if the body was not requested.
    #[serde(skip)]
    pub headers: Carried,
    /// The body itself; `None` if it was not requested or cannot be read.
    #[serde(skip)]
    pub body: Option<Bytes>,
    /// The reason why the body was requested and cannot be read, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl From<ParkedDelivery> for Entry {
    fn from(row: ParkedDelivery) -> Self {
        Self {
            id: row.id,
            event_id: row.event,
            topic: row.topic,
            subscription_id: row.recipient.map(|(subscription, _)| subscription),
            delivery_id: row.recipient.map(|(_, delivery)| delivery),
            url: row.url,
            reason: row.reason,
            status: row.status,
            parked_ms: row.parked,
            received_ms: row.received,
            first_failure_ms: row.first_failure,
            attempts: row.attempts,
            replays: row.replays,
            last_outcome: row.last_outcome,
            error: row.error,
            content_type: row.content_type,
            content_encoding: row.content_encoding,
            body_bytes: row.body_bytes,
            headers: Carried::default(),
            body: None,
            unreadable: None,
        }
    }
}

impl Entry {
    /// Adds what only the message has: headers, body, and the whole outcome.
    pub(super) fn with_message(self, fetched: &Fetched) -> Self {
        let (headers, body) = match &fetched.content {
            Ok(message) => (message.headers().into(), message.event.body.clone()),
            Err(unreadable) => (Carried::default(), unreadable.body.clone()),
        };
        let mut whole = deliveries(fetched, self.id.message());
        let last_outcome = whole.pop().and_then(|one| one.last_outcome).or(self.last_outcome);
        Self { headers, body: Some(body), last_outcome, ..self }
    }
}

/// The time at which a message was parked, if it is known.
pub(super) fn parked_at(fetched: &Fetched) -> Option<UnixMillis> {
    let parked = match &fetched.content {
        Ok(message) => message.parked,
        Err(unreadable) => unreadable.parked,
    };
    parked.and_then(|parked| parked.since).or_else(|| fetched.moved.as_ref().and_then(|it| it.at))
}

/// One delivery for each that a message is for.
pub(super) fn deliveries(fetched: &Fetched, id: ParkedId) -> Vec<ParkedDelivery> {
    let parked = parked_at(fetched);
    let mut deliveries = match &fetched.content {
        Ok(message) => of_message(message, id, parked),
        Err(unreadable) => vec![of_unreadable(unreadable, id, parked)],
    };
    if let Some(moved) = &fetched.moved {
        for delivery in &mut deliveries {
            explain(delivery, moved);
        }
    }
    deliveries
}

/// Adds why the broker moved the message: nothing else records it.
fn explain(delivery: &mut ParkedDelivery, DeadLettered { why, queue, .. }: &DeadLettered) {
    let moved = format!("the broker took it out of `{queue}`: {why}");
    let last = delivery.last_outcome.take();
    delivery.last_outcome =
        Some(last.map_or_else(|| moved.clone(), |last| format!("{last}; {moved}")));
}

fn of_message(message: &Message, id: ParkedId, parked: Option<UnixMillis>) -> Vec<ParkedDelivery> {
    let event = &message.event;
    let progress = &message.progress;
    let recipients: Vec<_> = message.recipients.each().collect();
    let is_alone = recipients.len() <= 1;
    let of = |(number, subscription): (u16, Option<SubscriptionId>)| ParkedDelivery {
        id: if is_alone { id } else { id.of_delivery(number) },
        event: event.id.to_string(),
        topic: Some(event.topic.to_string()),
        recipient: subscription.map(|it| (it, progress.delivery_id(&event.id, it))),
        url: None,
        reason: message.parked.map_or(ParkReason::RejectedByBroker, |parked| parked.reason),
        status: progress.last_outcome.as_deref().and_then(status),
        attempts: progress.attempts,
        replays: progress.replays,
        parked,
        received: progress.received,
        first_failure: progress.first_failure,
        last_outcome: progress.last_outcome.clone(),
        error: progress.error,
        content_type: event.content_type.clone(),
        content_encoding: event
            .content_encoding
            .as_ref()
            .map(|encoding| encoding.as_str().to_owned()),
        body_bytes: size(&event.body),
    };
    (0..).zip(recipients).map(of).collect()
}

fn of_unreadable(
    unreadable: &Unreadable,
    id: ParkedId,
    parked: Option<UnixMillis>,
) -> ParkedDelivery {
    ParkedDelivery {
        id,
        event: unreadable.id.clone().unwrap_or_default(),
        topic: None,
        recipient: None,
        url: None,
        reason: ParkReason::Unreadable,
        status: None,
        attempts: 0,
        replays: 0,
        parked,
        received: None,
        first_failure: None,
        last_outcome: Some(unreadable.why.to_string()),
        error: None,
        content_type: String::new(),
        content_encoding: None,
        body_bytes: size(&unreadable.body),
    }
}

fn size(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// The status of an outcome that has one: `refused 503`.
fn status(outcome: &str) -> Option<u16> {
    let mut words = outcome.split(' ');
    let class = words.next()?;
    let status = words.next().filter(|_| matches!(class, "refused" | "accepted"))?;
    status.parse().ok().filter(|status| (100..=999).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_has_a_status() {
        assert_eq!(status("refused 503"), Some(503));
        for outcome in ["timed_out headers", "failed: 503", "refused", "refused 70000", ""] {
            assert_eq!(status(outcome), None, "{outcome}");
        }
    }
}
