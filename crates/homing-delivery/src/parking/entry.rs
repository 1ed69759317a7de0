//! A parked message as operators see it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use homing_broker::{DeadLettered, Message, Unreadable, queue_scan::Fetched};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    time::UnixMillis,
    verdict::ParkReason,
};

/// A publisher's other headers, shared by the entries of one message.
pub type Carried = Arc<[(String, String)]>;

/// A parked event or delivery.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ParkedMessage)]
pub struct Entry {
    /// The event's id; empty where the publisher gave none that can be read.
    pub event_id: String,
    /// The event's topic, if it has one.
    pub topic: Option<String>,
    /// The subscription that it is for; `None`: an event parked before its fan-out.
    pub subscription_id: Option<SubscriptionId>,
    /// The value sent as `webhook-id`.
    pub delivery_id: Option<DeliveryId>,
    /// The reason for parking it.
    pub reason: ParkReason,
    /// The time of parking.
    pub parked_ms: Option<UnixMillis>,
    /// The time when homing took the event.
    pub received_ms: Option<UnixMillis>,
    /// The time when the first attempt failed.
    pub first_failure_ms: Option<UnixMillis>,
    /// HTTP requests made.
    pub attempts: u32,
    /// The number of replays so far.
    pub replays: u32,
    /// The last outcome, or what is wrong with the message; if the broker parked it, the broker's
    /// reason and the queue.
    pub last_outcome: Option<String>,
    /// As published.
    pub content_type: String,
    /// The encoding of the body, if the publisher declared one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Size of the body.
    pub body_bytes: usize,
    /// The publisher's other headers.
    #[serde(skip)]
    pub headers: Carried,
    /// The body itself; `None` if it was not requested.
    #[serde(skip)]
    pub body: Option<Bytes>,
}

impl Entry {
    /// One entry for each delivery of a message.
    pub(super) fn all_of(fetched: &Fetched) -> Vec<Self> {
        let entries = match &fetched.content {
            Ok(message) => {
                let headers: Carried = message.headers().into();
                let of = |subscription| Self::of_message(message, subscription, &headers);
                message.recipients.each().map(of).collect()
            }
            Err(unreadable) => vec![Self::of_unreadable(unreadable)],
        };
        let Some(moved) = &fetched.moved else { return entries };
        entries.into_iter().map(|entry| entry.moved(moved)).collect()
    }

    /// Adds why the broker moved the message: nothing else records it.
    fn moved(mut self, DeadLettered { why, queue, at }: &DeadLettered) -> Self {
        let moved = format!("the broker took it out of `{queue}`: {why}");
        let outcome =
            self.last_outcome.map_or_else(|| moved.clone(), |last| format!("{last}; {moved}"));
        self.last_outcome = Some(outcome);
        self.parked_ms = self.parked_ms.or(*at);
        self
    }

    fn of_message(
        message: &Message,
        subscription: Option<SubscriptionId>,
        headers: &Carried,
    ) -> Self {
        let event = &message.event;
        let progress = &message.progress;
        Self {
            event_id: event.id.to_string(),
            topic: Some(event.topic.to_string()),
            subscription_id: subscription,
            delivery_id: subscription.map(|id| DeliveryId::of(&event.id, id)),
            reason: message.parked.map_or(ParkReason::RejectedByBroker, |parked| parked.reason),
            parked_ms: message.parked.and_then(|parked| parked.since),
            received_ms: progress.received,
            first_failure_ms: progress.first_failure,
            attempts: progress.attempts,
            replays: progress.replays,
            last_outcome: progress.last_outcome.clone(),
            content_type: event.content_type.clone(),
            content_encoding: event
                .content_encoding
                .as_ref()
                .map(|encoding| encoding.as_str().to_owned()),
            body_bytes: event.body.len(),
            headers: Arc::clone(headers),
            body: Some(event.body.clone()),
        }
    }

    fn of_unreadable(unreadable: &Unreadable) -> Self {
        Self {
            event_id: unreadable.id.clone().unwrap_or_default(),
            topic: None,
            subscription_id: None,
            delivery_id: None,
            reason: ParkReason::Unreadable,
            parked_ms: unreadable.parked.and_then(|parked| parked.since),
            received_ms: None,
            first_failure_ms: None,
            attempts: 0,
            replays: 0,
            last_outcome: Some(unreadable.why.to_string()),
            content_type: String::new(),
            content_encoding: None,
            body_bytes: unreadable.body.len(),
            headers: Carried::default(),
            body: Some(unreadable.body.clone()),
        }
    }
}
