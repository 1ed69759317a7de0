//! The ledger: what each worker delivered, by subscription and hour.
//!
//! A worker writes rows of its own, each as a whole, so that writing twice counts once; reading
//! merges those of all workers. It opens an hour before it delivers in it, and closes it when all
//! of it is written. An hour that a worker has left open is in progress while the worker is seen,
//! and not provable afterwards.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    StoreError,
    attempt_row::bytes,
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::{
    id::SubscriptionId,
    ledger::{Checksum, HOUR_MS, HourState, LedgerHour, next_hour},
    time::UnixMillis,
};

/// A worker that has not written for this long is taken to have ended.
pub const LEDGER_SILENT_AFTER: Duration = Duration::from_secs(300);
/// Hours that one call of [`LedgerStore::ledger`] reads at most.
pub const MAX_LEDGER_HOURS: i64 = 24 * 366;

/// Rows of one statement: six values each.
const ROWS_AT_ONCE: usize = 500;

const OPEN: &str = "\
    INSERT INTO ledger_hours (hour_ms, worker, open, seen_ms) VALUES ($1, $2, 1, $3) \
    ON CONFLICT (hour_ms, worker) DO UPDATE SET seen_ms = excluded.seen_ms";
const SEEN: &str = "UPDATE ledger_hours SET seen_ms = $2 WHERE worker = $1 AND open = 1";
const CLOSE: &str =
    "UPDATE ledger_hours SET open = 0, seen_ms = $3 WHERE hour_ms = $1 AND worker = $2";
const OF_SUBSCRIPTION: &str = "\
    SELECT subscription, hour_ms, number, xor, sum FROM ledger \
    WHERE subscription = $1 AND hour_ms >= $2 AND hour_ms < $3";
const OF_HOUR: &str =
    "SELECT subscription, hour_ms, number, xor, sum FROM ledger WHERE hour_ms = $1";
const HOURS: &str = "\
    SELECT hour_ms, CAST(max(open) AS bigint) AS open, \
    CAST(min(CASE WHEN open = 1 THEN seen_ms ELSE $3 END) AS bigint) AS seen_ms \
    FROM ledger_hours WHERE hour_ms >= $1 AND hour_ms < $2 GROUP BY hour_ms ORDER BY hour_ms";
const FIRST: &str = "SELECT hour_ms FROM ledger_hours ORDER BY hour_ms LIMIT 1";
/// The hour at which there are too many rows, counted from the newest.
const EXCESS: &str = "SELECT hour_ms FROM ledger ORDER BY hour_ms DESC LIMIT 1 OFFSET $1";
const CLAIM: &str = "\
    INSERT INTO ledger_announcements (hour_ms, due_ms) VALUES ($1, $2) \
    ON CONFLICT (hour_ms) DO UPDATE SET due_ms = excluded.due_ms \
    WHERE ledger_announcements.due_ms <= $3";
const ANNOUNCED: &str = "UPDATE ledger_announcements SET due_ms = $2 WHERE hour_ms = $1";
const DONE: &str = "SELECT hour_ms FROM ledger_announcements WHERE hour_ms >= $1 AND due_ms > $2";

/// A worker's part of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerReport {
    /// Names the worker.
    pub worker: Uuid,
    /// Hours to open.
    pub opened: Vec<UnixMillis>,
    /// Its deliveries, for each subscription and hour as a whole.
    pub rows: Vec<(SubscriptionId, UnixMillis, Checksum)>,
    /// Hours of which everything is written by this report.
    pub closed: Vec<UnixMillis>,
}

/// The part of the ledger about a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerListing {
    /// The oldest hour that is kept; `None`: none is.
    pub kept_since: Option<UnixMillis>,
    /// The oldest first. An hour in which no worker ran is not there.
    pub hours: Vec<LedgerHour>,
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

    /// The figures of an hour for each subscription that got something.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger_hour(
        &self,
        hour: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<(SubscriptionId, LedgerHour)>, StoreError>;

    /// The hours from `since` to before `until` whose events are due, the oldest first: no worker
    /// counts in them any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn ledger_hours_due(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<UnixMillis>, StoreError>;

    /// Claims the events of an hour until `until`; of several callers, one gets `true`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn claim_ledger_hour(
        &self,
        hour: UnixMillis,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<bool, StoreError>;

    /// Notes that the events of an hour were published.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then they are due again.
    async fn ledger_hour_announced(&self, hour: UnixMillis) -> Result<(), StoreError>;

    /// Deletes hours before `before`, and the oldest while there are more than `max_rows` rows;
    /// returns how many rows. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_ledger(&self, before: UnixMillis, max_rows: u64) -> Result<u64, StoreError>;
}

