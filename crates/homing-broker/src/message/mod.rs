//! How events and deliveries are written into messages, and read back.
//!
//! The body is the event's bytes. In a publisher's message the topic is the routing key (or the `type`
//! property, as `events.topic_from` says); in homing's own, the `type` property. A delivery is an
//! event's message with the header `x-homing-subscription`. [`Origin`] says whose a message is.
//! CloudEvents in AMQP binary mode are read as the same fields.
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
mod origin;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use origin::Origin;
pub(crate) use read::renewed;
pub use read::{Unreadable, UnreadableReason};
pub use write::Outgoing;

/// Names of the headers that homing adds.
pub mod header {
    /// Subscription id: this message is a delivery.
    pub const SUBSCRIPTION: &str = "x-homing-subscription";
    /// The publisher's routing key, on the copy of a message that could not be read: the copy is read
    /// as its publisher's, too.
    pub const ROUTING_KEY: &str = "x-homing-routing-key";
    /// HTTP requests made so far.
    pub const ATTEMPTS: &str = "x-homing-attempts";
    /// Position in the schedule.
    pub const STEP: &str = "x-homing-step";
    /// How often it was put back without an attempt.
    pub const HOLDS: &str = "x-homing-holds";
    /// How often in a row it was turned away because its endpoint was busy.
    pub const THROTTLED: &str = "x-homing-turned-away";
    /// How often a person replayed it.
    pub const REPLAYS: &str = "x-homing-replays";
    /// When homing took the event, Unix ms.
    pub const RECEIVED: &str = "x-homing-received-ms";
    /// When the first attempt failed, Unix ms.
    pub const FIRST_FAILURE: &str = "x-homing-first-failure-ms";
    /// No attempt before, Unix ms.
    pub const NOT_BEFORE: &str = "x-homing-not-before-ms";
    /// What the endpoint did last.
    pub const LAST_OUTCOME: &str = "x-homing-last-outcome";
    /// 1: the subscription could not be read, so it is not known yet whether it wants
    /// the event.
    pub const UNMATCHED: &str = "x-homing-unmatched";
    /// The trace that the event belongs to, as W3C's Trace Context has it; the publisher's.
    pub const TRACE_PARENT: &str = "traceparent";
    /// What belongs to that.
    pub const TRACE_STATE: &str = "tracestate";
    /// Why it is parked.
    pub const PARKED_REASON: &str = "x-homing-parked-reason";
    /// Since when it is parked, Unix ms.
    pub const PARKED: &str = "x-homing-parked-ms";
    /// How often in a row it was sent on because it had no route.
    pub const UNROUTED: &str = "x-homing-unrouted";
    /// How often it was published anew, as it is, because it had come back often.
    pub const RENEWALS: &str = "x-homing-renewals";
    /// What of the message could not be read as it was sent: it is not an event then.
    pub const UNPARSED: &str = "x-homing-unparsed";
}

/// An event on its way, or a delivery of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// What happened.
    pub event: Arc<Event>,
    /// To whom it is owed; `None`: to everybody who wants it.
    pub subscription: Option<SubscriptionId>,
    /// How far it has come.
    pub progress: Progress,
    /// Why and since when it is parked.
    pub parked: Option<Parked>,
    /// The trace that the publisher named.
    pub trace: Option<TraceContext>,
    /// The publisher's other properties and headers, carried along.
    carried: Arc<Carried>,
}

/// Why and since when a message is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Why.
    pub reason: ParkReason,
    /// Since when; `None` where the broker parked it.
    pub since: Option<UnixMillis>,
}

/// Properties that homing does not read, without those that the broker would act on.
#[derive(Clone, Debug, Default)]
struct Carried(BasicProperties);

impl Message {
    /// A message for a fresh event.
    #[must_use]
    pub fn of_event(event: Event) -> Self {
        Self {
            event: Arc::new(event),
            subscription: None,
            progress: Progress::default(),
            parked: None,
            trace: None,
            carried: Arc::default(),
        }
    }

    /// The message that carries this event to one subscription.
    #[must_use]
    pub fn for_subscription(&self, subscription: SubscriptionId, progress: Progress) -> Self {
        Self {
            event: Arc::clone(&self.event),
            subscription: Some(subscription),
            progress,
            parked: None,
            trace: self.trace.clone(),
            carried: Arc::clone(&self.carried),
        }
    }

    /// The same message on its way to the parking queue.
    #[must_use]
    pub fn parked(&self, reason: ParkReason, now: UnixMillis) -> Self {
        Self { parked: Some(Parked { reason, since: Some(now) }), ..self.clone() }
    }

    /// The same message as a person sends it again: from attempt 1.
    #[must_use]
    pub fn replayed(&self) -> Self {
        Self { parked: None, progress: self.progress.replayed(), ..self.clone() }
    }

    /// The publisher's other headers, for people.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let Carried(properties) = self.carried.as_ref();
        headers::shown(properties.headers().as_ref())
    }

    /// The delivery that this message is; `None` for an event.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        self.subscription.map(|subscription| Delivery {
            event: Arc::clone(&self.event),
            subscription,
            progress: self.progress.clone(),
            trace: self.trace.clone(),
        })
    }
}
