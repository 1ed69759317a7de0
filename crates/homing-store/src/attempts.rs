//! The attempt log: what a store keeps of attempts for operators.
//!
//! Ids sort by time, so one index on them serves pages, instants and pruning. Every other index
//! ends with them, or leads to few rows.
//!
//! A change of the number of rows locks the row of `attempt_rows`: a writer does so after
//! everything that it adds, a pruner first. Only behind that lock are rows changed and deleted, so no
//! two wait for each other. Nor do two writers that record the same wait: all insert in the order of
//! the ids.
//!
//! A wait without an attempt, for its endpoint or for its turn, has one row while it lasts, which says
//! what was recorded last, and none afterwards: what ends it names it. A record of a wait that comes
//! after the one of its end is dropped.
//!
//! The last record of each delivery is marked: its state is the present one. So the states of
//! deliveries are pruned with the log, and bounded with it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Deserializer};

use super::{
    MAX_PAGE_LIMIT, StoreError,
    attempt_marks::{end_waits, mark_last},
    attempt_row::{self, AttemptRow, GapRow, bytes},
    attempt_statements::{
        ADD_GAP, GAPS, LAST, NEWEST, OLDEST, PRUNE, PRUNE_GAPS, ROWS, by_id, end, looked_at, select,
    },
    backend::{Backend, SqlStore},
    statement::sql,
};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    record::{Class, Classes, Gap, Record, RecordId},
    status_range::StatusRange,
    text::parsed,
    time::UnixMillis,
    url::EndpointUrl,
};

/// Records that one call of [`AttemptLog::prune_attempts`] deletes at most, and that one call of
/// [`AttemptLog::record_attempts`] should have at most.
pub const RECORDS_AT_ONCE: u32 = 1_000;

/// Gaps that are kept at most, the newest; older ones are deleted.
pub const MAX_GAPS: u32 = 1_000;

/// A choice of records; all conditions that are set must hold, none means all records.
///
/// Deserialized from texts, as queries and forms have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordFilter {
    /// Of this event.
    #[serde(deserialize_with = "parsed")]
    pub event: Option<String>,
    /// Of this delivery.
    #[serde(deserialize_with = "parsed")]
    pub delivery: Option<DeliveryId>,
    /// Of this subscription.
    #[serde(deserialize_with = "parsed")]
    pub subscription: Option<SubscriptionId>,
    /// Of this URL, normalised.
    #[serde(deserialize_with = "normalised")]
    pub url: Option<String>,
    /// Of one of these classes.
    #[serde(rename = "outcome", deserialize_with = "parsed")]
    pub classes: Option<Classes>,
    /// Answered with this HTTP status, or one of this class.
    #[serde(deserialize_with = "parsed")]
    pub status: Option<StatusRange>,
    /// Begun at or after this instant.
    #[serde(alias = "since_ms", deserialize_with = "parsed")]
    pub since: Option<UnixMillis>,
    /// Begun before this instant.
    #[serde(alias = "until_ms", deserialize_with = "parsed")]
    pub until: Option<UnixMillis>,
}

pub(super) fn normalised<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let url: Option<EndpointUrl> = parsed(deserializer)?;
    Ok(url.map(|url| url.as_str().to_owned()))
}

/// A part of the log to read: the newest records first, by the instant at which they began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPage {
    /// The records to read.
    pub filter: RecordFilter,
    /// Begin behind this record, which need not exist any more; `None`: with the newest.
    pub after: Option<RecordId>,
    /// Records at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordListing {
    /// The newest first.
    pub records: Vec<Record>,
    /// Goes into [`RecordPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<RecordId>,
    /// True if the page ends because enough was looked at, not because it is full.
    pub is_cut: bool,
}

/// The length of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogExtent {
    /// The number of records; kept, not counted.
    pub rows: u64,
    /// The instant at which the oldest of them began.
    pub oldest: Option<UnixMillis>,
    /// The instant at which the newest of them began.
    pub newest: Option<UnixMillis>,
}

/// The result of one step of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Records that were deleted.
    pub records: u64,
    /// There may be more to delete.
    pub more: bool,
}

