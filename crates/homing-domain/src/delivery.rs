//! One event owed to one subscription, and how far it has come.

use std::{sync::Arc, time::Duration};

use super::{
    attempt::AttemptNumber,
    event::Event,
    id::{DeliveryId, SubscriptionId},
    schedule::Step,
    time::UnixMillis,
    trace::TraceContext,
};

/// One event owed to one subscription; lives from fan-out until it is done or parked.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What happened; shared by all deliveries made from it.
    pub event: Arc<Event>,
    /// To whom it is owed.
    pub subscription: SubscriptionId,
    /// How far it has come.
    pub progress: Progress,
    /// The trace that its endpoint is told of.
    pub trace: Option<TraceContext>,
}

impl Delivery {
    /// Sent as `webhook-id`.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        DeliveryId::of(&self.event.id, self.subscription)
    }

    /// The number of the attempt that would be made now.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptNumber {
        AttemptNumber::after(self.progress.attempts)
    }
}

/// How far a delivery has come; travels in headers of its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// HTTP requests made since the delivery was made or last replayed.
    pub attempts: u32,
    /// Position in the schedule.
    pub step: Step,
    /// How often it was put back without an attempt.
    pub holds: u32,
    /// How often in a row it was turned away because its endpoint was busy.
    pub throttled: u32,
    /// How often a person replayed it.
    pub replays: u32,
    /// When homing first took the event from the broker.
    pub received: Option<UnixMillis>,
    /// When the first attempt failed.
    pub first_failure: Option<UnixMillis>,
    /// No attempt before this instant: the endpoint asked so.
    pub not_before: Option<UnixMillis>,
    /// What the endpoint did last, in words.
    pub last_outcome: Option<String>,
    /// Not known yet: whether the subscription, which could not be read, wants the event.
    pub unmatched: bool,
}

/// Where a delivery stands, as a value that no two of its messages share.
///
/// Every hop raises one of the three numbers, so a redelivered message can be told from the
/// message that followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    replays: u32,
    attempts: u32,
    holds: u32,
}

impl Progress {
    /// The position of the message that carries this progress.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { replays: self.replays, attempts: self.attempts, holds: self.holds }
    }

    /// How long the endpoint still wants to be left alone at `now`.
    #[must_use]
    pub fn remaining(&self, now: UnixMillis) -> Option<Duration> {
        self.not_before.map(|instant| instant.since(now)).filter(|remaining| !remaining.is_zero())
    }

    /// After an attempt that ended at `now` and failed with `outcome`; it waits at `step` next.
    #[must_use]
    pub fn failed(&self, outcome: String, step: Step, now: UnixMillis) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            step,
            first_failure: self.first_failure.or(Some(now)),
            throttled: 0,
            not_before: None,
            last_outcome: Some(outcome),
            unmatched: false,
            ..self.clone()
        }
    }

    /// Put back without an attempt; nothing is charged.
    #[must_use]
    pub fn held(&self) -> Self {
        Self { holds: self.holds.saturating_add(1), ..self.clone() }
    }

    /// Put back without an attempt, because its endpoint is busy.
    #[must_use]
    pub fn throttled(&self) -> Self {
        Self { throttled: self.throttled.saturating_add(1), ..self.held() }
    }

    /// A person sends it again: from attempt 1, as if nothing had failed yet.
    #[must_use]
    pub fn replayed(&self) -> Self {
        Self {
            replays: self.replays.saturating_add(1),
            received: self.received,
            unmatched: self.unmatched,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: no two messages of a delivery share a position. Method: any walk of hops.
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
