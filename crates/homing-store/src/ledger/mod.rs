//! The ledger: what each worker delivered, by subscription and hour.
//!
//! A worker writes rows of its own, each as a whole, so that writing twice counts once; reading
//! merges those of all workers. It begins before it delivers, and has no end while it runs: what it
//! delivers while it is not seen is not known, whichever hours it has written of.

mod kept;
mod row;

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use homing_domain::{
    id::SubscriptionId,
    ledger::{Checksum, HourState, LedgerHour},
    time::UnixMillis,
};

/// A worker that has not written for this long is not seen any more.
pub const LEDGER_SILENT_AFTER: Duration = Duration::from_secs(300);
/// A worker that is not seen any more, and of which no other one finds that it has ended, may go on
/// delivering for this long, and not longer.
pub const LEDGER_SILENT_FOR: Duration = Duration::from_hours(24);
/// Hours that one call of [`LedgerStore::ledger`] reads at most.
pub const MAX_LEDGER_HOURS: i64 = 24 * 366;
/// Subscriptions that one call of [`LedgerStore::ledger_hour`] reads at most.
pub const MAX_LEDGER_PAGE: usize = 1_000;
/// Rows that one call of [`LedgerStore::prune_ledger`] deletes at most.
pub const MAX_LEDGER_PRUNED: u32 = 10_000;

/// A worker's part of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerReport {
    /// Names the worker.
    pub worker: Uuid,
    /// Names its process, as [`WorkerReport::id`](homing_domain::activity::WorkerReport) does.
    pub process: Uuid,
    /// The place in which others can find out that its process has ended; `None`: there is none.
    pub place: Option<String>,
    /// The first hour in which it delivers.
    pub from: UnixMillis,
    /// With this report, all that it delivered in hours before this one is written.
    pub closed: UnixMillis,
    /// The hour from which on it delivers nothing; `None`: it runs.
    pub ended: Option<UnixMillis>,
    /// Its deliveries, for each subscription and hour as a whole.
    pub rows: Vec<(SubscriptionId, UnixMillis, Checksum)>,
    /// Hours of which it could not count everything.
    pub gaps: Vec<UnixMillis>,
}

/// The part of the ledger about a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerListing {
    /// The oldest hour that is kept; `None`: none is.
    pub kept_since: Option<UnixMillis>,
    /// The oldest first. An hour in which no worker ran is not there.
    pub hours: Vec<LedgerHour>,
}

/// An hour whose events are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueHour {
    /// Its start.
    pub start: UnixMillis,
    /// The state that is to be announced.
    pub state: HourState,
}

/// The part of a [`Store`](super::Store) that counts what was delivered.
#[async_trait]
pub trait LedgerStore {
    /// Writes a worker's part, all in one transaction. A report that comes twice counts once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is written, but after
    /// [`StoreError::TimedOut`] everything may be.
    async fn report_ledger(&self, report: &LedgerReport, now: UnixMillis)
    -> Result<(), StoreError>;

    /// The hours of a subscription from `since` to before `until`, at most [`MAX_LEDGER_HOURS`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger(
        &self,
        subscription: SubscriptionId,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<LedgerListing, StoreError>;

    /// The figures of an hour for each subscription behind `after` that got something, in the order
    /// of their ids, at most [`MAX_LEDGER_PAGE`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger_hour(
        &self,
        hour: UnixMillis,
        after: Option<SubscriptionId>,
        now: UnixMillis,
    ) -> Result<Vec<(SubscriptionId, LedgerHour)>, StoreError>;

    /// Processes in `place` that have not ended, as far as the store knows, and last wrote before
    /// `since`, but not [`LEDGER_SILENT_FOR`] before it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn silent_ledger_processes(
        &self,
        place: &str,
        since: UnixMillis,
    ) -> Result<Vec<Uuid>, StoreError>;

    /// Notes that a process ended before `now` without a last report: it delivers nothing in the
    /// hours that follow. One that last wrote [`LEDGER_SILENT_FOR`] before `now` stays as it is, for
    /// it delivers nothing any more anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger_process_ended(&self, process: Uuid, now: UnixMillis) -> Result<(), StoreError>;

    /// The hours from `since` to before `until` whose events are due, the oldest first: no worker
    /// counts in them any more, and they were not announced like this.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger_hours_due(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<DueHour>, StoreError>;

    /// Claims the events of an hour until `until`; of several callers, one gets `true`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn claim_ledger_hour(
        &self,
        hour: DueHour,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<bool, StoreError>;

    /// Notes that the events of an hour were published that was claimed until `until`. If its
    /// figures have changed meanwhile, they stay due.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then they are due again.
    async fn ledger_hour_announced(
        &self,
        hour: UnixMillis,
        until: UnixMillis,
    ) -> Result<(), StoreError>;

    /// Forgets hours before `before`, and the oldest while there are more than `max_rows` rows, but
    /// never the present one; then deletes at most [`MAX_LEDGER_PRUNED`] of their rows, and returns
    /// how many. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_ledger(
        &self,
        before: UnixMillis,
        max_rows: u64,
        now: UnixMillis,
    ) -> Result<u64, StoreError>;
}
