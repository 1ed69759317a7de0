//! The present state of a delivery: that after its last record.

use serde::{Deserialize, Serialize};

use super::any_of::{AnyOf, Word};

/// The state of a delivery after its last record.
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
pub enum DeliveryState {
    /// Its endpoint accepted it.
    Delivered,
    /// Its subscription turned out not to match it.
    NotWanted,
    /// An attempt failed, and it waits for the next one; or it is being attempted.
    Waits,
    /// It waits for the time that its endpoint, or its handler, asked for.
    NotBefore,
    /// It waits for its turn: its endpoint takes no more at a time, or its rate limit allows none.
    Throttled,
    /// It waits for its endpoint: the circuit is open or frozen, or the endpoint is slow.
    Held,
    /// It was given up, and is kept for an operator.
    Parked,
}

impl DeliveryState {
    /// All of them, in the order in which the documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Waits,
        Self::NotBefore,
        Self::Throttled,
        Self::Held,
        Self::Parked,
        Self::NotWanted,
    ];
    /// Those in which something follows by itself.
    pub const PENDING: [Self; 4] = [Self::Waits, Self::NotBefore, Self::Throttled, Self::Held];

    /// The name in lists and stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::NotWanted => "not_wanted",
            Self::Waits => "waits",
            Self::NotBefore => "not_before",
            Self::Throttled => "throttled",
            Self::Held => "held",
            Self::Parked => "parked",
        }
    }
}

/// States for a search: one, or `pending`, all in which something follows by itself.
pub type States = AnyOf<DeliveryState>;

impl Word for DeliveryState {
    const WHAT: &'static str = "a state";
    const WORDS: &'static [Self] = &Self::ALL;
    const GROUP: (&'static str, &'static [Self]) = ("pending", &Self::PENDING);

    fn text(self) -> &'static str {
        self.as_str()
    }
}
