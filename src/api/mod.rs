//! The HTTP API: subscriptions, endpoints, events, what happened to them, parked messages and queues
//! for programs, health for whoever watches homing.
//!
//! Promises: an event that is answered with 202 is owned by the broker; every error is a problem
//! document (RFC 9457) that names the field, parameter or setting at fault and tells no secret;
//! every request has a bound on its size and its time, and all of them together on their number.
//!
//! The way of a request through the files: [`connections`] takes the connection, [`problem`] turns
//! a panic into an answer and puts the same headers on every one, [`auth`] decides who may ask,
//! [`limits`] for how long, [`extract`] reads what was sent. Then a file per noun answers:
//! [`subscriptions`], [`endpoints`], [`events`], [`attempts`], [`parked`], [`queues`], [`sources`],
//! [`metrics`], [`health`]; [`workfront`] is subscriptions once more, as Workfront's API has them.
//!
//! Source: RFC 9110 (HTTP), RFC 9457 (problem documents), RFC 6750 (bearer tokens), RFC 7396
//! (merge patch).

mod attempts;
mod auth;
mod connections;
mod endpoints;
mod events;
mod extract;
mod health;
mod limits;
mod metrics;
mod parked;
mod problem;
mod queues;
mod sources;
mod subscriptions;
mod workfront;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post, put},
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{
    broker::Broker, domain::api_token::ApiToken, history::History, parking::Parking,
    registry::Registry, source::Desk, store::Store, switchboard::Switchboard,
    worker::Subscriptions,
};

pub use self::connections::serve;

use self::{auth::Tokens, limits::Turns};

/// What the API answers with.
pub struct ApiParts {
    /// Subscriptions for people.
    pub registry: Registry,
    /// Parked messages for people.
    pub parking: Parking,
    /// Circuits for people.
    pub switchboard: Switchboard,
    /// Sources for people.
    pub desk: Desk,
    /// Where events are published to.
    pub broker: Broker,
    /// Where API tokens and the attempt log are; asked whether it answers.
    pub store: Arc<dyn Store>,
    /// Those of the worker in this process; `None` where there is none.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// What renders the metrics; `None` where they are not recorded.
    pub metrics: Option<PrometheusHandle>,
    /// `api.tokens`
    pub tokens: Vec<String>,
    /// Those in the store just now.
    pub stored_tokens: Vec<ApiToken>,
    /// Whether only this machine can reach the API.
    pub on_loopback: bool,
    /// `worker.event_bytes_max`
    pub event_bytes_max: usize,
    /// `api.customer_id`
    pub customer_id: String,
}

/// The API of one process; cheap to clone.
#[derive(Clone)]
pub struct Api {
    parts: Arc<ApiParts>,
    tokens: Arc<Tokens>,
    turns: Turns,
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
        Self { parts: Arc::new(parts), tokens, turns: Turns::default(), history }
    }
}

/// All addresses of the API. Everything but the health addresses is guarded.
pub fn router(api: Api) -> Router {
    let deadline = |time| from_fn_with_state(time, limits::deadline);
    let quick = Router::new()
        .route("/v1/subscriptions", post(subscriptions::create).get(subscriptions::list))
        .route(
            "/v1/subscriptions/{id}",
            get(subscriptions::show).patch(subscriptions::change).delete(subscriptions::remove),
        )
        .route("/v1/subscriptions/{id}/rotate-secret", post(subscriptions::rotate_secret))
        .route("/v1/endpoints", get(endpoints::list))
        .route("/v1/events", post(events::publish))
        .route("/v1/attempts", get(attempts::list))
        .route("/v1/queues", get(queues::list))
        .route("/v1/sources", get(sources::list))
        .route("/v1/sources/{name}", get(sources::show))
        .route("/v1/sources/{name}/pause", post(sources::pause))
        .route("/v1/sources/{name}/resume", post(sources::resume))
        .route("/v1/sources/{name}/reset", post(sources::reset))
        .route("/metrics", get(metrics::render))
        .merge(workfront_routes())
        .layer(from_fn_with_state(api.clone(), limits::turn))
        .merge(Router::new().route("/v1/parked", get(parked::list)))
        .merge(Router::new().route("/v1/events/{id}", get(attempts::explain)))
        .layer(deadline(limits::DEADLINE));
    let walks = Router::new()
        .route("/v1/parked/replay", post(parked::replay))
        .route("/v1/parked/drop", post(parked::remove))
        .route("/v1/endpoints/show", get(endpoints::show))
        .route("/v1/endpoints/enable", post(endpoints::enable))
        .route("/v1/endpoints/disable", post(endpoints::disable))
        .route(&format!("{}/version", workfront::SUBSCRIPTIONS), put(workfront::set_versions))
        .layer(deadline(limits::WALK_DEADLINE));
    let guarded = quick
        .merge(walks)
        .fallback(problem::no_such_address)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(api.clone(), auth::guard));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(deadline(limits::DEADLINE))
        .merge(guarded)
        .layer(from_fn(problem::answer))
        .with_state(api)
}

fn workfront_routes() -> Router<Api> {
    let path = |rest| format!("{}{rest}", workfront::SUBSCRIPTIONS);
    Router::new()
        .route(&path(""), post(workfront::create).get(workfront::list))
        .route(&path("/{id}"), get(workfront::show).delete(workfront::remove))
        .route(&path("/{id}/version"), put(workfront::set_version))
}
