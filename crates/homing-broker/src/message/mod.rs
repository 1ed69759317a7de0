//! Writes events and deliveries into messages, and reads them back.
//!
//! The body is the event's bytes. In a publisher's message the topic is the routing key (or the
//! `type` property, see `events.topic_from`); in homing's own, the `type` property. A delivery is
//! an event's message with the header `x-homing-subscription`; with `x-homing-subscriptions`, it is
//! one for each of several. [`Origin`] is the sender of a message. CloudEvents in AMQP binary mode are read as the same fields.
//!
//! Source: CloudEvents, *AMQP Protocol Binding*, binary content mode (`cloudEvents:` and
//! `cloudEvents_` prefixes).

use std::sync::Arc;

use lapin::BasicProperties;

use crate::headers;
use homing_domain::{
    delivery::{Delivery, Progress},
    event::Event,
    id::SubscriptionId,
    time::UnixMillis,
    trace::TraceContext,
    verdict::ParkReason,
};

mod amqp10;
mod cloud_event;
mod origin;
mod read;
mod recipients;
#[cfg(test)]
mod tests;
mod write;

pub use origin::Origin;
pub use read::{ListError, Unreadable, UnreadableReason};
pub(crate) use read::{hold_time, renewed};
pub use recipients::{MAX_NAMED, Recipients};
pub use write::Outgoing;

/// Names of the headers that homing adds.
pub mod header {
    /// Subscription id: this message is a delivery.
    pub const SUBSCRIPTION: &str = "x-homing-subscription";
    /// Array of subscription ids: this message is a delivery to each of them.
    pub const SUBSCRIPTIONS: &str = "x-homing-subscriptions";
    /// The publisher's routing key, on the copy of an unreadable message: the copy counts as its
    /// publisher's, too.
    pub const ROUTING_KEY: &str = "x-homing-routing-key";
    /// HTTP requests so far.
    pub const ATTEMPTS: &str = "x-homing-attempts";
    /// Position in the schedule.
    pub const STEP: &str = "x-homing-step";
    /// Times it was put back without an attempt.
    pub const HOLDS: &str = "x-homing-holds";
    /// Consecutive times it was throttled because its endpoint was busy.
    pub const THROTTLED: &str = "x-homing-turned-away";
    /// Times an operator replayed it.
    pub const REPLAYS: &str = "x-homing-replays";
    /// The replay of the archive that it belongs to.
    pub const REPLAY: &str = "x-homing-replay";
    /// When homing took the event, Unix ms.
    pub const RECEIVED: &str = "x-homing-received-ms";
    /// When the first attempt failed, Unix ms.
    pub const FIRST_FAILURE: &str = "x-homing-first-failure-ms";
    /// The earliest time of the next attempt, Unix ms.
    pub const NOT_BEFORE: &str = "x-homing-not-before-ms";
    /// Since when it waits for its endpoint without an attempt, Unix ms.
    pub const HELD: &str = "x-homing-held-ms";
    /// The reason for that, and for parking it where it waits for too long.
    pub const HELD_REASON: &str = "x-homing-held-reason";
    /// Since when it waits for its turn without an attempt, Unix ms.
    pub const TURN: &str = "x-homing-turn-ms";
    /// The last outcome.
    pub const LAST_OUTCOME: &str = "x-homing-last-outcome";
    /// The id of the error of the attempt after which it is parked.
    pub const ERROR: &str = "x-homing-error";
    /// 1: the subscription could not be read, so it is not known yet if it matches the event.
    pub const UNMATCHED: &str = "x-homing-unmatched";
    /// The version of Workfront's form that it is sent in, where events are sent in both; with
    /// `former`, the one that its subscription had before.
    pub const VERSION: &str = "x-homing-version";
    /// The publisher's trace that the event belongs to, in W3C Trace Context format.
    pub const TRACE_PARENT: &str = "traceparent";
    /// Vendor data of that trace.
    pub const TRACE_STATE: &str = "tracestate";
    /// An event's id, in the two spellings of a `CloudEvents` attribute.
    pub const CLOUD_EVENT_ID: [&str; 2] = ["cloudEvents:id", "cloudEvents_id"];
    /// Its topic.
    pub const CLOUD_EVENT_TYPE: [&str; 2] = ["cloudEvents:type", "cloudEvents_type"];
    /// Its trace.
    pub const CLOUD_EVENT_TRACE_PARENT: [&str; 2] =
        ["cloudEvents:traceparent", "cloudEvents_traceparent"];
    /// Vendor data of that trace.
    pub const CLOUD_EVENT_TRACE_STATE: [&str; 2] =
        ["cloudEvents:tracestate", "cloudEvents_tracestate"];
    /// The reason for parking.
    pub const PARKED_REASON: &str = "x-homing-parked-reason";
    /// The time of parking, Unix ms.
    pub const PARKED: &str = "x-homing-parked-ms";
    /// Consecutive times it was republished because it had no route.
    pub const UNROUTED: &str = "x-homing-unrouted";
    /// Times it was republished unchanged because it had returned often.
    pub const RENEWALS: &str = "x-homing-renewals";
    /// The parts of the message that could not be parsed: it is not an event then.
    pub const UNPARSED: &str = "x-homing-unparsed";
}

