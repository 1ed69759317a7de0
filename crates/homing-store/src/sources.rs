//! What is remembered of sources, whichever process reads them.

use async_trait::async_trait;

use super::StoreError;
use homing_domain::{
    source::{Phase, Reset, SlotReport, SourceState, SourceStatus},
    time::UnixMillis,
};

/// Where the state of sources is kept. Part of [`Store`](super::Store), with its promises.
#[async_trait]
pub trait SourceStore: Send + Sync {
    /// The state of a source; one that nobody touched is read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn source(&self, name: &str) -> Result<SourceState, StoreError>;

    /// Changes whether a source is read; what the next connect asks for stays.
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

    /// Says what the next connect of a source asks for, in place of what was said before.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn set_reset(&self, name: &str, reset: Reset, now: UnixMillis) -> Result<(), StoreError>;

    /// Takes away what the next connect is to ask for. Of all who ask, in whatever process, one is
    /// answered.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    ///
    /// # Cancel safety
    ///
    /// What was not answered may be taken away all the same.
    async fn take_reset(&self, name: &str) -> Result<Option<Reset>, StoreError>;

    /// Replaces what is known of a slot.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn report_slot(&self, source: &str, report: &SlotReport) -> Result<(), StoreError>;

    /// What is known of the slots of a source, ordered by number; none that was never held.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn slots(&self, source: &str) -> Result<Vec<SlotReport>, StoreError>;
}

/// The columns of a source but its name.
#[derive(sqlx::FromRow)]
pub(super) struct SourceRow {
    #[sqlx(rename = "standing")]
    status: String,
    since_ms: i64,
    reason: Option<String>,
    fingerprint: Option<String>,
    reset: Option<String>,
}

impl SourceRow {
    pub(super) fn build(self) -> sqlx::Result<SourceState> {
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

/// Reads what the next connect asks for.
pub(super) fn read_reset(text: &str) -> sqlx::Result<Reset> {
    text.parse().map_err(sqlx::Error::decode)
}

/// What a standing is in columns: itself, reason, and fingerprint.
pub(super) fn columns(status: &SourceStatus) -> (&'static str, Option<&str>, Option<&str>) {
    match status {
        SourceStatus::Running | SourceStatus::Paused => (status.name(), None, None),
        SourceStatus::Stopped { reason, fingerprint } => {
            (status.name(), Some(reason), Some(fingerprint))
        }
    }
}

/// The columns of a slot but its source.
#[derive(sqlx::FromRow)]
pub(super) struct SlotRow {
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
            // Whatever a newer homing calls it: it may be connected.
            phase: known.unwrap_or(Phase::Connecting),
            since: UnixMillis::new(row.since_ms),
            not_before: row.not_before_ms.map(UnixMillis::new),
            detail: row.detail,
            records: u64::try_from(row.records).unwrap_or_default(),
            seen: UnixMillis::new(row.seen_ms),
        }
    }
}