/// The deliveries of one worker for a subscription in an hour.
#[derive(FromRow)]
struct Row {
    subscription: Vec<u8>,
    hour_ms: i64,
    number: i64,
    xor: i64,
    sum: i64,
}

impl Row {
    fn subscription(&self) -> sqlx::Result<SubscriptionId> {
        let id = Uuid::from_slice(&self.subscription).map_err(sqlx::Error::decode)?;
        Ok(SubscriptionId::new(id))
    }

    fn checksum(&self) -> Checksum {
        let Self { number, xor, sum, .. } = self;
        Checksum {
            number: number.cast_unsigned(),
            xor: xor.cast_unsigned(),
            sum: sum.cast_unsigned(),
        }
    }
}

/// An hour in which a worker ran.
#[derive(FromRow)]
struct HourRow {
    hour_ms: i64,
    open: i64,
    /// The earliest report of those who have left it open.
    seen_ms: i64,
}

impl HourRow {
    fn state(&self, now: UnixMillis) -> HourState {
        let end = next_hour(UnixMillis::new(self.hour_ms));
        if self.open == 0 {
            // Another worker may begin before its end.
            if now < end { HourState::Open } else { HourState::Complete }
        } else if now.since(UnixMillis::new(self.seen_ms)) > LEDGER_SILENT_AFTER {
            HourState::NotProvable
        } else {
            HourState::Open
        }
    }
}

