//! The dashboard: pages for whoever is called at night. What is stuck, why, since when, what will
//! happen next, and the button that helps.
//!
//! Promises: every page is made on the server and works without JavaScript; what comes from outside
//! is escaped, and the policy of every answer lets nothing run but the one file of ours; nothing is
//! changed by a link, nor by another page's form; no page lists everything, however much there is.
//!
//! The way of a request through the files: [`auth`] decides who may come in ([`sessions`] remembers
//! who did), [`fields`] reads what was filled in, and a file per noun makes the page: [`overview`],
//! [`endpoints`], [`deliveries`], [`parked`] with its [`jobs`], [`subscriptions`] with their
//! [`draft`], [`sources`]. [`layout`] is around all of them, [`live`] keeps parts of them current,
//! [`words`] and [`chart`] are how they tell and draw, [`assets`] what else they need.
//!
//! Not here: anything that programs want. They ask the API, and the dashboard asks the same parts.

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

/// Pages that are kept current at one time; further ones are loaded by hand.
const MAX_STREAMS: usize = 64;

/// What the dashboard works with.
pub struct DashboardParts {
    /// What it shows and sets, and who may.
    pub api: Api,
    /// The names that a subscription's `schedule` may have.
    pub schedules: Vec<String>,
    /// Ends what it keeps doing.
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

/// All pages. They are no part of the API and its description: what they show and which fields their
/// forms have may change with every version. What goes on beside them, such as replaying many messages, runs on `tasks`.
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
        .route("/subscriptions/{id}", get(subscriptions::show).post(subscriptions::change))
        .route("/subscriptions/{id}/edit", get(subscriptions::edit))
        .route("/subscriptions/{id}/test", post(subscriptions::test))
        .route("/subscriptions/{id}/rotate", post(subscriptions::rotate))
        .route("/subscriptions/{id}/remove", post(subscriptions::remove))
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
