//! What homing must remember besides messages: the subscriptions, and which queues it declared.
//!
//! Promises to the layers above: what a call has answered survives the loss of power; two
//! subscriptions that want the same events at the same URL never exist together, whichever
//! processes write; several processes may use one store at a time; every step ends within
//! [`DEADLINE`], a change of the schema excepted; a row that cannot be read costs nobody but
//! itself. Not promised: an order of writes by different processes.
//!
//! The cast: [`Store`] says what a store can do in words that no backend owns, [`open`] picks the
//! backend by `store.url`, [`StoreError`] names the step that failed. Workers and the CLI hold an
//! `Arc<dyn Store>`; nobody outside of this folder writes SQL.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::config::StoreSettings;
use crate::domain::{id::SubscriptionId, subscription::Subscription};

mod error;
mod row;
mod sqlite;

pub use error::{Corrupt, StoreError};

/// How long a step may take, waiting for its turn included. Every call but
/// [`Store::all_subscriptions`] is one step.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Subscriptions on one page at most, whatever [`Page::limit`] says.
pub const PAGE_LIMIT_MAX: u32 = 1_000;

/// Which part of the list to read. Ordered by id, which is the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Begin behind this id, which need not exist; `None`: at the beginning.
    pub after: Option<SubscriptionId>,
    /// How many at most; taken as 1 to [`PAGE_LIMIT_MAX`].
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Ordered by id.
    pub subscriptions: Vec<Subscription>,
    /// Those on this page that cannot be read.
    pub corrupt: Vec<Corrupt>,
    /// Goes into [`Page::after`] for the next page; `None`: this is the last one.
    pub next: Option<SubscriptionId>,
}

/// All subscriptions at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What [`Store::subscriptions_version`] said at this instant.
    pub version: i64,
    /// Ordered by id.
    pub subscriptions: Vec<Subscription>,
    /// Those that cannot be read.
    pub corrupt: Vec<Corrupt>,
}

/// Where subscriptions and queue names are kept.
///
/// # Cancel safety
///
/// Questions are cancel safe. A write that is dropped, or that ends as [`StoreError::TimedOut`],
/// is done completely or not at all; which of the two is unknown. All writes can be repeated.
#[async_trait]
pub trait Store: Send + Sync {
    /// Adds a subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`]: one with the same fingerprint exists, perhaps this very one from
    /// an insert that was not answered.
    async fn insert_subscription(&self, subscription: &Subscription) -> Result<(), StoreError>;

    /// Replaces terms and `updated` of the subscription with this id; `created` stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`]; [`StoreError::Duplicate`]: another one has the same fingerprint.
    async fn update_subscription(&self, subscription: &Subscription) -> Result<(), StoreError>;

    /// Removes a subscription, also one that cannot be read; says whether it was there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remove_subscription(&self, id: SubscriptionId) -> Result<bool, StoreError>;

    /// The subscription with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]: it is there and cannot be read.
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError>;

    /// One page of subscriptions. Those that exist while all pages are read come exactly once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn subscriptions(&self, page: Page) -> Result<Listing, StoreError>;

    /// All subscriptions at one instant; read in batches, each with a deadline of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn all_subscriptions(&self) -> Result<Snapshot, StoreError>;

    /// How many subscriptions there are, those that cannot be read included.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn count_subscriptions(&self) -> Result<u64, StoreError>;

    /// A number that rises with every change of the subscriptions, whoever makes it.
    ///
    /// Compare for inequality: a store restored from a backup has an older one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn subscriptions_version(&self) -> Result<i64, StoreError>;

    /// Remembers names of wait queues, so that they are found when no schedule names them any
    /// more. To be called before they are declared.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then none of them is remembered.
    async fn remember_queues(&self, names: &[String]) -> Result<(), StoreError>;

    /// All names remembered, ordered by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn known_queues(&self) -> Result<Vec<String>, StoreError>;

    /// Forgets a queue that was deleted at the broker; says whether it was known.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it does not.
    async fn check(&self) -> Result<(), StoreError>;

    /// Lets calls under way finish and closes; every later call is [`StoreError::Closed`].
    async fn close(&self);
}

/// Opens the store that `settings` name, creating it or bringing its schema up to date.
///
/// # Errors
///
/// [`StoreError`]: no such backend, no place to write, not ours, or of a newer homing.
///
/// # Cancel safety
///
/// Cancel safe: the schema is changed completely or not at all.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    match settings.url.split_once(':') {
        Some(("sqlite", file)) => Ok(Arc::new(sqlite::SqliteStore::open(file).await?)),
        Some(_) | None => Err(StoreError::Url("write it as sqlite:homing.db")),
    }
}
