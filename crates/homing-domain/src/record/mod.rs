//! The attempt log's record of an attempt, or of a delivery that was not attempted.

mod id;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::id::{RecordId, RecordIdError};
use super::{
    any_of::{AnyOf, Word},
    delivery::Hold,
    delivery_state::DeliveryState,
    id::{DeliveryId, SubscriptionId},
    payload::PayloadState,
    time::UnixMillis,
    verdict::ParkReason,
};

/// One attempt; or one hold, or one time that a delivery was parked without an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id, which contains its start.
    pub id: RecordId,
    /// The event's id.
    pub event: String,
    /// The event's topic.
    pub topic: String,
    /// The recipient; `None`: an event that was parked before its fan-out.
    pub recipient: Option<(SubscriptionId, DeliveryId)>,
    /// The URL at that time; `None`: the subscription did not exist, or could not be read.
    pub url: Option<String>,
    /// Position in the schedule before it.
    pub step: u32,
    /// The number of replays before it.
    pub replays: u32,
    /// [`Position::order`](super::delivery::Position::order) before it; of a wait, when it was seen
    /// last. `None`: an earlier version wrote it.
    pub order: Option<i64>,
    /// The attempt, or the reason for making none.
    pub happened: AttemptEvent,
    /// The next state of the delivery.
    pub next_state: NextState,
    /// The wait for its endpoint that this is a record of, or that this ends.
    pub hold: Option<Hold>,
    /// The beginning of the wait for its turn that this is a record of, or that this ends.
    pub turn: Option<UnixMillis>,
    /// The last time that the wait of which this is a record was seen to go on; `None`: it is the
    /// record of what happened once.
    pub as_of: Option<UnixMillis>,
    /// The fate of the attempt's payload.
    pub payload: PayloadState,
}

/// An attempt, or the reason for making none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEvent {
    /// An attempt was made.
    Attempted(Attempted),
    /// None was made, for this reason.
    NotAttempted(String),
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Counted from one.
    pub attempt: u32,
    /// From the start to the end of the exchange.
    pub duration: Duration,
    /// [`Outcome::class`](super::outcome::Outcome::class)
    pub class: Class,
    /// The outcome as text, for example `refused 503`.
    pub outcome: String,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// The beginning of the response's body.
    pub response: Vec<u8>,
    /// True if the response was longer.
    pub cut: bool,
    /// The reason for an incomplete answer, as text.
    pub cause: Option<String>,
}

/// The next state of the delivery: the verdict, with its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextState {
    /// It was delivered.
    Done,
    /// Its subscription turned out not to match it.
    NotWanted,
    /// It waits, and is due at this instant.
    Waits(UnixMillis),
    /// It waits until this instant, for which its endpoint or its handler asked.
    NotBefore(UnixMillis),
    /// It waits for its turn, and tries again at this instant.
    Throttled(UnixMillis),
    /// It waits for its endpoint, in a held queue; parked at this instant where that takes longer.
    Held(UnixMillis),
    /// It was parked.
    Parked(ParkReason),
}

impl Record {
    /// Its start.
    #[must_use]
    pub fn started(&self) -> UnixMillis {
        self.id.started()
    }

    /// The records of waits without an attempt that this one ends. They are superfluous then: this
    /// one says since when, and why, the delivery waited.
    pub fn ended(&self) -> impl Iterator<Item = RecordId> {
        let turn = self.turn_id().filter(|id| *id != self.id);
        self.ended_hold().into_iter().chain(turn)
    }

    /// The record of the hold that this one ends.
    #[must_use]
    pub fn ended_hold(&self) -> Option<RecordId> {
        let goes_on = matches!(self.happened, AttemptEvent::NotAttempted(_))
            && !matches!(
                self.next_state,
                NextState::Done | NextState::NotWanted | NextState::Parked(_)
            );
        self.hold_id().filter(|_| !goes_on)
    }

    /// True if it is of a later step of the same delivery than `other`. Steps count, whatever clocks
    /// said; where one of them is not known, or they are the same, the later start.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        match (self.order, other.order) {
            (Some(own), Some(others)) => (own, self.id) > (others, other.id),
            (Some(_) | None, Some(_) | None) => self.id > other.id,
        }
    }

    /// True if its delivery may have other records: it is not the acceptance of a first attempt.
    #[must_use]
    pub fn may_have_others(&self) -> bool {
        self.next_state != NextState::Done || self.order != Some(0)
    }

    /// True if it is the record of a wait without an attempt that goes on: it is kept current.
    #[must_use]
    pub fn is_wait(&self) -> bool {
        [self.hold_id(), self.turn_id()].contains(&Some(self.id))
    }

    /// The present state of the delivery, if this is its last record.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match self.next_state {
            NextState::Done => DeliveryState::Delivered,
            NextState::NotWanted => DeliveryState::NotWanted,
            NextState::NotBefore(_) => DeliveryState::NotBefore,
            NextState::Throttled(_) => DeliveryState::Throttled,
            NextState::Parked(_) => DeliveryState::Parked,
            // A hold without a held queue waits at its step.
            NextState::Waits(_) if self.is_wait() => DeliveryState::Held,
            NextState::Held(_) => DeliveryState::Held,
            NextState::Waits(_) => DeliveryState::Waits,
        }
    }

    fn hold_id(&self) -> Option<RecordId> {
        let (hold, (_, delivery)) = (self.hold?, self.recipient?);
        Some(RecordId::of_hold(hold.since, delivery))
    }

    fn turn_id(&self) -> Option<RecordId> {
        let (since, (_, delivery)) = (self.turn?, self.recipient?);
        Some(RecordId::of_turn(since, delivery))
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.happened {
            AttemptEvent::Attempted(attempted) => attempted.class,
            AttemptEvent::NotAttempted(_) => Class::NotAttempted,
        }
    }
}

