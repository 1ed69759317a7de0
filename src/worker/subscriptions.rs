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
        topic::TopicPattern,
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

/// All subscriptions, found by topic.
#[derive(Debug, Default)]
struct Catalogue {
    version: i64,
    by_id: HashMap<SubscriptionId, Arc<Subscription>>,
    /// Those whose pattern is one exact topic.
    by_topic: HashMap<String, Vec<Arc<Subscription>>>,
    /// Those with a wildcard.
    by_pattern: Vec<Arc<Subscription>>,
}

impl Catalogue {
    fn new(version: i64, subscriptions: Vec<Subscription>) -> Self {
        let mut catalogue = Self { version, ..Self::default() };
        for subscription in subscriptions {
            let subscription = Arc::new(subscription);
            let patterns = &subscription.terms.topics;
            if patterns.iter().all(TopicPattern::is_exact) {
                for topic in patterns.iter().map(ToString::to_string).collect::<HashSet<_>>() {
                    catalogue.by_topic.entry(topic).or_default().push(Arc::clone(&subscription));
                }
            } else {
                catalogue.by_pattern.push(Arc::clone(&subscription));
            }
            catalogue.by_id.insert(subscription.id, subscription);
        }
        catalogue
    }

    /// Those that want the topic of `event`.
    fn by_topic_of(&self, event: &Event) -> impl Iterator<Item = &Arc<Subscription>> {
        let exact = self.by_topic.get(event.topic.as_str()).into_iter().flatten();
        let patterns = self.by_pattern.iter();
        exact.chain(patterns.filter(|subscription| subscription.terms.wants_topic(&event.topic)))
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
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
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
            .by_topic_of(event)
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
