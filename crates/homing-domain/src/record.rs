//! The attempt log's record of an attempt, or of a delivery that was not attempted.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    delivery::Hold,
    id::{DeliveryId, SubscriptionId},
    payload::PayloadState,
    time::UnixMillis,
    verdict::ParkReason,
};

/// The id of a record: a `UUIDv7` of the instant at which it began, so that ids sort by time, and a
/// record written twice is kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct RecordId(Uuid);

impl RecordId {
    /// An id for what began at `started`, with 74 of the `random` bits.
    #[must_use]
    pub fn new(started: UnixMillis, random: [u8; 10]) -> Self {
        let millis = u64::try_from(started.get()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id of the record of a delivery's wait for its endpoint since `since`: always the same, so
    /// that a hold has one record, however often and by whomever it is recorded.
    #[must_use]
    pub fn of_hold(since: UnixMillis, delivery: DeliveryId) -> Self {
        let [_, _, _, _, _, _, hash @ ..] = *delivery.uuid().as_bytes();
        Self::new(since, hash)
    }

    /// Below the ids of everything that began at `instant` or later, and above all others.
    #[must_use]
    pub fn floor(instant: UnixMillis) -> Self {
        Self::new(instant, [0; 10])
    }

    /// A record id that was stored as a UUID.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID itself.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.0
    }

    /// The instant at which it began. Source: RFC 9562, 5.7: the first 48 bits are Unix
    /// milliseconds.
    #[must_use]
    pub fn started(self) -> UnixMillis {
        UnixMillis::new(i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not the id of a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not where a page ended; give `next` of the page before")]
pub struct RecordIdError(String);

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| RecordIdError(text.chars().take(64).collect()))
    }
}

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
    /// The attempt, or the reason for making none.
    pub happened: AttemptEvent,
    /// The next state of the delivery.
    pub next_state: NextState,
    /// The wait for its endpoint that this is a record of, or that this ends.
    pub hold: Option<Hold>,
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

    /// The record of the hold that this one ends. It is superfluous then: this one says since when,
    /// and why, the delivery was held.
    #[must_use]
    pub fn ended_hold(&self) -> Option<RecordId> {
        let (hold, (_, delivery)) = (self.hold?, self.recipient?);
        let goes_on = matches!(self.happened, AttemptEvent::NotAttempted(_))
            && matches!(self.next_state, NextState::Waits(_) | NextState::Held(_));
        (!goes_on).then(|| RecordId::of_hold(hold.since, delivery))
    }

    /// True if it is the record of a hold that goes on.
    #[must_use]
    pub fn is_hold(&self) -> bool {
        let id = |hold: Hold| self.recipient.map(|(_, id)| RecordId::of_hold(hold.since, id));
        self.hold.and_then(id) == Some(self.id)
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
    /// `delivered`, `not_wanted`, `waits`, `held` or `parked`
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "delivered",
            Self::NotWanted => "not_wanted",
            Self::Waits(_) => "waits",
            Self::Held(_) => "held",
            Self::Parked(_) => "parked",
        }
    }

    /// The instant at which the delivery is due again.
    #[must_use]
    pub fn due(self) -> Option<UnixMillis> {
        match self {
            Self::Waits(due) => Some(due),
            Self::Done | Self::NotWanted | Self::Held(_) | Self::Parked(_) => None,
        }
    }

    /// The reason for parking it.
    #[must_use]
    pub fn reason(self) -> Option<ParkReason> {
        match self {
            Self::Parked(reason) => Some(reason),
            Self::Done | Self::NotWanted | Self::Waits(_) | Self::Held(_) => None,
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

/// Classes for a search: one, or all that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes(Vec<Class>);

impl Classes {
    /// The name for all attempts that failed.
    pub const FAILED: &'static str = "failed";

    /// The names, in the order in which the documentation lists them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Class::ALL.into_iter().map(Class::as_str).chain([Self::FAILED]).collect()
    }

    /// The classes to search for.
    #[must_use]
    pub fn as_slice(&self) -> &[Class] {
        &self.0
    }
}

/// The word names no class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an outcome; one of {all}", all = Classes::names().join(", "))]
pub struct ClassesError(String);

impl FromStr for Classes {
    type Err = ClassesError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == Self::FAILED {
            return Ok(Self(Class::FAILED.to_vec()));
        }
        let class = Class::ALL.into_iter().find(|class| class.as_str() == word);
        class
            .map(|class| Self(vec![class]))
            .ok_or_else(|| ClassesError(word.chars().take(64).collect()))
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

    #[test]
    fn ids_sort_by_their_instant() {
        let at = |millis| UnixMillis::new(millis);
        let id = RecordId::new(at(1_700_000_000_123), [0xff; 10]);
        assert_eq!(id.started(), at(1_700_000_000_123));
        assert!(RecordId::floor(at(1_700_000_000_123)) <= id);
        assert!(id < RecordId::floor(at(1_700_000_000_124)));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(RecordId::floor(at(-5)).started(), at(0));
    }

    #[test]
    fn classes_are_found_by_their_names() {
        for class in Class::ALL {
            let found: Classes = class.as_str().parse().unwrap();
            assert_eq!(found.as_slice(), [class]);
        }
        assert_eq!("failed".parse::<Classes>().unwrap().as_slice(), Class::FAILED);
        insta::assert_snapshot!("dead".parse::<Classes>().unwrap_err(), @"`dead` is not an outcome; one of accepted, refused, timed_out, unreachable, not_attempted, failed");
    }
}
