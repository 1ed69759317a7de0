//! What is asked about the attempt log, and what a store answers.

use async_trait::async_trait;

use super::StoreError;
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    record::{Classes, Gap, Record, RecordId},
    time::UnixMillis,
};

/// Records that one call of [`AttemptLog::prune_attempts`] forgets at most, and that one call of
/// [`AttemptLog::record_attempts`] should have at most.
pub const RECORDS_AT_ONCE: u32 = 1_000;

/// Gaps that are remembered at most, the newest; older ones are forgotten.
pub const MAX_GAPS: u32 = 1_000;

/// Which records are meant; all conditions that are set must hold, none means all records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Of this event.
    pub event: Option<String>,
    /// Of this delivery.
    pub delivery: Option<DeliveryId>,
    /// Owed to this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of this URL, normalised.
    pub url: Option<String>,
    /// Of one of these classes.
    pub classes: Option<Classes>,
    /// Answered with this HTTP status.
    pub status: Option<u16>,
    /// Begun at or after this instant.
    pub since: Option<UnixMillis>,
    /// Begun before this instant.
    pub until: Option<UnixMillis>,
}

/// Which part of the log to read: the newest first, in the order in which they began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPage {
    /// Which ones.
    pub filter: RecordFilter,
    /// Begin behind this record, which need not exist any more; `None`: with the newest.
    pub after: Option<RecordId>,
    /// How many at most; taken as 1 to [`MAX_PAGE_LIMIT`](super::MAX_PAGE_LIMIT).
    pub limit: u32,
}

/// One page of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordListing {
    /// The newest first.
    pub records: Vec<Record>,
    /// Goes into [`RecordPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<RecordId>,
}

/// How far the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogExtent {
    /// How many records there are; kept, not counted.
    pub rows: u64,
    /// When the oldest of them began.
    pub oldest: Option<UnixMillis>,
}

/// What a step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// So many records were forgotten.
    pub records: u64,
    /// Whether there may be more to forget.
    pub more: bool,
}

impl RecordFilter {
    /// The bounds on ids that the instants and `after` come to: at or above, and below.
    pub(super) fn bounds(&self, after: Option<RecordId>) -> (Option<RecordId>, Option<RecordId>) {
        let below = self.until.map(RecordId::floor);
        let below = match (below, after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        (self.since.map(RecordId::floor), below)
    }
}

/// The part of a [`Store`](super::Store) that is a log for people.
#[async_trait]
pub trait AttemptLog {
    /// Adds records to the attempt log, and a gap in it; answers how many records the log has then.
    /// All in one transaction: at most [`RECORDS_AT_ONCE`] should come at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is added, but after
    /// [`StoreError::TimedOut`] everything may be.
    ///
    /// # Cancel safety
    ///
    /// What is repeated is there once.
    async fn record_attempts(
        &self,
        records: &[Record],
        gap: Option<&Gap>,
    ) -> Result<u64, StoreError>;

    /// One page of the attempt log. Records that are there while all pages are read come exactly
    /// once; one that began early and was written late may be missed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempts(&self, page: &RecordPage) -> Result<RecordListing, StoreError>;

    /// The gaps of the attempt log that touch the time from `since` to before `until`, the oldest
    /// first, at most [`MAX_GAPS`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempt_gaps(
        &self,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<Gap>, StoreError>;

    /// How far the attempt log goes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempt_log(&self) -> Result<LogExtent, StoreError>;

    /// Forgets the oldest records, at most [`RECORDS_AT_ONCE`]: those that began before `before`,
    /// and those that are more than `max_rows`; and gaps as old, or more than [`MAX_GAPS`]. Several
    /// processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_attempts(&self, before: UnixMillis, max_rows: u64)
    -> Result<Pruned, StoreError>;
}
