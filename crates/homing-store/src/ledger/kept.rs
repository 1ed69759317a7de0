//! The ledger in a database.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    DueHour, LEDGER_SILENT_AFTER, LEDGER_SILENT_FOR, LedgerListing, LedgerReport, LedgerStore,
    MAX_LEDGER_HOURS, MAX_LEDGER_PAGE, MAX_LEDGER_PRUNED,
    row::{self, Row, State, WorkerRow, insert},
};
use crate::{
    StoreError,
    attempt_row::bytes,
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Tx, sql},
};
use homing_domain::{
    id::SubscriptionId,
    ledger::{Checksum, HourState, LedgerHour},
    time::{HOUR_MS, UnixMillis, hour_of, next_hour},
};

/// Rows of one statement: six values each.
const ROWS_AT_ONCE: usize = 500;

const WORKER: &str = "\
    INSERT INTO ledger_workers (worker, process, from_ms, closed_ms, ended_ms, seen_ms, place) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (worker) DO UPDATE SET \
    closed_ms = excluded.closed_ms, ended_ms = excluded.ended_ms, seen_ms = excluded.seen_ms";
const GAP: &str = "INSERT INTO ledger_gaps (hour_ms) VALUES ($1) ON CONFLICT (hour_ms) DO NOTHING";
const CHANGED: &str = "UPDATE ledger_announcements SET due_ms = 0 WHERE hour_ms = $1";
/// Hours in which a process ran that does not count: one of an earlier version, or without a
/// ledger.
const UNCOUNTED: &str = "\
    SELECT DISTINCT start_ms - start_ms % 3600000 FROM worker_minutes WHERE start_ms < $1 \
    AND NOT EXISTS (SELECT 1 FROM ledger_workers WHERE process = worker_minutes.worker) \
    AND NOT EXISTS (SELECT 1 FROM ledger_gaps WHERE hour_ms = start_ms - start_ms % 3600000)";
const OF_SUBSCRIPTION: &str = "\
    SELECT subscription, hour_ms, number, xor, sum FROM ledger \
    WHERE subscription = $1 AND hour_ms >= $2 AND hour_ms < $3";
const IN_HOUR: &str = "\
    SELECT DISTINCT subscription FROM ledger WHERE hour_ms = $1 AND subscription > $2 \
    ORDER BY subscription LIMIT $3";
const OF_HOUR: &str = "\
    SELECT subscription, hour_ms, number, xor, sum FROM ledger \
    WHERE hour_ms = $1 AND subscription > $2 AND subscription <= $3";
const SILENT: &str = "\
    SELECT DISTINCT process FROM ledger_workers \
    WHERE place = $1 AND ended_ms = 9223372036854775807 AND seen_ms < $2 AND seen_ms >= $3";
/// Not if it has been silent for so long that it delivers nothing any more: an end that is found
/// later would put the hours since then in doubt.
const PROCESS_ENDED: &str = "\
    UPDATE ledger_workers SET ended_ms = $2 \
    WHERE process = $1 AND ended_ms = 9223372036854775807 AND seen_ms >= $3";
const WORKERS: &str = "\
    SELECT from_ms, closed_ms, ended_ms, seen_ms FROM ledger_workers \
    WHERE from_ms < $1 AND ended_ms > $2";
const GAPS: &str = "SELECT hour_ms FROM ledger_gaps WHERE hour_ms >= $1 AND hour_ms < $2";
const FIRST: &str = "SELECT from_ms FROM ledger_workers ORDER BY from_ms LIMIT 1";
const KEPT: &str = "SELECT since_ms FROM ledger_kept";
const KEEP: &str = "UPDATE ledger_kept SET since_ms = $1 WHERE since_ms < $1";
/// The hour at which there are too many rows, counted from the newest.
const EXCESS: &str = "SELECT hour_ms FROM ledger ORDER BY hour_ms DESC LIMIT 1 OFFSET $1";
const CLAIM: &str = "\
    INSERT INTO ledger_announcements (hour_ms, due_ms, state) VALUES ($1, $2, $3) \
    ON CONFLICT (hour_ms) DO UPDATE SET due_ms = excluded.due_ms, state = excluded.state \
    WHERE ledger_announcements.due_ms <= $4 OR (ledger_announcements.due_ms = \
    9223372036854775807 AND ledger_announcements.state <> excluded.state)";
/// Not if the hour has changed since it was claimed.
const ANNOUNCED: &str = "\
    UPDATE ledger_announcements SET due_ms = 9223372036854775807 \
    WHERE hour_ms = $1 AND due_ms = $2";
