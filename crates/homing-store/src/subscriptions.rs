//! Operations on subscriptions.
//!
//! A write is committed only if the new row is read back by the parser that reads it ever after;
//! otherwise it is refused as [`StoreError::Unreadable`], as a wrong field is.

use async_trait::async_trait;

use super::{Corrupt, StoreError, row::Written};
use crate::settings::StoreSettings;
use homing_domain::{
    id::SubscriptionId,
    signature::SigningSecret,
    subscription::{Consent, Draft, FieldError, Subscription},
    time::UnixMillis,
    url::EndpointUrl,
};

/// Entries on one page at most, whatever its limit says.
pub const MAX_PAGE_LIMIT: u32 = 1_000;

/// Versions that [`SubscriptionStore::changed_subscriptions`] goes back. The migrations keep
/// removed ids for twice as many.
pub const MAX_CHANGES: i64 = 1_000;

/// A part of the list to read. Ordered by id, which is the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Begin behind this id, which need not exist; `None`: at the beginning.
    pub after: Option<SubscriptionId>,
    /// Subscriptions at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Ordered by id.
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions on this page that cannot be read.
    pub corrupt: Vec<Corrupt>,
    /// Goes into [`Page::after`] for the next page; `None`: this is the last one.
    pub next: Option<SubscriptionId>,
}

/// All subscriptions at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// [`SubscriptionStore::subscriptions_version`] at this instant.
    pub version: i64,
    /// Ordered by id.
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions that cannot be read.
    pub corrupt: Vec<Corrupt>,
}

/// The changes of the subscriptions since a version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The version after the changes.
    pub version: i64,
    /// Subscriptions that were added or changed.
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions that were added or changed and cannot be read.
    pub corrupt: Vec<Corrupt>,
    /// Subscriptions that were removed.
    pub removed: Vec<SubscriptionId>,
    /// The number of subscriptions, including those that cannot be read.
    pub number: u64,
}

/// Distinguishes subscriptions at one instant from others with the same version, as in a store that
/// was restored to an earlier state and changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx_macros::FromRow)]
pub struct Census {
    /// [`SubscriptionStore::subscriptions_version`].
    pub version: i64,
    /// The number of subscriptions.
    pub number: i64,
    /// The sum of their `updated`.
    pub updated_sum: i64,
}

/// A subscription whose client certificate has expired, or will soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringCertificate {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The URL to which it is presented.
    pub url: String,
    /// The end of its validity.
    pub expires: UnixMillis,
}

/// A subscription of which some fields cannot be read.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// The fields that can be read; the others are empty.
    pub draft: Draft,
    /// The signing secrets that can be read, with their ends.
    pub secrets: Vec<SigningSecret>,
    /// The last consent of its endpoint.
    pub consent: Option<Consent>,
    /// The fields that cannot be read, with the reasons.
    pub flaws: Vec<FieldError>,
    /// The instant of its creation.
    pub created: UnixMillis,
    /// The instant of its last change.
    pub updated: UnixMillis,
}

/// An intact subscription, as one without flaws.
impl From<Subscription> for Damaged {
    fn from(subscription: Subscription) -> Self {
        Self {
            draft: Draft::from(&subscription.spec),
            secrets: subscription.spec.secrets,
            consent: subscription.spec.verification.and_then(|it| it.consent),
            flaws: Vec::new(),
            created: subscription.created,
            updated: subscription.updated,
        }
    }
}

/// Keeps subscriptions; part of [`Store`](super::Store).
#[async_trait]
pub trait SubscriptionStore {
    /// Adds a subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`]: one with the same fingerprint exists, perhaps this very one from
    /// an insert that was not answered. [`StoreError::Unreadable`]; [`StoreError::Quota`].
    async fn insert_subscription(&self, subscription: &Subscription) -> Result<(), StoreError>;

    /// Replaces the specification and `updated` of the subscription with this id, also of one that
    /// cannot be read, if its `updated` is `read`; `created` stays. Of several callers that read
    /// the same version one succeeds, provided that each gives a later `updated`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`]; [`StoreError::Outdated`]: another change came first.
    /// [`StoreError::Duplicate`]: another one has the same fingerprint. [`StoreError::Unreadable`];
    /// [`StoreError::Quota`].
    async fn update_subscription(
        &self,
        subscription: &Subscription,
        read: UnixMillis,
    ) -> Result<(), StoreError>;

    /// Removes a subscription, also one that cannot be read; returns `false` if there is none.
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

    /// The readable parts of the subscription with this id; `None`: there is none, or its columns
    /// cannot be decoded at all.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn damaged_subscription(&self, id: SubscriptionId)
    -> Result<Option<Damaged>, StoreError>;

    /// One page of subscriptions. A subscription that exists while all pages are read comes exactly
    /// once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn subscriptions(&self, page: Page) -> Result<Listing, StoreError>;

