//! Connections: accepted, bounded in number, memory and time, and ended.
//!
//! Every wait for a client has a limit, in every protocol: from the accept to the end of the first
//! head, between two requests, for the rest of a body, and for an answer to be received.
//! [`capacity`](super::capacity) keeps these times, and decides which connection gives way when
//! there is no more room.

use std::{convert::Infallible, io::ErrorKind, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, middleware::Next, response::Response};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    pin, select,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;
use tracing::{debug, error, info};

use super::{
    capacity::{Admission, Capacity, Exchange},
    exchange::{AnswerBody, RequestBody},
    problem::{Kind, Problem},
};

/// Requests at one time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;
/// Bytes that one HTTP/2 connection may send before they are read.
const WINDOW_BYTES: u32 = 256 * 1_024;
/// Bytes of a head, HTTP/2 counting 32 more for each header. Source: RFC 9113, 6.5.2.
const MAX_HEADERS_BYTES: u32 = 16 * 1_024;
/// Streams that an HTTP/2 client may open and reset faster than they are noticed; then the
/// connection ends. Source: CVE-2023-44487.
const MAX_RESETS: usize = 20;
/// Bytes that are read ahead or written behind, on each connection.
const MAX_BUFFER_BYTES: usize = 64 * 1_024;
/// For a head over HTTP/1 once the connection waits for one.
const HEAD_DEADLINE: Duration = Duration::from_mins(1);
/// The interval of pings to a silent HTTP/2 peer, and the time to answer one.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(10);
/// TCP keep-alive: the silence before the first probe, and the interval between probes.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// For requests under way on a connection that ends, idle ones included: an HTTP/2 peer has to
/// agree.
const END_GRACE: Duration = Duration::from_secs(10);
/// For requests under way after the order to stop; then their connections are cut.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// After a failed accept, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The interval of checks for clients that have exceeded their time.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Addresses that are answered even from the reserve.
const MONITORING: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Serves `router` on `listener` until `stop`; then accepts no more connections, ends idle ones at
/// once and those with a request under way after its answer, or after five seconds. One IPv4
/// address, or one IPv6 network of 64 bits, has at most `max_per_address` connections.
///
/// # Cancel safety
///
/// Dropped, it accepts no more connections; the existing ones go on until the runtime ends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_per_address: usize,
    stop: CancellationToken,
) {
    let server = Server {
        builder: builder(),
        router,
        capacity: Capacity::new(max_per_address),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
        cut: CancellationToken::new(),
    };
    let sweeping = sweep(Arc::clone(&server.capacity));
    server.tasks.spawn(stop.clone().run_until_cancelled_owned(sweeping));
    while let Some((stream, peer)) = stop.run_until_cancelled(server.accept(&listener)).await {
        server.take(stream, peer);
    }
    drop(listener);
    server.end().await;
}

async fn sweep(capacity: Arc<Capacity>) -> Infallible {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        capacity.sweep();
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_header_list_size(MAX_HEADERS_BYTES)
        .max_send_buf_size(MAX_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    capacity: Arc<Capacity>,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, IpAddr) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer.ip()),
                // The client gave up.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    error!(%error, "api.accept_failed");
                    self.capacity.make_way();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: IpAddr) {
        let Some(admission) = self.capacity.admit(peer) else {
            debug!(%peer, "api.connection_refused: even the reserve is in use");
            return;
        };
        let (builder, router) = (self.builder.clone(), self.router.clone());
        let (stop, cut, admission_cut) =
            (self.stop.clone(), self.cut.clone(), admission.cut.clone());
        let serving = async move {
            if let Err(error) = prepare(&stream) {
                debug!(%error, "api.connection_failed");
                return;
            }
            let ends = admission.ends.clone();
            let service = Answering { router, admission: Arc::new(admission), peer };
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            converse(connection, &ends, &stop).await;
        };
        self.tasks.spawn(async move {
            select! {
                () = serving => (),
                () = admission_cut.cancelled() => debug!(%peer, "api.connection_cut"),
                () = cut.cancelled() => (),
            }
        });
    }

    async fn end(self) {
        self.tasks.close();
        if timeout(STOP_GRACE, self.tasks.wait()).await.is_err() {
            info!(connections = self.tasks.len(), "api.connections_cut");
        }
        self.cut.cancel();
        self.tasks.wait().await;
    }
}

/// Answers are small and written at once, so there is no gain in delaying them. Keep-alive detects
/// a peer that vanished.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

type Conversation<'a> = auto::Connection<'a, TokioIo<TcpStream>, Answering, TokioExecutor>;

/// Serves until the client ends, or until `ends` or `stop` and the requests under way are answered.
async fn converse(
    connection: Conversation<'_>,
    ends: &CancellationToken,
    stop: &CancellationToken,
) {
    pin!(connection);
    let grace = select! {
        served = connection.as_mut() => return ended(served),
        () = ends.cancelled() => END_GRACE,
        // The server as a whole has a deadline for it.
        () = stop.cancelled() => Duration::MAX,
    };
    connection.as_mut().graceful_shutdown();
    if let Ok(served) = timeout(grace, connection).await {
        ended(served);
    }
}

fn ended(served: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = served {
        debug!(%error, "api.connection_failed");
    }
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// Marks a request that came beyond the capacity.
#[derive(Clone, Copy)]
struct MonitoringOnly;

/// Answers the requests of one connection.
struct Answering {
    router: Router,
    admission: Arc<Admission>,
    peer: IpAddr,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Answering {
    type Response = hyper::Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let exchange = Arc::new(self.admission.begin(!request.body().is_end_stream()));
        let is_restricted = self.admission.is_reserve || exchange.is_beyond;
        let noting = Arc::clone(&exchange);
        let mut request = request.map(|body| Body::new(RequestBody::new(body, noting)));
        request.extensions_mut().insert(Peer(self.peer));
        if is_restricted {
            request.extensions_mut().insert(MonitoringOnly);
        }
        // A router is always ready.
        let answering = self.router.clone().call(request);
        Box::pin(async move { Ok(answered(answering.await, exchange)) })
    }
}

fn answered(
    answer: Result<Response, Infallible>,
    exchange: Arc<Exchange>,
) -> hyper::Response<AnswerBody> {
    let Ok(answer) = answer;
    answer.map(|body| AnswerBody::new(body, exchange))
}

/// Beyond the capacity, answers only health and metrics.
pub(super) async fn restrict(request: Request, next: Next) -> Result<Response, Problem> {
    let is_restricted = request.extensions().get::<MonitoringOnly>().is_some();
    if is_restricted && !MONITORING.contains(&request.uri().path()) {
        let detail = "all connections are in use; try again later";
        return Err(Problem::new(Kind::Busy, detail));
    }
    Ok(next.run(request).await)
}
