//! The sources that this process may read, and one of them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings::{LivestreamSettings, SourceSettings};
use homing_broker::{Broker, control::Announcement};
use homing_delivery::{
    endpoint::{self, EndpointSetupError},
    settings::EndpointSettings,
};
use homing_domain::{
    clock,
    source::{Phase, SlotReport, SourceState, SourceStatus},
    time::UnixMillis,
    topic::Topic,
};
use homing_store::Store;
use homing_telemetry::{host_name, log_events, sources as telemetry};
use parking_lot::Mutex;

use super::{
    connect::Connector,
    fingerprint,
    http::{Http, Network},
    reader::Reader,
    recent::{Recent, Seen},
    record::HitId,
    rule::Waits,
    seek,
};

/// The sources that this process may read.
pub struct Sources {
    broker: Broker,
    sources: Vec<Arc<Source>>,
}

/// One source.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) settings: LivestreamSettings,
    pub(super) shared: SourceSettings,
    pub(super) waits: Waits,
    pub(super) fingerprint: String,
    /// The name of this process for operators.
    pub(super) holder: String,
    pub(super) drain_grace: Duration,
    pub(super) broker: Broker,
    pub(super) store: Arc<dyn Store>,
    pub(super) reader: Reader,
    pub(super) recent: Mutex<Recent>,
    /// Slots that are connected in this process.
    pub(super) connected: Mutex<HashSet<u8>>,
    /// True while it is to be read.
    pub(super) is_read: watch::Sender<bool>,
}

impl Sources {
    /// Creates the sources of `settings` without reading them. `endpoint.ca_file` is trusted;
    /// `drain_grace` is the deadline for publishing what was read before the order to stop.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`]: TLS cannot be set up.
    pub fn new(
        broker: Broker,
        store: &Arc<dyn Store>,
        settings: &SourceSettings,
        endpoint: &EndpointSettings,
        drain_grace: Duration,
    ) -> Result<Self, EndpointSetupError> {
        let waits = Waits { reconnect: settings.reconnect_wait, max: settings.max_backoff };
        let mut sources = Vec::new();
        for (name, own) in &settings.livestream {
            let tls = endpoint::tls(endpoint, &[b"http/1.1"])?;
            let deadline = settings.connect_deadline;
            let http = Http::new(Arc::new(Network { deadline }), tls, deadline);
            sources.push(Arc::new(Source {
                name: name.clone(),
                settings: own.clone(),
                shared: settings.clone(),
                waits,
                fingerprint: fingerprint(own),
                holder: format!("{}, process {}", host_name(), std::process::id()),
                drain_grace,
                broker: broker.clone(),
                store: Arc::clone(store),
                reader: Reader {
                    connector: Connector::new(
                        Arc::new(http),
                        own.clone(),
                        settings.response_deadline,
                    ),
                    waits,
                    max_record_bytes: settings.max_record_bytes,
                    max_idle: settings.max_idle,
                },
                recent: Mutex::new(Recent::new(settings.max_recent_ids)),
                connected: Mutex::default(),
                // Until the store has answered.
                is_read: watch::Sender::new(false),
            }));
        }
        Ok(Self { broker, sources })
    }

    /// Reads until `stop`; then closes the connections and publishes what has been read.
    pub async fn run(self, stop: CancellationToken) {
        if self.sources.is_empty() {
            return stop.cancelled().await;
        }
        let tasks = TaskTracker::new();
        tasks.spawn(seek::follow(self.broker.clone(), self.sources.clone(), stop.clone()));
        seek::seek(&self.broker, &self.sources, &tasks, &stop).await;
        tasks.close();
        tasks.wait().await;
    }
}

impl Source {
    /// Remembers this hit, and says if it was seen recently.
    pub(super) fn remember(&self, hit: HitId, record: &[u8]) -> Seen {
        self.recent.lock().insert(hit, record)
    }

    /// The topic of a record without its own.
    pub(super) fn topic(&self) -> Topic {
        const PLAIN: &str = "livestream.unknown";
        Topic::new(PLAIN)
            .unwrap_or_else(|_| unreachable!("`{PLAIN}` is a topic of `{}`", self.name))
    }

    /// The first report of a slot that was just taken.
    pub(super) fn report(&self, slot: u8) -> SlotReport {
        SlotReport {
            slot,
            holder: self.holder.clone(),
            phase: Phase::Waiting,
            since: clock::now(),
            not_before: None,
            detail: None,
            records: 0,
            seen: UnixMillis::default(),
        }
    }

    pub(super) fn count_connected(&self, slot: u8, is_connected: bool) {
        let mut connected = self.connected.lock();
        if is_connected {
            connected.insert(slot);
        } else {
            connected.remove(&slot);
        }
    }

    /// Metrics of the last second.
    pub(super) fn measure(&self) {
        let connected = self.connected.lock().len();
        telemetry::connected(&self.name, connected);
    }

    pub(super) async fn is_not_read(&self) {
        // The sender lives as long as the source.
        drop(self.is_read.subscribe().wait_for(|is_read| !is_read).await);
    }

    /// Applies the state in the store.
    pub(super) fn learn(&self, state: &SourceState) {
        let is_read = state.is_read_with(&self.fingerprint);
        let shown = if is_read { SourceStatus::Running.name() } else { state.status.name() };
        telemetry::status(&self.name, shown);
        let changed = |known: &mut bool| std::mem::replace(known, is_read) != is_read;
        if self.is_read.send_if_modified(changed) {
            telemetry::changed(&self.name, shown);
        }
    }

    /// The service refused permanently: no process reads the source any more.
    pub(super) async fn stop_for_good(&self, reason: String, stop: &CancellationToken) {
        telemetry::stopped(&self.name, &reason);
        self.is_read.send_replace(false);
        let fingerprint = self.fingerprint.clone();
        let status = SourceStatus::Stopped { reason, fingerprint };
        telemetry::status(&self.name, status.name());
        while let Err(error) = self.store.set_source(&self.name, &status, clock::now()).await {
            log_events::store_unavailable("stopping a source", &error);
            let pause = tokio::time::sleep(Duration::from_secs(5));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        if let Err(error) = self.broker.announce(&Announcement::Source(self.name.clone())).await {
            log_events::not_announced(&error.report());
        }
    }
}