    /// One page of the subscriptions that go to `url`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn subscriptions_at(&self, url: &EndpointUrl, page: Page) -> Result<Listing, StoreError>;

    /// All subscriptions at one instant; read in batches, each with a deadline of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn all_subscriptions(&self) -> Result<Snapshot, StoreError>;

    /// The changes since the version `since`; `None`: there are too many, or the store was restored
    /// from a backup, so all subscriptions have to be read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn changed_subscriptions(&self, since: i64) -> Result<Option<Changes>, StoreError>;

    /// At most `limit` subscriptions whose client certificate expires before `before`, those that
    /// expire first first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn expiring_certificates(
        &self,
        before: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ExpiringCertificate>, StoreError>;

    /// The number of subscriptions, including those that cannot be read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn count_subscriptions(&self) -> Result<u64, StoreError>;

    /// Counts the subscriptions, and corrects totals that have drifted: `INSERT OR REPLACE` in
    /// SQLite's shell removes a row without running its triggers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn recount_subscriptions(&self) -> Result<Census, StoreError>;

    /// A number that rises with every change of the subscriptions by any process.
    ///
    /// Compare for inequality: a store restored from a backup has an older one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn subscriptions_version(&self) -> Result<i64, StoreError>;
}

/// Limits of the subscriptions of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotas {
    subscriptions: u64,
    filter_bytes: u64,
    filter_bytes_total: u64,
}

#[cfg(test)]
impl Quotas {
    pub(super) const NONE: Self =
        Self { subscriptions: u64::MAX, filter_bytes: u64::MAX, filter_bytes_total: u64::MAX };
}

impl From<&StoreSettings> for Quotas {
    fn from(settings: &StoreSettings) -> Self {
        Self {
            subscriptions: settings.max_subscriptions,
            filter_bytes: settings.max_filter_bytes,
            filter_bytes_total: settings.max_filter_bytes_total,
        }
    }
}

/// The size of all subscriptions; kept by triggers.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub(super) struct Totals {
    number: i64,
    filter_bytes: i64,
}

impl Totals {
    pub(super) fn number(self) -> u64 {
        self.number.unsigned_abs()
    }
}

/// A quota that a write would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// There are as many subscriptions as there may be.
    #[error(
        "there are {max} subscriptions, as many as `store.max_subscriptions` allows; remove some, \
         or raise it"
    )]
    Subscriptions {
        /// `store.max_subscriptions`
        max: u64,
    },
    /// The filters of the subscription are too large.
    #[error(
        "the filters have {bytes} bytes as stored; `store.max_filter_bytes` allows {max} for one \
         subscription"
    )]
    Filter {
        /// As JSON.
        bytes: u64,
        /// `store.max_filter_bytes`
        max: u64,
    },
    /// The filters of all subscriptions are too large.
    #[error(
        "the filters of all subscriptions would have {bytes} bytes; `store.max_filter_bytes_total` \
         allows {max}; remove some, or raise it"
    )]
    Filters {
        /// As JSON.
        bytes: u64,
        /// `store.max_filter_bytes_total`
        max: u64,
    },
}

impl Quotas {
    /// Refuses a write that added more than a quota allows. Existing subscriptions may stay and be
    /// changed, however small a quota has become.
    pub(super) fn check(
        &self,
        before: Totals,
        after: Totals,
        filter_bytes: usize,
    ) -> Result<(), QuotaError> {
        if after.number > before.number && after.number() > self.subscriptions {
            return Err(QuotaError::Subscriptions { max: self.subscriptions });
        }
        if after.filter_bytes <= before.filter_bytes || filter_bytes <= "[]".len() {
            return Ok(());
        }
        let bytes = u64::try_from(filter_bytes).unwrap_or(u64::MAX);
        if bytes > self.filter_bytes {
            return Err(QuotaError::Filter { bytes, max: self.filter_bytes });
        }
        let (bytes, max) = (after.filter_bytes.unsigned_abs(), self.filter_bytes_total);
        if bytes > max { Err(QuotaError::Filters { bytes, max }) } else { Ok(()) }
    }
}

impl Written {
    pub(super) fn into_answer(self, id: SubscriptionId) -> Result<(), StoreError> {
        match self {
            Self::Done => Ok(()),
            Self::Missing => Err(StoreError::NotFound { id }),
            Self::Outdated => Err(StoreError::Outdated { id }),
            Self::Duplicate(existing) => Err(StoreError::Duplicate { existing }),
            Self::Unreadable(corrupt) => Err(StoreError::Unreadable(Box::new(corrupt))),
            Self::OverQuota(error) => Err(StoreError::Quota(error)),
        }
    }
}

/// Returns `true` if [`MAX_CHANGES`] reaches from `version` back to `since`.
pub(super) fn reaches(since: i64, version: i64) -> bool {
    (0..=MAX_CHANGES).contains(&version.saturating_sub(since))
}
