//! The store of a pool on several machines: a PostgreSQL database, version 15 or later.
//!
//! # Locks
//!
//! No two transactions of homing can wait for each other:
//!
//! - A writer of subscriptions locks the row `subscriptions` of `versions` before anything else, so
//!   that these writes, which are rare, go one after the other.
//! - A writer of circuits locks all of them first, in the order of their URLs, and the row
//!   `circuits` of `versions` last, in a trigger, and only where a state has changed. Behind that
//!   row it waits for nothing. Pruning waits for nothing at all.
//! - A writer to the attempt log inserts in the order of its ids, counts errors in the order of
//!   theirs, then locks the row of `attempt_rows`, changes and deletes records, and notes its key; a
//!   pruner locks that row first, deletes rows that no one writes any more, and skips locked rows of errors.
//! - A writer of payloads writes them, then bodies in the order of their ids, locks the row of
//!   `payload_totals` and notes its key; a pruner locks that row first, and skips locked rows.
//! - A worker that reports figures writes rows of its own, then dues in their order; pruning skips
//!   locked rows.
//! - A record of a change (`audit`) is a new row in the transaction of the change, which waits for
//!   no one; claiming its event and pruning take rows in the order of their ids.
//! - A worker writes rows of the ledger that are its own, then gaps and announcements, each in the
//!   order of their hours; pruning skips locked rows.
//! - A writer to the history, and who prunes it, locks the row `history` of `versions` before
//!   anything else.
//! - A slot is taken and given back in one statement, which writes one row.
//! - A process that adds, claims or removes parked deliveries locks the row of `parked_totals`
//!   first; adding, which encrypts, is behind the lock of writers of subscriptions.
//! - No other transaction writes two of these, and the names of queues are written in their order,
//!   in one statement.
//!
//! An operator who works with psql keeps no such order; what PostgreSQL then ends as a deadlock is
//! [`StoreError::Busy`] and can be repeated.

use sqlx::{Connection, PgPool, Postgres, error::DatabaseError, postgres::PgConnectOptions};

use super::{
    DEADLINE, StoreError,
    backend::{Backend, CircuitsByUrl, Dialect, SqlStore},
    error::within,
    statement::{Statement, Tx},
    statements::circuit_columns,
};
use homing_domain::{circuit::Circuit, record::Record, time::UnixMillis};

mod attempts;
mod circuits;
pub(super) mod database_url;
mod open;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use open::MIGRATIONS;
pub(super) use open::{is_current, location};

/// Another transaction kept a lock for too long, or waits for one of ours.
/// Source: PostgreSQL, *Error Codes*, as are the others.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK_DETECTED: &str = "40P01";
/// `statement_timeout` has passed.
const QUERY_CANCELED: &str = "57014";

/// A store in a PostgreSQL database whose schema is up to date.
pub(super) type PostgresStore = SqlStore<PostgresDatabase>;

/// Connections to a PostgreSQL database.
pub(super) struct PostgresDatabase {
    pool: PgPool,
    options: PgConnectOptions,
    location: String,
}

impl Backend for PostgresDatabase {
    type Database = Postgres;

