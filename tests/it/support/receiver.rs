//! Endpoints that record what they are sent and answer as the test says.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, Response, StatusCode, Uri},
};
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::PATIENCE;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub at: Instant,
    /// The other end of the connection that it came by.
    pub peer: SocketAddr,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// True if the answer is a success.
    pub accepted: bool,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `webhook-id`
    pub(crate) fn id(&self) -> String {
        self.header("webhook-id").expect("every request has a webhook-id").to_owned()
    }

    /// `x-homing-attempt`
    pub(crate) fn attempt(&self) -> u32 {
        let attempt = self.header("x-homing-attempt").expect("every request has an attempt");
        attempt.parse().expect("the attempt is a number")
    }
}

/// An answer of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    after: Duration,
    released: Option<CancellationToken>,
    body: ReplyBody,
}

#[derive(Clone, Debug)]
enum ReplyBody {
    Short,
    Text(String),
    Endless,
    Stalled,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            after: Duration::ZERO,
            released: None,
            body: ReplyBody::Short,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Answers only after this time.
    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Answers only once `released` is cancelled.
    pub(crate) fn once(mut self, released: &CancellationToken) -> Self {
        self.released = Some(released.clone());
        self
    }

    /// With this body.
    pub(crate) fn saying(mut self, text: impl Into<String>) -> Self {
        self.body = ReplyBody::Text(text.into());
        self
    }

    /// A body that never ends.
    pub(crate) fn endless(mut self) -> Self {
        self.body = ReplyBody::Endless;
        self
    }

    /// Headers, and then nothing.
    pub(crate) fn stalled(mut self) -> Self {
        self.body = ReplyBody::Stalled;
        self
    }

    fn body(&self) -> Body {
        match &self.body {
            ReplyBody::Short => Body::from("ok"),
            ReplyBody::Text(text) => Body::from(text.clone()),
            ReplyBody::Endless => {
                let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                Body::from_stream(stream::repeat(Ok::<_, Infallible>(chunk)))
            }
            ReplyBody::Stalled => {
                Body::from_stream(stream::pending::<Result<Bytes, Infallible>>().boxed())
            }
        }
    }
}

type Script = dyn Fn(&Recorded) -> Reply + Send + Sync;

/// An HTTP server on loopback; ends when dropped.
pub(crate) struct Receiver {
    base: String,
    recorded: Arc<Recording>,
    _serving: AbortOnDropHandle<()>,
}

struct Recording {
    requests: Mutex<Vec<Recorded>>,
    count: watch::Sender<usize>,
    script: Box<Script>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub(crate) async fn accepting() -> Self {
        Self::answering(|_| Reply::status(200)).await
    }

    /// Answers every request with 500.
    pub(crate) async fn failing() -> Self {
        Self::answering(|_| Reply::status(500)).await
    }

    /// Answers as `script` says.
    pub(crate) async fn answering(
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base = format!("http://{}", listener.local_addr().expect("it has an address"));
        let recorded = Arc::new(Recording {
            requests: Mutex::default(),
            count: watch::Sender::new(0),
            script: Box::new(script),
        });
        let router = Router::new().fallback(record).with_state(Arc::clone(&recorded));
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = async move {
            axum::serve(listener, router).await.expect("the receiver serves");
        };
        #[expect(clippy::disallowed_methods, reason = "aborted when the receiver is dropped")]
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        Self { base, recorded, _serving: serving }
    }

    /// The URL of `path` at this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Everything that has arrived.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.recorded.requests.lock().clone()
    }

    /// The body of everything that has arrived.
    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        let requests = self.recorded.requests.lock();
        requests.iter().map(|request| request.body.clone()).collect()
    }

    /// Requests that arrived at `path`.
    pub(crate) fn requests_at(&self, path: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| request.path == path);
        requests
    }

    /// The number of requests that arrived.
    pub(crate) fn count(&self) -> usize {
        *self.recorded.count.borrow()
    }

    /// The number that arrived at `path`.
    pub(crate) fn count_at(&self, path: &str) -> usize {
        let requests = self.recorded.requests.lock();
        requests.iter().filter(|request| request.path == path).count()
    }

    /// Waits until at least `count` requests have arrived.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Recorded> {
        let mut arrived = self.recorded.count.subscribe();
        let waiting = arrived.wait_for(|arrived| *arrived >= count);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let arrived = self.requests();
            let last = arrived.iter().skip(arrived.len().saturating_sub(3)).collect::<Vec<_>>();
            panic!("{} of {count} requests arrived, the last {last:#?}", arrived.len());
        }
        self.requests()
    }

    /// Waits until at least `count` of them have arrived at `path`.
    pub(crate) async fn wait_for_at(&self, path: &str, count: usize) {
        let mut arrived = self.recorded.count.subscribe();
        let waiting = arrived.wait_for(|_| self.count_at(path) >= count);
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{} of {count} requests at {path}", self.count_at(path));
    }
}

async fn record(
    State(recording): State<Arc<Recording>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().to_owned();
    let (at, accepted) = (Instant::now(), false);
    let mut request = Recorded { at, peer, method, path, headers, body, accepted };
    let reply = (recording.script)(&request);
    request.accepted = (200..300).contains(&reply.status);
    recording.requests.lock().push(request);
    recording.count.send_modify(|count| *count += 1);
    // The endpoint is as slow as the test says.
    tokio::time::sleep(reply.after).await;
    if let Some(released) = &reply.released {
        released.cancelled().await;
    }
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let mut response = Response::new(reply.body());
    *response.status_mut() = status;
    for (name, value) in &reply.headers {
        response.headers_mut().insert(*name, value.parse().expect("a header value"));
    }
    response
}
