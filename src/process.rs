//! Wiring: the parts of a process, started in order and stopped in reverse.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::OptionFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

#[cfg(feature = "dashboard")]
use crate::dashboard;
use crate::{
    api,
    config::{ApiSettings, Settings},
    services::{Services, StartError},
    web::{self, App, Process},
};
use homing_broker::{Broker, backoff::Backoff};
use homing_delivery::{
    endpoint::{Collector, Endpoints},
    traces::{self, Sender, Tracer},
    worker::{Handler, Pool, PoolSetup, Webhooks, layout},
};
#[cfg(not(feature = "livestream"))]
use homing_domain::settings::SettingsError;
use homing_domain::{api_token::ApiToken, report::Chain};
use homing_store::Store;

/// A delivery waits for an OAuth 2.0 token for this long, and then in a throttle queue: a slow token
/// endpoint takes no place of a lane from others.
const TOKEN_WAIT: Duration = Duration::from_secs(1);

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

/// Runs `roles` until `stop`, then drains and closes. The API renders `metrics`.
///
/// Retries a broker that cannot be reached for ever; the API reports that meanwhile.
///
/// # Errors
///
/// [`StartError`]: nothing was started.
pub async fn run(
    settings: Settings,
    roles: &BTreeSet<Role>,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let services = Services::open(settings).await?;
    let (tracer, sender) = traces(&services.settings)?.unzip();
    let endpoints = Endpoints::new(&services.settings.endpoint).map_err(StartError::Endpoints)?;
    let endpoints = endpoints.with_token_store(Arc::clone(&services.store));
    let webhooks = || webhooks(&services, endpoints.clone(), tracer);
    let pool = roles.contains(&Role::Worker).then(webhooks).transpose()?;
    let sources = roles.contains(&Role::Source).then(|| sources(&services, stop.clone()));
    // Boxed, or every future that runs a process is as large as this one.
    let sources = sources.transpose()?.map(Box::pin);
    let mut dashboard = None;
    let api_stop = CancellationToken::new();
    let api_tasks = TaskTracker::new();
    if let Some(sender) = sender {
        api_tasks.spawn(sender.send(api_stop.clone()));
    }
    if roles.contains(&Role::Api) {
        let process = Process {
            subscriptions: pool.as_ref().map(Pool::subscriptions),
            metrics,
            tasks: api_tasks.clone(),
            stop: api_stop.clone(),
        };
        let (address, serving) = server(&services, endpoints, process).await?;
        dashboard = Some(address);
        api_tasks.spawn(serving);
        if pool.is_none() {
            let (subscriptions, stop) = (Arc::clone(&services.subscriptions), api_stop.clone());
            api_tasks.spawn(async move {
                stop.run_until_cancelled(subscriptions.follow()).await;
            });
        }
    }
    api_tasks.close();

    let delivers = roles.iter().any(|role| *role != Role::Source);
    let connecting = connect(services.broker.clone(), Arc::clone(&services.store), delivers);
    if stop.run_until_cancelled(connecting).await.is_some() {
        is_ready(dashboard);
        let pool = pool.map(|pool| pool.run(stop.clone()));
        let (pool, sources) = (OptionFuture::from(pool), OptionFuture::from(sources));
        tokio::join!(stop.cancelled(), pool, sources);
    }
    api_stop.cancel();
    api_tasks.wait().await;
    services.close().await;
    info!("service.stopped");
    Ok(())
}

/// The tracer and the sender of spans, if there is a collector.
fn traces(settings: &Settings) -> Result<Option<(Tracer, Sender)>, StartError> {
    let Settings { traces, endpoint, .. } = settings;
    let Some(target) = traces.target().map_err(StartError::Settings)? else { return Ok(None) };
    let headers = traces.headers().map_err(StartError::Settings)?;
    let resource = traces.resource().map_err(StartError::Settings)?;
    let collector = Collector::new(target, headers, endpoint).map_err(StartError::Endpoints)?;
    Ok(Some(traces::open(collector, &resource, traces.sample_percent)))
}

fn webhooks(
    services: &Services,
    endpoints: Endpoints,
    tracer: Option<Tracer>,
) -> Result<Pool, StartError> {
    let endpoints = endpoints
        .with_payloads(services.settings.attempts.payload_rule())
        .with_max_message(services.settings.worker.max_event_bytes)
        .with_token_wait(TOKEN_WAIT);
    pool(services, tracer, Arc::new(Webhooks(endpoints)))
}

