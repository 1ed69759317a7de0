//! The HTTP API as a program sees it, over a real connection and with a real broker.

mod attempts;
mod batches;
mod connections;
mod credentials;
mod endpoints;
mod events;
mod examples;
mod filters;
mod generated;
mod health;
mod history;
mod parked;
mod replays;
mod schemathesis;
mod slow_clients;
mod sources;
mod status;
mod subscriptions;
mod workfront;
mod workfront_versions;

use std::{sync::Arc, time::Duration};

use axum::Router;
use homing::{
    api, dashboard,
    web::{self, App, Process},
};
use homing_delivery::endpoint::Endpoints;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{PATIENCE, contract, installation::Installation};

/// An installation whose API answers at `base_url`.
pub(crate) struct Running {
    pub(crate) base_url: String,
    pub(crate) installation: Installation,
    stop: CancellationToken,
    pub(crate) client: Client,
    serving: AbortOnDropHandle<()>,
}

/// An answer of the API.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// With the schedule 50 ms.
async fn start() -> Running {
    start_with("").await
}

/// With further settings. What is held is parked at the end of the schedule, at once.
pub(crate) async fn start_with(settings: &str) -> Running {
    let settings = format!("held.min_hold = \"0s\"\n{settings}");
    serve(Installation::with(&[50], &settings).await).await
}

/// Serves the API of an installation.
pub(crate) async fn serve(installation: Installation) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let base_url = format!("http://{}", listener.local_addr().expect("it has an address"));
    let stop = CancellationToken::new();
    let router = router(&installation, stop.clone());
    let max_per_address = installation.settings.api.max_connections_per_address;
    #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
    let serving = tokio::spawn(web::serve(listener, router, max_per_address, stop.clone()));
    Running {
        base_url,
        installation,
        stop,
        client: client().build().expect("a client can be built"),
        serving: AbortOnDropHandle::new(serving),
    }
}

/// The API and the dashboard, as a process puts them together.
fn router(installation: &Installation, stop: CancellationToken) -> Router {
    let services = installation.parts.clone();
    let endpoints = Endpoints::new(&services.settings.endpoint).expect("they can be called");
    let process = Process { stop, ..Process::default() };
    let app = App::new(services, endpoints, Vec::new(), process);
    web::finished(api::router(Arc::clone(&app)).merge(dashboard::router(app)))
}

fn client() -> ClientBuilder {
    // Another test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE)
}

impl Running {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url))
    }

    async fn get(&self, path: &str) -> Answer {
        self.answer(Method::GET, path, |request| request).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.answer(Method::DELETE, path, |request| request).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, body.to_string()).await
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let with =
            |request: RequestBuilder| request.header("content-type", "application/json").body(body);
        self.answer(method, path, with).await
    }

    /// The answer to a request, which must be one that the API describes.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        contract::learn(&self.base_url, &self.client).await;
        let request = with(self.request(method.clone(), path));
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        let media_type = answer.header("content-type").unwrap_or_default();
        contract::check(method.as_str(), path, answer.status, media_type, &answer.body);
        answer
    }

    /// Stops as the service does; how long that took.
    async fn stopped(self) -> Duration {
        let begin = tokio::time::Instant::now();
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .expect("it stops in time")
            .expect("it does not panic");
        begin.elapsed()
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a complete answer");
        let answer =
            Self { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        if status >= 400 {
            answer.assert_is_problem();
        }
        answer
    }

    fn assert_is_problem(&self) {
        let Self { status, body, .. } = self;
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        assert_eq!(body.get("status"), Some(&Value::from(*status)), "{body}");
        for member in ["type", "title", "detail"] {
            let text = body.get(member).and_then(Value::as_str);
            assert!(text.is_some_and(|text| !text.is_empty()), "{body}");
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Panics with the body unless this is the status.
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The one field that a 400 names.
    fn field(&self) -> &str {
        assert_eq!(self.status, 400, "{}", self.body);
        let text = |pointer| self.body.pointer(pointer).and_then(Value::as_str);
        assert!(text("/errors/0/message").is_some_and(|message| !message.is_empty()));
        assert_eq!(self.body.pointer("/errors/1"), None, "{}", self.body);
        text("/errors/0/field").expect("a field")
    }
}
