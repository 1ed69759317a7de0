//! A file for each noun of the API, and the groups in which they are limited.
//!
//! [`subscriptions`], [`test_events`] and [`verifications`], [`endpoints`], [`events`] and [`batches`],
//! [`deliveries`], [`attempts`], [`errors`], [`history`], [`audit`], [`ledger`], [`parked`],
//! [`replays`], [`queues`], [`sources`], [`status`],
//! [`tokens`], [`metrics`], [`health`]; [`workfront`] serves subscriptions in the form of Workfront's API.
//! [`wanted`] finds for a publisher who wants its events.

mod attempts;
mod audit;
mod batches;
mod deliveries;
mod endpoints;
mod errors;
mod events;
mod health;
mod ledger;
mod history;
mod metrics;
mod parked;
mod queues;
mod replays;
mod sources;
mod status;
mod subscriptions;
mod test_events;
mod tokens;
mod verifications;
mod wanted;
#[cfg(feature = "workfront")]
mod workfront;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::web::AppState;

/// The forms of answers, which commands read over the API and write themselves.
pub(crate) mod forms {
    pub(crate) use super::{
        audit::Shown as AuditPage,
        endpoints::{One as EndpointShown, Set as EndpointSet, Shown as EndpointsPage},
        ledger::Shown as Ledger,
        parked::{
            MAX_LIMIT as MAX_PARKED, MAX_LIMIT_WITH_BODIES as MAX_PARKED_WITH_BODIES,
            Replayed as ParkedReplayed, Shown as ParkedPage, ShownEntry as ParkedEntry,
            StoppedEndpoint,
        },
        replays::Shown as Replays,
        sources::Shown as Sources,
        subscriptions::{Created as CreatedSubscription, Shown as SubscriptionsPage},
        tokens::{Created as CreatedToken, List as Tokens, TokenError},
    };
}

/// Routes that need no token.
pub(super) fn open() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready))
}

/// Short requests; a bounded number at a time.
pub(super) fn quick() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::new()
        .routes(routes!(subscriptions::create, subscriptions::list))
        .routes(routes!(subscriptions::get, subscriptions::update, subscriptions::delete))
        .routes(routes!(subscriptions::rotate_secret))
        .routes(routes!(test_events::send))
        .routes(routes!(verifications::verify))
        .routes(routes!(endpoints::list))
        .routes(routes!(attempts::list))
        .routes(routes!(attempts::get))
        .routes(routes!(deliveries::list))
        .routes(routes!(audit::list))
        .routes(routes!(errors::list))
        .routes(routes!(ledger::get))
        .routes(routes!(history::show))
        .routes(routes!(history::topics))
        .routes(routes!(replays::create, replays::list))
        .routes(routes!(replays::get))
        .routes(routes!(replays::stop))
        .routes(routes!(replays::resume))
        .routes(routes!(queues::list))
        .routes(routes!(status::show))
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::delete))
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

/// The same, with an event as the body of one.
pub(super) fn publishing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(deliveries::events, events::publish))
}

/// The same, with many events as its body.
pub(super) fn batching() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(batches::publish))
}

/// Reads of a part of the parked messages, one at a time; and the metrics, which need no permit.
pub(super) fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(parked::list))
        .routes(routes!(attempts::explain))
        .routes(routes!(metrics::render))
}

/// Scans of all parked messages.
pub(super) fn scanning() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::new()
        .routes(routes!(parked::replay))
        .routes(routes!(parked::remove))
        .routes(routes!(replays::preview))
        .routes(routes!(endpoints::get))
        .routes(routes!(endpoints::enable))
        .routes(routes!(endpoints::disable))
        .routes(routes!(endpoints::probe));
    #[cfg(feature = "workfront")]
    let router =
        router.routes(routes!(workfront::list_all)).routes(routes!(workfront::set_versions));
    router
}

/// Addresses of former versions: answered as ever, and described no more.
pub(super) fn former() -> Router<AppState> {
    Router::new().route("/v1/endpoints/show", axum::routing::get(endpoints::get))
}
