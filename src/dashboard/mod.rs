//! The dashboard: pages for the operator on call. They show what is stuck, why, since when, what
//! will happen next, and the button that helps.
//!
//! Promises: every page is rendered on the server and works without JavaScript; text from outside
//! is escaped, and the policy of every answer allows only homing's own script; neither a link nor
//! another site's form changes anything; every list is bounded.
//!
//! The path of a request through the files: [`auth`] authenticates, [`fields`] reads parameters and
//! forms, and a file per noun renders the page: [`overview`] with its [`problems`], [`figures`] and
//! [`first_run`], [`search`], [`endpoints`] with what is done to those that are [`selected`], [`undo`]
//! and [`pause`], [`deliveries`], [`event`], [`attempts`], [`parked`], [`replays`], [`subscriptions`]
//! with their [`editor`] ([`draft`], [`filter_rows`], [`matching`]) and [`snippets`], [`topics`],
//! [`sources`], [`audit`], [`settings`], [`tokens`], [`alerting`].
//! [`period`] reads instants, [`layout`] is around all of them, [`links`] lead from one to another, [`live`] keeps parts of
//! them current, [`words`], [`cut`], [`chart`] and [`life`] render values, [`assets`] serves style, script and
//! icon.
//!
//! Programs use the API; what both share is in [`web`](crate::web).

mod alerting;
mod assets;
mod attempts;
mod audit;
mod body;
mod chart;
mod cut;
mod deliveries;
mod auth;
mod draft;
mod editor;
mod endpoints;
mod event;
mod fields;
mod filter_rows;
mod figures;
mod first_run;
mod layout;
mod life;
mod links;
mod live;
mod matching;
mod overview;
mod parked;
mod pause;
mod period;
mod problems;
mod replays;
mod search;
mod selected;
mod settings;
mod snippets;
mod sources;
mod subscriptions;
mod tokens;
mod topics;
mod undo;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};

use tower_http::compression::CompressionLayer;

use crate::web::AppState;

/// All pages. They are no part of the API and its description: their content and the fields of
/// their forms may change with every version.
pub fn router(app: AppState) -> Router {
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/endpoints", get(endpoints::list))
        .route("/endpoint", get(endpoints::show))
        .route("/endpoint/enable", post(endpoints::enable))
        .route("/endpoint/disable", post(endpoints::disable))
        .route("/endpoint/probe", post(endpoints::probe))
        .route("/endpoint/pause", post(endpoints::pause))
        .route("/endpoint/undo", post(endpoints::undo))
        .route("/endpoints/selected", post(selected::preview))
        .route("/endpoints/set", post(selected::set))
        .route("/held", get(endpoints::held))
        .route("/deliveries", get(deliveries::list))
        .route("/attempts", get(attempts::list))
        .route("/event", get(event::show))
        .route("/attempt", get(event::attempt))
        .route("/attempt/body", get(event::body))
        .route("/parked", get(parked::list))
        .route("/parked/message", get(parked::show))
        .route("/parked/export", get(parked::export))
        .route("/parked/jobs", post(parked::begin))
        .route("/parked/jobs/{id}", get(parked::job))
        .route("/parked/jobs/{id}/go", post(parked::go))
        .route("/parked/jobs/{id}/stop", post(parked::stop))
        .route("/subscriptions", get(subscriptions::list).post(editor::create))
        .route("/subscriptions/new", get(editor::new))
        .route("/subscriptions/{id}", get(subscriptions::show).post(editor::update))
        .route("/subscriptions/{id}/edit", get(editor::edit))
        .route("/subscriptions/{id}/test", post(subscriptions::test))
        .route("/subscriptions/{id}/verify", post(subscriptions::verify))
        .route("/subscriptions/{id}/rotate", post(subscriptions::rotate))
        .route("/subscriptions/{id}/delete", post(subscriptions::delete))
        .route("/search", get(search::page))
        .route("/replays", get(replays::list).post(replays::begin))
        .route("/replays/{id}/stop", post(replays::stop))
        .route("/replays/{id}/resume", post(replays::resume))
        .route("/audit", get(audit::list))
        .route("/settings", get(settings::show))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}", get(tokens::ask))
        .route("/tokens/{name}/revoke", post(tokens::revoke))
        .route("/alerting", get(alerting::show).post(alerting::create))
        .route("/alerting/try", post(alerting::attempt))
        .route("/topics", get(topics::list))
        .route("/sources", get(sources::list))
        .route("/sources/{name}/pause", post(sources::pause))
        .route("/sources/{name}/resume", post(sources::resume))
        .route("/sources/{name}/reset", post(sources::reset))
        .route("/logout", post(auth::logout))
        .layer(from_fn_with_state(Arc::clone(&app), auth::bounded))
        .route("/live/overview", get(live::overview))
        .route("/live/jobs/{id}", get(live::job))
        .layer(from_fn_with_state(Arc::clone(&app), auth::guard));
    Router::new()
        .route("/login", get(auth::login_page).post(auth::login))
        .route("/assets/{file}", get(assets::serve))
        .merge(pages)
        .layer(from_fn_with_state(Arc::clone(&app), layout::errors))
        // A page with a secret answers a form, which no other site can send: what is guessed into a
        // page to be measured by its length never meets one.
        .layer(CompressionLayer::new())
        .layer(from_fn(auth::policy))
        .with_state(app)
}