impl NextState {
    /// `delivered`, `not_wanted`, `waits`, `not_before`, `throttled`, `held` or `parked`
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "delivered",
            Self::NotWanted => "not_wanted",
            Self::Waits(_) => "waits",
            Self::NotBefore(_) => "not_before",
            Self::Throttled(_) => "throttled",
            Self::Held(_) => "held",
            Self::Parked(_) => "parked",
        }
    }

    /// The instant at which the delivery is due again.
    #[must_use]
    pub fn due(self) -> Option<UnixMillis> {
        match self {
            Self::Waits(due) | Self::NotBefore(due) | Self::Throttled(due) => Some(due),
            Self::Done | Self::NotWanted | Self::Held(_) | Self::Parked(_) => None,
        }
    }

    /// The reason for parking it.
    #[must_use]
    pub fn reason(self) -> Option<ParkReason> {
        match self {
            Self::Parked(reason) => Some(reason),
            Self::Done
            | Self::NotWanted
            | Self::Waits(_)
            | Self::NotBefore(_)
            | Self::Throttled(_)
            | Self::Held(_) => None,
        }
    }
}

/// The kind of a record.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = AttemptClass)]
pub enum Class {
    /// The endpoint accepted the event.
    Accepted,
    /// It answered something else.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It did not answer at all.
    Unreachable,
    /// No attempt was made.
    NotAttempted,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::Refused, Self::TimedOut, Self::Unreachable, Self::NotAttempted];
    /// The attempts that failed.
    pub const FAILED: [Self; 3] = [Self::Refused, Self::TimedOut, Self::Unreachable];

    /// The name in lists and stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::NotAttempted => "not_attempted",
        }
    }
}

impl From<&super::outcome::Outcome> for Class {
    fn from(outcome: &super::outcome::Outcome) -> Self {
        use super::outcome::Outcome;
        match outcome {
            Outcome::Accepted { .. } | Outcome::Done => Self::Accepted,
            Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Cancelled { .. } => {
                Self::Refused
            }
            Outcome::TimedOut { .. } => Self::TimedOut,
            Outcome::Unreachable { .. } => Self::Unreachable,
        }
    }
}

/// Classes for a search: one, or `failed`, all attempts that failed.
pub type Classes = AnyOf<Class>;

impl Word for Class {
    const WHAT: &'static str = "an outcome";
    const WORDS: &'static [Self] = &Self::ALL;
    const GROUP: (&'static str, &'static [Self]) = ("failed", &Self::FAILED);

    fn text(self) -> &'static str {
        self.as_str()
    }
}

/// Records that were lost, because the store did not take them fast enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// A `UUIDv7`: a gap written twice is kept once.
    pub id: Uuid,
    /// The start of the first of them.
    pub from: UnixMillis,
    /// The start of the last of them.
    pub until: UnixMillis,
    /// Their number.
    pub missed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(order: Option<i64>, began: i64) -> Record {
        Record {
            id: RecordId::floor(UnixMillis::new(began)),
            event: "e".to_owned(),
            topic: "t".to_owned(),
            recipient: None,
            url: None,
            step: 0,
            replays: 0,
            order,
            happened: AttemptEvent::NotAttempted("why".to_owned()),
            next_state: NextState::Done,
            hold: None,
            turn: None,
            as_of: None,
            payload: PayloadState::Unwanted,
        }
    }

    #[test]
    fn the_later_step_is_later_whatever_clocks_said() {
        for (one, other, is_later) in [
            ((Some(2), 1), (Some(1), 9), true),
            ((Some(1), 9), (Some(2), 1), false),
            ((Some(1), 9), (Some(1), 1), true),
            ((None, 9), (Some(2), 1), true),
            ((Some(2), 1), (None, 9), false),
            ((Some(1), 1), (Some(1), 1), false),
        ] {
            let (one, other) = (record(one.0, one.1), record(other.0, other.1));
            assert_eq!(one.is_later_than(&other), is_later, "{one:?} {other:?}");
        }
    }
}
