//! The subscriptions in memory, for matching every event.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tracing::{error, info, warn};

use super::{
    index::{Entry, SubscriptionIndex},
    matching::{Candidates, Match},
};
use homing_domain::{
    id::SubscriptionId,
    subscription::{FixedVersion, Subscription},
    time::UnixMillis,
    topic::{Topic, TopicPattern},
    url::EndpointUrl,
};
use homing_store::{Corrupt, Store, StoreError};
use homing_telemetry::{log_events, metrics};

/// Subscriptions are read this often where no announcement says that they changed ...
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// ... and so often where the store fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

type Index = Option<Arc<SubscriptionIndex>>;

/// The subscriptions as of the last reading; a refresh reads only what has changed since.
///
/// One reading follows the other: only who holds the sender's lock can replace the index, so none
/// that began earlier ends later, and the index never becomes older than it was.
pub struct Subscriptions {
    store: Arc<dyn Store>,
    replacing: Mutex<watch::Sender<Index>>,
    latest: Latest,
}

/// The subscriptions as the process read them last. Looking at them never waits.
#[derive(Clone)]
pub struct Latest(watch::Receiver<Index>);

impl Subscriptions {
    /// Those of `store`; none is read yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (replacing, latest) = watch::channel(None);
        Self { store, replacing: Mutex::new(replacing), latest: Latest(latest) }
    }

    /// Them for those who only look.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Waits until the subscriptions have been read once.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let mut latest = self.latest.0.clone();
        let _read = latest.wait_for(Option::is_some).await;
    }

    /// True once the subscriptions have been read.
    #[must_use]
    pub fn are_loaded(&self) -> bool {
        self.latest.0.borrow().is_some()
    }

    /// Keeps them current without announcements, for ever, in a process that delivers nothing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn follow(&self) {
        loop {
            let pause = match self.refresh().await {
                Ok(()) => FOLLOW_INTERVAL,
                Err(error) => {
                    log_events::store_unavailable("reading the subscriptions", &error);
                    RETRY_INTERVAL
                }
            };
            sleep(pause).await;
        }
    }

    /// Applies what has changed in the store since the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last reading stays in force.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the last reading stays in force.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let replacing = self.replacing.lock().await;
        let version = self.store.subscriptions_version().await?;
        let Some(since) = self.index().map(|index| index.version()) else {
            return Box::pin(self.read_all(&replacing)).await;
        };
        if since == version {
            return Ok(());
        }
        let Some(changes) = self.store.changed_subscriptions(since).await? else {
            return Box::pin(self.read_all(&replacing)).await;
        };
        for corrupt in &changes.corrupt {
            error!(error = %corrupt, "subscription.corrupt");
        }
        let (read, removed) = (changes.subscriptions.len(), changes.removed.len());
        let mut agrees = false;
        replacing.send_modify(|current| {
            let Some(index) = current else { return };
            // A task that uses the index at this moment keeps its old version; the copy shares its
            // subscriptions.
            agrees = Arc::make_mut(index).follow(changes);
        });
        if !agrees {
            return Box::pin(self.read_all(&replacing)).await;
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
        let replacing = self.replacing.lock().await;
        let census = self.store.recount_subscriptions().await?;
        if self.index().is_none_or(|index| index.agrees_with(&census)) {
            return Ok(());
        }
        warn!("subscriptions.differ: the store went back to an earlier state; all are read again");
        Box::pin(self.read_all(&replacing)).await
    }

    async fn read_all(&self, replacing: &watch::Sender<Index>) -> Result<(), StoreError> {
        let snapshot = self.store.all_subscriptions().await?;
        for corrupt in &snapshot.corrupt {
            error!(error = %corrupt, "subscription.corrupt");
        }
        let (subscriptions, version) = (snapshot.subscriptions.len(), snapshot.version);
        info!(subscriptions, version, "subscriptions.read");
        replacing.send_replace(Some(Arc::new(SubscriptionIndex::new(snapshot))));
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
        self.index().map(|index| candidates(&index, topic)).unwrap_or_default()
    }

    /// The versions in which an event that came at `now` goes to the subscription with this id, if
    /// these are two.
    pub(super) fn both_versions(
        &self,
        id: SubscriptionId,
        now: UnixMillis,
    ) -> Option<[FixedVersion; 2]> {
        let index = self.latest.0.borrow();
        match index.as_ref()?.get(id)? {
            Entry::Sound(subscription) => subscription.spec.workfront.as_ref()?.both_versions(now),
            Entry::Unreadable(_) => None,
        }
    }

    /// False if no subscription gets events that came at `now` in two versions.
    pub(super) fn may_have_both_versions(&self, now: UnixMillis) -> bool {
        let index = self.latest.0.borrow();
        index.as_ref().is_some_and(|index| now < index.both_versions_until())
    }

    /// True if a subscription may want events of `topic`.
    pub(super) fn wants(&self, topic: &Topic) -> bool {
        self.index().is_some_and(|index| index.matching_topic(topic).next().is_some())
    }

    /// True if a subscription sends to `url`, or one that cannot be read may.
    pub(super) fn any_at(&self, url: &EndpointUrl) -> bool {
        self.index().is_some_and(|index| index.any_at(url))
    }

    fn index(&self) -> Index {
        self.latest.index()
    }
}

