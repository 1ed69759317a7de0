//! Parked deliveries and their ids.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, SubscriptionId},
    time::UnixMillis,
    verdict::ParkReason,
};

/// The id of a parked delivery: 6 bytes of milliseconds, 8 random bytes of its message, and its
/// number in the message. Sorts by the time of parking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedId(u128);

/// The bits that number the deliveries of a message.
const NUMBER: u128 = 0xffff;
const UNIQUE_BITS: u32 = 64;
const MAX_MS: i64 = (1 << 48) - 1;

impl ParkedId {
    /// The id of a message with this random number, which is also that of its only delivery. One
    /// without an instant sorts before all others.
    #[must_use]
    pub fn of_message(parked: Option<UnixMillis>, unique: u64) -> Self {
        let Self(floor) = Self::floor(parked.unwrap_or_default());
        Self(floor | (u128::from(unique) << NUMBER.count_ones()))
    }

    /// The id of the delivery with this number, from 0, of a message that is for several.
    #[must_use]
    pub fn of_delivery(self, number: u16) -> Self {
        Self(self.message().0 | u128::from(number.saturating_add(1)))
    }

    /// The lowest id of what was parked at this instant or later.
    #[must_use]
    pub fn floor(parked: UnixMillis) -> Self {
        let ms = parked.get().clamp(0, MAX_MS).unsigned_abs();
        Self(u128::from(ms) << (UNIQUE_BITS + NUMBER.count_ones()))
    }

    /// The random number of its message.
    #[must_use]
    pub fn unique(self) -> u64 {
        let [_, _, _, _, _, _, unique @ .., _, _] = self.0.to_be_bytes();
        u64::from_be_bytes(unique)
    }

    /// The id of its message.
    #[must_use]
    pub fn message(self) -> Self {
        Self(self.0 & !NUMBER)
    }

    /// The highest id that a delivery of its message can have.
    pub(super) fn last_of_message(self) -> Self {
        Self(self.0 | NUMBER)
    }

    /// True if its message is for no other.
    pub(super) fn is_alone(self) -> bool {
        self.0 & NUMBER == 0
    }

    /// As it is stored.
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> sqlx::Result<Self> {
        let bytes = bytes.try_into().map_err(sqlx::Error::decode)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for ParkedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for ParkedId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ParkedId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text is not the id of a parked delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a parked delivery is 32 hexadecimal digits")]
pub struct ParkedIdError;

impl FromStr for ParkedId {
    type Err = ParkedIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(ParkedIdError)
    }
}

/// A parked delivery, or an event that was parked before its fan-out, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedDelivery {
    /// Its id here.
    pub id: ParkedId,
    /// The event's id; empty where the publisher gave none that can be read.
    pub event: String,
    /// The event's topic, if it has one.
    pub topic: Option<String>,
    /// The subscription, and the value sent as `webhook-id`.
    pub recipient: Option<(SubscriptionId, DeliveryId)>,
    /// The URL of the subscription when it was parked; the store finds it out.
    pub url: Option<String>,
    /// The reason for parking it.
    pub reason: ParkReason,
    /// The HTTP status of the last attempt.
    pub status: Option<u16>,
    /// HTTP requests made.
    pub attempts: u32,
    /// The number of replays so far.
    pub replays: u32,
    /// The time of parking.
    pub parked: Option<UnixMillis>,
    /// The time when homing took the event.
    pub received: Option<UnixMillis>,
    /// The time when the first attempt failed.
    pub first_failure: Option<UnixMillis>,
    /// The last outcome, or what is wrong with the message; cut after a thousand bytes.
    pub last_outcome: Option<String>,
    /// The error that it was parked for, if that was one of an attempt.
    pub error: Option<ErrorId>,
    /// As published.
    pub content_type: String,
    /// The encoding of the body, if the publisher declared one.
    pub content_encoding: Option<String>,
    /// Size of the body.
    pub body_bytes: u64,
}

/// A parked message with its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its id, unless it comes again.
    pub id: ParkedId,
    /// SHA-256 of it, the same for equal messages, if its publisher gave it an id. One without an
    /// id is never taken for another: after a crash it may be there twice, but none is missing.
    pub digest: Option<[u8; 32]>,
    /// True if the queue has delivered it before: only then it may have been added.
    pub is_redelivered: bool,
    /// Everything of it, byte for byte.
    pub payload: Bytes,
    /// Its deliveries: one with the message's own id, or several with ids
    /// [of their own](ParkedId::of_delivery).
    pub deliveries: Vec<ParkedDelivery>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_deliveries_are_neighbours() {
        let at = |ms| Some(UnixMillis::new(ms));
        let message = ParkedId::of_message(at(5), u64::MAX);
        assert!(ParkedId::of_message(None, u64::MAX) < ParkedId::of_message(at(1), 0));
        assert!(message < ParkedId::floor(UnixMillis::new(6)));
        assert!(ParkedId::floor(UnixMillis::new(5)) <= message);
        let (first, last) = (message.of_delivery(0), message.of_delivery(63));
        assert!(message < first && first < last && last < message.last_of_message());
        assert_eq!(last.message(), message);
        assert!(message.is_alone() && !first.is_alone());
        assert_eq!((message.unique(), last.unique()), (u64::MAX, u64::MAX));
        assert_eq!(ParkedId::of_message(at(-7), 1), ParkedId::of_message(at(0), 1));
    }

    #[test]
    fn an_id_is_written_and_read() {
        let id = ParkedId::of_message(Some(UnixMillis::new(1_700_000_000_000)), 7);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ParkedId::from_bytes(&id.bytes()).unwrap(), id);
        for wrong in
            ["", "1", "+0000000000000000000000000000001", "g0000000000000000000000000000001"]
        {
            assert_eq!(wrong.parse::<ParkedId>(), Err(ParkedIdError), "{wrong}");
        }
    }
}
