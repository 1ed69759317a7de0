//! The store of one machine: a SQLite file, shared by all processes on it.
//!
//! Every write takes SQLite's write lock before it reads (`BEGIN IMMEDIATE`): a transaction that
//! reads first and writes later would be refused instead of waiting when another process wrote in
//! between. With that lock nothing else has to be locked.

use sqlx::{Sqlite, SqlitePool};

use super::{
    StoreError,
    backend::{Backend, CircuitsByUrl, Dialect, SqlStore},
    statement::{Statement, Tx},
    statements::{CIRCUIT, RESET},
};
use crate::{attempt_statements::ROWS, payloads::TOTALS};
use homing_domain::{circuit::Circuit, record::Record, time::UnixMillis};

mod attempts;
mod circuits;
mod open;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use open::MIGRATIONS;

const BUSY: i32 = 5;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;

/// A store in a SQLite file that is known to be ours and up to date.
pub(super) type SqliteStore = SqlStore<SqliteFile>;

/// Connections to a SQLite file.
pub(super) struct SqliteFile {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Backend for SqliteFile {
    type Database = Sqlite;

    const DIALECT: Dialect = Dialect {
        now_ms: "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
        begin_write: "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
        begin_relaxed: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        begin_snapshot: "BEGIN",
        lock_subscriptions: None,
        lock_reset: RESET,
        lock_circuit: CIRCUIT,
        prune_circuits: "DELETE FROM circuits WHERE url IN \
            (SELECT url FROM circuits WHERE state = 'closed' AND touched_ms < $1 LIMIT $2)",
        count_attempts: "UPDATE attempt_rows SET count = max(0, count + $1) RETURNING count",
        lock_attempts: ROWS,
        lock_payloads: TOTALS,
        skip_locked: "",
        lock_parked: "SELECT deliveries, bytes, reached, added FROM parked_totals",
        like: " LIKE ",
        // SQLite knows no figures about indexes.
        indexed_by: Some(" INDEXED BY "),
        in_order: None,
        texts_of: ["SELECT value FROM json_each(", ")"],
        bytes_of: ["SELECT unhex(value) FROM json_each(", ")"],
        prune_minutes: "DELETE FROM worker_minutes WHERE start_ms < $1",
        prune_workers: "DELETE FROM workers WHERE seen_ms < $1",
        prune_dues: "DELETE FROM dues WHERE due_ms < $1",
        prune_costly: "DELETE FROM costly_subscriptions WHERE seen_ms < $1",
    };

    fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    async fn execute(&self, statement: Statement<Sqlite>) -> sqlx::Result<u64> {
        let mut transaction = self.writer.begin_with(Self::DIALECT.begin_write).await?;
        let rows = statement.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    async fn lock_circuits(
        transaction: &mut Tx<Sqlite>,
        urls: &[&str],
        now: UnixMillis,
    ) -> sqlx::Result<CircuitsByUrl> {
        circuits::read(transaction, urls, now).await
    }

    async fn write_circuits(
        transaction: &mut Tx<Sqlite>,
        circuits: &[(&str, &Circuit)],
        now: UnixMillis,
    ) -> sqlx::Result<()> {
        circuits::write(transaction, circuits, now).await
    }

    async fn insert_records(
        transaction: &mut Tx<Sqlite>,
        records: &[&Record],
    ) -> sqlx::Result<Vec<(Vec<u8>,)>> {
        attempts::insert(transaction, records).await
    }

    async fn count_inserted(
        transaction: &mut Tx<Sqlite>,
        records: &[&Record],
    ) -> sqlx::Result<u64> {
        attempts::count_inserted(transaction, records).await
    }

    /// A lock that did not come free is [`StoreError::Busy`].
    fn translate(step: &'static str, error: StoreError) -> StoreError {
        let StoreError::Step { source, .. } = &error else { return error };
        if primary_code(source) == Some(BUSY) { StoreError::Busy { step } } else { error }
    }

    fn is_refusal(source: &sqlx::Error) -> bool {
        matches!(primary_code(source), Some(TOO_BIG | CONSTRAINT | MISMATCH))
    }

    async fn diagnose(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// SQLite's result code without its extension. Source: SQLite, *Result and Error Codes*, 3.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
