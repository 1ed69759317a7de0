//! The ledger: the number and a checksum of what was delivered, by subscription and hour.
//!
//! A receiver that keeps `webhook-id` and `webhook-timestamp` of what it has answered computes the
//! same figures, and so knows that it lost nothing behind its own answers. Both take the hour of
//! `webhook-timestamp`, so no clock is compared with another.

use serde::{Deserialize, Serialize};

use super::{id::DeliveryId, time::UnixMillis};

/// Figures of deliveries in whatever order. What comes twice cancels out in `xor` and doubles in
/// `sum`, and `number` says that it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Deliveries that the endpoint accepted, repetitions included.
    pub number: u64,
    /// Their [`hash`]es, joined by exclusive or.
    pub xor: u64,
    /// Their [`hash`]es, added modulo 2⁶⁴.
    pub sum: u64,
}

/// The last eight bytes of the `webhook-id`, a `UUIDv5` and thus a hash of event and subscription,
/// as a number, the most significant byte first.
#[must_use]
pub fn hash(id: DeliveryId) -> u64 {
    id.uuid().as_u64_pair().1
}

impl Checksum {
    /// Adds one delivery.
    pub fn add(&mut self, id: DeliveryId) {
        let hash = hash(id);
        self.merge(&Self { number: 1, xor: hash, sum: hash });
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: &Self) {
        self.number = self.number.wrapping_add(other.number);
        self.xor ^= other.xor;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The completeness of the figures of an hour.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HourState {
    /// All that was delivered is counted.
    Complete,
    /// A worker is still counting.
    Open,
    /// A worker ended without writing all that it had counted, could not count all, or is not
    /// seen any more.
    NotProvable,
}

impl HourState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Open => "open",
            Self::NotProvable => "not_provable",
        }
    }
}

/// The deliveries for a subscription in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHour {
    /// Its start.
    pub start: UnixMillis,
    /// The figures.
    pub checksum: Checksum,
    /// Says if that is all.
    pub state: HourState,
}

/// An hour as it is shown and announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = LedgerHour)]
pub struct View {
    /// Its start; RFC 3339.
    pub hour: String,
    /// Deliveries that the endpoint accepted, repetitions included.
    pub number: u64,
    /// The last eight bytes of each `webhook-id`, joined by exclusive or: 16 hexadecimal digits.
    pub xor: String,
    /// The same, added modulo 2⁶⁴.
    pub sum: String,
    /// `complete`: this is all; `open`: a worker is still counting; `not_provable`: a worker may
    /// have delivered what is not counted.
    pub state: HourState,
}

impl From<LedgerHour> for View {
    fn from(LedgerHour { start, checksum, state }: LedgerHour) -> Self {
        let Checksum { number, xor, sum } = checksum;
        let (xor, sum) = (format!("{xor:016x}"), format!("{sum:016x}"));
        Self { hour: start.to_string(), number, xor, sum, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeliveryId {
        text.parse().unwrap()
    }

    const ONE: &str = "4af58915-c050-5639-8c8e-8e62bb5a3d8e";
    const OTHER: &str = "0b28d1f2-65a6-5c1b-a1f2-3a50f9d0a7c4";

    /// Goal: docs/ledger.md computes the same.
    #[test]
    fn a_hash_is_the_end_of_the_id() {
        assert_eq!(hash(id(ONE)), 0x8c8e_8e62_bb5a_3d8e);
    }

    #[test]
    fn the_order_makes_no_difference_and_a_repetition_does() {
        let of = |ids: &[&str]| {
            let mut checksum = Checksum::default();
            for text in ids {
                checksum.add(id(text));
            }
            checksum
        };
        assert_eq!(of(&[ONE, OTHER]), of(&[OTHER, ONE]));
        let mut parts = of(&[ONE]);
        parts.merge(&of(&[OTHER]));
        assert_eq!(parts, of(&[ONE, OTHER]));
        assert_ne!(of(&[ONE, ONE]), of(&[]));
        assert_ne!(of(&[ONE, ONE, OTHER]), of(&[OTHER, OTHER, ONE]));
        assert_ne!(of(&[ONE, ONE, ONE]), of(&[ONE]));
    }
}
