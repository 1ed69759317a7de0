//! What is remembered of what the pool does, in figures that workers tell.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use super::{StoreError, row::parse_id};
use homing_domain::{
    activity::{CostlyFilters, Due, Figures, Minute, Requests, WorkerReport},
    time::UnixMillis,
};

/// Circuits that are not closed, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnsettledCounts {
    /// URLs that are spared and probed.
    pub open: u64,
    /// URLs that wait for a person.
    pub frozen: u64,
}

/// Where figures are kept. Part of [`Store`](super::Store), with its promises.
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// Takes over what a worker tells of itself: its row with its requests in flight, its minutes as
    /// wholes, and when what it has put into wait queues comes due. All in one transaction; what is
    /// repeated counts once.
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

    /// Notes filters that cost too much; what is repeated counts once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn report_costly(&self, filters: &[CostlyFilters]) -> Result<(), StoreError>;

    /// Filters that cost too much at or after `since` and were not changed after that, ordered by
    /// subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn costly_filters(&self, since: UnixMillis) -> Result<Vec<CostlyFilters>, StoreError>;

    /// Takes a worker off the list; what it did stays in the minutes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remove_worker(&self, id: Uuid) -> Result<(), StoreError>;

    /// The workers as they told of themselves last, in the order of their starts.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError>;

    /// The requests in flight of all workers that told of themselves at or after `since`, together.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn requests(&self, since: UnixMillis) -> Result<Requests, StoreError>;

    /// What all workers did, by the minute, of those that begin at or after `since`; a minute in
    /// which nothing was told is left out.
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

    /// Forgets minutes and workers of before `before`, what was due before `now`, and filters that cost
    /// too much longer than [`COSTLY_FOR`](homing_domain::activity::COSTLY_FOR) ago. Several processes
    /// may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_activity(&self, before: UnixMillis, now: UnixMillis) -> Result<(), StoreError>;

    /// How many circuits are not closed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn count_unsettled(&self) -> Result<UnsettledCounts, StoreError>;
}

/// The columns of a worker.
#[derive(sqlx::FromRow)]
pub(super) struct WorkerRow {
    id: String,
    host: String,
    pid: i64,
    version: String,
    started_ms: i64,
    seen_ms: i64,
    in_flight: i64,
}

impl WorkerRow {
    pub(super) fn build(self) -> sqlx::Result<WorkerReport> {
        let id = Uuid::parse_str(&self.id).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(WorkerReport {
            id,
            host: self.host,
            pid: u32::try_from(self.pid).unwrap_or(0),
            version: self.version,
            started_ms: UnixMillis::new(self.started_ms),
            seen_ms: UnixMillis::new(self.seen_ms),
            in_flight: u32::try_from(self.in_flight).unwrap_or(u32::MAX),
        })
    }
}

/// What is written of the requests of a worker.
pub(super) fn requests_column(requests: &Requests) -> sqlx::Result<String> {
    serde_json::to_string(requests).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The requests of all workers from their columns.
pub(super) fn read_requests(rows: &[String]) -> sqlx::Result<Requests> {
    let mut sum = Requests::default();
    for row in rows {
        let requests = serde_json::from_str::<Requests>(row);
        sum += requests.map_err(|error| sqlx::Error::Decode(error.into()))?;
    }
    Ok(sum)
}

/// The columns of a minute.
#[derive(sqlx::FromRow)]
pub(super) struct MinuteRow {
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
pub(super) fn columns(figures: &Figures) -> [i64; 7] {
    let Figures { events, accepted, refused, timed_out, unreachable, held, parked } = *figures;
    [events, accepted, refused, timed_out, unreachable, held, parked].map(signed)
}

/// What fits into a column.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a due.
pub(super) fn due_columns(due: &Due) -> [i64; 3] {
    let wait = i64::try_from(due.wait.as_millis()).unwrap_or(i64::MAX);
    [wait, due.slice(), due.at.get()]
}

/// A due from its columns.
pub(super) fn read_due((wait_ms, due_ms): (i64, i64)) -> Due {
    Due { wait: Duration::from_millis(wait_ms.unsigned_abs()), at: UnixMillis::new(due_ms) }
}

/// The counts from their rows.
pub(super) fn read_counts(rows: &[(String, i64)]) -> UnsettledCounts {
    let of = |state: &str| rows.iter().find(|(name, _)| name == state);
    let count = |state| of(state).map_or(0, |(_, count)| count.unsigned_abs());
    UnsettledCounts { open: count("open"), frozen: count("frozen") }
}

/// Filters that cost too much, from their columns.
pub(super) fn read_costly((id, updated, seen): (String, i64, i64)) -> sqlx::Result<CostlyFilters> {
    let subscription = parse_id(&id)?;
    Ok(CostlyFilters {
        subscription,
        updated: UnixMillis::new(updated),
        seen: UnixMillis::new(seen),
    })
}