/// A pool that runs `handler` for every delivery, configured by the settings.
///
/// # Errors
///
/// [`StartError::Settings`].
pub fn pool(
    services: &Services,
    tracer: Option<Tracer>,
    handler: Arc<dyn Handler>,
) -> Result<Pool, StartError> {
    let settings = &services.settings;
    let rules = settings.circuit.rules().map_err(StartError::Settings)?;
    let setup = PoolSetup {
        broker: services.broker.clone(),
        store: Arc::clone(&services.store),
        subscriptions: Arc::clone(&services.subscriptions),
        circuits: services.circuits.clone(),
        schedules: services.schedules.clone(),
        rules,
        on_gone: settings.circuit.on_gone,
        worker: settings.worker.clone(),
        parking: services.parking.clone(),
        attempts: settings.attempts.clone(),
        audit: settings.audit.clone(),
        ledger: settings.ledger.clone(),
        history: settings.history.clone(),
        max_concurrency: settings.endpoint.max_concurrency,
        permit_wait: settings.endpoint.permit_wait,
        min_hold: settings.held.min_hold,
        // As long as an attempt may take its place in flight.
        rate_wait: settings.endpoint.deadline,
        tracer,
    };
    Ok(Pool::new(setup, handler))
}

/// Reads the sources until `stop`.
#[cfg(feature = "livestream")]
fn sources(
    services: &Services,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, StartError> {
    let settings = &services.settings;
    let sources = homing_livestream::Sources::new(
        services.broker.clone(),
        &services.store,
        &settings.source,
        &settings.endpoint,
        settings.worker.drain_grace,
    );
    Ok(sources.map_err(StartError::Endpoints)?.run(stop))
}

/// Refuses to read sources, if there are any.
#[cfg(not(feature = "livestream"))]
fn sources(
    services: &Services,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, StartError> {
    if services.settings.source.livestream.is_empty() {
        return Ok(stop.cancelled_owned());
    }
    let part = "reader of Live Streams (roles `api` and `worker` go without)";
    let error = SettingsError::not_built("source.livestream", part, "livestream");
    Err(StartError::Settings(error))
}

/// The URL of the dashboard and the API at `address`; one that means all addresses is none to go to.
pub(crate) fn url_of(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}/")
}

/// Says once that the process does its work, and where its pages are.
fn is_ready(dashboard: Option<SocketAddr>) {
    let url = dashboard.map(url_of);
    let name = if cfg!(feature = "dashboard") { "dashboard" } else { "API" };
    if let Some(url) = url {
        info!(url, "service.ready: the {name} is at this address");
    } else {
        info!("service.ready");
    }
}

/// The server of API and dashboard, and its address. It listens already.
async fn server(
    services: &Services,
    endpoints: Endpoints,
    process: Process,
) -> Result<(SocketAddr, impl Future<Output = ()> + use<>), StartError> {
    let stored_tokens = services.store.tokens().await.map_err(StartError::Store)?;
    let (address, listener) = listen(&services.settings.api, &stored_tokens).await?;
    let stop = process.stop.clone();
    let app = App::new(services.clone(), endpoints, stored_tokens, process);
    let router = api::router(Arc::clone(&app));
    #[cfg(feature = "dashboard")]
    let router = router.merge(dashboard::router(app));
    let max_per_address = services.settings.api.max_connections_per_address;
    Ok((address, web::serve(listener, web::finished(router), max_per_address, stop)))
}

async fn listen(
    settings: &ApiSettings,
    stored_tokens: &[ApiToken],
) -> Result<(SocketAddr, TcpListener), StartError> {
    let address = settings.listen;
    let has_tokens = !stored_tokens.is_empty() || !settings.tokens.is_empty();
    if !has_tokens && !address.ip().is_loopback() {
        return Err(StartError::NoToken { address });
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "api.listening");
    Ok((address, listener))
}

/// Connects to the broker, however long it takes; logs an error once, and again when it changes.
async fn connect(broker: Broker, store: Arc<dyn Store>, delivers: bool) {
    if let Err(error) = layout::prepare(&broker, store.as_ref()).await {
        error!(error = %Chain(&error), "topology.not_remembered");
    }
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
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
        tokio::time::sleep(backoff.pause()).await;
    }
}
