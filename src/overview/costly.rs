//! Subscriptions whose filters cost more than an event may.

use serde::{Deserialize, Serialize};

use homing_domain::{activity::CostlyFilters, id::SubscriptionId};

/// A subscription for which events were parked lately because its filters cost too much. It is
/// listed until it changes, or until a day without such an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CostlySubscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The last time that an event was parked for this reason; RFC 3339.
    pub last: String,
}

impl From<CostlyFilters> for CostlySubscription {
    fn from(CostlyFilters { subscription, seen, .. }: CostlyFilters) -> Self {
        Self { id: subscription, last: seen.to_string() }
    }
}

impl CostlySubscription {
    /// The remedy.
    #[must_use]
    pub fn advice(&self) -> String {
        format!(
            "an event was parked for it instead of filtered; give it fewer filters or shorter lists \
             (`homing subscriptions update {0}`), then replay what is parked (`homing parked \
             replay --subscription {0}`)",
            self.id
        )
    }
}
