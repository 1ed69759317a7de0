//! Wiring: the parts of a process, started in order and stopped in reverse.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::OptionFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, field, info};

#[cfg(feature = "dashboard")]
use crate::dashboard::{self, DashboardParts};
use crate::{
    api::{self, Api, ApiParts},
    config::Settings,
    overview::StatusService,
    registry::Registry,
};
use homing_broker::{Broker, topology::Topology};
use homing_delivery::{
    circuits::CircuitBreakers,
    endpoint::{Collector, EndpointSetupError, Endpoints},
    parking::Parking,
    settings::Schedules,
    traces::{self, Sender, Tracer},
    worker::{Handler, Pool, PoolParts, Subscriptions, Webhooks},
};
use homing_domain::{api_token::ApiToken, report::Chain, settings::SettingsError};
use homing_livestream::{SourceAdmin, SourceParts, Sources};
use homing_store::{Store, StoreError};

/// A role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Answers the HTTP API.
    Api,
    /// Makes deliveries.
    Worker,
    /// Reads sources.
    Source,
}

/// The reason why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
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

/// The parts that commands and service share.
pub struct Parts {
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
    /// Parked messages.
    pub parking: Parking,
    /// Circuits.
    pub circuits: CircuitBreakers,
    /// Sources.
    pub source_admin: SourceAdmin,
}

impl Parts {
    /// Opens the store and prepares the rest; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn open(settings: Settings) -> Result<Self, ServiceError> {
        let schedules = settings.schedule.schedules().map_err(ServiceError::Settings)?;
        let topology = Topology::new(&settings.broker.prefix, schedules.waits())
            .with_slots(settings.source.slots());
        let broker = Broker::new(&settings.broker, topology)
            .map_err(ServiceError::Settings)?
            .with_rules(settings.events);
        // Boxed, or every future that opens the parts is as large as this one.
        let opening = Box::pin(homing_store::open(&settings.store));
        let store = opening.await.map_err(ServiceError::Store)?;
        let registry = Registry::new(Arc::clone(&store), broker.clone(), schedules.clone());
        let parking = Parking::new(broker.clone());
        let circuits = CircuitBreakers::new(Arc::clone(&store), broker.clone());
        let source_admin =
            SourceAdmin::new(settings.source.clone(), Arc::clone(&store), broker.clone());
        Ok(Self { settings, schedules, store, broker, registry, parking, circuits, source_admin })
    }

    /// The status of the whole pool.
    #[must_use]
    pub fn status_service(&self) -> StatusService {
        let store = Arc::clone(&self.store);
        StatusService::new(self.broker.clone(), store, self.settings.source.clone())
    }

    /// Closes what was opened.
    pub async fn close(&self) {
        self.broker.close().await;
        self.store.close().await;
    }
}

/// Runs `roles` until `stop`, then drains and closes. The API renders `metrics`.
///
/// Retries a broker that cannot be reached for ever; the API reports that meanwhile.
///
/// # Errors
///
/// [`ServiceError`]: nothing was started.
pub async fn run(
    settings: Settings,
    roles: &BTreeSet<Role>,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let parts = Parts::open(settings).await?;
    let (tracer, sender) = traces(&parts.settings)?.unzip();
    let pool = roles.contains(&Role::Worker).then(|| webhooks(&parts, tracer)).transpose()?;
    let sources = roles.contains(&Role::Source).then(|| sources(&parts)).transpose()?;
    let api_stop = CancellationToken::new();
    let api_tasks = TaskTracker::new();
    if let Some(sender) = sender {
        api_tasks.spawn(sender.send(api_stop.clone()));
    }
    if roles.contains(&Role::Api) {
        let subscriptions = pool.as_ref().map(Pool::subscriptions);
        let stored_tokens = parts.store.tokens().await.map_err(ServiceError::Store)?;
        let listener = listen(&parts, &stored_tokens).await?;
        let api = api(&parts, stored_tokens, subscriptions, metrics)?;
        let router = api::router(api.clone());
        #[cfg(feature = "dashboard")]
        let router = router
            .merge(dashboard::router(dashboard(&parts, api, api_stop.clone()), api_tasks.clone()));
        let router = api::finished(router);
        let max_per_address = parts.settings.api.max_connections_per_address;
        api_tasks.spawn(api::serve(listener, router, max_per_address, api_stop.clone()));
    }
    api_tasks.close();

    let delivers = roles.iter().any(|role| *role != Role::Source);
    let connecting = connect(parts.broker.clone(), Arc::clone(&parts.store), delivers);
    if stop.run_until_cancelled(connecting).await.is_some() {
        let pool = pool.map(|pool| pool.run(stop.clone()));
        let sources = sources.map(|sources| sources.run(stop.clone()));
        let (pool, sources) = (OptionFuture::from(pool), OptionFuture::from(sources));
        tokio::join!(stop.cancelled(), pool, sources);
    }
    api_stop.cancel();
    api_tasks.wait().await;
    parts.close().await;
    info!("service.stopped");
    Ok(())
}

