//! Sources as operators see and set them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::fingerprint;
use crate::settings::{LivestreamSettings, SourceSettings};
use homing_broker::{Broker, control::Announcement};
use homing_domain::{
    audit::Actor,
    clock,
    source::{Phase, Reset, SlotReport, SourceState, SourceStatus},
    text::Word,
    time::UnixMillis,
};
use homing_store::{Store, StoreError};
use homing_telemetry::log_events;

/// A holder that has not reported for this long has probably ended.
const SILENT_AFTER: Duration = Duration::from_secs(35);

/// Shows and sets sources; cheap to clone.
#[derive(Clone)]
pub struct SourceAdmin {
    settings: Arc<SourceSettings>,
    store: Arc<dyn Store>,
    broker: Broker,
}

/// A source as it is shown to operators.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Source)]
pub struct View {
    /// Its name in the settings.
    pub name: String,
    /// `running`, `paused` or `stopped`.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub state: Word,
    /// The start of the state, if it was ever changed; RFC 3339.
    pub since: Option<String>,
    /// The service's answer, if it refused permanently.
    pub reason: Option<String>,
    /// Connections now.
    pub connected: usize,
    /// Connections at once, in all processes together.
    pub max_connections: u8,
    /// The stream's address.
    pub url: String,
    /// First word of the topics.
    pub topic: String,
    /// The reset that the next connect will request.
    pub reset: Option<Reset>,
    /// One for each connection.
    pub slots: Vec<SlotView>,
}

/// A connection as it is shown to operators.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SourceSlot)]
pub struct SlotView {
    /// From 1.
    pub slot: u8,
    /// `free`, `waiting`, `connecting`, `connected`; `unknown`: no recent report.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub phase: Word,
    /// The start of the phase; RFC 3339.
    pub since: Option<String>,
    /// The process that has it, or had it last.
    pub holder: Option<String>,
    /// While waiting: the time of the next connect; RFC 3339.
    pub next_connect: Option<String>,
    /// The reason for not being connected, or another note.
    pub detail: Option<String>,
    /// Records of the current connection; a little out of date.
    pub records: u64,
}

/// Errors of showing and changing sources.
#[derive(Debug, thiserror::Error)]
pub enum SourceAdminError {
    /// The settings have none of this name.
    #[error("there is no source `{name}` in the settings{}", known_names(.known))]
    Unknown {
        /// The requested name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// The store is unavailable; the change may or may not have been saved.
    #[error(transparent)]
    Store(StoreError),
}

fn known_names(names: &[String]) -> String {
    if names.is_empty() {
        ", and no other ([source.livestream.NAME])".to_owned()
    } else {
        format!("; there are: {}", names.join(", "))
    }
}

impl SlotView {
    fn of(slot: u8, report: Option<&SlotReport>, now: UnixMillis) -> Self {
        let Some(report) = report else {
            let (phase, since, holder) = (Phase::Free.as_str(), None, None);
            return Self {
                slot,
                phase,
                since,
                holder,
                next_connect: None,
                detail: None,
                records: 0,
            };
        };
        let is_silent = report.phase != Phase::Free && now.since(report.seen) > SILENT_AFTER;
        let next = report.not_before.filter(|_| report.phase == Phase::Waiting && !is_silent);
        let silent = || format!("no report from its holder since {}", report.seen);
        Self {
            slot,
            phase: if is_silent { "unknown" } else { report.phase.as_str() },
            since: Some(report.since.to_string()),
            holder: Some(report.holder.clone()),
            next_connect: next.map(|instant| instant.to_string()),
            detail: if is_silent { Some(silent()) } else { report.detail.clone() },
            records: report.records,
        }
    }
}

impl SourceAdmin {
    /// Administration of the sources of `settings`.
    #[must_use]
    pub fn new(settings: SourceSettings, store: Arc<dyn Store>, broker: Broker) -> Self {
        Self { settings: Arc::new(settings), store, broker }
    }

