//! The HTTP API: subscriptions, endpoints, events and their timelines, parked messages and queues;
//! health for monitoring.
//!
//! Promises: an event that is answered with 202 is owned by the broker; every error is a problem
//! document (RFC 9457) that names the field, parameter or setting at fault and reveals no secret;
//! every request has a bound on its size and its time, and all of them together on their number.
//!
//! What it shares with the dashboard is in [`web`](crate::web). [`requests`] has what a request
//! passes first, [`resources`] a file for each noun that answers, [`description`] what all of them
//! can do; a route is declared together with its description, so that none lacks one.
//!
//! Source: RFC 9110 (HTTP), RFC 9457 (problem documents), RFC 6750 (bearer tokens), RFC 7396
//! (merge patch).

mod description;
mod requests;
mod resources;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};

use self::requests::{
    auth,
    limits::{self, Limit},
    unknown,
};
use crate::web::AppState;

pub(crate) use self::resources::forms;

/// All routes of the API. All need a token, except health and the description.
pub fn router(app: AppState) -> Router {
    let deadline = |time| from_fn_with_state(time, limits::deadline);
    let permit = from_fn_with_state(Arc::clone(&app), limits::permit);
    // A body is read before its request takes a permit.
    let read = |bytes, setting| {
        from_fn_with_state((Arc::clone(&app), Limit { bytes, setting }), limits::read)
    };
    let max_event_bytes = app.services.settings.worker.max_event_bytes;
    let json = read(limits::MAX_JSON_BYTES, None);
    let event = read(max_event_bytes, Some("worker.max_event_bytes"));
    let batch = read(limits::MAX_BATCH_BYTES, None);
    let quick = Router::from(resources::quick())
        .layer(permit.clone())
        .layer(json.clone())
        .merge(Router::from(resources::publishing()).layer(permit.clone()).layer(event))
        .merge(Router::from(resources::batching()).layer(permit).layer(batch))
        .merge(resources::reading())
        .layer(deadline(limits::DEADLINE));
    let scans = Router::from(resources::scanning()).merge(resources::former()).layer(json);
    let scans = scans.layer(deadline(limits::SCAN_DEADLINE));
    let guarded = quick
        .merge(scans)
        .fallback(unknown::no_such_address)
        .method_not_allowed_fallback(unknown::no_such_method)
        .layer(from_fn_with_state(Arc::clone(&app), auth::guard));
    let open = Router::from(resources::open().merge(description::routes()));
    #[cfg(not(feature = "dashboard"))]
    let open = open.route("/", axum::routing::get(unknown::no_such_address));
    open.method_not_allowed_fallback(unknown::no_such_method)
        .layer(deadline(limits::DEADLINE))
        .merge(guarded)
        .with_state(app)
}
