//! Figures that workers report about themselves.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    row::parse_id,
    statement::{Statement, sql},
    statements::{
        ADD_DUE, COSTLY, DUES, MINUTES, REMOVE_WORKER, REPORT_COSTLY, REPORT_MINUTE, REPORT_WORKER,
        REQUESTS, UNSETTLED_COUNTS, WITHOUT_GROUPS, WORKERS,
    },
};
use homing_domain::{
    activity::{COSTLY_FOR, CostlyFilters, Due, Figures, Minute, Requests, WorkerReport},
    time::UnixMillis,
};

/// Circuits that are not closed, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnsettledCounts {
    /// URLs that are probed and get nothing else.
    pub open: u64,
    /// URLs that wait for an operator.
    pub frozen: u64,
}

/// Where figures are kept. Part of [`Store`](super::Store), with its promises.
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// Saves the report of a worker: its row with its requests in flight, whole minutes, and when
    /// the deliveries that it put into wait queues are due. All in one transaction; a repeated
    /// report counts once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn report_activity(
        &self,
        report: &WorkerReport,
        requests: &Requests,
        minutes: &[Minute],
        dues: &[Due],
    ) -> Result<(), StoreError>;

    /// Saves filters that cost too much; a repeated report counts once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn report_costly(&self, filters: &[CostlyFilters]) -> Result<(), StoreError>;

    /// Filters that cost too much at or after `since` and were not changed afterwards, ordered by
    /// subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn costly_filters(&self, since: UnixMillis) -> Result<Vec<CostlyFilters>, StoreError>;

    /// Removes a worker from the list; its minutes stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remove_worker(&self, id: Uuid) -> Result<(), StoreError>;

    /// The last report of each worker, in the order of their starts.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError>;

    /// True if every worker that reported at or after `since` reads messages that are for several
    /// subscriptions; those of earlier versions do not.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn all_read_groups(&self, since: UnixMillis) -> Result<bool, StoreError>;

    /// The sum of the requests in flight of all workers that reported at or after `since`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn requests(&self, since: UnixMillis) -> Result<Requests, StoreError>;

    /// The figures of all workers by the minute, for minutes that begin at or after `since`; a
    /// minute without a report is left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn minutes(&self, since: UnixMillis) -> Result<Vec<Minute>, StoreError>;

    /// The next due of each wait at or after `now`, ordered by wait; exact to a 256th of the wait,
    /// or a second.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn next_dues(&self, now: UnixMillis) -> Result<Vec<Due>, StoreError>;

    /// Deletes minutes and workers from before `before`, dues from before `now`, and filters that
    /// cost too much longer than [`COSTLY_FOR`] ago. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_activity(&self, before: UnixMillis, now: UnixMillis) -> Result<(), StoreError>;

    /// The number of circuits that are open or frozen.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn count_unsettled(&self) -> Result<UnsettledCounts, StoreError>;
}

/// The columns of a worker.
#[derive(sqlx_macros::FromRow)]
struct WorkerRow {
    id: String,
    host: String,
    pid: i64,
    version: String,
    started_ms: i64,
    seen_ms: i64,
    in_flight: i64,
    runs_replays: Option<i64>,
    problem: Option<String>,
}

impl WorkerRow {
    fn build(self) -> sqlx::Result<WorkerReport> {
        let id = Uuid::parse_str(&self.id).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(WorkerReport {
            id,
            host: self.host,
            pid: u32::try_from(self.pid).unwrap_or(0),
            version: self.version,
            started_ms: UnixMillis::new(self.started_ms),
            seen_ms: UnixMillis::new(self.seen_ms),
            in_flight: u32::try_from(self.in_flight).unwrap_or(u32::MAX),
            runs_replays: self.runs_replays.map(|runs| runs != 0),
            problem: self.problem,
        })
    }
}

