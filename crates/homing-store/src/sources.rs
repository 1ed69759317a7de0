//! The state of sources, shared by all processes.

use async_trait::async_trait;

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::sql,
    statements::{FORGET_RESET, REPORT_SLOT, SET_RESET, SET_SOURCE, SLOTS, SOURCE},
};
use homing_domain::{
    audit::{Action, Change, ObjectKind, from_to},
    source::{Phase, Reset, SlotReport, SourceState, SourceStatus},
    time::UnixMillis,
};

/// Where the state of sources is kept. Part of [`Store`](super::Store), with its promises.
#[async_trait]
pub trait SourceStore: Send + Sync {
    /// The state of a source; one without a row is running.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn source(&self, name: &str) -> Result<SourceState, StoreError>;

    /// Changes whether a source is read; the reset that the next connect asks for stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn set_source(
        &self,
        name: &str,
        status: &SourceStatus,
        now: UnixMillis,
    ) -> Result<(), StoreError>;

    /// Sets the reset that the next connect of a source asks for, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn set_reset(&self, name: &str, reset: Reset, now: UnixMillis) -> Result<(), StoreError>;

    /// Takes the reset that the next connect is to ask for. Of all callers, in whatever process,
    /// one gets it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    ///
    /// # Cancel safety
    ///
    /// A reset may have been taken although the call did not return it.
    async fn take_reset(&self, name: &str) -> Result<Option<Reset>, StoreError>;

    /// Replaces the report of a slot.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn report_slot(&self, source: &str, report: &SlotReport) -> Result<(), StoreError>;

    /// The last report of each slot of a source, ordered by number; a slot that was never held has
    /// none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn slots(&self, source: &str) -> Result<Vec<SlotReport>, StoreError>;
}

/// The columns of a source but its name.
#[derive(sqlx_macros::FromRow)]
struct SourceRow {
    #[sqlx(rename = "standing")]
    status: String,
    since_ms: i64,
    reason: Option<String>,
    fingerprint: Option<String>,
    reset: Option<String>,
}

impl SourceRow {
    fn build(self) -> sqlx::Result<SourceState> {
        let status = match (self.status.as_str(), self.reason, self.fingerprint) {
            ("running", ..) => SourceStatus::Running,
            ("paused", ..) => SourceStatus::Paused,
            (_, reason, fingerprint) => SourceStatus::Stopped {
                reason: reason.unwrap_or_default(),
                fingerprint: fingerprint.unwrap_or_default(),
            },
        };
        let reset = self.reset.as_deref().map(read_reset).transpose()?;
        Ok(SourceState { status, since: UnixMillis::new(self.since_ms), reset })
    }
}

/// Reads the reset that the next connect asks for.
fn read_reset(text: &str) -> sqlx::Result<Reset> {
    text.parse().map_err(sqlx::Error::decode)
}

/// The columns of a status: its name, the reason, and the fingerprint.
fn columns(status: &SourceStatus) -> (&'static str, Option<&str>, Option<&str>) {
    match status {
        SourceStatus::Running | SourceStatus::Paused => (status.name(), None, None),
        SourceStatus::Stopped { reason, fingerprint } => {
            (status.name(), Some(reason), Some(fingerprint))
        }
    }
}

/// The columns of a slot but its source.
#[derive(sqlx_macros::FromRow)]
struct SlotRow {
    slot: i64,
    holder: String,
    phase: String,
    since_ms: i64,
    not_before_ms: Option<i64>,
    detail: Option<String>,
    records: i64,
    seen_ms: i64,
}

impl From<SlotRow> for SlotReport {
    fn from(row: SlotRow) -> Self {
        let known = Phase::ALL.into_iter().find(|phase| phase.as_str() == row.phase);
        Self {
            slot: u8::try_from(row.slot).unwrap_or(u8::MAX),
            holder: row.holder,
            // A newer homing may know other phases; the slot may be connected.
            phase: known.unwrap_or(Phase::Connecting),
            since: UnixMillis::new(row.since_ms),
            not_before: row.not_before_ms.map(UnixMillis::new),
            detail: row.detail,
            records: u64::try_from(row.records).unwrap_or_default(),
            seen: UnixMillis::new(row.seen_ms),
        }
    }
}

#[async_trait]
impl<B: Backend> SourceStore for SqlStore<B> {
    async fn source(&self, name: &str) -> Result<SourceState, StoreError> {
        let read = async {
            let row: Option<SourceRow> = self.optional(sql(SOURCE).bind(name)).await?;
            row.map(SourceRow::build).transpose().map(Option::unwrap_or_default)
        };
        self.ask("reading a source", read).await
    }

    async fn set_source(
        &self,
        name: &str,
        status: &SourceStatus,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let action = match status {
            SourceStatus::Running => Some(Action::Resumed),
            SourceStatus::Paused => Some(Action::Paused),
            // The service refuses; no one has changed anything.
            SourceStatus::Stopped { .. } => None,
        };
        let (status, reason, fingerprint) = columns(status);
        let set = sql(SET_SOURCE).bind(name).bind(status).bind(now.get());
        let set = set.bind(reason).bind(fingerprint);
        let set = async {
            let mut transaction = self.begin().await?;
            let before: Option<SourceRow> =
                sql(SOURCE).bind(name).optional(&mut transaction).await?;
            let before = before.map_or_else(|| "running".to_owned(), |row| row.status);
            set.execute(&mut transaction).await?;
            if let Some(action) = action {
                let mut change = Change::new(ObjectKind::Source, name, action);
                change.difference.insert("status".to_owned(), from_to(before, status));
                self.note(&mut transaction, &change).await?;
            }
            transaction.commit().await
        };
        self.ask("changing a source", set).await
    }

    async fn set_reset(&self, name: &str, reset: Reset, now: UnixMillis) -> Result<(), StoreError> {
        let set = sql(SET_RESET).bind(name).bind(now.get()).bind(reset.as_str());
        let mut asked = Change::new(ObjectKind::Source, name, Action::Reset);
        asked.difference.insert("to".to_owned(), reset.as_str().into());
        self.ask("asking for a reset", self.change(set, &asked)).await.map(drop)
    }

    async fn take_reset(&self, name: &str) -> Result<Option<Reset>, StoreError> {
        let taken = async {
            let mut transaction = self.begin().await?;
            let reset = sql(B::DIALECT.lock_reset).bind(name).optional(&mut transaction).await?;
            let reset: Option<(Option<String>,)> = reset;
            sql(FORGET_RESET).bind(name).execute(&mut transaction).await?;
            transaction.commit().await?;
            reset.and_then(|(reset,)| reset).as_deref().map(read_reset).transpose()
        };
        self.ask("taking a reset", taken).await
    }

    async fn report_slot(&self, source: &str, report: &SlotReport) -> Result<(), StoreError> {
        let statement = sql(REPORT_SLOT)
            .bind(source)
            .bind(i64::from(report.slot))
            .bind(&report.holder)
            .bind(report.phase.as_str())
            .bind(report.since.get())
            .bind(report.not_before.map(UnixMillis::get))
            .bind(&report.detail)
            .bind(i64::try_from(report.records).unwrap_or(i64::MAX))
            .bind(report.seen.get());
        self.ask("reporting a slot", self.execute(statement)).await.map(drop)
    }

    async fn slots(&self, source: &str) -> Result<Vec<SlotReport>, StoreError> {
        let rows = self.all::<SlotRow>(sql(SLOTS).bind(source));
        let rows = self.ask("reading the slots of a source", rows).await?;
        Ok(rows.into_iter().map(SlotReport::from).collect())
    }
}