    /// The same for the changes of `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        let (settings, broker) = (Arc::clone(&self.settings), self.broker.clone());
        Self { settings, store: self.store.by(actor), broker }
    }

    /// All sources, ordered by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<View>, StoreError> {
        views(&self.settings, self.store.as_ref()).await
    }

    /// The source `name`.
    ///
    /// # Errors
    ///
    /// [`SourceAdminError`].
    pub async fn get(&self, name: &str) -> Result<View, SourceAdminError> {
        view(name, self.find(name)?, self.store.as_ref()).await.map_err(SourceAdminError::Store)
    }

    /// Stops reading the source, until it is resumed.
    ///
    /// # Errors
    ///
    /// [`SourceAdminError`]: nothing is changed.
    pub async fn pause(&self, name: &str) -> Result<View, SourceAdminError> {
        self.set(name, &SourceStatus::Paused).await
    }

    /// Reads the source again, even if the service had refused it permanently.
    ///
    /// # Errors
    ///
    /// [`SourceAdminError`]: nothing is changed.
    pub async fn resume(&self, name: &str) -> Result<View, SourceAdminError> {
        self.set(name, &SourceStatus::Running).await
    }

    /// Makes the next connect start at one end of the data. A current connection continues.
    ///
    /// # Errors
    ///
    /// [`SourceAdminError`]: nothing is changed.
    pub async fn reset(&self, name: &str, reset: Reset) -> Result<View, SourceAdminError> {
        self.find(name)?;
        self.store.set_reset(name, reset, clock::now()).await.map_err(SourceAdminError::Store)?;
        self.get(name).await
    }

    fn find(&self, name: &str) -> Result<&LivestreamSettings, SourceAdminError> {
        self.settings.livestream.get(name).ok_or_else(|| SourceAdminError::Unknown {
            name: name.to_owned(),
            known: self.settings.livestream.keys().cloned().collect(),
        })
    }

    async fn set(&self, name: &str, status: &SourceStatus) -> Result<View, SourceAdminError> {
        self.find(name)?;
        let before = self.store.source(name).await.map_err(SourceAdminError::Store)?;
        if before.status != *status {
            let set = self.store.set_source(name, status, clock::now()).await;
            set.map_err(SourceAdminError::Store)?;
            if let Err(error) = self.broker.announce(&Announcement::Source(name.to_owned())).await {
                log_events::not_announced(&error.report());
            }
        }
        self.get(name).await
    }
}

/// All sources of `settings`, with their state in `store`, ordered by name.
///
/// # Errors
///
/// [`StoreError`].
pub async fn views(settings: &SourceSettings, store: &dyn Store) -> Result<Vec<View>, StoreError> {
    let mut views = Vec::new();
    for (name, settings) in &settings.livestream {
        views.push(view(name, settings, store).await?);
    }
    Ok(views)
}

async fn view(
    name: &str,
    settings: &LivestreamSettings,
    store: &dyn Store,
) -> Result<View, StoreError> {
    let state = store.source(name).await?;
    let reports = store.slots(name).await?;
    let now = clock::now();
    let slots: Vec<_> = (1..=settings.max_connections)
        .map(|slot| SlotView::of(slot, reports.iter().find(|found| found.slot == slot), now))
        .collect();
    let connected = slots.iter().filter(|slot| slot.phase == Phase::Connected.as_str()).count();
    let is_read = state.is_read_with(&fingerprint(settings));
    let SourceState { status, since, reset } = state;
    let shown = if is_read { SourceStatus::Running.name() } else { status.name() };
    let reason = match status {
        SourceStatus::Stopped { reason, .. } if !is_read => Some(reason),
        SourceStatus::Stopped { .. } | SourceStatus::Running | SourceStatus::Paused => None,
    };
    Ok(View {
        name: name.to_owned(),
        state: shown,
        since: (since != UnixMillis::default()).then(|| since.to_string()),
        reason,
        connected,
        max_connections: settings.max_connections,
        url: settings.url.to_string(),
        topic: settings.topic.clone(),
        reset,
        slots,
    })
}