/// An event, or a delivery of one, as a message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event.
    pub event: Arc<Event>,
    /// The subscriptions that it is for.
    pub recipients: Recipients,
    /// The progress of the delivery, or of each of them.
    pub progress: Progress,
    /// Reason and time of parking, if it is parked.
    pub parked: Option<Parked>,
    /// The trace that the publisher named.
    pub trace: Option<TraceContext>,
    /// The publisher's other properties and headers, carried along.
    carried: Arc<Carried>,
}

/// Reason and time of parking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The reason.
    pub reason: ParkReason,
    /// The time; `None` if the broker parked it.
    pub since: Option<UnixMillis>,
}

/// Properties that homing does not read, without those that the broker would act on.
#[derive(Clone, Debug, Default)]
struct Carried(BasicProperties);

impl Message {
    /// The message of a new event.
    #[must_use]
    pub fn of_event(event: Event) -> Self {
        Self {
            event: Arc::new(event),
            recipients: Recipients::Matching,
            progress: Progress::default(),
            parked: None,
            trace: None,
            carried: Arc::default(),
        }
    }

    /// The message that carries this event to one subscription.
    #[must_use]
    pub fn for_subscription(&self, subscription: SubscriptionId, progress: Progress) -> Self {
        self.to(Recipients::One(subscription), progress)
    }

    /// The message that carries this event to `recipients`.
    #[must_use]
    pub fn to(&self, recipients: Recipients, progress: Progress) -> Self {
        Self {
            event: Arc::clone(&self.event),
            recipients,
            progress,
            parked: None,
            trace: self.trace.clone(),
            carried: Arc::clone(&self.carried),
        }
    }

    /// The subscription, if the message is for one.
    #[must_use]
    pub fn subscription(&self) -> Option<SubscriptionId> {
        match self.recipients {
            Recipients::One(id) => Some(id),
            Recipients::Matching | Recipients::Group(_) => None,
        }
    }

    /// The same message for the parking queue.
    #[must_use]
    pub fn parked(&self, reason: ParkReason, now: UnixMillis) -> Self {
        Self { parked: Some(Parked { reason, since: Some(now) }), ..self.clone() }
    }

    /// The publisher's other headers, for display.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let Carried(properties) = self.carried.as_ref();
        headers::shown(properties.headers().as_ref())
    }

    /// The delivery that this message is; `None` for an event and for a group.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        let subscription = self.subscription()?;
        let delivery = Delivery::new(Arc::clone(&self.event), subscription, self.progress.clone());
        let Carried(carried) = self.carried.as_ref();
        let attributes = cloud_event::attributes(carried.headers().as_ref()).map(Arc::new);
        Some(delivery.with_trace(self.trace.clone()).with_cloud_event(attributes))
    }
}
