//! The attempt log in SQLite.
//!
//! Ids sort by time, so one index on them serves pages, instants and pruning. Every other index
//! ends with them, or leads to few rows.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{SqliteStore, StoreError, ask};
use crate::{
    MAX_PAGE_LIMIT,
    attempt_row::{self, bytes},
    attempt_statements::{
        ADD_GAP, GAPS, LAST, OLDEST, PRUNE, PRUNE_GAPS, ROWS, ROWS_AT_ONCE, index, insert, select,
    },
    attempts::{
        AttemptLog, LogExtent, MAX_GAPS, Pruned, RECORDS_AT_ONCE, RecordListing, RecordPage,
    },
};
use homing_domain::{
    record::{Gap, Record, RecordId},
    time::UnixMillis,
};

/// A person may have deleted rows that are still counted.
const COUNT: &str = "UPDATE attempt_rows SET count = max(0, count + $1) RETURNING count";

#[async_trait]
impl AttemptLog for SqliteStore {
    async fn record_attempts(
        &self,
        records: &[Record],
        gap: Option<&Gap>,
    ) -> Result<u64, StoreError> {
        ask("writing to the attempt log", self.record(records, gap)).await
    }

    async fn attempts(&self, page: &RecordPage) -> Result<RecordListing, StoreError> {
        ask("reading the attempt log", self.list_records(page)).await
    }

    async fn attempt_gaps(
        &self,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<Gap>, StoreError> {
        ask("reading the gaps of the attempt log", self.list_gaps(since, until)).await
    }

    async fn attempt_log(&self) -> Result<LogExtent, StoreError> {
        ask("reading how far the attempt log goes", self.extent()).await
    }

    async fn prune_attempts(
        &self,
        before: UnixMillis,
        max_rows: u64,
    ) -> Result<Pruned, StoreError> {
        ask("pruning the attempt log", self.forget(before, max_rows)).await
    }
}

impl SqliteStore {
    async fn record(&self, records: &[Record], gap: Option<&Gap>) -> sqlx::Result<u64> {
        let mut transaction = self.write().await?;
        let mut added: i64 = 0;
        for chunk in records.chunks(ROWS_AT_ONCE) {
            let inserted = insert::<Sqlite>(chunk).build().execute(&mut *transaction).await?;
            added = added.saturating_add(i64::try_from(inserted.rows_affected()).unwrap_or(0));
        }
        if let Some(gap) = gap {
            sqlx::query(ADD_GAP)
                .bind(bytes(gap.id))
                .bind(gap.from.get())
                .bind(gap.until.get())
                .bind(i64::try_from(gap.missed).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
        }
        let count: i64 = sqlx::query_scalar(COUNT).bind(added).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(count.unsigned_abs())
    }

    async fn list_records(&self, page: &RecordPage) -> sqlx::Result<RecordListing> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM attempts");
        let index = index(&page.filter);
        if let Some(index) = index {
            // SQLite knows no figures about indexes.
            query.push(" INDEXED BY ").push(index);
        }
        select(&mut query, page, index, limit.saturating_add(1));
        let rows = query.build().fetch_all(&self.readers).await?;
        let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut listing = RecordListing::default();
        for row in rows.iter().take(on_page) {
            listing.records.push(attempt_row::read(row)?);
        }
        let last = listing.records.last().map(|record| record.id);
        listing.next = last.filter(|_| rows.len() > on_page);
        Ok(listing)
    }

    async fn list_gaps(&self, since: UnixMillis, until: UnixMillis) -> sqlx::Result<Vec<Gap>> {
        let gaps = sqlx::query(GAPS).bind(since.get()).bind(until.get()).bind(i64::from(MAX_GAPS));
        gaps.fetch_all(&self.readers).await?.iter().map(attempt_row::read_gap).collect()
    }

    async fn extent(&self) -> sqlx::Result<LogExtent> {
        let rows: i64 = sqlx::query_scalar(ROWS).fetch_one(&self.readers).await?;
        let oldest = sqlx::query(OLDEST).fetch_optional(&self.readers).await?;
        let oldest = oldest.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
        let oldest = oldest.as_deref().map(attempt_row::record_id).transpose()?;
        Ok(LogExtent { rows: rows.unsigned_abs(), oldest: oldest.map(RecordId::started) })
    }

    /// The oldest go first, by whichever bound: what is too old is a beginning of them, and so is
    /// what is too many.
    async fn forget(&self, before: UnixMillis, max_rows: u64) -> sqlx::Result<Pruned> {
        let mut transaction = self.write().await?;
        let rows: i64 = sqlx::query_scalar(ROWS).fetch_one(&mut *transaction).await?;
        let excess = rows.unsigned_abs().saturating_sub(max_rows).min(RECORDS_AT_ONCE.into());
        let old = bytes(RecordId::floor(before).uuid());
        let mut forgotten = 0_u64;
        for (below, limit) in [(LAST.to_vec(), excess), (old, RECORDS_AT_ONCE.into())] {
            let limit = limit.saturating_sub(forgotten);
            if limit > 0 {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let prune = sqlx::query(PRUNE).bind(below).bind(limit);
                let deleted = prune.execute(&mut *transaction).await?.rows_affected();
                forgotten = forgotten.saturating_add(deleted);
            }
        }
        let prune_gaps = sqlx::query(PRUNE_GAPS).bind(before.get()).bind(i64::from(MAX_GAPS));
        prune_gaps.execute(&mut *transaction).await?;
        // Fewer than were too many: the rest was counted and is not there.
        let lost = excess.saturating_sub(forgotten);
        let change = i64::try_from(forgotten.saturating_add(lost)).unwrap_or(i64::MAX);
        sqlx::query(COUNT).bind(change.saturating_neg()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Pruned { records: forgotten, more: forgotten >= RECORDS_AT_ONCE.into() })
    }
}
