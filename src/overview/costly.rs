//! Subscriptions whose filters cost more than an event may.

use serde::Serialize;

use homing_domain::{activity::CostlyFilters, id::SubscriptionId};

/// A subscription for which events were parked lately because its filters cost too much. A change of
/// it, or a day without such an event, ends that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CostlySubscription {
    /// Which one.
    pub id: SubscriptionId,
    /// When an event was parked for that the last time; RFC 3339.
    pub last: String,
}

impl From<CostlyFilters> for CostlySubscription {
    fn from(CostlyFilters { subscription, seen, .. }: CostlyFilters) -> Self {
        Self { id: subscription, last: seen.to_string() }
    }
}

impl CostlySubscription {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        format!(
            "an event was parked for it instead of filtered; give it fewer filters or shorter lists \
             (`homing subscriptions change {0}`), then send again what is parked (`homing parked \
             replay --subscription {0}`)",
            self.id
        )
    }
}
