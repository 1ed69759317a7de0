//! The state that API and dashboard answer from.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{auth::Tokens, idempotency::Keys, permits::Permits, uploads::Uploads};
#[cfg(feature = "dashboard")]
use super::{jobs::BulkJobs, sessions::Sessions};
use crate::services::Services;
use homing_delivery::{
    endpoint::Endpoints,
    worker::{Matcher, Subscriptions},
};
use homing_domain::api_token::ApiToken;

/// The state of one server, which its handlers get.
pub type AppState = Arc<App>;

/// The state of one server.
pub struct App {
    /// The same that every command has.
    pub(crate) services: Services,
    /// Calls endpoints, for test events.
    pub(crate) endpoints: Endpoints,
    /// The process around the server.
    pub(crate) process: Process,
    pub(crate) tokens: Tokens,
    #[cfg(feature = "dashboard")]
    pub(crate) sessions: Sessions,
    pub(crate) permits: Permits,
    pub(crate) uploads: Uploads,
    pub(crate) keys: Keys,
    /// Finds who wants an event.
    pub(crate) matcher: Matcher,
    #[cfg(feature = "dashboard")]
    pub(crate) jobs: BulkJobs,
}

/// The process around a server.
#[derive(Default)]
pub struct Process {
    /// Those of the worker in this process; `None`: there is none.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// Renders the metrics; `None`: they are not recorded.
    pub metrics: Option<PrometheusHandle>,
    /// Bulk jobs run here.
    pub tasks: TaskTracker,
    /// Ends streams and bulk jobs.
    pub stop: CancellationToken,
}

impl App {
    /// A server's state over `services`; `stored` are the tokens in the store at this moment. While
    /// there is no token, only requests from this machine are answered.
    #[must_use]
    pub fn new(
        services: Services,
        endpoints: Endpoints,
        stored: Vec<ApiToken>,
        process: Process,
    ) -> AppState {
        let api = &services.settings.api;
        let store = Arc::clone(&services.store);
        let tokens = Tokens::new(&api.tokens, stored, store, api.listen.ip().is_loopback());
        let matcher = Matcher::new(services.subscriptions.latest());
        let permits = Permits::default();
        #[cfg(feature = "dashboard")]
        let jobs = BulkJobs::new(process.tasks.clone(), process.stop.clone());
        Arc::new(Self {
            services,
            endpoints,
            process,
            tokens,
            #[cfg(feature = "dashboard")]
            sessions: Sessions::default(),
            permits,
            uploads: Uploads::default(),
            keys: Keys::default(),
            matcher,
            #[cfg(feature = "dashboard")]
            jobs,
        })
    }
}
