//! A selection of parked messages.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Entry;
use homing_domain::{
    id::SubscriptionId,
    text::parsed,
    time::UnixMillis,
    topic::{Topic, TopicPattern},
    verdict::ParkReason,
};

/// Conditions on parked messages; all that are set must hold, none selects all messages.
///
/// Deserialized from texts, as queries, forms and arguments have them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Parked for this reason.
    #[serde(deserialize_with = "parsed")]
    pub reason: Option<ParkReason>,
    /// For this subscription.
    #[serde(deserialize_with = "parsed")]
    pub subscription: Option<SubscriptionId>,
    /// Of a topic that this pattern matches.
    #[serde(deserialize_with = "parsed")]
    pub topic: Option<TopicPattern>,
    /// Of the event with this id.
    #[serde(deserialize_with = "parsed")]
    pub event: Option<String>,
    /// Parked at or after this instant, Unix ms.
    #[serde(deserialize_with = "parsed")]
    pub parked_after_ms: Option<UnixMillis>,
    /// Parked before this instant, Unix ms.
    #[serde(deserialize_with = "parsed")]
    pub parked_before_ms: Option<UnixMillis>,
    /// Parked because its URL was slow, or its circuit open or frozen, for one of these
    /// subscriptions.
    #[serde(skip)]
    pub held_for: Option<BTreeSet<SubscriptionId>>,
}

impl Selection {
    /// True if no condition is set.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let Self { reason, subscription, topic, event, .. } = self;
        let Self { parked_after_ms, parked_before_ms, held_for, .. } = self;
        reason.is_none()
            && subscription.is_none()
            && topic.is_none()
            && event.is_none()
            && parked_after_ms.is_none()
            && parked_before_ms.is_none()
            && held_for.is_none()
    }

    /// True if `entry` is selected. An entry without an instant is older than every instant.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let topic = entry.topic.as_deref().and_then(|topic| Topic::new(topic).ok());
        let parked = entry.parked_ms.unwrap_or_default();
        self.reason.is_none_or(|reason| entry.reason == reason)
            && self.subscription.is_none_or(|id| entry.subscription_id == Some(id))
            && self.event.as_ref().is_none_or(|id| entry.event_id == *id)
            && self.parked_after_ms.is_none_or(|after| parked >= after)
            && self.parked_before_ms.is_none_or(|before| parked < before)
            && self
                .topic
                .as_ref()
                .is_none_or(|pattern| topic.as_ref().is_some_and(|topic| pattern.matches(topic)))
            && self.held_for.as_ref().is_none_or(|subscriptions| {
                use ParkReason::{CircuitOpen, EndpointSlow, Frozen};
                matches!(entry.reason, Frozen | CircuitOpen | EndpointSlow)
                    && entry.subscription_id.is_some_and(|id| subscriptions.contains(&id))
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Entry {
        Entry {
            event_id: "e1".to_owned(),
            topic: Some("order.paid".to_owned()),
            subscription_id: Some("01931f5a-9c4e-7000-8000-000000000001".parse().unwrap()),
            delivery_id: None,
            reason: ParkReason::Gone,
            parked_ms: Some(UnixMillis::new(1_000)),
            received_ms: None,
            first_failure_ms: None,
            attempts: 1,
            replays: 0,
            last_outcome: None,
            content_type: String::new(),
            content_encoding: None,
            body_bytes: 0,
            headers: [].into(),
            body: None,
        }
    }

    #[test]
    fn every_condition_excludes() {
        let select =
            |json| -> bool { serde_json::from_value::<Selection>(json).unwrap().matches(&entry()) };
        assert!(select(json!({})));
        assert!(select(json!({"reason": "gone", "topic": "order.*", "event": "e1"})));
        assert!(select(json!({"parked_after_ms": "1000", "parked_before_ms": "1001"})));
        assert!(!select(json!({"reason": "frozen"})));
        assert!(!select(json!({"subscription": "01931f5a-9c4e-7000-8000-000000000002"})));
        assert!(!select(json!({"topic": "order"})));
        assert!(!select(json!({"event": "e2"})));
        assert!(!select(json!({"parked_after_ms": "1001"})));
        assert!(!select(json!({"parked_before_ms": "1000"})));
    }
    /// Goal: what is replayed with an endpoint is all that waited for it in vain, and nothing else.
    #[test]
    fn what_waited_for_its_endpoint_is_held_for_its_subscription() {
        let held_for = entry().subscription_id.map(|id| [id].into());
        let selection = Selection { held_for, ..Selection::default() };
        let waited = ParkReason::ALL
            .into_iter()
            .filter(|reason| selection.matches(&Entry { reason: *reason, ..entry() }));
        let expected = [ParkReason::CircuitOpen, ParkReason::Frozen, ParkReason::EndpointSlow];
        assert_eq!(waited.collect::<Vec<_>>(), expected);
        let others = Entry { subscription_id: None, reason: ParkReason::Frozen, ..entry() };
        assert!(!selection.matches(&others));
    }
}
