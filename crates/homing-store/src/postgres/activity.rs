//! Figures in PostgreSQL.

use async_trait::async_trait;
use uuid::Uuid;

use super::{PostgresStore, StoreError};
use crate::{
    activity::{
        ActivityStore, MinuteRow, UnsettledCounts, WorkerRow, columns, due_columns, read_costly,
        read_counts, read_due, read_requests, requests_column,
    },
    statements::{
        ADD_DUE, COSTLY, DUES, MINUTES, REMOVE_WORKER, REPORT_COSTLY, REPORT_MINUTE, REPORT_WORKER,
        REQUESTS, UNSETTLED_COUNTS, WORKERS,
    },
};
use homing_domain::{
    activity::{COSTLY_FOR, CostlyFilters, Due, Minute, Requests, WorkerReport},
    time::UnixMillis,
};

/// What another one writes or prunes at this moment is left to the next time: pruning waits for
/// nobody.
const PRUNE_MINUTES: &str = "\
    DELETE FROM worker_minutes WHERE (start_ms, worker) IN (SELECT start_ms, worker \
    FROM worker_minutes WHERE start_ms < $1 FOR UPDATE SKIP LOCKED)";
const PRUNE_WORKERS: &str = "\
    DELETE FROM workers WHERE id IN \
    (SELECT id FROM workers WHERE seen_ms < $1 FOR UPDATE SKIP LOCKED)";
const PRUNE_COSTLY: &str = "\
    DELETE FROM costly_subscriptions WHERE id IN \
    (SELECT id FROM costly_subscriptions WHERE seen_ms < $1 FOR UPDATE SKIP LOCKED)";
const PRUNE_DUES: &str = "\
    DELETE FROM dues WHERE (wait_ms, slice) IN (SELECT wait_ms, slice FROM dues \
    WHERE due_ms < $1 FOR UPDATE SKIP LOCKED)";

impl PostgresStore {
    async fn write_activity(
        &self,
        report: &WorkerReport,
        requests: &Requests,
        minutes: &[Minute],
        dues: &[Due],
    ) -> sqlx::Result<()> {
        let (id, requests) = (report.id.to_string(), requests_column(requests)?);
        let mut transaction = self.pool.begin().await?;
        let worker = sqlx::query(REPORT_WORKER).bind(&id).bind(&report.host);
        let worker = worker.bind(i64::from(report.pid)).bind(&report.version);
        let worker = worker.bind(report.started_ms.get()).bind(report.seen_ms.get());
        let worker = worker.bind(i64::from(report.in_flight)).bind(requests);
        worker.execute(&mut *transaction).await?;
        for minute in minutes {
            let mut row = sqlx::query(REPORT_MINUTE).bind(minute.start_ms.get()).bind(&id);
            for column in columns(&minute.figures) {
                row = row.bind(column);
            }
            row.execute(&mut *transaction).await?;
        }
        // In an order that all workers have in common, so that none waits for another in a circle.
        let mut dues: Vec<_> = dues.iter().map(due_columns).collect();
        dues.sort_unstable();
        for [wait, slice, due] in dues {
            let row = sqlx::query(ADD_DUE).bind(wait).bind(slice).bind(due);
            row.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn note_costly(&self, filters: &[CostlyFilters]) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        // In an order that all workers have in common, as above.
        let mut filters = filters.to_vec();
        filters.sort_unstable_by_key(|one| one.subscription);
        for CostlyFilters { subscription, updated, seen } in filters {
            let row = sqlx::query(REPORT_COSTLY).bind(subscription.to_string());
            row.bind(updated.get()).bind(seen.get()).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn list_costly(&self, since: UnixMillis) -> sqlx::Result<Vec<CostlyFilters>> {
        let rows = sqlx::query_as(COSTLY).bind(since.get()).fetch_all(&self.pool).await?;
        rows.into_iter().map(read_costly).collect()
    }

    async fn take_worker(&self, id: Uuid) -> sqlx::Result<()> {
        let remove = sqlx::query(REMOVE_WORKER).bind(id.to_string());
        remove.execute(&self.pool).await.map(drop)
    }

    async fn list_workers(&self) -> sqlx::Result<Vec<WorkerReport>> {
        let rows: Vec<WorkerRow> = sqlx::query_as(WORKERS).fetch_all(&self.pool).await?;
        rows.into_iter().map(WorkerRow::build).collect()
    }

    async fn sum_requests(&self, since: UnixMillis) -> sqlx::Result<Requests> {
        let rows = sqlx::query_scalar(REQUESTS).bind(since.get());
        read_requests(&rows.fetch_all(&self.pool).await?)
    }

    async fn list_minutes(&self, since: UnixMillis) -> sqlx::Result<Vec<Minute>> {
        let minutes = sqlx::query_as(MINUTES).bind(since.get());
        let rows: Vec<MinuteRow> = minutes.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(Minute::from).collect())
    }

    async fn list_dues(&self, now: UnixMillis) -> sqlx::Result<Vec<Due>> {
        let rows = sqlx::query_as(DUES).bind(now.get()).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(read_due).collect())
    }

    async fn forget_activity(&self, before: UnixMillis, now: UnixMillis) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        let old = [
            (PRUNE_MINUTES, before),
            (PRUNE_WORKERS, before),
            (PRUNE_DUES, now),
            (PRUNE_COSTLY, now.minus(COSTLY_FOR)),
        ];
        for (prune, bound) in old {
            sqlx::query(prune).bind(bound.get()).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn list_counts(&self) -> sqlx::Result<UnsettledCounts> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as(UNSETTLED_COUNTS).fetch_all(&self.pool).await?;
        Ok(read_counts(&rows))
    }
}

#[async_trait]
impl ActivityStore for PostgresStore {
    async fn report_activity(
        &self,
        report: &WorkerReport,
        requests: &Requests,
        minutes: &[Minute],
        dues: &[Due],
    ) -> Result<(), StoreError> {
        self.ask("telling what a worker does", self.write_activity(report, requests, minutes, dues))
            .await
    }

    async fn report_costly(&self, filters: &[CostlyFilters]) -> Result<(), StoreError> {
        self.ask("noting filters that cost too much", self.note_costly(filters)).await
    }

    async fn costly_filters(&self, since: UnixMillis) -> Result<Vec<CostlyFilters>, StoreError> {
        self.ask("reading which filters cost too much", self.list_costly(since)).await
    }

    async fn remove_worker(&self, id: Uuid) -> Result<(), StoreError> {
        self.ask("taking a worker off the list", self.take_worker(id)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        self.ask("listing the workers", self.list_workers()).await
    }

    async fn requests(&self, since: UnixMillis) -> Result<Requests, StoreError> {
        self.ask("adding up requests in flight", self.sum_requests(since)).await
    }

    async fn minutes(&self, since: UnixMillis) -> Result<Vec<Minute>, StoreError> {
        self.ask("reading what the workers did", self.list_minutes(since)).await
    }

    async fn next_dues(&self, now: UnixMillis) -> Result<Vec<Due>, StoreError> {
        self.ask("reading what is due next", self.list_dues(now)).await
    }

    async fn prune_activity(&self, before: UnixMillis, now: UnixMillis) -> Result<(), StoreError> {
        self.ask("forgetting old figures", self.forget_activity(before, now)).await
    }

    async fn count_unsettled(&self) -> Result<UnsettledCounts, StoreError> {
        self.ask("counting circuits", self.list_counts()).await
    }
}
