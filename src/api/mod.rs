//! The HTTP API: subscriptions, endpoints, events, what happened to them, parked messages and queues
//! for programs, health for whoever watches homing.
//!
//! Promises: an event that is answered with 202 is owned by the broker; every error is a problem
//! document (RFC 9457) that names the field, parameter or setting at fault and tells no secret;
//! every request has a bound on its size and its time, and all of them together on their number.
//!
//! The way of a request through the files: [`connections`] takes the connection, for which [`places`]
//! has room, and [`exchange`] notes whose turn it is; [`problem`] turns a panic into an answer and puts
//! the same headers on every one, [`auth`] decides who may ask ([`guesses`] counts wrong tokens, [`local`] knows this machine),
//! [`uploads`] takes the body in, [`limits`] says for how long, [`extract`] reads what was sent ([`distinct`]). Then a file per noun answers:
//! [`subscriptions`] and [`test_events`], [`endpoints`], [`events`] and [`batches`] (with [`idempotency`]),
//! [`attempts`], [`parked`], [`queues`], [`sources`], [`status`], [`metrics`], [`health`]; [`workfront`] is subscriptions once more, as Workfront's API has them.
//!
//! [`openapi`] describes all of that to programs, [`docs`] to people; a route is made together with
//! its description, so that none is without.
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

/// What the API answers with.
pub struct ApiParts {
    /// Subscriptions for people.
    pub registry: Registry,
    /// Parked messages for people.
    pub parking: Parking,
    /// Circuits for people.
    pub circuits: CircuitBreakers,
    /// Sources for people.
    pub source_admin: SourceAdmin,
    /// Looks at the whole pool.
    pub status_service: StatusService,
    /// Calls endpoints, for samples.
    pub endpoints: Endpoints,
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

    /// What it answers with.
    #[must_use]
    pub fn parts(&self) -> &ApiParts {
        &self.parts
    }

    /// What happened to deliveries.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Who shows this token, or none. A wrong one counts as a guess of the address `from`, where that
    /// is given.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing was counted.
    pub async fn bearer(&self, shown: Option<&[u8]>, from: Option<IpAddr>) -> Bearer {
        self.tokens.bearer(shown, from).await
    }

    /// The right to go through the parked messages, which one does at a time; `None`: somebody else
    /// does, and went on for ten seconds.
    pub async fn scan(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.scan().await.ok()
    }

    /// The right to be worked for; `None`: too many were for ten seconds.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.request().await.ok()
    }
}

/// All addresses of the API. Everything but health and the description is guarded.
pub fn router(api: Api) -> Router {
    let deadline = |time| from_fn_with_state(time, limits::deadline);
    let turn = from_fn_with_state(api.clone(), limits::turn);
    // A body is read before its request takes anybody's turn.
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
        .merge(looking())
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

/// The same addresses, and what all answers have in common: a panic becomes one, and headers keep
/// browsers from guessing and, where nothing else is said, from storing.
pub fn finished(router: Router) -> Router {
    router.layer(from_fn(connections::restrict)).layer(from_fn(problem::answer))
}

/// For everybody.
fn open() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::document))
        .routes(routes!(docs::page))
}

/// Soon answered; a bounded number at a time.
fn taking_turns() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
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
        .routes(routes!(sources::reset))
        .routes(routes!(workfront::create, workfront::list))
        .routes(routes!(workfront::get, workfront::delete))
        .routes(routes!(workfront::set_version))
}

/// The same, with an event as its body.
fn publishing() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events::publish))
}

/// The same, with many events as its body.
fn batching() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(batches::publish))
}

/// Look at a part of what is parked, one after the other; and the metrics, which wait for nobody.
fn looking() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(parked::list))
        .routes(routes!(attempts::explain))
        .routes(routes!(metrics::render))
}

/// Go through everything.
fn scanning() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(parked::replay))
        .routes(routes!(parked::remove))
        .routes(routes!(endpoints::get))
        .routes(routes!(endpoints::enable))
        .routes(routes!(endpoints::disable))
        .routes(routes!(workfront::set_versions))
}
