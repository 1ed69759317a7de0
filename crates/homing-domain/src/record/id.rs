//! The ids of records.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{id::DeliveryId, time::UnixMillis};

/// The id of a record: a `UUIDv7` of the instant at which it began, so that ids sort by time, and a
/// record written twice is kept once.
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

    /// The id of the record of a delivery's wait for its turn since `since`, as [`Self::of_hold`].
    #[must_use]
    pub fn of_turn(since: UnixMillis, delivery: DeliveryId) -> Self {
        let [hash @ .., _, _, _, _, _, _] = *delivery.uuid().as_bytes();
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
}