/// The requests of a worker as they are stored.
fn requests_column(requests: &Requests) -> sqlx::Result<String> {
    serde_json::to_string(requests).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The requests of all workers from their columns.
fn read_requests(rows: &[(String,)]) -> sqlx::Result<Requests> {
    let mut sum = Requests::default();
    for (row,) in rows {
        let requests = serde_json::from_str::<Requests>(row);
        sum += requests.map_err(|error| sqlx::Error::Decode(error.into()))?;
    }
    Ok(sum)
}

/// The columns of a minute.
#[derive(sqlx_macros::FromRow)]
struct MinuteRow {
    start_ms: i64,
    events: i64,
    accepted: i64,
    refused: i64,
    timed_out: i64,
    unreachable: i64,
    held: i64,
    parked: i64,
}

impl From<MinuteRow> for Minute {
    fn from(row: MinuteRow) -> Self {
        Self {
            start_ms: UnixMillis::new(row.start_ms),
            figures: Figures {
                events: row.events.unsigned_abs(),
                accepted: row.accepted.unsigned_abs(),
                refused: row.refused.unsigned_abs(),
                timed_out: row.timed_out.unsigned_abs(),
                unreachable: row.unreachable.unsigned_abs(),
                held: row.held.unsigned_abs(),
                parked: row.parked.unsigned_abs(),
            },
        }
    }
}

/// The figures in the order of the columns.
fn columns(figures: &Figures) -> [i64; 7] {
    let Figures { events, accepted, refused, timed_out, unreachable, held, parked } = *figures;
    [events, accepted, refused, timed_out, unreachable, held, parked].map(signed)
}

/// The nearest number that fits into a column.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a due.
fn due_columns(due: &Due) -> [i64; 3] {
    let wait = i64::try_from(due.wait.as_millis()).unwrap_or(i64::MAX);
    [wait, due.slice(), due.at.get()]
}

/// A due from its columns.
fn read_due((wait_ms, due_ms): (i64, i64)) -> Due {
    Due { wait: Duration::from_millis(wait_ms.unsigned_abs()), at: UnixMillis::new(due_ms) }
}

/// The counts from their rows.
fn read_counts(rows: &[(String, i64)]) -> UnsettledCounts {
    let of = |state: &str| rows.iter().find(|(name, _)| name == state);
    let count = |state| of(state).map_or(0, |(_, count)| count.unsigned_abs());
    UnsettledCounts { open: count("open"), frozen: count("frozen") }
}

/// Filters that cost too much, from their columns.
fn read_costly((id, updated, seen): (String, i64, i64)) -> sqlx::Result<CostlyFilters> {
    let subscription = parse_id(&id)?;
    Ok(CostlyFilters {
        subscription,
        updated: UnixMillis::new(updated),
        seen: UnixMillis::new(seen),
    })
}

#[async_trait]
impl<B: Backend> ActivityStore for SqlStore<B> {
    async fn report_activity(
        &self,
        report: &WorkerReport,
        requests: &Requests,
        minutes: &[Minute],
        dues: &[Due],
    ) -> Result<(), StoreError> {
        let written = async {
            let id = report.id.to_string();
            let mut transaction = self.begin_relaxed().await?;
            let worker = sql(REPORT_WORKER)
                .bind(&id)
                .bind(&report.host)
                .bind(i64::from(report.pid))
                .bind(&report.version)
                .bind(report.started_ms.get())
                .bind(report.seen_ms.get())
                .bind(i64::from(report.in_flight))
                .bind(requests_column(requests)?)
                .bind(report.runs_replays.map(i64::from))
                .bind(report.problem.as_deref());
            worker.execute(&mut transaction).await?;
            for minute in minutes {
                let row = sql(REPORT_MINUTE).bind(minute.start_ms.get()).bind(&id);
                let row = columns(&minute.figures).into_iter().fold(row, Statement::bind);
                row.execute(&mut transaction).await?;
            }
            // All workers use the same order, so that no two wait for each other.
            let mut dues: Vec<_> = dues.iter().map(due_columns).collect();
            dues.sort_unstable();
            for [wait, slice, due] in dues {
                let row = sql(ADD_DUE).bind(wait).bind(slice).bind(due);
                row.execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        self.ask("reporting what a worker does", written).await
    }

    async fn report_costly(&self, filters: &[CostlyFilters]) -> Result<(), StoreError> {
        let written = async {
            let mut transaction = self.begin_relaxed().await?;
            // In the same order, as above.
            let mut filters = filters.to_vec();
            filters.sort_unstable_by_key(|one| one.subscription);
            for CostlyFilters { subscription, updated, seen } in filters {
                let row = sql(REPORT_COSTLY).bind(subscription.to_string());
                row.bind(updated.get()).bind(seen.get()).execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        self.ask("saving which filters cost too much", written).await
    }

    async fn costly_filters(&self, since: UnixMillis) -> Result<Vec<CostlyFilters>, StoreError> {
        let read = async {
            let rows = self.all(sql(COSTLY).bind(since.get())).await?;
            rows.into_iter().map(read_costly).collect()
        };
        self.ask("reading which filters cost too much", read).await
    }

    async fn remove_worker(&self, id: Uuid) -> Result<(), StoreError> {
        let remove = self.execute(sql(REMOVE_WORKER).bind(id.to_string()));
        self.ask("removing a worker from the list", remove).await.map(drop)
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let read = async {
            let rows = self.all(sql(WORKERS)).await?;
            rows.into_iter().map(WorkerRow::build).collect()
        };
        self.ask("listing the workers", read).await
    }

    async fn all_read_groups(&self, since: UnixMillis) -> Result<bool, StoreError> {
        let counted = self.all::<(i64,)>(sql(WITHOUT_GROUPS).bind(since.get()));
        let counted = self.ask("counting workers of earlier versions", counted).await?;
        Ok(counted.iter().all(|(count,)| *count == 0))
    }

    async fn requests(&self, since: UnixMillis) -> Result<Requests, StoreError> {
        let read = async { read_requests(&self.all(sql(REQUESTS).bind(since.get())).await?) };
        self.ask("adding up requests in flight", read).await
    }

    async fn minutes(&self, since: UnixMillis) -> Result<Vec<Minute>, StoreError> {
        let rows = self.all::<MinuteRow>(sql(MINUTES).bind(since.get()));
        let rows = self.ask("reading what the workers did", rows).await?;
        Ok(rows.into_iter().map(Minute::from).collect())
    }

    async fn next_dues(&self, now: UnixMillis) -> Result<Vec<Due>, StoreError> {
        let rows =
            self.ask("reading what is due next", self.all(sql(DUES).bind(now.get()))).await?;
        Ok(rows.into_iter().map(read_due).collect())
    }

    async fn prune_activity(&self, before: UnixMillis, now: UnixMillis) -> Result<(), StoreError> {
        let pruned = async {
            let mut transaction = self.begin_relaxed().await?;
            for (prune, bound) in [
                (B::DIALECT.prune_minutes, before),
                (B::DIALECT.prune_workers, before),
                (B::DIALECT.prune_dues, now),
                (B::DIALECT.prune_costly, now.minus(COSTLY_FOR)),
            ] {
                sql(prune).bind(bound.get()).execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        self.ask("forgetting old figures", pruned).await
    }

    async fn count_unsettled(&self) -> Result<UnsettledCounts, StoreError> {
        let rows = self.ask("counting circuits", self.all(sql(UNSETTLED_COUNTS))).await?;
        Ok(read_counts(&rows))
    }
}