impl RecordFilter {
    /// The bounds on ids that follow from the instants and `after`: at or above, and below.
    pub(super) fn bounds(&self, after: Option<RecordId>) -> (Option<RecordId>, Option<RecordId>) {
        let below = self.until.map(RecordId::floor);
        let below = match (below, after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        (self.since.map(RecordId::floor), below)
    }
}

/// The part of a [`Store`](super::Store) that is a log for operators.
#[async_trait]
pub trait AttemptLog {
    /// Adds records to the attempt log, and a gap in it; deletes those of waits that ended, marks the
    /// last one of each delivery, and counts failures; returns how many records the log has then.
    /// All in one transaction: at most [`RECORDS_AT_ONCE`] should come at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is added, but after
    /// [`StoreError::TimedOut`] everything may be.
    ///
    /// # Cancel safety
    ///
    /// A record that is added again is there once.
    async fn record_attempts(
        &self,
        records: &[Record],
        gap: Option<&Gap>,
    ) -> Result<u64, StoreError>;

    /// One page of the attempt log; of a filter that has no index, what is found in a bounded number
    /// of records. Records that are there while all pages are read come exactly once; one that began
    /// early and was written late may be missed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempts(&self, page: &RecordPage) -> Result<RecordListing, StoreError>;

    /// The record with this id; `None`: there is none any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempt(&self, id: RecordId) -> Result<Option<Record>, StoreError>;

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

    /// The length of the attempt log.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn attempt_log(&self) -> Result<LogExtent, StoreError>;

    /// Deletes the oldest records, at most [`RECORDS_AT_ONCE`]: those that began before `before`,
    /// and those beyond `max_rows`; also gaps and errors that are as old, or beyond [`MAX_GAPS`] and
    /// [`MAX_ERROR_GROUPS`](super::MAX_ERROR_GROUPS). Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_attempts(&self, before: UnixMillis, max_rows: u64)
    -> Result<Pruned, StoreError>;
}

#[async_trait]
impl<B: Backend> AttemptLog for SqlStore<B> {
    async fn record_attempts(
        &self,
        records: &[Record],
        gap: Option<&Gap>,
    ) -> Result<u64, StoreError> {
        self.ask("writing to the attempt log", self.record(records, gap)).await
    }

    async fn attempts(&self, page: &RecordPage) -> Result<RecordListing, StoreError> {
        let read = async {
            let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
            let indexed_by = B::DIALECT.indexed_by;
            let stopped = match looked_at(&page.filter) {
                Some(most) => self.optional(end(page, most, indexed_by)).await?,
                None => None,
            };
            let stopped =
                stopped.map(|(id,): (Vec<u8>,)| attempt_row::record_id(&id)).transpose()?;
            let rows = select(page, limit.saturating_add(1), stopped, indexed_by);
            let rows: Vec<AttemptRow> = self.all(rows).await?;
            let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = rows.len() > on_page;
            let records: sqlx::Result<Vec<_>> =
                rows.into_iter().take(on_page).map(AttemptRow::build).collect();
            let records = records?;
            let last = records.last().map(|record| record.id).filter(|_| more);
            Ok(RecordListing {
                records,
                next: last.or(stopped),
                is_cut: !more && stopped.is_some(),
            })
        };
        self.ask("reading the attempt log", read).await
    }

    async fn attempt(&self, id: RecordId) -> Result<Option<Record>, StoreError> {
        let read = async {
            let row: Option<AttemptRow> = self.optional(by_id(id)).await?;
            row.map(AttemptRow::build).transpose()
        };
        self.ask("reading an attempt", read).await
    }