    const DIALECT: Dialect = Dialect {
        now_ms: "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS bigint)",
        begin_write: "BEGIN",
        begin_relaxed: "BEGIN; SET LOCAL synchronous_commit = off",
        begin_snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        lock_subscriptions: Some(
            "SELECT version FROM versions WHERE name = 'subscriptions' FOR UPDATE",
        ),
        // The second one waits, and finds nothing.
        lock_reset: "SELECT reset FROM sources WHERE name = $1 FOR UPDATE",
        lock_circuit: concat!(
            "SELECT ",
            circuit_columns!(),
            " FROM circuits WHERE url = $1 FOR UPDATE"
        ),
        // Pruning never waits: rows that another transaction has locked are left to the next time.
        prune_circuits: "DELETE FROM circuits WHERE url IN \
            (SELECT url FROM circuits WHERE state = 'closed' AND touched_ms < $1 \
            LIMIT $2 FOR UPDATE SKIP LOCKED)",
        count_attempts: "UPDATE attempt_rows SET count = greatest(0, count + $1) RETURNING count",
        lock_attempts: "SELECT count FROM attempt_rows FOR UPDATE",
        lock_payloads: "SELECT payloads, bytes FROM payload_totals FOR UPDATE",
        skip_locked: " FOR UPDATE SKIP LOCKED",
        lock_parked: "SELECT deliveries, bytes, reached, added FROM parked_totals FOR UPDATE",
        like: " ILIKE ",
        indexed_by: None,
        // Of three conditions that go together, PostgreSQL expects a hundredth of the rows that there
        // are. It would read all of them by a bitmap, and sort them.
        in_order: Some("SET LOCAL enable_bitmapscan = off"),
        texts_of: [
            "SELECT value FROM json_array_elements_text(CAST(",
            " AS json)) AS element(value)",
        ],
        bytes_of: [
            "SELECT decode(value, 'hex') FROM json_array_elements_text(CAST(",
            " AS json)) AS element(value)",
        ],
        prune_minutes: "DELETE FROM worker_minutes WHERE (start_ms, worker) IN \
            (SELECT start_ms, worker FROM worker_minutes WHERE start_ms < $1 \
            FOR UPDATE SKIP LOCKED)",
        prune_workers: "DELETE FROM workers WHERE id IN \
            (SELECT id FROM workers WHERE seen_ms < $1 FOR UPDATE SKIP LOCKED)",
        prune_dues: "DELETE FROM dues WHERE (wait_ms, slice) IN \
            (SELECT wait_ms, slice FROM dues WHERE due_ms < $1 FOR UPDATE SKIP LOCKED)",
        prune_costly: "DELETE FROM costly_subscriptions WHERE id IN \
            (SELECT id FROM costly_subscriptions WHERE seen_ms < $1 FOR UPDATE SKIP LOCKED)",
    };

    fn writer(&self) -> &PgPool {
        &self.pool
    }

    fn readers(&self) -> &PgPool {
        &self.pool
    }

    /// A statement by itself is a transaction.
    async fn execute(&self, statement: Statement<Postgres>) -> sqlx::Result<u64> {
        statement.execute_in(&mut *self.pool.acquire().await?).await
    }

    async fn lock_circuits(
        transaction: &mut Tx<Postgres>,
        urls: &[&str],
        now: UnixMillis,
    ) -> sqlx::Result<CircuitsByUrl> {
        circuits::lock(transaction, urls, now).await
    }

    async fn write_circuits(
        transaction: &mut Tx<Postgres>,
        circuits: &[(&str, &Circuit)],
        now: UnixMillis,
    ) -> sqlx::Result<()> {
        circuits::write(transaction, circuits, now).await
    }

    async fn insert_records(
        transaction: &mut Tx<Postgres>,
        records: &[&Record],
    ) -> sqlx::Result<Vec<(Vec<u8>,)>> {
        attempts::insert(transaction, records).await
    }

    async fn count_inserted(
        transaction: &mut Tx<Postgres>,
        records: &[&Record],
    ) -> sqlx::Result<u64> {
        attempts::count_inserted(transaction, records).await
    }

    /// A lock that did not come free is [`StoreError::Busy`], a statement that the server ended
    /// [`StoreError::TimedOut`].
    fn translate(step: &'static str, error: StoreError) -> StoreError {
        let StoreError::Step { source, .. } = &error else { return error };
        match source.as_database_error().and_then(DatabaseError::code).as_deref() {
            Some(LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED) => StoreError::Busy { step },
            Some(QUERY_CANCELED) => StoreError::TimedOut { step, deadline: DEADLINE },
            Some(_) | None => error,
        }
    }

    /// By the class of the error. Source: PostgreSQL, *Error Codes*: data, constraints, limits of the
    /// program, and triggers.
    fn is_refusal(source: &sqlx::Error) -> bool {
        let code = source.as_database_error().and_then(DatabaseError::code);
        code.is_some_and(|code| ["22", "23", "54", "P0"].iter().any(|of| code.starts_with(of)))
    }

    /// The pool does not say why it could not connect in time, so that is tried once more.
    async fn diagnose(&self) -> Result<(), StoreError> {
        let connection = open::connect(&self.options, &self.location).await?;
        within("closing a connection", connection.close()).await
    }
}