impl Latest {
    /// The number of subscriptions that match `topic`, or may match it; `None`: they have not been
    /// read.
    #[must_use]
    pub fn count_wanting(&self, topic: &Topic) -> Option<usize> {
        Some(self.index()?.matching_topic(topic).count())
    }

    /// The subscriptions that match `topic`, at most `limit` of those that are not in `except`;
    /// `None`: they have not been read.
    #[must_use]
    pub fn wanting(
        &self,
        topic: &Topic,
        except: &BTreeSet<SubscriptionId>,
        limit: usize,
    ) -> Option<Vec<Arc<Subscription>>> {
        let index = self.index()?;
        let sound = index.matching_topic(topic).filter_map(|entry| match entry {
            Entry::Sound(subscription) => Some(subscription),
            Entry::Unreadable(_) => None,
        });
        let others = sound.filter(|subscription| !except.contains(&subscription.id));
        Some(others.take(limit).map(Arc::clone).collect())
    }

    /// The subscriptions that name homing's own topics, in the order of their creation, at most
    /// `limit`; `None`: they have not been read.
    #[must_use]
    pub fn naming_own(&self, limit: usize) -> Option<Vec<Arc<Subscription>>> {
        let index = self.index()?;
        let names = |one: &&Arc<Subscription>| one.spec.topics.iter().any(TopicPattern::names_own);
        let mut found: Vec<_> = index.sound().filter(names).map(Arc::clone).collect();
        found.sort_unstable_by_key(|one| one.id);
        found.truncate(limit);
        Some(found)
    }

    /// `None`: they have not been read.
    pub(super) fn index(&self) -> Index {
        self.0.borrow().clone()
    }
}

/// The subscriptions of `index` that match `topic`, or may match it.
pub(super) fn candidates(index: &SubscriptionIndex, topic: &Topic) -> Candidates {
    let mut candidates = Candidates::default();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::task::JoinSet;
    use uuid::Uuid;

    use super::*;
    use homing_domain::{subscription::Draft, time::UnixMillis};
    use homing_store::settings::StoreSettings;

    fn subscription(number: u128) -> Subscription {
        let draft =
            serde_json::json!({"url": format!("https://example.com/{number}"), "topics": ["#"]});
        let draft: Draft = serde_json::from_value(draft).unwrap();
        let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
        let id = SubscriptionId::new(Uuid::from_u128(number));
        Subscription { id, spec: draft.build(&[]).unwrap(), created, updated }
    }

    async fn refresh_often(subscriptions: Arc<Subscriptions>) {
        for _ in 0..30 {
            subscriptions.refresh().await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// Goal: readings at the same time never put an older index in the place of a newer one.
    /// Method: every index that anybody sees is of a version at least as high as the one before.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn refreshes_at_the_same_time_never_go_back() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("url = \"sqlite:{}/homing.db\"", folder.path().display());
        let store = homing_store::open(&StoreSettings::from_toml(&url).unwrap()).await.unwrap();
        let subscriptions = Arc::new(Subscriptions::new(Arc::clone(&store)));
        let mut seen = subscriptions.latest().0;
        let mut refreshing = JoinSet::new();
        for _ in 0..8 {
            refreshing.spawn(refresh_often(Arc::clone(&subscriptions)));
        }
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let mut last = 0;
            while seen.changed().await.is_ok() {
                let version = seen.borrow_and_update().as_ref().unwrap().version();
                assert!(version >= last, "{version} after {last}");
                last = version;
            }
        });
        for number in 0..30 {
            store.insert_subscription(&subscription(number)).await.unwrap();
            // What is stored before a refresh begins is in the index when it ends.
            subscriptions.refresh().await.unwrap();
            let id = SubscriptionId::new(Uuid::from_u128(number));
            let index = subscriptions.index().unwrap();
            assert!(index.get(id).is_some(), "{number} is gone from the index");
        }
        refreshing.join_all().await;
        let index = subscriptions.index().unwrap();
        let ids: BTreeSet<_> = index.sound().map(|one| one.id).collect();
        assert_eq!(ids.len(), 30);
        drop((index, subscriptions));
        watching.join_all().await;
    }
}
