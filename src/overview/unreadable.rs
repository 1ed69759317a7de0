//! Subscriptions that are in the store and cannot be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use homing_domain::id::SubscriptionId;
use homing_store::{Corrupt, Listing, MAX_PAGE_LIMIT, Page, Store, StoreError};

/// A subscription that cannot be read. Its events wait until it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnreadableSubscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The field at fault.
    pub field: String,
    /// The error.
    pub message: String,
}

impl From<Corrupt> for UnreadableSubscription {
    fn from(Corrupt { subscription, field, why, .. }: Corrupt) -> Self {
        Self { id: subscription, field, message: why }
    }
}

impl UnreadableSubscription {
    /// The remedy.
    #[must_use]
    pub fn advice(&self) -> String {
        format!(
            "its events wait until `homing subscriptions update {}` corrects this field, or it is \
             deleted",
            self.id
        )
    }
}

/// Tracks subscriptions that cannot be read: reads all of them once, and then the changes.
#[derive(Default)]
pub struct UnreadableSubscriptions(Mutex<Option<Known>>);

/// The time that changes are followed before all are read again: a store restored from a backup may
/// have reached the same version.
const FOLLOWED_FOR: Duration = Duration::from_secs(600);

struct Known {
    version: i64,
    read: Instant,
    unreadable: BTreeMap<SubscriptionId, UnreadableSubscription>,
}

impl UnreadableSubscriptions {
    /// The subscriptions that cannot be read now, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn read(&self, store: &dyn Store) -> Result<Vec<UnreadableSubscription>, StoreError> {
        let mut known = self.0.lock().await;
        let current = match known.as_mut() {
            Some(known) if known.read.elapsed() < FOLLOWED_FOR => known.follow(store).await?,
            Some(_) | None => false,
        };
        if !current {
            *known = Some(Known::read(store).await?);
        }
        let all = known.as_ref().map(|known| known.unreadable.values().cloned().collect());
        Ok(all.unwrap_or_default())
    }
}

impl Known {
    /// Reads page by page, and keeps only the unreadable ones. Changes meanwhile are followed at
    /// the next read.
    async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let version = store.subscriptions_version().await?;
        let mut known = Self { version, read: Instant::now(), unreadable: BTreeMap::new() };
        let mut page = Page { after: None, limit: MAX_PAGE_LIMIT };
        loop {
            let Listing { corrupt, next, .. } = store.subscriptions(page).await?;
            known.note(corrupt);
            match next {
                Some(next) => page.after = Some(next),
                None => return Ok(known),
            }
        }
    }

    /// Follows changes; `false`: too much has changed.
    async fn follow(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        if store.subscriptions_version().await? == self.version {
            return Ok(true);
        }
        let Some(changes) = store.changed_subscriptions(self.version).await? else {
            return Ok(false);
        };
        let sound = changes.subscriptions.iter().map(|subscription| subscription.id);
        for id in sound.chain(changes.removed) {
            self.unreadable.remove(&id);
        }
        self.note(changes.corrupt);
        self.version = changes.version;
        Ok(changes.number > 0 || self.unreadable.is_empty())
    }

    fn note(&mut self, corrupt: Vec<Corrupt>) {
        let entries = corrupt.into_iter().map(|corrupt| (corrupt.subscription, corrupt.into()));
        self.unreadable.extend(entries);
    }
}
