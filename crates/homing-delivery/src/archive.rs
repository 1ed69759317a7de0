//! The archive for operators: what a window holds, and the replays of it.
//!
//! A replay is a row of the store; workers run it (`worker/replay/`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use homing_broker::{Broker, error::BrokerError};
use homing_domain::{
    audit::Actor,
    clock,
    replay::{Replay, ReplayId, ReplaySelection, ReplayState},
    subscription::FieldError,
    time::{UnixMillis, iso8601},
};
use homing_store::{MAX_UNENDED_REPLAYS, Store, StoreError};

/// Events that a preview reads at most ...
const MAX_PREVIEWED: u64 = 20_000;
/// ... and for how long.
const PREVIEW_TIME: Duration = Duration::from_secs(5);
/// With finding the window, and waiting for other previews.
const PREVIEW_DEADLINE: Duration = Duration::from_secs(60);
/// Previews at the same time; others wait.
const MAX_PREVIEWS: usize = 2;
/// Topics that a preview counts apart.
const MAX_TOPICS: usize = 50;
/// A replay that no worker has taken for so long says why.
const UNCLAIMED: Duration = Duration::from_secs(10);

/// The archive; cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
    broker: Broker,
    previews: Arc<Semaphore>,
}

/// The events that a replay would send.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReplayPreview)]
pub struct Preview {
    /// The selection, its window in whole seconds.
    pub selection: ReplaySelection,
    /// Events in the window, whatever their topics; a few more where the broker counts entries of its
    /// own.
    pub events: u64,
    /// Events of it that the preview has read, the oldest first.
    pub read: u64,
    /// Those among them that are selected.
    pub selected: u64,
    /// Those by topic.
    pub topics: BTreeMap<String, u64>,
    /// Those of further topics.
    pub others: u64,
    /// True if the whole window was read.
    pub complete: bool,
    /// Messages among those read that are no events.
    pub unreadable: u64,
    /// Set where the window begins with the oldest event of the archive, so that earlier ones may be
    /// missing: the instant of that, in whole seconds.
    #[serde(rename = "archive_begins", with = "iso8601::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archive_begins_ms: Option<UnixMillis>,
}

/// Errors about the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing is archived.
    #[error("there is no archive: set `archive.enabled` for all processes, and restart them")]
    Off,
    /// A replay could send events to those that their publishers did not mean.
    #[error(
        "replays are refused while `events.subscription_header` is \"accept\": RabbitMQ before 3.13 \
         archives events without the subscriptions that they name"
    )]
    RecipientsUnknown,
    /// The preview took too long.
    #[error("the archive was not read in time; try again, or preview a shorter window")]
    TooSlow,
    /// A field of the selection is wrong.
    #[error(transparent)]
    Field(FieldError),
    /// So many replays are waiting or running.
    #[error("{MAX_UNENDED_REPLAYS} replays are waiting or running; stop one, or wait for its end")]
    TooMany,
    /// There is no such replay.
    #[error("there is no replay {0}; `homing replay list` shows those that are known")]
    Unknown(ReplayId),
    /// The replay is in a state that does not allow this.
    #[error("replay {id} is {}", .state.as_str())]
    State {
        /// The replay.
        id: ReplayId,
        /// Its state.
        state: ReplayState,
    },
    /// The store is unavailable, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker is unavailable, or refused.
    #[error(transparent)]
    Broker(BrokerError),
}

impl From<BrokerError> for ArchiveError {
    fn from(error: BrokerError) -> Self {
        if error.is_no_archive() { Self::Off } else { Self::Broker(error) }
    }
}