/// The tracer and the sender of spans, if there is a collector.
fn traces(settings: &Settings) -> Result<Option<(Tracer, Sender)>, ServiceError> {
    let target = settings.traces.target().map_err(ServiceError::Settings)?;
    let collector = target.map(|target| Collector::new(target, &settings.endpoint)).transpose();
    let collector = collector.map_err(ServiceError::Endpoints)?;
    Ok(collector.map(|collector| traces::open(collector, settings.traces.sample_percent)))
}

fn webhooks(parts: &Parts, tracer: Option<Tracer>) -> Result<Pool, ServiceError> {
    let endpoints = Endpoints::new(&parts.settings.endpoint).map_err(ServiceError::Endpoints)?;
    pool(parts, tracer, Arc::new(Webhooks(endpoints)))
}

/// A pool that runs `handler` for every delivery, configured by the settings.
///
/// # Errors
///
/// [`ServiceError::Settings`].
pub fn pool(
    parts: &Parts,
    tracer: Option<Tracer>,
    handler: Arc<dyn Handler>,
) -> Result<Pool, ServiceError> {
    let settings = &parts.settings;
    let rules = settings.circuit.rules().map_err(ServiceError::Settings)?;
    let pool = PoolParts {
        broker: parts.broker.clone(),
        store: Arc::clone(&parts.store),
        circuits: parts.circuits.clone(),
        schedules: parts.schedules.clone(),
        rules,
        worker: settings.worker.clone(),
        attempts: settings.attempts.clone(),
        max_concurrency: settings.endpoint.max_concurrency,
        busy_wait: settings.endpoint.busy_wait,
        // As long as an attempt may take its place in flight.
        rate_wait: settings.endpoint.deadline,
        tracer,
    };
    Ok(Pool::new(pool, handler))
}

fn sources(parts: &Parts) -> Result<Sources, ServiceError> {
    let sources = SourceParts {
        broker: parts.broker.clone(),
        store: Arc::clone(&parts.store),
        settings: parts.settings.source.clone(),
        endpoint: parts.settings.endpoint.clone(),
        drain_grace: parts.settings.worker.drain_grace,
    };
    Sources::new(&sources).map_err(ServiceError::Endpoints)
}

async fn listen(parts: &Parts, stored_tokens: &[ApiToken]) -> Result<TcpListener, ServiceError> {
    let address = parts.settings.api.listen;
    let has_tokens = !stored_tokens.is_empty() || !parts.settings.api.tokens.is_empty();
    if !has_tokens && !address.ip().is_loopback() {
        return Err(ServiceError::NoToken { address });
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Listen { address, source })?;
    info!(address = listener.local_addr().ok().map(field::display), "api.listening");
    Ok(listener)
}

fn api(
    parts: &Parts,
    stored_tokens: Vec<ApiToken>,
    subscriptions: Option<Arc<Subscriptions>>,
    metrics: Option<PrometheusHandle>,
) -> Result<Api, ServiceError> {
    let endpoints = Endpoints::new(&parts.settings.endpoint).map_err(ServiceError::Endpoints)?;
    Ok(Api::new(ApiParts {
        endpoints,
        registry: parts.registry.clone(),
        parking: parts.parking.clone(),
        circuits: parts.circuits.clone(),
        source_admin: parts.source_admin.clone(),
        status_service: parts.status_service(),
        broker: parts.broker.clone(),
        store: Arc::clone(&parts.store),
        subscriptions,
        metrics,
        tokens: parts.settings.api.tokens.clone(),
        stored_tokens,
        on_loopback: parts.settings.api.listen.ip().is_loopback(),
        max_event_bytes: parts.settings.worker.max_event_bytes,
        customer_id: parts.settings.api.customer_id.clone(),
    }))
}

#[cfg(feature = "dashboard")]
fn dashboard(parts: &Parts, api: Api, stop: CancellationToken) -> DashboardParts {
    let schedules = parts.schedules.names().iter().map(ToString::to_string).collect();
    DashboardParts { api, schedules, stop }
}

/// Connects to the broker, however long it takes; logs an error once, and again when it changes.
async fn connect(broker: Broker, store: Arc<dyn Store>, delivers: bool) {
    if let Err(error) = store.remember_queues(&broker.topology().wait_queues()).await {
        error!(error = %Chain(&error), "topology.not_remembered");
    }
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
        .build();
    let mut reported = String::new();
    let connecting = async || {
        // Every connection takes some megabytes, even if it is not used.
        if delivers { broker.connect().await } else { broker.connect_to_publish().await }
    };
    while let Err(failure) = connecting().await {
        let text = failure.report();
        if text != reported {
            error!(error = text, "broker.unavailable: retrying until it can be reached");
            reported = text;
        }
        tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(10))).await;
    }
}