#[async_trait]
impl<B: Backend> LedgerStore for SqlStore<B> {
    async fn report_ledger(
        &self,
        report: &LedgerReport,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let written = async {
            let mut transaction = self.begin().await?;
            let worker = || bytes(report.worker);
            for hour in &report.opened {
                let open = sql(OPEN).bind(hour.get()).bind(worker()).bind(now.get());
                open.execute(&mut transaction).await?;
            }
            for rows in report.rows.chunks(ROWS_AT_ONCE) {
                insert(rows, report.worker).execute(&mut transaction).await?;
            }
            sql(SEEN).bind(worker()).bind(now.get()).execute(&mut transaction).await?;
            for hour in &report.closed {
                let close = sql(CLOSE).bind(hour.get()).bind(worker()).bind(now.get());
                close.execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        self.ask("writing the ledger", written).await
    }

    async fn ledger(
        &self,
        subscription: SubscriptionId,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<LedgerListing, StoreError> {
        let last = since.get().saturating_add(MAX_LEDGER_HOURS.saturating_mul(HOUR_MS));
        let until = UnixMillis::new(until.get().min(last));
        let read = async {
            let mut transaction = self.begin_snapshot().await?;
            let of = sql(OF_SUBSCRIPTION).bind(bytes(subscription.uuid()));
            let rows = of.bind(since.get()).bind(until.get()).all::<Row>(&mut transaction).await?;
            let hours = hours(&mut transaction, since, until, now).await?;
            let first: Option<(i64,)> = sql(FIRST).optional(&mut transaction).await?;
            transaction.rollback().await?;
            let mut sums: BTreeMap<i64, Checksum> = BTreeMap::new();
            for row in &rows {
                sums.entry(row.hour_ms).or_default().merge(&row.checksum());
            }
            let hours = hours.iter().map(|hour| LedgerHour {
                start: UnixMillis::new(hour.hour_ms),
                checksum: sums.get(&hour.hour_ms).copied().unwrap_or_default(),
                state: hour.state(now),
            });
            let kept_since = first.map(|(hour,)| UnixMillis::new(hour));
            Ok(LedgerListing { kept_since, hours: hours.collect() })
        };
        self.ask("reading the ledger", read).await
    }

    async fn ledger_hour(
        &self,
        hour: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<(SubscriptionId, LedgerHour)>, StoreError> {
        let read = async {
            let mut transaction = self.begin_snapshot().await?;
            let rows: Vec<Row> = sql(OF_HOUR).bind(hour.get()).all(&mut transaction).await?;
            let until = UnixMillis::new(hour.get().saturating_add(1));
            let state = hours(&mut transaction, hour, until, now).await?;
            transaction.rollback().await?;
            let state = state.first().map_or(HourState::NotProvable, |hour| hour.state(now));
            let mut sums: BTreeMap<SubscriptionId, Checksum> = BTreeMap::new();
            for row in &rows {
                sums.entry(row.subscription()?).or_default().merge(&row.checksum());
            }
            let hour = |checksum| LedgerHour { start: hour, checksum, state };
            Ok(sums.into_iter().map(|(id, checksum)| (id, hour(checksum))).collect())
        };
        self.ask("reading an hour of the ledger", read).await
    }

    async fn ledger_hours_due(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<UnixMillis>, StoreError> {
        let read = async {
            let mut transaction = self.begin_snapshot().await?;
            let hours = hours(&mut transaction, since, until, now).await?;
            let done = sql(DONE).bind(since.get()).bind(now.get());
            let done: Vec<(i64,)> = done.all(&mut transaction).await?;
            transaction.rollback().await?;
            let due = hours.into_iter().filter(|hour| {
                hour.state(now) != HourState::Open && !done.contains(&(hour.hour_ms,))
            });
            Ok(due.map(|hour| UnixMillis::new(hour.hour_ms)).collect())
        };
        self.ask("reading which hours of the ledger are due", read).await
    }

    async fn claim_ledger_hour(
        &self,
        hour: UnixMillis,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<bool, StoreError> {
        let claim = sql(CLAIM).bind(hour.get()).bind(until.get()).bind(now.get());
        Ok(self.ask("claiming an hour of the ledger", self.execute(claim)).await? > 0)
    }

    async fn ledger_hour_announced(&self, hour: UnixMillis) -> Result<(), StoreError> {
        let announced = sql(ANNOUNCED).bind(hour.get()).bind(i64::MAX);
        self.ask("noting an hour of the ledger", self.execute(announced)).await.map(drop)
    }

    async fn prune_ledger(&self, before: UnixMillis, max_rows: u64) -> Result<u64, StoreError> {
        let pruned = async {
            let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
            let excess: Option<(i64,)> = self.optional(sql(EXCESS).bind(max_rows)).await?;
            // An hour is kept as a whole or not at all.
            let excess = excess.map_or(i64::MIN, |(hour,)| hour.saturating_add(1));
            let before = before.get().max(excess);
            let mut transaction = self.begin().await?;
            let mut deleted = 0_u64;
            for table in ["ledger_announcements", "ledger_hours", "ledger"] {
                let prune = prune(table, B::DIALECT.skip_locked).bind(before);
                deleted = prune.execute(&mut transaction).await?;
            }
            transaction.commit().await?;
            Ok(deleted)
        };
        self.ask("pruning the ledger", pruned).await
    }
}

/// The hours from `since` to before `until` in which a worker ran.
async fn hours<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    since: UnixMillis,
    until: UnixMillis,
    now: UnixMillis,
) -> sqlx::Result<Vec<HourRow>> {
    let hours = sql(HOURS).bind(since.get()).bind(until.get()).bind(now.get());
    hours.all(transaction).await
}

/// Replaces rows of `worker`, at least one.
fn insert<DB: SqlDatabase>(
    rows: &[(SubscriptionId, UnixMillis, Checksum)],
    worker: Uuid,
) -> Statement<DB> {
    let mut insert =
        sql("INSERT INTO ledger (subscription, hour_ms, worker, number, xor, sum) VALUES ");
    for (index, (subscription, hour, checksum)) in rows.iter().enumerate() {
        insert = insert
            .push(if index == 0 { "(" } else { "), (" })
            .push_bind(bytes(subscription.uuid()))
            .push(", ")
            .push_bind(hour.get())
            .push(", ")
            .push_bind(bytes(worker))
            .push(", ")
            .push_bind(checksum.number.cast_signed())
            .push(", ")
            .push_bind(checksum.xor.cast_signed())
            .push(", ")
            .push_bind(checksum.sum.cast_signed());
    }
    insert.push(
        ") ON CONFLICT (subscription, hour_ms, worker) DO UPDATE SET number = excluded.number, \
         xor = excluded.xor, sum = excluded.sum",
    )
}

/// Deletes the rows of `table` before an hour that is bound; `end` is the end of the query for them.
fn prune<DB: SqlDatabase>(table: &'static str, end: &str) -> Statement<DB> {
    let key = match table {
        "ledger_announcements" => "hour_ms",
        "ledger_hours" => "hour_ms, worker",
        _ => "subscription, hour_ms, worker",
    };
    sql(format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE hour_ms < $1{end})"
    ))
}
