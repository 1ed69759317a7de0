//! The endpoint: takes requests, hands each to who shows it, and answers as it was asked to.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE,
    http::HeaderValue, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::sleep,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::cli::failure::Failure;
use homing_domain::{clock, time::UnixMillis};

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 256;
/// The largest body; a larger one is answered with 413.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Requests that wait to be shown; more wait for their answer.
const MAX_WAITING: usize = 64;
/// After a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// For the whole body.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// A request that came.
pub(in crate::cli) struct Arrived {
    pub(super) at: UnixMillis,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The status with which it is answered.
    pub(super) status: StatusCode,
}

impl Arrived {
    /// The value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The way in which all requests are answered.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(in crate::cli) struct Answering {
    /// Answer with this HTTP status
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = final_status)]
    status: StatusCode,
    /// Answer after this time, such as 2s
    #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true)]
    #[arg(value_parser = humantime_serde::re::humantime::parse_duration)]
    delay: Duration,
}

/// A status that ends an exchange.
fn final_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<u16>().ok().filter(|status| (200..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or("a number from 200 to 599")
}

/// An address at which requests are taken.
pub(in crate::cli) struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Listens at `address`; port 0 is any that is free.
    pub(in crate::cli) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |source| Failure::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Its address.
    pub(in crate::cli) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until what is returned is dropped.
    pub(in crate::cli) fn open(self, answer: Answering) -> Requests {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let serving = TaskTracker::new().spawn(serve(self.listener, answer, sender));
        Requests { receiver, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// The requests that come; closed when dropped.
pub(in crate::cli) struct Requests {
    receiver: mpsc::Receiver<Arrived>,
    _serving: AbortOnDropHandle<()>,
}

impl Requests {
    /// The next one; `None`: there will be no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(in crate::cli) async fn next(&mut self) -> Option<Arrived> {
        self.receiver.recv().await
    }
}

async fn serve(listener: TcpListener, answer: Answering, requests: mpsc::Sender<Arrived>) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _peer)) = listener.accept().await else {
            // It is gone already, or this process has no descriptor left for it.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it, answers are only a little later.
        let _kept = stream.set_nodelay(true);
        let requests = requests.clone();
        let service = service_fn(move |request| respond(request, answer, requests.clone()));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A client that breaks off is no error here.
            drop(connection.await);
            drop(place);
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Answering,
    requests: mpsc::Sender<Arrived>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let at = clock::now();
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Ok(text(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_elapsed) => return Ok(text(StatusCode::REQUEST_TIMEOUT)),
    };
    let arrived = Arrived {
        at,
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body,
        status: answer.status,
    };
    if requests.send(arrived).await.is_err() {
        // It is about to be closed.
        return Ok(text(StatusCode::SERVICE_UNAVAILABLE));
    }
    sleep(answer.delay).await;
    Ok(text(answer.status))
}

fn text(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("homing listen answers {status}\n")));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
