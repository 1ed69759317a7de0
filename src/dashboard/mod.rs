//! The dashboard: pages for the operator on call. They show what is stuck, why, since when, what
//! will happen next, and the button that helps.
//!
//! Promises: every page is rendered on the server and works without JavaScript; text from outside
//! is escaped, and the policy of every answer allows only homing's own script; neither a link nor
//! another site's form changes anything; every list is bounded.
//!
//! The path of a request through the files: [`auth`] authenticates ([`sessions`] remembers logins),
//! [`fields`] reads parameters and forms, and a file per noun renders the page: [`overview`],
//! [`endpoints`], [`deliveries`], [`parked`] with its [`jobs`], [`subscriptions`] with their
//! [`draft`], [`sources`]. [`layout`] is around all of them, [`live`] keeps parts of them current,
//! [`words`] and [`chart`] render values, [`assets`] serves style, script and icon.
//!
//! Programs use the API, which shares its parts with the dashboard.

mod assets;
mod body;
mod chart;
mod deliveries;
mod auth;
mod draft;
mod endpoints;
mod fields;
mod layout;
mod live;
mod overview;
mod parked;
mod sessions;
mod sources;
mod subscriptions;
mod jobs;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::{Api, ApiParts};

use self::{jobs::BulkJobs, sessions::Sessions};

/// Pages that are kept current at one time; further ones have to be reloaded by hand.
const MAX_STREAMS: usize = 64;

/// The parts that the dashboard needs.
pub struct DashboardParts {
    /// Data, actions and authentication.
    pub api: Api,
    /// The names that a subscription's `schedule` may have.
    pub schedules: Vec<String>,
    /// Ends streams and jobs.
    pub stop: CancellationToken,
}

/// The dashboard of one process; cheap to clone.
#[derive(Clone)]
struct Dashboard {
    parts: Arc<DashboardParts>,
    sessions: Arc<Sessions>,
    jobs: Arc<BulkJobs>,
    streams: Arc<Semaphore>,
}

impl Dashboard {
    fn api(&self) -> &ApiParts {
        self.parts.api.parts()
    }
}

/// All pages. They are no part of the API and its description: their content and the fields of
/// their forms may change with every version. Jobs, such as replaying many messages, run on
/// `tasks`.
pub fn router(parts: DashboardParts, tasks: TaskTracker) -> Router {
    let jobs = BulkJobs::new(parts.api.clone(), tasks, parts.stop.clone());
    let dashboard = Dashboard {
        parts: Arc::new(parts),
        sessions: Arc::default(),
        jobs: Arc::new(jobs),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    };
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/endpoints", get(endpoints::list))
        .route("/endpoint", get(endpoints::show))
        .route("/endpoint/enable", post(endpoints::enable))
        .route("/endpoint/disable", post(endpoints::disable))
        .route("/deliveries", get(deliveries::list))
        .route("/event", get(deliveries::timeline))
        .route("/parked", get(parked::list))
        .route("/parked/message", get(parked::show))
        .route("/parked/export", get(parked::export))
        .route("/parked/jobs", post(parked::begin))
        .route("/parked/jobs/{id}", get(parked::job))
        .route("/parked/jobs/{id}/go", post(parked::go))
        .route("/parked/jobs/{id}/stop", post(parked::stop))
        .route("/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/subscriptions/new", get(subscriptions::new))
        .route("/subscriptions/{id}", get(subscriptions::show).post(subscriptions::update))
        .route("/subscriptions/{id}/edit", get(subscriptions::edit))
        .route("/subscriptions/{id}/test", post(subscriptions::test))
        .route("/subscriptions/{id}/rotate", post(subscriptions::rotate))
        .route("/subscriptions/{id}/delete", post(subscriptions::delete))
        .route("/sources", get(sources::list))
        .route("/sources/{name}/pause", post(sources::pause))
        .route("/sources/{name}/resume", post(sources::resume))
        .route("/sources/{name}/reset", post(sources::reset))
        .route("/logout", post(auth::logout))
        .layer(from_fn_with_state(dashboard.clone(), auth::bounded))
        .route("/live/overview", get(live::overview))
        .route("/live/jobs/{id}", get(live::job))
        .layer(from_fn_with_state(dashboard.clone(), auth::guard));
    Router::new()
        .route("/login", get(auth::login_page).post(auth::login))
        .route("/assets/{file}", get(assets::serve))
        .merge(pages)
        .layer(from_fn(auth::policy))
        .with_state(dashboard)
}
