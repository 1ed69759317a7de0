//! Payloads of attempts: compressed, encrypted, and bounded by age, number and bytes.
//!
//! A body is kept once, however many attempts sent it, and goes with the last of them. How much
//! there is, is counted in one row, which is locked by what changes it: by a writer behind its rows,
//! which are in the order of their ids, by a pruner first. A pruner skips what is locked, so no two
//! wait for each other.

mod renew;
mod seal;

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    StoreError,
    attempt_row::{bytes, record_id},
    attempt_statements::{LAST, OLDEST},
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::{payload::Payload, record::RecordId, time::UnixMillis};
use seal::{Body, Row, Sealed};

pub use seal::UnreadablePayload;
pub(super) use seal::row_name;

/// Payloads that one step of pruning deletes at most.
const PRUNED_AT_ONCE: i64 = 1_000;
/// A payload waits at most this long for its record.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// Rows of one statement, each of up to some hundred kilobytes.
const ROWS_AT_ONCE: usize = 50;

const READ: &str = "\
    SELECT payload.content, payload.body, sent.content FROM payloads AS payload \
    JOIN payload_bodies AS sent ON sent.id = payload.body WHERE payload.id = $1";
pub(super) const TOTALS: &str = "SELECT payloads, bytes FROM payload_totals";
const ADD: &str = "\
    UPDATE payload_totals SET payloads = payloads + $1, bytes = bytes + $2 \
    RETURNING payloads, bytes";
/// Rows that an operator deleted are still counted; where there are none, none is.
const RESET: &str = "\
    UPDATE payload_totals SET payloads = 0, bytes = 0 WHERE NOT EXISTS (SELECT 1 FROM payloads)";

/// The payload of the attempt with this record.
pub type AttemptPayload = (RecordId, Arc<Payload>);

/// A payload that is there.
pub type ReadPayload = Result<Payload, UnreadablePayload>;

/// The bounds of what is kept of payloads; the oldest go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadBounds {
    /// Of attempts that began at or after this instant.
    pub since: UnixMillis,
    /// At most so many payloads.
    pub max_payloads: u64,
    /// At most so many bytes, as they are stored.
    pub max_bytes: u64,
}

/// The extent of what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadTotals {
    /// The number of payloads; kept, not counted.
    pub payloads: u64,
    /// Their bytes and those of the bodies, as they are stored.
    pub bytes: u64,
}

impl From<(i64, i64)> for PayloadTotals {
    fn from((payloads, bytes): (i64, i64)) -> Self {
        let number = |number| u64::try_from(number).unwrap_or(0);
        Self { payloads: number(payloads), bytes: number(bytes) }
    }
}

impl PayloadBounds {
    /// True if there are more payloads, or more bytes, than there may be.
    #[must_use]
    pub fn are_exceeded(&self, totals: PayloadTotals) -> bool {
        self.excess(totals) > 0
    }

    /// The number of payloads to delete, the bytes of each taken as those of the average.
    fn excess(&self, PayloadTotals { payloads, bytes }: PayloadTotals) -> u64 {
        let average = bytes.checked_div(payloads).unwrap_or(0).max(1);
        let for_bytes = bytes.saturating_sub(self.max_bytes).div_ceil(average);
        payloads.saturating_sub(self.max_payloads).max(for_bytes)
    }
}

/// The result of one step of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedPayloads {
    /// The extent of the rest.
    pub left: PayloadTotals,
    /// There is more to delete.
    pub more: bool,
}

/// The part of a [`Store`](super::Store) that keeps payloads of attempts.
#[async_trait]
pub trait PayloadStore {
    /// Keeps payloads, all in one transaction; returns how many there are then. The caller divides
    /// what is more than some megabytes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    ///
    /// # Cancel safety
    ///
    /// A payload that is kept again is there once.
    async fn keep_payloads(&self, payloads: &[AttemptPayload])
    -> Result<PayloadTotals, StoreError>;

