//! One store over two databases: [`SqlStore`] runs every statement, a [`Backend`] knows the rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{TryFutureExt, future::BoxFuture};
use parking_lot::Mutex;
use sqlx::Pool;
use tokio::time::Instant;

use super::{
    StoreError,
    error::{Readable, within},
    keyring::Keyring,
    statement::{Record, SqlDatabase, Statement, Tx, sql},
    subscriptions::Quotas,
};
use homing_domain::{audit::Actor, circuit::Circuit, time::UnixMillis};

/// Circuits by URL.
pub(super) type CircuitsByUrl = BTreeMap<String, Readable<Circuit>>;

/// A database and how it locks.
pub(super) trait Backend: Send + Sync + 'static {
    /// The database as sqlx knows it.
    type Database: SqlDatabase;

    /// The SQL in which the databases differ.
    const DIALECT: Dialect;

    /// Connections that write.
    fn writer(&self) -> &Pool<Self::Database>;

    /// Connections that only read.
    fn readers(&self) -> &Pool<Self::Database>;

    /// Runs a single statement that writes, in a transaction of its own.
    fn execute(
        &self,
        statement: Statement<Self::Database>,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Locks the circuits of `urls`, sorted and different from each other, until the transaction
    /// ends, and reads them; gives a new one where there is none.
    fn lock_circuits(
        transaction: &mut Tx<Self::Database>,
        urls: &[&str],
        now: UnixMillis,
    ) -> impl Future<Output = sqlx::Result<CircuitsByUrl>> + Send;

    /// Writes circuits that are locked.
    fn write_circuits(
        transaction: &mut Tx<Self::Database>,
        circuits: &[(&str, &Circuit)],
        now: UnixMillis,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Adds records to the attempt log, and returns the ids of those that were not there yet.
    fn insert_records(
        transaction: &mut Tx<Self::Database>,
        records: &[&homing_domain::record::Record],
    ) -> impl Future<Output = sqlx::Result<Vec<(Vec<u8>,)>>> + Send;

    /// Adds records to the attempt log, and returns the number of those that were not there yet.
    fn count_inserted(
        transaction: &mut Tx<Self::Database>,
        records: &[&homing_domain::record::Record],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Translates the database's errors about locks and deadlines.
    fn translate(step: &'static str, error: StoreError) -> StoreError;

    /// True if the database refuses the values of a statement, and would not refuse others.
    fn is_refusal(source: &sqlx::Error) -> bool;

    /// Finds out why the pool could not connect in time; `Ok`: all its connections are busy.
    fn diagnose(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// SQL in which the databases differ.
pub(super) struct Dialect {
    /// The instant at which the statement began, Unix ms, by the clock of the database.
    pub(super) now_ms: &'static str,
    /// Begins a transaction that writes.
    pub(super) begin_write: &'static str,
    /// The same, but its commit does not wait for the disk: what it wrote survives the end of the
    /// process, not that of the machine.
    pub(super) begin_relaxed: &'static str,
    /// Begins a transaction that sees one instant, however many statements follow.
    pub(super) begin_snapshot: &'static str,
    /// Locks out every other writer of subscriptions, where `begin_write` does not.
    pub(super) lock_subscriptions: Option<&'static str>,
    /// Reads and locks the reset that the next connect of a source asks for.
    pub(super) lock_reset: &'static str,
    /// Reads and locks the circuit of a URL.
    pub(super) lock_circuit: &'static str,
    /// Deletes closed circuits.
    pub(super) prune_circuits: &'static str,
    /// Adds to the number of rows of the attempt log, which never falls below zero: rows that an
    /// operator deleted may still be counted.
    pub(super) count_attempts: &'static str,
    /// Reads and locks the number of rows of the attempt log.
    pub(super) lock_attempts: &'static str,
    /// Reads how many payloads are kept, and locks out all others that keep or prune some.
    pub(super) lock_payloads: &'static str,
    /// Ends a query for rows to delete, so that it waits for no other transaction.
    pub(super) skip_locked: &'static str,
    /// Reads how much is parked, and locks out all others that add, claim or remove.
    pub(super) lock_parked: &'static str,
    /// Compares with a pattern, in whatever case. SQLite's compares ASCII so; to fold texts before it
    /// would take three times as long.
    pub(super) like: &'static str,
    /// Names the index of a query; `None`: the database chooses it well by itself.
    pub(super) indexed_by: Option<&'static str>,
    /// Has queries of a transaction read along indexes, in their order; `None`: they do.
    pub(super) in_order: Option<&'static str>,
    /// The elements of a JSON array of texts, around it.
    pub(super) texts_of: [&'static str; 2],
    /// The bytes that a JSON array has as hexadecimal digits, around it.
    pub(super) bytes_of: [&'static str; 2],
    /// Deletes old minutes.
    pub(super) prune_minutes: &'static str,
    /// Deletes workers that no longer report.
    pub(super) prune_workers: &'static str,
    /// Deletes dues that have passed.
    pub(super) prune_dues: &'static str,
    /// Deletes old reports of costly filters.
    pub(super) prune_costly: &'static str,
}

/// A store in a database whose schema is up to date.
pub(super) struct SqlStore<B> {
    pub(super) keyring: Keyring,
    pub(super) quotas: Quotas,
    /// The one whose changes are made over this handle.
    pub(super) actor: Arc<Actor>,
    pub(super) backend: Arc<B>,
    /// The time of the last [relaxed](Self::begin_relaxed) transaction that waited for the disk.
    synced: Arc<Mutex<Option<Instant>>>,
}

impl<B: Backend> SqlStore<B> {
    /// A handle whose changes are made by homing itself.
    pub(super) fn new(keyring: Keyring, quotas: Quotas, backend: B) -> Self {
        let (actor, synced) = (Arc::default(), Arc::default());
        Self { keyring, quotas, actor, backend: Arc::new(backend), synced }
    }

    /// A handle to the same store for the changes of `actor`.
    pub(super) fn handle(&self, actor: &Actor) -> Self {
        Self {
            keyring: self.keyring.clone(),
            quotas: self.quotas,
            actor: Arc::new(actor.clone()),
            backend: Arc::clone(&self.backend),
            synced: Arc::clone(&self.synced),
        }
    }

    /// Runs one step [`within`] the deadline, and says why where no connection could be had.
    ///
    /// Boxed: connecting is large, and calls of the store are part of every delivery.
    pub(super) fn ask<'a, T: Send + 'a>(
        &'a self,
        step: &'static str,
        work: impl Future<Output = sqlx::Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.ask_boxed(step, Box::pin(work))
    }

    /// Of a future of any type, so that there is not one of these for each.
    fn ask_boxed<'a, T: Send + 'a>(
        &'a self,
        step: &'static str,
        work: BoxFuture<'a, sqlx::Result<T>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let mut no_connection = false;
            let noting = work.inspect_err(|error| {
                no_connection = matches!(error, sqlx::Error::PoolTimedOut);
            });
            let answer = ask::<B, _>(step, noting).await;
            if no_connection {
                self.backend.diagnose().await?;
            }
            answer
        })
    }

    /// A transaction that writes.
    pub(super) async fn begin(&self) -> sqlx::Result<Tx<B::Database>> {
        self.backend.writer().begin_with(B::DIALECT.begin_write).await
    }

    /// A transaction that writes what follows the deliveries: the attempt log, figures, the progress
    /// of a replay. A commit that waits for the disk holds up a broker that writes to the same one,
    /// and so deliveries: only one a second does. If the machine fails, what was written since the
    /// last wait may be missing.
    pub(super) async fn begin_relaxed(&self) -> sqlx::Result<Tx<B::Database>> {
        const SYNC_INTERVAL: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let is_due = {
            let mut synced = self.synced.lock();
            synced.take_if(|synced| now.duration_since(*synced) >= SYNC_INTERVAL);
            let is_due = synced.is_none();
            synced.get_or_insert(now);
            is_due
        };
        if is_due {
            return self.begin().await;
        }
        self.backend.writer().begin_with(B::DIALECT.begin_relaxed).await
    }

    /// A transaction that no other writer of subscriptions runs beside.
    pub(super) async fn begin_exclusive(&self) -> sqlx::Result<Tx<B::Database>> {
        let mut transaction = self.begin().await?;
        if let Some(lock) = B::DIALECT.lock_subscriptions {
            sql(lock).execute(&mut transaction).await?;
        }
        Ok(transaction)
    }

    /// A transaction that sees one instant.
    pub(super) async fn begin_snapshot(&self) -> sqlx::Result<Tx<B::Database>> {
        self.backend.readers().begin_with(B::DIALECT.begin_snapshot).await
    }

    /// Runs a single statement that writes.
    pub(super) async fn execute(&self, statement: Statement<B::Database>) -> sqlx::Result<u64> {
        self.backend.execute(statement).await
    }

    /// All rows that a statement reads.
    pub(super) async fn all<T: Record>(
        &self,
        statement: Statement<B::Database>,
    ) -> sqlx::Result<Vec<T>> {
        let mut connection = self.backend.readers().acquire().await?;
        statement.fetch(&mut connection).await
    }

    /// The only row that a statement reads, if there is one.
    pub(super) async fn optional<T: Record>(
        &self,
        statement: Statement<B::Database>,
    ) -> sqlx::Result<Option<T>> {
        Ok(self.all(statement).await?.pop())
    }

    /// The only row that a statement reads.
    pub(super) async fn one<T: Record>(
        &self,
        statement: Statement<B::Database>,
    ) -> sqlx::Result<T> {
        self.optional(statement).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// Runs one step [`within`] the deadline, and translates the database's errors about locks and
/// deadlines.
pub(super) async fn ask<B: Backend, T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    within(step, work).await.map_err(|error| B::translate(step, error))
}