impl Archive {
    /// The archive of `broker`, whose replays are in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Broker) -> Self {
        Self { store, broker, previews: Arc::new(Semaphore::new(MAX_PREVIEWS)) }
    }

    /// The same for the changes of `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), ..self.clone() }
    }

    fn prefix(&self) -> &str {
        self.broker.topology().names().prefix()
    }

    /// The selection with a window that the broker can find.
    fn checked(&self, selection: ReplaySelection) -> Result<ReplaySelection, ArchiveError> {
        if !self.broker.topology().has_archive() {
            return Err(ArchiveError::Off);
        }
        if self.broker.accepts_recipients() {
            return Err(ArchiveError::RecipientsUnknown);
        }
        selection.checked(clock::now()).map_err(ArchiveError::Field)
    }

    /// Previews a replay by the first 20,000 events of its window, or as many as can be read
    /// in five seconds. Subscriptions and their filters are not taken into account.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`]; it changes nothing.
    pub async fn preview(&self, selection: ReplaySelection) -> Result<Preview, ArchiveError> {
        let previewing = timeout(PREVIEW_DEADLINE, self.preview_now(selection)).await;
        previewing.unwrap_or(Err(ArchiveError::TooSlow))
    }

    async fn preview_now(&self, selection: ReplaySelection) -> Result<Preview, ArchiveError> {
        let selection = self.checked(selection)?;
        // It is never closed.
        let _place = self.previews.acquire().await;
        let window = self.broker.archive_window(selection.since_ms, selection.until_ms).await?;
        let events = window.end.saturating_sub(window.first);
        let mut preview = Preview {
            events,
            read: 0,
            selected: 0,
            topics: BTreeMap::new(),
            others: 0,
            complete: events == 0,
            unreadable: 0,
            archive_begins_ms: window.archive_begins,
            selection,
        };
        if events == 0 {
            return Ok(preview);
        }
        let mut reader = self.broker.read_archive(window.first).await?;
        let until = Instant::now() + PREVIEW_TIME;
        while !preview.complete && preview.read < MAX_PREVIEWED && Instant::now() < until {
            let Some(archived) = reader.next().await? else { break };
            preview.complete = archived.offset.saturating_add(1) >= window.end;
            if archived.offset >= window.end {
                break;
            }
            preview.read = preview.read.saturating_add(1);
            match archived.content {
                _ if archived.is_copy => {}
                Ok(message) if preview.selection.has(&message.event) => {
                    preview.count(message.event.topic.as_str());
                }
                Ok(_) => {}
                Err(_) => preview.unreadable = preview.unreadable.saturating_add(1),
            }
        }
        reader.finish().await?;
        Ok(preview)
    }

    /// Begins a replay: a worker takes it within seconds.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`]; nothing is begun.
    pub async fn begin(&self, selection: ReplaySelection) -> Result<Replay, ArchiveError> {
        let selection = self.checked(selection)?;
        let created = self.store.create_replay(self.prefix(), &selection).await?;
        created.ok_or(ArchiveError::TooMany)
    }

    /// One replay.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub async fn get(&self, id: ReplayId) -> Result<Replay, ArchiveError> {
        let mut replay =
            self.store.replay(self.prefix(), id).await?.ok_or(ArchiveError::Unknown(id))?;
        self.explain(std::slice::from_mut(&mut replay)).await?;
        Ok(replay)
    }

    /// The newest replays, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub async fn list(&self, limit: u32) -> Result<Vec<Replay>, ArchiveError> {
        let mut replays = self.store.replays(self.prefix(), limit).await?;
        self.explain(&mut replays).await?;
        Ok(replays)
    }

    /// Notes of those that no worker has taken for a while why that is so.
    async fn explain(&self, replays: &mut [Replay]) -> Result<(), StoreError> {
        let now = clock::now();
        let is_unclaimed = |replay: &&mut Replay| {
            let is_waiting = replay.state == ReplayState::Waiting && replay.progress.note.is_none();
            is_waiting && now.since(replay.updated_ms) >= UNCLAIMED
        };
        let mut unclaimed = replays.iter_mut().filter(is_unclaimed).peekable();
        if unclaimed.peek().is_none() {
            return Ok(());
        }
        let workers = self.store.workers().await?;
        let mut alive = workers.iter().filter(|worker| worker.is_alive(now)).peekable();
        let why = if alive.peek().is_none() {
            "waits for a worker: none runs"
        } else if alive.any(|worker| worker.runs_replays == Some(true)) {
            "waits for its turn: one replay runs at a time"
        } else {
            "waits for a worker with `archive.enabled`: set it for all of them, and restart them"
        };
        for replay in unclaimed {
            replay.progress.note = Some(why.to_owned());
        }
        Ok(())
    }

    /// Stops a replay that waits or runs. A worker ends within its present step.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub async fn stop(&self, id: ReplayId) -> Result<Replay, ArchiveError> {
        let changed = self.store.stop_replay(self.prefix(), id).await?;
        self.changed(id, changed).await
    }

    /// Has a replay that was stopped or failed go on where it ended.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub async fn resume(&self, id: ReplayId) -> Result<Replay, ArchiveError> {
        let changed = self.store.resume_replay(self.prefix(), id).await?;
        self.changed(id, changed).await
    }

    async fn changed(&self, id: ReplayId, changed: bool) -> Result<Replay, ArchiveError> {
        let replay = self.get(id).await?;
        if changed { Ok(replay) } else { Err(ArchiveError::State { id, state: replay.state }) }
    }
}

impl Preview {
    fn count(&mut self, topic: &str) {
        self.selected = self.selected.saturating_add(1);
        if let Some(count) = self.topics.get_mut(topic) {
            *count = count.saturating_add(1);
        } else if self.topics.len() < MAX_TOPICS {
            self.topics.insert(topic.to_owned(), 1);
        } else {
            self.others = self.others.saturating_add(1);
        }
    }
}
