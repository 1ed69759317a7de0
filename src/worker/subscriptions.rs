//! The subscriptions in memory, as every event needs them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{
    domain::{
        event::Event, filter::EventStates, id::SubscriptionId, subscription::Subscription,
        topic::Topic, topic_tree::TopicTree,
    },
    store::{Snapshot, Store, StoreError},
    telemetry::metrics,
};

/// Topics that were told to have bodies without JSON; enough for a person to see the pattern.
const TOLD_TOPICS_MAX: usize = 1_000;

/// The subscriptions as of the last reading; replaced as a whole.
pub struct Subscriptions {
    store: Arc<dyn Store>,
    current: watch::Sender<Option<Arc<Catalogue>>>,
    told: Mutex<HashSet<String>>,
}

/// All subscriptions, found by id and by topic.
#[derive(Debug, Default)]
struct Catalogue {
    version: i64,
    all: Vec<Arc<Subscription>>,
    by_id: HashMap<SubscriptionId, Arc<Subscription>>,
    /// Leads to places in `all`.
    by_topic: TopicTree,
}

impl Catalogue {
    fn new(version: i64, subscriptions: Vec<Subscription>) -> Self {
        let mut catalogue = Self { version, ..Self::default() };
        for (place, subscription) in subscriptions.into_iter().enumerate() {
            let subscription = Arc::new(subscription);
            for pattern in &subscription.terms.topics {
                catalogue.by_topic.insert(pattern, place);
            }
            catalogue.by_id.insert(subscription.id, Arc::clone(&subscription));
            catalogue.all.push(subscription);
        }
        catalogue
    }

    /// Those that want `topic`.
    fn wanting(&self, topic: &Topic) -> impl Iterator<Item = &Arc<Subscription>> {
        let matching = self.by_topic.matching(topic).into_iter();
        let found = matching.filter_map(|place| self.all.get(place));
        // Homing's own events are for those who name them, whatever matches.
        found.filter(|subscription| !topic.is_own() || subscription.terms.wants_topic(topic))
    }
}

impl Subscriptions {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, current: watch::Sender::new(None), told: Mutex::default() }
    }

    /// Waits until they have been read once.
    pub async fn loaded(&self) {
        let mut current = self.current.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _read = current.wait_for(Option::is_some).await;
    }

    /// Whether they have been read once.
    #[must_use]
    pub fn are_loaded(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Reads them from the store if they changed since the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last reading stays in force.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let version = self.store.subscriptions_version().await?;
        if self.catalogue().is_some_and(|catalogue| catalogue.version == version) {
            return Ok(());
        }
        let Snapshot { version, subscriptions, corrupt } = self.store.all_subscriptions().await?;
        for corrupt in corrupt {
            error!(error = %corrupt, "subscription.corrupt: it gets no events");
        }
        info!(subscriptions = subscriptions.len(), version, "subscriptions.read");
        metrics::subscriptions(subscriptions.len());
        self.current.send_replace(Some(Arc::new(Catalogue::new(version, subscriptions))));
        Ok(())
    }

    /// The subscription with this id. One that is not in memory is looked for in the store: it may
    /// be younger than the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: unknown whether it exists.
    pub(super) async fn find(
        &self,
        id: SubscriptionId,
    ) -> Result<Option<Arc<Subscription>>, StoreError> {
        let known = self.catalogue().and_then(|catalogue| catalogue.by_id.get(&id).cloned());
        match known {
            Some(subscription) => Ok(Some(subscription)),
            None => Ok(self.store.subscription(id).await?.map(Arc::new)),
        }
    }

    /// The ids of those that want `event`.
    pub(super) fn wanting(&self, event: &Event) -> Vec<SubscriptionId> {
        let Some(catalogue) = self.catalogue() else { return Vec::new() };
        let mut states = None;
        catalogue
            .wanting(&event.topic)
            .filter(|subscription| {
                let terms = &subscription.terms;
                terms.wants_any_body()
                    || states
                        .get_or_insert_with(|| self.states(event))
                        .as_ref()
                        .is_some_and(|states| terms.wants_body(states))
            })
            .map(|subscription| subscription.id)
            .collect()
    }

    /// The body for the filters; read once per event, and only if somebody filters.
    fn states(&self, event: &Event) -> Option<EventStates> {
        match EventStates::from_bytes(&event.body) {
            Ok(states) => Some(states),
            Err(error) => {
                metrics::event_not_json();
                let topic = event.topic.as_str();
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.len() < TOLD_TOPICS_MAX && told.insert(topic.to_owned()) {
                    warn!(
                        topic,
                        event.id = %event.id,
                        %error,
                        "event.not_json: subscriptions with filters do not get it; told once per topic"
                    );
                }
                None
            }
        }
    }

    fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.current.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{subscription::Draft, time::UnixMillis};

    fn subscription(number: u128, patterns: &[&str]) -> Subscription {
        let draft = json!({"url": "https://example.com/", "topics": patterns});
        let draft: Draft = serde_json::from_value(draft).expect("a draft");
        let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
        let id = SubscriptionId::new(Uuid::from_u128(number));
        Subscription { id, terms: draft.build(&[]).expect("sound"), created, updated }
    }

    const PATTERNS: [&str; 8] =
        ["#", "*", "homing.#", "homing.*.x", "*.endpoint.x", "order.*", "order.paid", "#.x"];
    const TOPICS: [&str; 6] =
        ["order.paid", "order", "homing.endpoint.x", "homing", "homing.x", "a.endpoint.x"];

    proptest! {
        /// Goal: the index answers what asking every subscription answers, also about homing's own
        /// events.
        #[test]
        fn the_index_finds_those_that_say_they_want_it(
            patterns in prop::collection::vec(
                prop::collection::vec(prop::sample::select(&PATTERNS[..]), 1..4), 0..12,
            ),
            topic in prop::sample::select(&TOPICS[..]),
        ) {
            let all: Vec<_> =
                (0..).zip(&patterns).map(|(number, some)| subscription(number, some)).collect();
            let topic = Topic::new(topic).expect("a topic");
            let expected: Vec<_> = all
                .iter()
                .filter(|subscription| subscription.terms.wants_topic(&topic))
                .map(|subscription| subscription.id)
                .collect();
            let catalogue = Catalogue::new(1, all);
            let found: Vec<_> =
                catalogue.wanting(&topic).map(|subscription| subscription.id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