const ANNOUNCEMENTS: &str =
    "SELECT hour_ms, due_ms, state FROM ledger_announcements WHERE hour_ms >= $1";

#[async_trait]
impl<B: Backend> LedgerStore for SqlStore<B> {
    async fn report_ledger(
        &self,
        report: &LedgerReport,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let written = async {
            // A process that has just begun reports its minutes first.
            let begun = now.minus(LEDGER_SILENT_AFTER);
            let uncounted: Vec<(i64,)> = self.all(sql(UNCOUNTED).bind(begun.get())).await?;
            // In their order, so that no two workers wait for each other.
            let mut gaps: BTreeSet<i64> = uncounted.into_iter().map(|(hour,)| hour).collect();
            gaps.extend(report.gaps.iter().map(|hour| hour.get()));
            let mut transaction = self.begin().await?;
            let worker = sql(WORKER)
                .bind(bytes(report.worker))
                .bind(report.process.to_string())
                .bind(report.from.get())
                .bind(report.closed.get())
                .bind(report.ended.map_or(i64::MAX, UnixMillis::get))
                .bind(now.get())
                .bind(report.place.clone());
            worker.execute(&mut transaction).await?;
            for rows in report.rows.chunks(ROWS_AT_ONCE) {
                insert(rows, report.worker).execute(&mut transaction).await?;
            }
            for hour in gaps {
                sql(GAP).bind(hour).execute(&mut transaction).await?;
            }
            let hours = report.rows.iter().map(|(_, hour, _)| *hour);
            for hour in hours.filter(|hour| *hour < hour_of(now)).collect::<BTreeSet<_>>() {
                sql(CHANGED).bind(hour.get()).execute(&mut transaction).await?;
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
            let states = states(&mut transaction, since, until, now).await?;
            let first: Option<(i64,)> = sql(FIRST).optional(&mut transaction).await?;
            let kept = kept(&mut transaction).await?;
            transaction.rollback().await?;
            let mut sums: BTreeMap<i64, Checksum> = BTreeMap::new();
            for row in &rows {
                sums.entry(row.hour_ms).or_default().merge(&row.checksum());
            }
            let hours = states.into_iter().map(|(hour, state)| LedgerHour {
                start: UnixMillis::new(hour),
                checksum: sums.get(&hour).copied().unwrap_or_default(),
                state,
            });
            let kept_since = first.map(|(hour,)| UnixMillis::new(hour.max(kept)));
            Ok(LedgerListing { kept_since, hours: hours.collect() })
        };
        self.ask("reading the ledger", read).await
    }

    async fn ledger_hour(
        &self,
        hour: UnixMillis,
        after: Option<SubscriptionId>,
        now: UnixMillis,
    ) -> Result<Vec<(SubscriptionId, LedgerHour)>, StoreError> {
        let after = after.map(|id| bytes(id.uuid())).unwrap_or_default();
        let limit = i64::try_from(MAX_LEDGER_PAGE).unwrap_or(i64::MAX);
        let read = async {
            let mut transaction = self.begin_snapshot().await?;
            let ids = sql(IN_HOUR).bind(hour.get()).bind(after.clone()).bind(limit);
            let ids: Vec<(Vec<u8>,)> = ids.all(&mut transaction).await?;
            let last = ids.into_iter().last().map(|(id,)| id).unwrap_or_default();
            let rows = sql(OF_HOUR).bind(hour.get()).bind(after).bind(last);
            let rows: Vec<Row> = rows.all(&mut transaction).await?;
            let until = UnixMillis::new(hour.get().saturating_add(1));
            let states = states(&mut transaction, hour, until, now).await?;
            transaction.rollback().await?;
            let state = states.get(&hour.get()).copied().unwrap_or(HourState::NotProvable);
            let mut sums: BTreeMap<SubscriptionId, Checksum> = BTreeMap::new();
            for row in &rows {
                sums.entry(row.subscription()?).or_default().merge(&row.checksum());
            }
            let hour = |checksum| LedgerHour { start: hour, checksum, state };
            Ok(sums.into_iter().map(|(id, checksum)| (id, hour(checksum))).collect())
        };
        self.ask("reading an hour of the ledger", read).await
    }

    async fn silent_ledger_processes(
        &self,
        place: &str,
        since: UnixMillis,
    ) -> Result<Vec<Uuid>, StoreError> {
        let silent = sql(SILENT).bind(place).bind(since.get());
        let silent = self.all(silent.bind(since.minus(LEDGER_SILENT_FOR).get()));
        let silent: Vec<(String,)> = self.ask("reading which workers are silent", silent).await?;
        Ok(silent.into_iter().filter_map(|(process,)| process.parse().ok()).collect())
    }

    async fn ledger_process_ended(&self, process: Uuid, now: UnixMillis) -> Result<(), StoreError> {
        let ended = sql(PROCESS_ENDED).bind(process.to_string());
        let ended = ended.bind(next_hour(hour_of(now)).get());
        let ended = ended.bind(now.minus(LEDGER_SILENT_FOR).get());
        self.ask("noting that a worker has ended", self.execute(ended)).await.map(drop)
    }

    async fn ledger_hours_due(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Vec<DueHour>, StoreError> {
        let read = async {
            let mut transaction = self.begin_snapshot().await?;
            let states = states(&mut transaction, since, until, now).await?;
            let announced = sql(ANNOUNCEMENTS).bind(since.get());
            let announced: Vec<(i64, i64, String)> = announced.all(&mut transaction).await?;
            transaction.rollback().await?;
            let due = states.into_iter().filter(|(hour, state)| {
                *state != HourState::Open
                    && announced.iter().find(|(it, ..)| it == hour).is_none_or(|(_, due, said)| {
                        *due <= now.get() || (*due == i64::MAX && said != state.as_str())
                    })
            });
            Ok(due.map(|(hour, state)| DueHour { start: UnixMillis::new(hour), state }).collect())
        };
        self.ask("reading which hours of the ledger are due", read).await
    }

    async fn claim_ledger_hour(
        &self,
        hour: DueHour,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<bool, StoreError> {
        let claim = sql(CLAIM).bind(hour.start.get()).bind(until.get());
        let claim = claim.bind(hour.state.as_str()).bind(now.get());
        Ok(self.ask("claiming an hour of the ledger", self.execute(claim)).await? > 0)
    }

    async fn ledger_hour_announced(
        &self,
        hour: UnixMillis,
        until: UnixMillis,
    ) -> Result<(), StoreError> {
        let announced = sql(ANNOUNCED).bind(hour.get()).bind(until.get());
        self.ask("noting an hour of the ledger", self.execute(announced)).await.map(drop)
    }

    async fn prune_ledger(
        &self,
        before: UnixMillis,
        max_rows: u64,
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        let pruned = async {
            let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
            let excess: Option<(i64,)> = self.optional(sql(EXCESS).bind(max_rows)).await?;
            // An hour is kept as a whole or not at all.
            let excess = excess.map_or(i64::MIN, |(hour,)| hour.saturating_add(HOUR_MS));
            let before = before.get().max(excess).min(hour_of(now).get());
            self.execute(sql(KEEP).bind(before)).await?;
            let silent = UnixMillis::new(before).minus(LEDGER_SILENT_FOR);
            let workers = row::forget_workers(B::DIALECT.skip_locked);
            self.execute(workers.bind(before).bind(silent.get())).await?;
            let mut deleted = 0_u64;
            for (table, key) in [
                ("ledger_announcements", "hour_ms"),
                ("ledger_gaps", "hour_ms"),
                ("ledger", "subscription, hour_ms, worker"),
            ] {
                let prune = row::prune(table, key, B::DIALECT.skip_locked);
                let prune = prune.bind(before).bind(i64::from(MAX_LEDGER_PRUNED));
                deleted = self.execute(prune).await?;
            }
            Ok(deleted)
        };
        self.ask("pruning the ledger", pruned).await
    }
}

/// The instant from which on hours are kept.
async fn kept<DB: SqlDatabase>(transaction: &mut Tx<DB>) -> sqlx::Result<i64> {
    let kept: Option<(i64,)> = sql(KEPT).optional(transaction).await?;
    Ok(kept.map_or(i64::MIN, |(since,)| since))
}

/// The states of the hours from `since` to before `until` that are kept and in which a worker ran.
async fn states<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    since: UnixMillis,
    until: UnixMillis,
    now: UnixMillis,
) -> sqlx::Result<BTreeMap<i64, HourState>> {
    let since = since.get().max(kept(transaction).await?);
    let workers = sql(WORKERS).bind(until.get()).bind(since);
    let workers: Vec<WorkerRow> = workers.all(transaction).await?;
    let gaps = sql(GAPS).bind(since).bind(until.get());
    let gaps: Vec<(i64,)> = gaps.all(transaction).await?;
    let mut state = State::new((since, until.get()), now);
    for worker in &workers {
        state.add(worker);
    }
    for (hour,) in gaps {
        state.add_gap(hour);
    }
    Ok(state.hours)
}
