//! The subscriptions in memory, for matching every event.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{
    index::{Entry, SubscriptionIndex},
    matching::{Candidates, Match},
};
use homing_domain::{
    id::SubscriptionId, subscription::Subscription, topic::Topic, url::EndpointUrl,
};
use homing_store::{Corrupt, Store, StoreError};
use homing_telemetry::metrics;

/// The subscriptions as of the last reading; a refresh reads only what has changed since.
pub struct Subscriptions {
    store: Arc<dyn Store>,
    current: watch::Sender<Option<Arc<SubscriptionIndex>>>,
}

impl Subscriptions {
    /// Those of `store`; none is read yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, current: watch::Sender::new(None) }
    }

    /// Waits until the subscriptions have been read once.
    pub async fn loaded(&self) {
        let mut current = self.current.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _read = current.wait_for(Option::is_some).await;
    }

    /// True once the subscriptions have been read.
    #[must_use]
    pub fn are_loaded(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Applies what has changed in the store since the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last reading stays in force.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let version = self.store.subscriptions_version().await?;
        let Some(since) = self.index().map(|index| index.version()) else {
            return Box::pin(self.read_all()).await;
        };
        if since == version {
            return Ok(());
        }
        let Some(changes) = self.store.changed_subscriptions(since).await? else {
            return Box::pin(self.read_all()).await;
        };
        for corrupt in &changes.corrupt {
            error!(error = %corrupt, "subscription.corrupt");
        }
        let (read, removed) = (changes.subscriptions.len(), changes.removed.len());
        let mut agrees = false;
        self.current.send_modify(|current| {
            let Some(index) = current else { return };
            // Another reading may have finished first. A task that uses the index at this moment
            // keeps its old version; the copy shares its subscriptions.
            agrees = index.version() == since && Arc::make_mut(index).follow(changes);
        });
        if !agrees {
            return Box::pin(self.read_all()).await;
        }
        info!(read, removed, version, "subscriptions.changed");
        self.count();
        Ok(())
    }

    /// Reads all again if the store has different ones at the same version.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last reading stays in force.
    pub(super) async fn verify(&self) -> Result<(), StoreError> {
        let census = self.store.recount_subscriptions().await?;
        if self.index().is_none_or(|index| index.agrees_with(&census)) {
            return Ok(());
        }
        warn!("subscriptions.differ: the store went back to an earlier state; all are read again");
        Box::pin(self.read_all()).await
    }

    async fn read_all(&self) -> Result<(), StoreError> {
        let snapshot = self.store.all_subscriptions().await?;
        for corrupt in &snapshot.corrupt {
            error!(error = %corrupt, "subscription.corrupt");
        }
        let (subscriptions, version) = (snapshot.subscriptions.len(), snapshot.version);
        info!(subscriptions, version, "subscriptions.read");
        self.current.send_replace(Some(Arc::new(SubscriptionIndex::new(snapshot))));
        self.count();
        Ok(())
    }

    fn count(&self) {
        let Some(index) = self.index() else { return };
        metrics::subscriptions(index.len(), index.corrupt().count());
    }

    /// The unreadable ones; their events wait.
    #[must_use]
    pub fn corrupt(&self) -> Vec<Arc<Corrupt>> {
        self.index().map(|index| index.corrupt().cloned().collect()).unwrap_or_default()
    }

    /// The subscription with this id. If it is not in memory it is looked up in the store: it may
    /// be newer than the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: unknown whether it exists; or [`StoreError::Corrupt`].
    pub(super) async fn find(
        &self,
        id: SubscriptionId,
    ) -> Result<Option<Arc<Subscription>>, StoreError> {
        match self.index().and_then(|index| index.get(id).cloned()) {
            Some(Entry::Sound(subscription)) => Ok(Some(subscription)),
            Some(Entry::Unreadable(corrupt)) => {
                Err(StoreError::Corrupt(Box::new((*corrupt).clone())))
            }
            None => Ok(self.store.subscription(id).await?.map(Arc::new)),
        }
    }

    /// The subscriptions that match `topic`, or may match it.
    pub(super) fn candidates(&self, topic: &Topic) -> Candidates {
        let mut candidates = Candidates::default();
        let Some(index) = self.index() else { return candidates };
        for entry in index.matching_topic(topic) {
            match entry {
                Entry::Sound(subscription) => candidates.push(subscription),
                Entry::Unreadable(corrupt) => {
                    candidates.decided.push(Match::Unreadable(corrupt.subscription));
                }
            }
        }
        candidates
    }

    /// True if a subscription may want events of `topic`.
    pub(super) fn wants(&self, topic: &Topic) -> bool {
        self.index().is_some_and(|index| index.matching_topic(topic).next().is_some())
    }

    /// The number of subscriptions that match `topic`, or may match it; `None`: they have not been
    /// read.
    #[must_use]
    pub fn count_wanting(&self, topic: &Topic) -> Option<usize> {
        Some(self.index()?.matching_topic(topic).count())
    }

    /// True if a subscription sends to `url`, or one that cannot be read may.
    pub(super) fn any_at(&self, url: &EndpointUrl) -> bool {
        self.index().is_some_and(|index| index.any_at(url))
    }

    pub(super) fn index(&self) -> Option<Arc<SubscriptionIndex>> {
        self.current.borrow().clone()
    }
}
