//! The HTTP API: subscriptions, endpoints, events and their timelines, parked messages and queues;
//! health for monitoring.
//!
//! Promises: an event that is answered with 202 is owned by the broker; every error is a problem
//! document (RFC 9457) that names the field, parameter or setting at fault and reveals no secret;
//! every request has a bound on its size and its time, and all of them together on their number.
//!
//! The path of a request through the files: [`connections`] accepts the connection, [`places`]
//! bounds their number, and [`exchange`] tracks whose turn it is; [`problem`] turns a panic into an
//! answer and sets the headers of every answer, [`auth`] authenticates ([`guesses`] counts wrong
//! tokens, [`local`] recognises this machine), [`uploads`] reads the body, [`limits`] bounds time
//! and number, [`extract`] parses ([`distinct`]). Then a file per noun answers: [`subscriptions`]
//! and [`test_events`], [`endpoints`], [`events`] and [`batches`] (with [`idempotency`]),
//! [`attempts`], [`parked`], [`queues`], [`sources`], [`status`], [`metrics`], [`health`];
//! [`workfront`] serves subscriptions in the form of Workfront's API.
//!
//! [`openapi`] describes the API to programs, [`docs`] to readers; a route is declared together
//! with its description, so that none lacks one.
//!
//! Source: RFC 9110 (HTTP), RFC 9457 (problem documents), RFC 6750 (bearer tokens), RFC 7396
//! (merge patch).

mod attempts;
mod auth;
mod batches;
mod connections;
mod distinct;
mod docs;
mod endpoints;
mod events;
mod exchange;
mod extract;
mod guesses;
mod health;
mod idempotency;
mod limits;
mod local;
mod metrics;
mod openapi;
mod parked;
mod places;
mod problem;
mod queues;
mod test_events;
mod sources;
mod status;
mod subscriptions;
mod uploads;
#[cfg(feature = "workfront")]
mod workfront;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{history::History, overview::StatusService, registry::Registry};
use homing_broker::Broker;
use homing_delivery::{
    circuits::CircuitBreakers, endpoint::Endpoints, parking::Parking, worker::Subscriptions,
};
use homing_domain::api_token::ApiToken;
use homing_livestream::SourceAdmin;
use homing_store::Store;

pub use self::{
    auth::{Bearer, Holder, peer, token},
    connections::serve,
    local::{comes_from_another_page, foreign},
    uploads::{Upload, UploadError},
};

use self::{
    auth::Tokens,
    idempotency::Keys,
    limits::Turns,
    uploads::{Limit, Uploads},
};

/// The parts of the program that the API needs.
pub struct ApiParts {
    /// Subscriptions.
    pub registry: Registry,
    /// Parked messages.
    pub parking: Parking,
    /// Circuits.
    pub circuits: CircuitBreakers,
    /// Sources.
    pub source_admin: SourceAdmin,
    /// The state of the whole pool.
    pub status_service: StatusService,
    /// Calls endpoints, for test events.
    pub endpoints: Endpoints,
    /// The broker that events are published to.
    pub broker: Broker,
    /// API tokens and the attempt log; health checks that it answers.
    pub store: Arc<dyn Store>,
    /// Those of the worker in this process; `None` where there is none.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// Renders the metrics; `None`: they are not recorded.
    pub metrics: Option<PrometheusHandle>,
    /// `api.tokens`
    pub tokens: Vec<String>,
    /// The tokens in the store at this moment.
    pub stored_tokens: Vec<ApiToken>,
    /// True if only this machine can reach the API.
    pub on_loopback: bool,
    /// `worker.max_event_bytes`
    pub max_event_bytes: usize,
    /// `api.customer_id`
    pub customer_id: String,
}

/// The API of one process; cheap to clone.
#[derive(Clone)]
pub struct Api {
    parts: Arc<ApiParts>,
    tokens: Arc<Tokens>,
    turns: Turns,
    uploads: Uploads,
    keys: Keys,
    history: History,
}

impl Api {
    /// An API over `parts`. While there is no token it answers only requests from this machine.
    #[must_use]
    pub fn new(mut parts: ApiParts) -> Self {
        let stored = std::mem::take(&mut parts.stored_tokens);
        let store = Arc::clone(&parts.store);
        let tokens = Arc::new(Tokens::new(&parts.tokens, stored, store, parts.on_loopback));
        let history = History::new(Arc::clone(&parts.store), parts.broker.clone());
        let (turns, uploads, keys) = (Turns::default(), Uploads::default(), Keys::default());
        Self { parts: Arc::new(parts), tokens, turns, uploads, keys, history }
    }

