//! The API without a broker.

#[cfg(feature = "workfront")]
mod workfront;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{limits, router};
use crate::{
    config::Settings,
    services::Services,
    web::{App, Process, finished, problem},
};
use homing_delivery::endpoint::Endpoints;

const TOKEN: &str = "token-0123456789";

/// The API of a process whose broker is not there, with its store in a folder of its own.
struct Unconnected {
    router: Router,
    store: Arc<dyn homing_store::Store>,
    _folder: tempfile::TempDir,
}

impl Unconnected {
    async fn new(tokens: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("homing.db");
        let toml = format!(
            "broker.url = \"amqp://homing:hidden@127.0.0.1:9\"\nstore.url = \"sqlite:{}\"",
            file.display()
        );
        let mut settings = Settings::from_toml(&toml).unwrap();
        settings.api.tokens = tokens.iter().map(ToString::to_string).collect();
        settings.worker.max_event_bytes = 100;
        settings.api.customer_id = "504f9640000013401be513579fbebffa".to_owned();
        let services = Services::open(settings).await.unwrap();
        let store = Arc::clone(&services.store);
        let endpoints = Endpoints::new(&services.settings.endpoint).unwrap();
        let app = App::new(services, endpoints, Vec::new(), Process::default());
        let router = finished(router(app));
        Self { router, store, _folder: folder }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        answer(self.router.clone(), request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path, Body::empty())).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(request(Method::POST, path, Body::from(body.to_owned()))).await
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// The fields named by a problem.
    fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

/// Asks, and checks what every answer must have.
async fn answer(router: Router, request: Request<Body>) -> Answer {
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(head.headers["x-content-type-options"], "nosniff");
    assert_eq!(head.headers["cache-control"], "no-store");
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("hidden") && !text.contains("127.0.0.1:9"), "{text}");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    if !head.status.is_success() {
        assert_is_problem(head.status, &head.headers, &body);
    }
    Answer { status: head.status, headers: head.headers, body }
}

