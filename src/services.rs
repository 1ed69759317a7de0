//! The services over settings, store and broker, which all commands and the server share.

use std::sync::Arc;

use crate::{
    config::Settings,
    history::{History, Topics},
    overview::{BrokenEndpoints, StatusService},
    registry::Registry,
};
use homing_broker::{Broker, settings::BrokerSettings, topology::Topology};
use homing_delivery::{
    archive::Archive,
    circuits::CircuitBreakers,
    endpoint::{EndpointSetupError, Policy},
    parking::Parking,
    settings::Schedules,
    worker::Subscriptions,
};
use homing_domain::{audit::Actor, settings::SettingsError};
use homing_livestream::SourceAdmin;
use homing_store::{Store, StoreError};

/// The reason why a command or a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(SettingsError),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[source] StoreError),
    /// The HTTP client cannot be set up.
    #[error("endpoints cannot be called")]
    Endpoints(#[source] EndpointSetupError),
    /// The API would be open to everyone.
    #[error(
        "`api.listen`: {address} can be reached from outside, and there is no API token; add one \
         with `homing tokens create NAME`, set `api.tokens`, or listen on 127.0.0.1"
    )]
    NoToken {
        /// `api.listen`
        address: std::net::SocketAddr,
    },
    /// The address of the API is in use or not available.
    #[error("cannot listen on {address}; set `api.listen` to another address")]
    Listen {
        /// `api.listen`
        address: std::net::SocketAddr,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

type NewBroker = fn(&BrokerSettings, Topology) -> Result<Broker, SettingsError>;

/// The consequence of a store that is not there.
#[derive(Clone, Copy)]
enum Absent {
    /// It is created.
    Created,
    /// It is an error.
    Refused,
}

/// Everything that commands and the server call. Cheap enough to clone once.
#[derive(Clone)]
pub struct Services {
    /// The settings they were built from.
    pub settings: Settings,
    /// The schedules by name.
    pub schedules: Schedules,
    /// Subscriptions and other persistent data.
    pub store: Arc<dyn Store>,
    /// The broker; connected to when first needed.
    pub broker: Broker,
    /// Subscriptions.
    pub registry: Registry,
    /// Subscriptions in memory, read by those of a process who keep them current.
    pub subscriptions: Arc<Subscriptions>,
    /// Parked deliveries.
    pub parking: Parking,
    /// Replays of the archive.
    pub archive: Archive,
    /// Circuits.
    pub circuits: CircuitBreakers,
    /// Sources.
    pub source_admin: SourceAdmin,
    /// The attempt log, and timelines.
    pub history: History,
    /// Topics that were seen.
    pub topics: Topics,
    /// The status of the whole pool.
    pub status_service: StatusService,
    /// Endpoints in trouble.
    pub broken: BrokenEndpoints,
}

impl Services {
    /// Opens the store and prepares the rest; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        Self::with(Broker::new, Absent::Created, settings).await
    }

    /// As [`open`](Self::open), with a broker at which nothing is declared.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn open_passive(settings: Settings) -> Result<Self, StartError> {
        Self::with(Broker::passive, Absent::Created, settings).await
    }

    /// As [`open_passive`](Self::open_passive), over a store that is there.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn open_existing(settings: Settings) -> Result<Self, StartError> {
        Self::with(Broker::passive, Absent::Refused, settings).await
    }

    async fn with(
        broker: NewBroker,
        absent: Absent,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let schedules = settings.schedule.schedules().map_err(StartError::Settings)?;
        let policy = Policy::new(&settings.endpoint).map_err(StartError::Endpoints)?;
        let topology = Topology::new(&settings.broker.prefix, schedules.waits())
            .with_slots(settings.source.slots())
            .with_held_queues(settings.held.queues)
            .with_archive(settings.archive.retention())
            .with_shards(settings.broker.shards);
        let broker = broker(&settings.broker, topology)
            .map_err(StartError::Settings)?
            .with_rules(settings.events);
        // Boxed, or every future that opens the services is as large as this one.
        let store = match absent {
            Absent::Created => Box::pin(homing_store::open(&settings.store)).await,
            Absent::Refused => Box::pin(homing_store::open_existing(&settings.store)).await,
        };
        let store = store.map_err(StartError::Store)?;
        let (source, of_store) = (&settings.source, || Arc::clone(&store));
        let subscriptions = Arc::new(Subscriptions::new(of_store()));
        let parking = Parking::new(broker.clone(), of_store(), settings.parking.bounds());
        let latest = subscriptions.latest();
        let history = History::new(of_store(), broker.clone(), parking.clone(), latest);
        Ok(Self {
            registry: Registry::new(
                of_store(),
                broker.clone(),
                schedules.clone(),
                policy,
                Arc::clone(&subscriptions),
            ),
            parking,
            archive: Archive::new(of_store(), broker.clone()),
            circuits: CircuitBreakers::new(of_store(), broker.clone()),
            source_admin: SourceAdmin::new(source.clone(), of_store(), broker.clone()),
            broken: BrokenEndpoints::new(of_store(), history.clone()),
            history,
            topics: Topics::new(of_store(), subscriptions.latest()),
            subscriptions,
            status_service: StatusService::new(
                (broker.clone(), of_store()),
                source.clone(),
                settings.worker.plan(),
            ),
            settings,
            schedules,
            store,
            broker,
        })
    }

    /// The same for the changes of `actor`: all that is changed through it is on record as made by
    /// `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self {
            store: self.store.by(actor),
            registry: self.registry.by(actor),
            archive: self.archive.by(actor),
            parking: self.parking.by(actor),
            circuits: self.circuits.by(actor),
            source_admin: self.source_admin.by(actor),
            ..self.clone()
        }
    }

    /// Closes what was opened.
    pub async fn close(&self) {
        self.parking.finish().await;
        self.broker.close().await;
        self.store.close().await;
    }
}
