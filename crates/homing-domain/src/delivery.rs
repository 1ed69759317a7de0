//! One event for one subscription, and its progress.

use std::{sync::Arc, time::Duration};

use super::{
    attempt::AttemptNumber,
    cloud_event::Attributes,
    error_group::ErrorId,
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
    replay::ReplayId,
    schedule::Step,
    subscription::FixedVersion,
    time::UnixMillis,
    trace::TraceContext,
    verdict::ParkReason,
};

/// One event for one subscription; lives from fan-out until it is done or parked.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event; shared by all deliveries made from it.
    pub event: Arc<Event>,
    /// The recipient.
    pub subscription: SubscriptionId,
    /// Its progress.
    pub progress: Progress,
    /// The trace context that is sent to its endpoint.
    pub trace: Option<TraceContext>,
    /// The attributes of an event that was published as a CloudEvent in binary mode.
    pub cloud_event: Option<Arc<Attributes>>,
    /// Of event, subscription and version.
    id: DeliveryId,
}

impl Delivery {
    /// The delivery of `event` to `subscription`, without a trace.
    #[must_use]
    pub fn new(event: Arc<Event>, subscription: SubscriptionId, progress: Progress) -> Self {
        let id = progress.delivery_id(&event.id, subscription);
        Self { event, subscription, progress, trace: None, cloud_event: None, id }
    }

    /// The same with this trace context, or none.
    #[must_use]
    pub fn with_trace(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// The same with these attributes of its event, or none.
    #[must_use]
    pub fn with_cloud_event(self, cloud_event: Option<Arc<Attributes>>) -> Self {
        Self { cloud_event, ..self }
    }

    /// Sent as `webhook-id`.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        self.id
    }

    /// The number of the next attempt.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptNumber {
        AttemptNumber::after(self.progress.attempts)
    }
}

/// The progress of a delivery; travels in headers of its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// HTTP requests made since the delivery was created or last replayed.
    pub attempts: u32,
    /// Position in the schedule.
    pub step: Step,
    /// The number of times it was deferred without an attempt.
    pub holds: u32,
    /// The number of consecutive times it was throttled because its endpoint was busy.
    pub throttled: u32,
    /// The number of replays by operators.
    pub replays: u32,
    /// The replay of the archive that it belongs to.
    pub replay: Option<ReplayId>,
    /// The time when homing first took the event from the broker.
    pub received: Option<UnixMillis>,
    /// The time when the first attempt failed.
    pub first_failure: Option<UnixMillis>,
    /// No attempt before this instant, as the endpoint requested.
    pub not_before: Option<UnixMillis>,
    /// Set while it waits for its endpoint without an attempt.
    pub hold: Option<Hold>,
    /// Set while it waits for its turn, or for the time that its handler asked for, without an
    /// attempt: the beginning of that.
    pub turn: Option<UnixMillis>,
    /// The last outcome as text.
    pub last_outcome: Option<String>,
    /// The error of the attempt after which it is parked.
    pub error: Option<ErrorId>,
    /// True while it is unknown if the subscription, which could not be read, matches the event.
    pub unmatched: bool,
    /// The version of Workfront's form that it is sent in; `None`: that of its subscription at each
    /// attempt.
    pub version: Option<FixedVersion>,
}

/// A delivery's wait for its endpoint, from its first refusal to its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The time of the first refusal.
    pub since: UnixMillis,
    /// The reason of the last refusal, for which it is parked where the wait is too long.
    pub reason: ParkReason,
}

/// The position of a delivery: a value that no two of its messages share.
///
/// Every hop raises one of the three numbers, so a redelivered message can be distinguished from
/// the message that followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    replays: u32,
    replay: Option<ReplayId>,
    attempts: u32,
    holds: u32,
}

impl Position {
    /// A number that rises with every hop, for as many hops as a delivery makes.
    #[must_use]
    pub fn order(self) -> i64 {
        let replays = i64::from(self.replays.min(0x7fff));
        let attempts = i64::from(self.attempts.min(0xffff));
        replays << 48 | attempts << 32 | i64::from(self.holds)
    }
}

impl Progress {
    /// The id of the delivery of `event` to `subscription` that has this progress.
    #[must_use]
    pub fn delivery_id(&self, event: &EventId, subscription: SubscriptionId) -> DeliveryId {
        match self.version {
            Some(FixedVersion { version, is_former: true }) => {
                DeliveryId::in_version(event, subscription, version)
            }
            Some(_) | None => DeliveryId::of(event, subscription),
        }
    }

    /// The position of the message that carries this progress.
    #[must_use]
    pub fn position(&self) -> Position {
        let Self { replays, replay, attempts, holds, .. } = *self;
        Position { replays, replay, attempts, holds }
    }

    /// The rest, at `now`, of the time that the endpoint requested.
    #[must_use]
    pub fn remaining(&self, now: UnixMillis) -> Option<Duration> {
        self.not_before.map(|instant| instant.since(now)).filter(|remaining| !remaining.is_zero())
    }

    /// The progress after an attempt that failed with `outcome` at `now`; it waits at `step` next.
    #[must_use]
    pub fn failed(&self, outcome: String, step: Step, now: UnixMillis) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            step,
            first_failure: self.first_failure.or(Some(now)),
            throttled: 0,
            not_before: None,
            hold: None,
            turn: None,
            last_outcome: Some(outcome),
            error: None,
            unmatched: false,
            ..self.clone()
        }
    }

    /// The progress after a deferral without an attempt; nothing counts against it.
    #[must_use]
    pub fn held(&self) -> Self {
        Self { holds: self.holds.saturating_add(1), ..self.clone() }
    }

    /// The progress at `now` of a delivery that was refused for `reason` and waits for its endpoint.
    #[must_use]
    pub fn refused(&self, reason: ParkReason, now: UnixMillis) -> Self {
        let since = self.hold.map_or(now, |hold| hold.since);
        Self { hold: Some(Hold { since, reason }), turn: None, ..self.held() }
    }

    /// The progress at `now` after a deferral without an attempt, because its endpoint is busy.
    #[must_use]
    pub fn throttled(&self, now: UnixMillis) -> Self {
        let throttled = self.throttled.saturating_add(1);
        Self { throttled, turn: self.turn.or(Some(now)), ..self.held() }
    }

    /// The progress at `now` after its handler asked for a wait, without an attempt.
    #[must_use]
    pub fn snoozed(&self, wait: Duration, now: UnixMillis) -> Self {
        let (not_before, turn) = (Some(now.plus(wait)), self.turn.or(Some(now)));
        Self { not_before, turn, ..self.held() }
    }

    /// The progress of a replay: from attempt 1, as if nothing had failed yet.
    #[must_use]
    pub fn replayed(&self) -> Self {
        Self {
            replays: self.replays.saturating_add(1),
            replay: self.replay,
            received: self.received,
            unmatched: self.unmatched,
            version: self.version,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: no two messages of a delivery share a position. Method: any sequence of hops.
        #[test]
        fn every_hop_leads_to_a_new_position(hops in proptest::collection::vec(0_u8..3, 0..40)) {
            let mut progress = Progress::default();
            let mut seen = std::collections::HashSet::from([progress.position()]);
            for hop in hops {
                progress = match hop {
                    0 => progress.failed("refused 503".into(), Step::START, UnixMillis::new(1)),
                    1 => progress.held(),
                    _ => progress.replayed(),
                };
                prop_assert!(seen.insert(progress.position()));
            }
        }
    }
}
