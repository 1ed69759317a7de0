//! Sources in SQLite.

use async_trait::async_trait;

use super::{SqliteStore, StoreError, ask};
use crate::{
    sources::{SlotRow, SourceRow, SourceStore, columns, read_reset},
    statements::{FORGET_RESET, REPORT_SLOT, RESET, SET_RESET, SET_SOURCE, SLOTS, SOURCE},
};
use homing_domain::{
    source::{Reset, SlotReport, SourceState, SourceStatus},
    time::UnixMillis,
};

impl SqliteStore {
    async fn find_source(&self, name: &str) -> sqlx::Result<SourceState> {
        let row = sqlx::query_as(SOURCE).bind(name).fetch_optional(&self.readers).await?;
        row.map(SourceRow::build).transpose().map(Option::unwrap_or_default)
    }

    async fn write_source(
        &self,
        name: &str,
        status: &SourceStatus,
        now: UnixMillis,
    ) -> sqlx::Result<()> {
        let (status, reason, fingerprint) = columns(status);
        let set = sqlx::query(SET_SOURCE).bind(name).bind(status).bind(now.get());
        let mut transaction = self.write().await?;
        set.bind(reason).bind(fingerprint).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    async fn write_reset(&self, name: &str, reset: Reset, now: UnixMillis) -> sqlx::Result<()> {
        let set = sqlx::query(SET_RESET).bind(name).bind(now.get()).bind(reset.as_str());
        let mut transaction = self.write().await?;
        set.execute(&mut *transaction).await?;
        transaction.commit().await
    }

    async fn remove_reset(&self, name: &str) -> sqlx::Result<Option<Reset>> {
        let mut transaction = self.write().await?;
        let reset: Option<Option<String>> =
            sqlx::query_scalar(RESET).bind(name).fetch_optional(&mut *transaction).await?;
        sqlx::query(FORGET_RESET).bind(name).execute(&mut *transaction).await?;
        transaction.commit().await?;
        reset.flatten().as_deref().map(read_reset).transpose()
    }

    async fn write_slot(&self, source: &str, report: &SlotReport) -> sqlx::Result<()> {
        let report = sqlx::query(REPORT_SLOT)
            .bind(source)
            .bind(i64::from(report.slot))
            .bind(&report.holder)
            .bind(report.phase.as_str())
            .bind(report.since.get())
            .bind(report.not_before.map(UnixMillis::get))
            .bind(&report.detail)
            .bind(i64::try_from(report.records).unwrap_or(i64::MAX))
            .bind(report.seen.get());
        let mut transaction = self.write().await?;
        report.execute(&mut *transaction).await?;
        transaction.commit().await
    }

    async fn find_slots(&self, source: &str) -> sqlx::Result<Vec<SlotReport>> {
        let rows: Vec<SlotRow> =
            sqlx::query_as(SLOTS).bind(source).fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(SlotReport::from).collect())
    }
}

#[async_trait]
impl SourceStore for SqliteStore {
    async fn source(&self, name: &str) -> Result<SourceState, StoreError> {
        ask("reading a source", self.find_source(name)).await
    }

    async fn set_source(
        &self,
        name: &str,
        status: &SourceStatus,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        ask("changing a source", self.write_source(name, status, now)).await
    }

    async fn set_reset(&self, name: &str, reset: Reset, now: UnixMillis) -> Result<(), StoreError> {
        ask("asking for a reset", self.write_reset(name, reset, now)).await
    }

    async fn take_reset(&self, name: &str) -> Result<Option<Reset>, StoreError> {
        ask("taking a reset", self.remove_reset(name)).await
    }

    async fn report_slot(&self, source: &str, report: &SlotReport) -> Result<(), StoreError> {
        ask("telling of a slot", self.write_slot(source, report)).await
    }

    async fn slots(&self, source: &str) -> Result<Vec<SlotReport>, StoreError> {
        ask("reading the slots of a source", self.find_slots(source)).await
    }
}