    /// The parts it was built from.
    #[must_use]
    pub fn parts(&self) -> &ApiParts {
        &self.parts
    }

    /// The history of deliveries.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The holder of this token, if it is known. A wrong one counts as a guess of the address
    /// `from`, if that is given.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing was counted.
    pub async fn bearer(&self, shown: Option<&[u8]>, from: Option<IpAddr>) -> Bearer {
        self.tokens.bearer(shown, from).await
    }

    /// The permit to scan the parked messages, of which there is one; `None`: it was taken for ten
    /// seconds.
    pub async fn scan(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.scan().await.ok()
    }

    /// The permit of one request; `None`: all were taken for ten seconds.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.request().await.ok()
    }
}

/// All routes of the API. All need a token, except health and the description.
pub fn router(api: Api) -> Router {
    let deadline = |time| from_fn_with_state(time, limits::deadline);
    let turn = from_fn_with_state(api.clone(), limits::turn);
    // A body is read before its request takes a permit.
    let read =
        |bytes, setting| from_fn_with_state((api.clone(), Limit { bytes, setting }), uploads::read);
    let json = read(limits::MAX_JSON_BYTES, None);
    let event = read(api.parts.max_event_bytes, Some("worker.max_event_bytes"));
    let batch = read(limits::MAX_BATCH_BYTES, None);
    let quick = Router::from(taking_turns())
        .layer(turn.clone())
        .layer(json.clone())
        .merge(Router::from(publishing()).layer(turn.clone()).layer(event))
        .merge(Router::from(batching()).layer(turn).layer(batch))
        .merge(reading())
        .layer(deadline(limits::DEADLINE));
    let scans = Router::from(scanning()).layer(json).layer(deadline(limits::SCAN_DEADLINE));
    let guarded = quick
        .merge(scans)
        .fallback(problem::no_such_address)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(api.clone(), auth::guard));
    Router::from(open())
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(deadline(limits::DEADLINE))
        .merge(guarded)
        .with_state(api)
}

/// The same routes with what all answers have in common: a panic becomes an answer, and headers
/// keep browsers from guessing the content type and, by default, from storing.
pub fn finished(router: Router) -> Router {
    router.layer(from_fn(connections::restrict)).layer(from_fn(problem::answer))
}

/// Routes that need no token.
fn open() -> OpenApiRouter<Api> {
    let router = OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::document))
        .routes(routes!(docs::page));
    #[cfg(not(feature = "dashboard"))]
    let router = router.route("/", axum::routing::get(problem::no_such_address));
    router
}

/// Short requests; a bounded number at a time.
fn taking_turns() -> OpenApiRouter<Api> {
    let router = OpenApiRouter::new()
        .routes(routes!(subscriptions::create, subscriptions::list))
        .routes(routes!(subscriptions::get, subscriptions::update, subscriptions::delete))
        .routes(routes!(subscriptions::rotate_secret))
        .routes(routes!(test_events::send))
        .routes(routes!(endpoints::list))
        .routes(routes!(attempts::list))
        .routes(routes!(queues::list))
        .routes(routes!(status::show))
        .routes(routes!(sources::list))
        .routes(routes!(sources::get))
        .routes(routes!(sources::pause))
        .routes(routes!(sources::resume))
        .routes(routes!(sources::reset));
    #[cfg(feature = "workfront")]
    let router = router
        .routes(routes!(workfront::create, workfront::list))
        .routes(routes!(workfront::get, workfront::delete))
        .routes(routes!(workfront::set_version));
    router
}

/// The same, with an event as its body.
fn publishing() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events::publish))
}

/// The same, with many events as its body.
fn batching() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(batches::publish))
}

/// Reads of a part of the parked messages, one at a time; and the metrics, which need no permit.
fn reading() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(parked::list))
        .routes(routes!(attempts::explain))
        .routes(routes!(metrics::render))
}

/// Scans of all parked messages.
fn scanning() -> OpenApiRouter<Api> {
    let router = OpenApiRouter::new()
        .routes(routes!(parked::replay))
        .routes(routes!(parked::remove))
        .routes(routes!(endpoints::get))
        .routes(routes!(endpoints::enable))
        .routes(routes!(endpoints::disable));
    #[cfg(feature = "workfront")]
    let router = router.routes(routes!(workfront::set_versions));
    router
}