    async fn attempt_gaps(
        &self,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<Gap>, StoreError> {
        let read = async {
            let gaps = sql(GAPS).bind(since.get()).bind(until.get()).bind(i64::from(MAX_GAPS));
            self.all(gaps).await?.into_iter().map(GapRow::build).collect()
        };
        self.ask("reading the gaps of the attempt log", read).await
    }

    async fn attempt_log(&self) -> Result<LogExtent, StoreError> {
        let read = async {
            let (rows,): (i64,) = self.one(sql(ROWS)).await?;
            let started = |row: Option<(Vec<u8>,)>| -> sqlx::Result<_> {
                let id = row.map(|(id,)| attempt_row::record_id(&id)).transpose()?;
                Ok(id.map(RecordId::started))
            };
            let oldest = started(self.optional(sql(OLDEST)).await?)?;
            let newest = started(self.optional(sql(NEWEST)).await?)?;
            Ok(LogExtent { rows: rows.unsigned_abs(), oldest, newest })
        };
        self.ask("reading how far the attempt log goes", read).await
    }

    async fn prune_attempts(
        &self,
        before: UnixMillis,
        max_rows: u64,
    ) -> Result<Pruned, StoreError> {
        self.ask("pruning the attempt log", self.prune_log(before, max_rows)).await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn record(&self, records: &[Record], gap: Option<&Gap>) -> sqlx::Result<u64> {
        let mut transaction = self.begin_relaxed().await?;
        let ended: BTreeSet<_> = records.iter().flat_map(Record::ended).collect();
        // Of several records of a wait, the last one is true.
        let by_id = records.iter().map(|record| (record.id, record));
        let mut kept: BTreeMap<_, _> = by_id.collect();
        kept.retain(|id, _| !ended.contains(id));
        // The acceptance of a first attempt concerns no other record, and is no error.
        let (first, rest): (Vec<_>, Vec<_>) = kept
            .into_values()
            .partition(|record| !record.may_have_others() && record.class() == Class::Accepted);
        let mut count = B::count_inserted(&mut transaction, &first).await?;
        let mut new = BTreeSet::new();
        for (id,) in B::insert_records(&mut transaction, &rest).await? {
            new.insert(attempt_row::record_id(&id)?);
        }
        let others: Vec<_> = rest.iter().copied().filter(|one| one.may_have_others()).collect();
        let (added, known): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|record| new.contains(&record.id));
        let has_failed = self.count_errors(&mut transaction, added.iter().copied()).await?;
        if let Some(gap) = gap {
            let add = sql(ADD_GAP).bind(bytes(gap.id)).bind(gap.from.get()).bind(gap.until.get());
            let add = add.bind(i64::try_from(gap.missed).unwrap_or(i64::MAX));
            add.execute(&mut transaction).await?;
        }
        let mut deleted = 0_u64;
        if !others.is_empty() {
            let _locked: (i64,) = sql(B::DIALECT.lock_attempts).one(&mut transaction).await?;
            deleted = end_waits(&mut transaction, (&added, &known), ended).await?;
            mark_last(&mut transaction, &others, B::DIALECT.indexed_by).await?;
        }
        count = count.saturating_add(u64::try_from(added.len()).unwrap_or(0));
        let [count, deleted] = [count, deleted].map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        let change = count.saturating_sub(deleted);
        let count = sql(B::DIALECT.count_attempts).bind(change);
        let (count,): (i64,) = count.one(&mut transaction).await?;
        if has_failed {
            self.note_key(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(count.unsigned_abs())
    }

    /// Deletes the oldest first by either bound: records that are too old and records that are too
    /// many are both a beginning of the log.
    async fn prune_log(&self, before: UnixMillis, max_rows: u64) -> sqlx::Result<Pruned> {
        let mut transaction = self.begin_relaxed().await?;
        let (rows,): (i64,) = sql(B::DIALECT.lock_attempts).one(&mut transaction).await?;
        let excess = rows.unsigned_abs().saturating_sub(max_rows).min(RECORDS_AT_ONCE.into());
        let old = bytes(RecordId::floor(before).uuid());
        let mut deleted = 0_u64;
        for (below, limit) in [(LAST.to_vec(), excess), (old, RECORDS_AT_ONCE.into())] {
            let limit = limit.saturating_sub(deleted);
            if limit > 0 {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let prune = sql(PRUNE).bind(below).bind(limit);
                deleted = deleted.saturating_add(prune.execute(&mut transaction).await?);
            }
        }
        let prune_gaps = sql(PRUNE_GAPS).bind(before.get()).bind(i64::from(MAX_GAPS));
        prune_gaps.execute(&mut transaction).await?;
        self.prune_errors(&mut transaction, before).await?;
        // Where fewer than `excess` were there, the others were counted but do not exist.
        let lost = excess.saturating_sub(deleted);
        let change = i64::try_from(deleted.saturating_add(lost)).unwrap_or(i64::MAX);
        let count = sql(B::DIALECT.count_attempts).bind(change.saturating_neg());
        count.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Pruned { records: deleted, more: deleted >= RECORDS_AT_ONCE.into() })
    }
}