    /// The payload of the attempt with this record; `None`: it was not kept, or is too old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed. One that is there and cannot be read is none.
    async fn payload(&self, attempt: RecordId) -> Result<Option<ReadPayload>, StoreError>;

    /// Deletes some of what exceeds `bounds`, or is older than all records, the oldest first.
    /// Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_payloads(&self, bounds: &PayloadBounds) -> Result<PrunedPayloads, StoreError>;
}

#[async_trait]
impl<B: Backend> PayloadStore for SqlStore<B> {
    async fn keep_payloads(
        &self,
        payloads: &[AttemptPayload],
    ) -> Result<PayloadTotals, StoreError> {
        self.ask("keeping payloads of attempts", self.keep(payloads)).await
    }

    async fn payload(&self, attempt: RecordId) -> Result<Option<ReadPayload>, StoreError> {
        let read = async {
            let found = self.optional(sql(READ).bind(bytes(attempt.uuid()))).await?;
            Ok(found.map(|(content, body, sent): (Vec<u8>, Vec<u8>, Vec<u8>)| {
                seal::open(&self.keyring, attempt, &content, (&body, &sent))
            }))
        };
        self.ask("reading the payload of an attempt", read).await
    }

    async fn prune_payloads(&self, bounds: &PayloadBounds) -> Result<PrunedPayloads, StoreError> {
        self.ask("pruning payloads of attempts", self.prune_kept(bounds)).await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn keep(&self, payloads: &[AttemptPayload]) -> sqlx::Result<PayloadTotals> {
        let (keyring, payloads) = (self.keyring.clone(), payloads.to_vec());
        let sealing = tokio::task::spawn_blocking(move || Sealed::all(&keyring, &payloads));
        let sealed = sealing.await.map_err(|error| sqlx::Error::Io(io::Error::other(error)))??;
        let mut transaction = self.begin_relaxed().await?;
        let (mut added, mut size) = (0_i64, 0_i64);
        for chunk in sealed.rows.chunks(ROWS_AT_ONCE) {
            let inserted: Vec<(i64,)> = self.insert_rows(chunk).all(&mut transaction).await?;
            added = added.saturating_add(i64::try_from(inserted.len()).unwrap_or(0));
            size = inserted.iter().fold(size, |size, (bytes,)| size.saturating_add(*bytes));
        }
        // A body that was there already has another attempt as its first.
        let ours: BTreeSet<_> = sealed.bodies.iter().map(|body| bytes(body.last.uuid())).collect();
        for chunk in sealed.bodies.chunks(ROWS_AT_ONCE) {
            let written: Vec<(Vec<u8>, i64)> =
                self.insert_bodies(chunk).all(&mut transaction).await?;
            let new = written.iter().filter(|(first, _)| ours.contains(first));
            size = new.fold(size, |size, (_, bytes)| size.saturating_add(*bytes));
        }
        let totals = add::<B::Database>(&mut transaction, added, size).await?;
        self.note_key(&mut transaction).await?;
        transaction.commit().await?;
        Ok(totals)
    }

    fn insert_rows(&self, rows: &[Row]) -> Statement<B::Database> {
        let mut insert = sql("INSERT INTO payloads (id, body, bytes, key_id, content) VALUES ");
        for (index, row) in rows.iter().enumerate() {
            insert = insert.push(if index == 0 { "(" } else { "), (" });
            insert = insert.push_bind(bytes(row.id.uuid())).push(", ").push_bind(row.body.to_vec());
            insert = self.push_content(insert, &row.content);
        }
        insert.push(") ON CONFLICT (id) DO NOTHING RETURNING bytes")
    }

    /// Returns the first attempt of each body that is new, or has a later last one than before.
    fn insert_bodies(&self, bodies: &[Body]) -> Statement<B::Database> {
        let mut insert = sql("\
            INSERT INTO payload_bodies (id, first_attempt, last_attempt, bytes, key_id, content) \
            VALUES ");
        for (index, body) in bodies.iter().enumerate() {
            let last = bytes(body.last.uuid());
            insert = insert.push(if index == 0 { "(" } else { "), (" });
            insert = insert.push_bind(body.id.to_vec()).push(", ").push_bind(last.clone());
            insert = self.push_content(insert.push(", ").push_bind(last), &body.content);
        }
        insert.push(
            ") ON CONFLICT (id) DO UPDATE SET last_attempt = excluded.last_attempt \
             WHERE payload_bodies.last_attempt < excluded.last_attempt \
             RETURNING first_attempt, bytes",
        )
    }

    fn push_content(
        &self,
        insert: Statement<B::Database>,
        content: &[u8],
    ) -> Statement<B::Database> {
        let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
        let insert = insert.push(", ").push_bind(size);
        let insert = insert.push(", ").push_bind(self.keyring.primary().as_str());
        insert.push(", ").push_bind(content.to_vec())
    }

    async fn prune_kept(&self, bounds: &PayloadBounds) -> sqlx::Result<PrunedPayloads> {
        let mut transaction = self.begin_relaxed().await?;
        let totals: (i64, i64) = sql(B::DIALECT.lock_payloads).one(&mut transaction).await?;
        let excess = signed(bounds.excess(totals.into())).min(PRUNED_AT_ONCE);
        // None outlives its record; one may be there before it.
        let first: Vec<(Vec<u8>,)> = sql(OLDEST).all(&mut transaction).await?;
        let first = first.first().map(|(id,)| record_id(id)).transpose()?;
        let recorded = first.map(|id| id.started().minus(RECORDED_WITHIN));
        let since = recorded.map_or(bounds.since, |recorded| recorded.max(bounds.since));
        let old = bytes(RecordId::floor(since).uuid());
        let mut pruned: Vec<(i64,)> = Vec::new();
        for (below, limit) in [(LAST.to_vec(), excess), (old, PRUNED_AT_ONCE)] {
            let limit = limit.saturating_sub(signed(pruned.len()));
            if limit > 0 {
                let prune = oldest("payloads", ("id", "$1"), B::DIALECT.skip_locked);
                let prune = prune.bind(below).bind(limit);
                pruned.extend(prune.all::<(i64,)>(&mut transaction).await?);
            }
        }
        let kept = "coalesce((SELECT id FROM payloads ORDER BY id LIMIT 1), $1)";
        let unsent = oldest("payload_bodies", ("last_attempt", kept), B::DIALECT.skip_locked);
        let unsent = unsent.bind(LAST.to_vec()).bind(PRUNED_AT_ONCE);
        let bodies: Vec<(i64,)> = unsent.all(&mut transaction).await?;
        let sizes = pruned.iter().chain(&bodies).map(|(bytes,)| *bytes);
        let (gone, freed) = (signed(pruned.len()), sizes.fold(0, i64::saturating_add));
        let (gone, freed) = (gone.saturating_neg(), freed.saturating_neg());
        let left = add::<B::Database>(&mut transaction, gone, freed).await?;
        if pruned.is_empty() {
            sql(RESET).execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        let is_full = signed(pruned.len()) >= PRUNED_AT_ONCE;
        let more = !pruned.is_empty() && (is_full || bounds.are_exceeded(left));
        Ok(PrunedPayloads { left, more })
    }
}

/// Changes the totals, and returns them.
async fn add<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    payloads: i64,
    bytes: i64,
) -> sqlx::Result<PayloadTotals> {
    let totals: (i64, i64) = sql(ADD).bind(payloads).bind(bytes).one(transaction).await?;
    Ok(totals.into())
}

/// Deletes the first rows whose `column` is below `bound`, a value that is bound first; then their
/// number is.
fn oldest<DB: SqlDatabase>(
    table: &str,
    (column, bound): (&str, &str),
    skip_locked: &str,
) -> Statement<DB> {
    sql(format!(
        "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < {bound} \
         ORDER BY {column} LIMIT $2{skip_locked}) RETURNING bytes"
    ))
}

/// The nearest number that fits into a column.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