fn assert_is_problem(status: StatusCode, headers: &HeaderMap, body: &Value) {
    assert_eq!(headers["content-type"], "application/problem+json", "{body}");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    for member in ["type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
    }
    let retry_after = headers.contains_key(header::RETRY_AFTER);
    let is_later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    assert_eq!(retry_after, is_later.contains(&status), "{body}");
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let api = Unconnected::new(&[]).await;
    let status = async |method, path, body: &'static str| {
        let answer = api.ask(request(method, path, Body::from(body))).await;
        answer.status.as_u16()
    };
    assert_eq!(status(Method::GET, "/", "").await, 404);
    assert_eq!(status(Method::GET, "/v1/subscriptions/", "").await, 404);
    assert_eq!(status(Method::GET, "/v1/subscriptions/none", "").await, 404);
    assert_eq!(status(Method::GET, "/v1/subscriptions/%ff", "").await, 404);
    assert_eq!(status(Method::PUT, "/v1/subscriptions", "").await, 405);
    assert_eq!(status(Method::POST, "/healthz", "").await, 405);
    assert_eq!(status(Method::POST, "/v1/subscriptions", "{").await, 400);
    assert_eq!(status(Method::GET, "/metrics", "").await, 404);
    assert_eq!(status(Method::GET, "/v1/queues", "").await, 503);
    assert_eq!(status(Method::GET, "/v1/parked", "").await, 200, "it is in the store");
    assert_eq!(status(Method::POST, "/v1/parked/replay", r#"{"all": true}"#).await, 503);
    assert_eq!(status(Method::POST, "/v1/events?topic=a", "{}").await, 503);
}

#[tokio::test]
async fn a_refused_method_lists_the_supported_ones() {
    let api = Unconnected::new(&[]).await;
    let answer = api.ask(request(Method::PUT, "/v1/subscriptions", Body::empty())).await;
    let mut allowed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn bodies_in_another_form_are_refused() {
    let api = Unconnected::new(&[]).await;
    let mut request = request(Method::POST, "/v1/subscriptions", Body::from("{}"));
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(api.ask(request).await.status, 415);

    let large = format!("{{\"url\": \"{}\"}}", "x".repeat(256 * 1_024));
    assert_eq!(api.post("/v1/subscriptions", &large).await.status, 413);
}

#[tokio::test]
async fn subscriptions_are_kept_while_the_broker_is_away() {
    let api = Unconnected::new(&[]).await;
    let draft = json!({"url": "https://example.com/hook", "topics": ["order.*"]}).to_string();
    let created = api.post("/v1/subscriptions", &draft).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let location = created.headers["location"].to_str().unwrap();
    let shown = api.get(location).await;
    assert_eq!(shown.body["url"], "https://example.com/hook");
    assert_eq!(shown.body["secret"], Value::Null);

    let again = api.post("/v1/subscriptions", &draft).await;
    assert_eq!(again.status, 409);
    assert_eq!(again.body["existing"], created.body["id"]);
}

#[tokio::test]
async fn an_endpoint_is_disabled_while_the_broker_is_away() {
    let api = Unconnected::new(&[]).await;
    let draft = json!({"url": "https://example.com/hook", "topics": ["order.*"]}).to_string();
    assert_eq!(api.post("/v1/subscriptions", &draft).await.status, 201);
    let url = json!({"url": "https://example.com/hook"}).to_string();
    let answer = api.post("/v1/endpoints/disable", &url).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["state"], "frozen");
    assert_eq!(
        answer.body["parked_by_circuit"],
        Value::Null,
        "parked deliveries cannot be counted"
    );
    let shown = api.get("/v1/endpoints/get?url=https://example.com/hook").await;
    let formerly = api.get("/v1/endpoints/show?url=https://example.com/hook").await;
    assert_eq!((formerly.status, &formerly.body), (shown.status, &shown.body));
    assert_eq!(shown.body["state"], "frozen");

    let replay = json!({"url": "https://example.com/hook", "replay": true}).to_string();
    let answer = api.post("/v1/endpoints/enable", &replay).await;
    assert_eq!((answer.status.as_u16(), &answer.body["replayed"]), (503, &json!(0)));
    assert!(answer.body["detail"].as_str().unwrap().contains("the endpoint is enabled"));
    assert_eq!(api.get("/v1/endpoints?state=frozen").await.body["endpoints"], json!([]));
}

#[tokio::test]
async fn wrong_fields_and_parameters_are_named() {
    let api = Unconnected::new(&[]).await;
    let draft = r#"{"url": "https://example.com", "topics": ["a"], "colour": 1}"#;
    assert_eq!(api.post("/v1/subscriptions", draft).await.fields(), ["colour"]);
    for (path, field) in [
        ("/v1/subscriptions?page=2", "page"),
        ("/v1/subscriptions?limit=0", "limit"),
        ("/v1/subscriptions?after=x", "after"),
        ("/v1/parked?reason=dead", "reason"),
        ("/v1/parked?topic=a*", "topic"),
        ("/v1/parked?parked_after=soon", "parked_after"),
        ("/v1/parked?limit=101&body=true", "limit"),
        ("/v1/parked?body=yes", "body"),
        ("/v1/queues?name=x", "name"),
        ("/v1/endpoints?state=disabled", "state"),
        ("/v1/endpoints?limit=0", "limit"),
        ("/v1/endpoints?url=x", "url"),
        ("/v1/endpoints/get", "url"),
        ("/v1/endpoints/get?url=example.com", "url"),
        ("/v1/endpoints/get?url=https://example.com&parked=1", "parked"),
    ] {
        assert_eq!(api.get(path).await.fields(), [field], "{path}");
    }
    for (path, body, field) in [
        ("/v1/events", "{}", "topic"),
        ("/v1/events?topic=", "{}", "topic"),
        ("/v1/events?topic=a&id=", "{}", "id"),
        ("/v1/events?topic=a&subscription=x", "{}", "subscription"),
        ("/v1/parked/drop", "{}", "all"),
        ("/v1/parked/drop", r#"{"all": true, "reason": "gone"}"#, "all"),
        ("/v1/parked/drop", r#"{"reason": "dead"}"#, "reason"),
        ("/v1/parked/drop", r#"{"everything": true}"#, "everything"),
        ("/v1/parked/drop", r#"{"all": true, "limit": 0}"#, "limit"),
        ("/v1/endpoints/enable", "{}", "url"),
        ("/v1/endpoints/enable", r#"{"url": "ftp://example.com"}"#, "url"),
        ("/v1/endpoints/enable", r#"{"url": "https://example.com", "replay": 1}"#, "replay"),
        ("/v1/endpoints/enable", r#"{"url": "https://example.com", "all": true}"#, "all"),
        ("/v1/endpoints/disable", r#"{"url": "https://example.com", "replay": true}"#, "replay"),
        ("/v1/parked/drop?reason=gone", r#"{"all": true}"#, "reason"),
    ] {
        assert_eq!(api.post(path, body).await.fields(), [field], "{path} {body}");
    }
}

#[tokio::test]
async fn events_that_are_not_confirmed_come_back_with_their_id() {
    let api = Unconnected::new(&[]).await;
    let answer = api.post("/v1/events?topic=a&id=e1", "{}").await;
    assert_eq!(answer.body["type"], "urn:homing:problem:not-confirmed");
    assert_eq!(answer.body["id"], "e1");

    let large = api.post("/v1/events?topic=a", &"x".repeat(101)).await;
    assert_eq!(large.status, 413);
    assert!(large.body["detail"].as_str().unwrap().contains("worker.max_event_bytes"));
}

#[tokio::test]
async fn readiness_names_the_part_that_does_not_work() {
    let api = Unconnected::new(&[]).await;
    assert_eq!(api.get("/healthz").await.body["status"], "ok");
    let answer = api.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let parts = json!([
        {"name": "broker.publishing", "ready": false, "reason": "the broker cannot be reached"},
        {"name": "broker.consuming", "ready": false, "reason": "the broker cannot be reached"},
        {"name": "store", "ready": true},
    ]);
    assert_eq!(answer.body["parts"], parts);
}

#[tokio::test]
async fn tokens_guard_everything_but_health() {
    let api = Unconnected::new(&["other-0123456789", TOKEN]).await;
    for path in ["/v1/subscriptions", "/metrics", "/", "/v1/subscriptions/x"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    assert_eq!(api.get("/healthz").await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 503);

    let mut request = request(Method::GET, "/v1/subscriptions", Body::empty());
    let shown = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, shown);
    request.headers_mut().insert(header::HOST, "homing.example".parse().unwrap());
    assert_eq!(api.ask(request).await.status, 200);
}

#[tokio::test]
async fn without_tokens_requests_to_other_hosts_are_refused_with_advice() {
    let api = Unconnected::new(&[]).await;
    let mut request = request(Method::GET, "/v1/subscriptions", Body::empty());
    request.headers_mut().insert(header::HOST, "rebound.example".parse().unwrap());
    let answer = api.ask(request).await;
    assert_eq!(answer.status, 403);
    assert!(answer.body["detail"].as_str().unwrap().contains("homing tokens create"));
}

#[tokio::test(start_paused = true)]
async fn panics_and_late_answers_are_problems() {
    let late = from_fn_with_state(Duration::from_secs(30), limits::deadline);
    let router = Router::new()
        .route("/panic", get(async || -> () { panic!("hidden") }))
        .route("/late", get(std::future::pending::<()>))
        .layer(late)
        .layer(from_fn(problem::answer));
    let ask = async |path| answer(router.clone(), request(Method::GET, path, Body::empty())).await;
    assert_eq!(ask("/panic").await.status, 500);
    assert_eq!(ask("/late").await.body["type"], "urn:homing:problem:timed-out");
}
