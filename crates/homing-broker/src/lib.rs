//! Everything that touches RabbitMQ: the only crate that names its client library.
//!
//! Promises to the layers above: a publish that returns is owned by the broker (persistent, routed,
//! confirmed); a [`Receipt`] that is settled is acked, one that is dropped unsettled is given back;
//! every call ends within a deadline; the topology is declared before anything is published or
//! consumed.
//!
//! A [`Broker`] keeps one connection to publish, because a broker that blocks publishers must not
//! hold up acks; one for each lane to consume, so that what ends one does not end the other; one to
//! inspect queues and to receive changes; where something is held, one to consume that; where
//! the archive is read, one for that; and, where sources are read, one that holds their locks.
//! [`topology`] defines the queues and exchanges, [`message`] writes events and deliveries into
//! messages, [`publish`], [`pipeline`] and [`consume`] carry them, [`publishers`] and [`group`] have
//! them confirmed, [`empty`] republishes what is in the wrong queue, [`archive`] reads what was
//! published, [`receipt`] and [`acks`] answer for them.

mod acks;
mod addresses;
pub mod archive;
pub mod backoff;
mod batch;
mod channels;
pub mod claim;
mod condition;
mod connection;
pub mod consume;
pub mod control;
mod dial;
pub mod empty;
pub mod error;
mod failures;
mod feeds;
pub mod fetched;
mod topology_guard;
pub mod find;
mod frame;
mod group;
mod handshake;
mod headers;
mod kept;
pub mod lock;
pub mod message;
pub mod parked_intake;
pub mod pipeline;
pub mod prefetch;
pub mod publish;
mod publishers;
pub mod receipt;
mod denial;
mod login_renewal;
mod redeliveries;
pub mod settings;
mod tls;
pub mod topology;
mod transport;
pub mod scan_lock;

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings::{BrokerSettings, EventsSettings};
use homing_domain::settings::SettingsError;

use self::{
    addresses::Addresses, connection::ManagedConnection, error::BrokerError, failures::Failures,
    publishers::Publishers, redeliveries::Redeliveries, tls::Files, topology::Topology,
    topology_guard::TopologyGuard,
};

pub use self::{
    condition::{Condition, Conditions},
    connection::ConnectionState,
    denial::{Denial, Reply},
    headers::DeadLettered,
    message::{Message, Origin, Outgoing, Recipients, Unreadable},
    publish::Route,
    receipt::Receipt,
};

/// The broker; cheap to clone.
#[derive(Clone)]
pub struct Broker {
    topology: Arc<Topology>,
    /// The parts of a publisher's message that are trusted.
    rules: EventsSettings,
    primary: Arc<ManagedConnection>,
    retry: Arc<ManagedConnection>,
    held: Arc<ManagedConnection>,
    archive: Arc<ManagedConnection>,
    control: Arc<ManagedConnection>,
    locks: Arc<ManagedConnection>,
    publishing: Arc<ManagedConnection>,
    publishers: Arc<Publishers>,
    heartbeat: Duration,
    /// Held while the topology is declared again because a publish found an exchange missing.
    restoring: Arc<tokio::sync::Mutex<()>>,
    failures: Arc<Failures>,
    redeliveries: Arc<Redeliveries>,
    conditions: Arc<Conditions>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Broker {
    /// Creates a broker that connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: `broker.url` is not an AMQP URL.
    pub fn new(settings: &BrokerSettings, topology: Topology) -> Result<Self, SettingsError> {
        Self::build(settings, topology, true)
    }

    /// Creates a broker that declares nothing: for commands that inspect what exists, even under a
    /// misspelt prefix.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn passive(settings: &BrokerSettings, topology: Topology) -> Result<Self, SettingsError> {
        Self::build(settings, topology, false)
    }

    fn build(
        settings: &BrokerSettings,
        topology: Topology,
        declares: bool,
    ) -> Result<Self, SettingsError> {
        let topology = Arc::new(topology);
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let topology_guard = declares.then(|| Arc::clone(&topology));
        let topology_guard = Arc::new(TopologyGuard::new(topology_guard, settings.new_queue_wait));
        let addresses = Arc::new(Addresses::new(settings)?);
        let files = Files::new(settings);
        for address in addresses.all().iter().filter(|address| address.url.tls) {
            // A missing file is reported at start, not while connecting.
            files.configuration(&address.url)?;
        }
        let heartbeats = addresses.all().into_iter().filter_map(|one| one.url.parameters.heartbeat);
        let heartbeat = heartbeats.max().unwrap_or(settings.heartbeat);
        let link = |purpose| {
            let shared = (Arc::clone(&addresses), Arc::clone(&topology_guard));
            ManagedConnection::new(purpose, settings, shared, (tasks.clone(), closing.clone()))
        };
        let publishing = Arc::new(link("publish"));
        Ok(Self {
            topology,
            rules: EventsSettings::default(),
            primary: Arc::new(link("primary")),
            retry: Arc::new(link("retry")),
            held: Arc::new(link("held")),
            archive: Arc::new(link("archive")),
            control: Arc::new(link("control")),
            locks: Arc::new(link("locks").with_small_frames()),
            publishers: Arc::new(Publishers::new(
                Arc::clone(&publishing),
                settings.confirm_deadline,
                (tasks.clone(), closing.clone()),
            )),
            publishing,
            heartbeat,
            restoring: Arc::default(),
            failures: Arc::default(),
            redeliveries: Arc::default(),
            conditions: Arc::default(),
            tasks,
            closing,
        })
    }

    /// Sets which parts of a publisher's message are trusted.
    #[must_use]
    pub fn with_rules(self, rules: EventsSettings) -> Self {
        Self { rules, ..self }
    }

    /// The names and arguments of all queues and exchanges.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Opens every connection that a worker uses, so that the first use need not.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: unreachable, refused, or a queue that differs.
    pub async fn connect(&self) -> Result<(), BrokerError> {
        for link in self.connections() {
            link.open().await?;
        }
        Ok(())
    }

    /// Opens the connections of a process that delivers nothing: to publish, to inspect and to
    /// receive changes.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_to_publish(&self) -> Result<(), BrokerError> {
        self.publishing.open().await?;
        self.control.open().await.map(drop)
    }

    fn connections(&self) -> [&Arc<ManagedConnection>; 4] {
        [&self.publishing, &self.primary, &self.retry, &self.control]
    }

    /// Declares the whole topology again if a part of it is missing; bindings are not checked.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: as [`connect`](Self::connect).
    pub async fn ensure_topology(&self) -> Result<(), BrokerError> {
        self.control.ensure_topology().await
    }

    /// Declares the whole topology again on the present connection.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: as [`connect`](Self::connect).
    pub async fn restore_topology(&self) -> Result<(), BrokerError> {
        self.control.declare_topology().await
    }

    /// The states of publishing and consuming, in this order. Consuming has the state of the worse
    /// lane.
    #[must_use]
    pub fn states(&self) -> [ConnectionState; 2] {
        let [primary, retry] = [self.primary.state(), self.retry.state()];
        let consuming = if primary.connected { retry } else { primary };
        [self.publishing.state(), consuming]
    }

    /// The health of what this process does with the broker.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Closes all connections; the broker redelivers what is unsettled.
    pub async fn close(&self) {
        self.closing.cancel();
        self.publishers.close();
        for link in self.connections().into_iter().chain([&self.held, &self.archive, &self.locks]) {
            link.close().await;
        }
        self.tasks.close();
        // They end with the connections; not worth waiting for one that does not.
        let _ended = tokio::time::timeout(error::ROUND_TRIP_DEADLINE, self.tasks.wait()).await;
    }
}
