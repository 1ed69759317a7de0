//! The present state of a delivery: that after its last record.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

/// States for a search: one, or all in which something follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States(Vec<DeliveryState>);

impl States {
    /// The name for all states in which something follows by itself.
    pub const PENDING: &'static str = "pending";

    /// The names, in the order in which the documentation lists them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        DeliveryState::ALL.into_iter().map(DeliveryState::as_str).chain([Self::PENDING]).collect()
    }

    /// The states to search for.
    #[must_use]
    pub fn as_slice(&self) -> &[DeliveryState] {
        &self.0
    }
}

/// The word names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state; one of {all}", all = States::names().join(", "))]
pub struct StatesError(String);

impl FromStr for States {
    type Err = StatesError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == Self::PENDING {
            return Ok(Self(DeliveryState::PENDING.to_vec()));
        }
        let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == word);
        state
            .map(|state| Self(vec![state]))
            .ok_or_else(|| StatesError(word.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_by_their_names() {
        for state in DeliveryState::ALL {
            let found: States = state.as_str().parse().unwrap();
            assert_eq!(found.as_slice(), [state]);
        }
        assert_eq!("pending".parse::<States>().unwrap().as_slice(), DeliveryState::PENDING);
        insta::assert_snapshot!("late".parse::<States>().unwrap_err(), @"`late` is not a state; one of delivered, waits, not_before, throttled, held, parked, not_wanted, pending");
    }
}
