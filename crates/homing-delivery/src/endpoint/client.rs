//! The HTTP client that all attempts share.
//!
//! It follows no redirects, keeps no cookies and decodes nothing. It resends what provably was not
//! processed, and what a reused connection or a tunnel lost, see [`resend`](super::resend). Retries
//! belong to the schedule. Which hosts it calls through a proxy, [`dial`](super::dial) decides.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::{
    Request, Response,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::Connection as _,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use tokio::time::{Instant, error::Elapsed, timeout, timeout_at};
use tower_service::Service;

use super::{
    classify::may_be_of_proxy,
    connection::{Answer, Connection, Failed, Http1, Http2},
    describe::describe,
    dial::{Dial, tcp},
    first_bytes::RecordingStream,
    pool::{self, Found, Host, Opening, Pool},
    proxy::{Proxy, ProxyError, Wire},
    resend::{Resends, Via},
    resolve::Resolver,
    tls::{EndpointSetupError, Identity, presenting, tls},
};
use crate::settings::EndpointSettings;

/// Any error; [`super::classify`] determines which one.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// An HTTP/2 connection carries many attempts and would fail each of them at its deadline; one that
/// does not answer pings is closed instead.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes that an HTTP/2 endpoint may send before they are read, for a response and for all
/// responses on a connection. Little more than the part of a response that is read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024;

/// Limits response headers over HTTP/2, in bytes. Over HTTP/1.1 the limit is hyper's, 100 headers;
/// with another one, room for all of them would be allocated and filled twice for each response. A
/// response with more still counts by its status.
const MAX_HTTP2_HEADER_BYTES: u32 = 64 * 1_024;

/// Connections that a request opens at most, if each ends before it can be used.
const MAX_OPENED: u8 = 3;

/// Sends requests, over connections that it keeps. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client(Arc<Parts>);

struct Parts {
    connector: HttpsConnector<Dial>,
    transport: Transport,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    pool: Arc<Pool>,
}

/// The parts that clients which differ in their certificate alone have in common.
#[derive(Clone)]
struct Transport {
    dial: Dial,
    tls: ClientConfig,
    connect_deadline: Duration,
    max_connection_age: Duration,
}

/// Connecting failed. Shared by all requests that waited for the connection.
#[derive(Clone)]
pub(super) struct ConnectError(Arc<dyn Error + Send + Sync>);

/// The reason for the lack of an answer.
pub(super) enum SendError {
    /// Connecting failed.
    Connect(ConnectError),
    /// The deadline passed while connecting.
    ConnectTimeout(Elapsed),
    /// The request failed.
    Failed(Box<Failed>),
    /// The deadline passed while waiting for the answer.
    Timeout(Elapsed),
}

impl From<SendError> for BoxError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Connect(error) => error.into(),
            SendError::Failed(failed) => failed.error.into(),
            SendError::ConnectTimeout(elapsed) | SendError::Timeout(elapsed) => elapsed.into(),
        }
    }
}

impl ConnectError {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into().into())
    }

    fn no_host() -> Self {
        Self::new(io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host"))
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

/// The shared error is the cause, not its `Arc`.
impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl Client {
    /// A client that connects only to addresses from `resolver` and to literal ones, or has `proxy`
    /// connect to them.
    pub(super) fn new(
        settings: &EndpointSettings,
        resolver: Resolver,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, EndpointSetupError> {
        let mut tcp = tcp(resolver);
        // Shared by the addresses of a name, so that a silent one leaves time for the others.
        tcp.set_connect_timeout(Some(settings.connect_deadline));
        Ok(Self::over(Transport {
            dial: Dial::new(tcp, proxy),
            tls: tls(settings, &[])?,
            connect_deadline: settings.connect_deadline,
            max_connection_age: settings.max_connection_age,
        }))
    }

    /// The same that presents `identity` to endpoints that ask for one, over connections of its own:
    /// none is shared between identities, nor is a TLS session resumed by another one.
    pub(super) fn as_identity(&self, identity: Identity) -> Self {
        let mut transport = self.0.transport.clone();
        presenting(&mut transport.tls, identity);
        Self::over(transport)
    }

    fn over(transport: Transport) -> Self {
        let connector = HttpsConnectorBuilder::new()
            // It offers HTTP/2 and HTTP/1 by itself.
            .with_tls_config(transport.tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(transport.dial.clone());
        let pool = Pool::new(transport.max_connection_age);
        Self(Arc::new(Parts { connector, transport, http1: http1(), http2: http2(), pool }))
    }

    /// Sends the request that `build` makes until `deadline`, and resends it if it was not
    /// processed. Returns the answer to the last one.
    ///
    /// # Errors
    ///
    /// The error of `build`, or [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it abandons the request: closes its connection, or its HTTP/2 stream.
    pub(super) async fn send<E>(
        &self,
        build: impl Fn() -> Result<Request<Full<Bytes>>, E>,
        deadline: Instant,
    ) -> Result<Result<(Answer, Host), SendError>, E> {
        let (mut resends, mut via) = (Resends::new(), Via::Any);
        loop {
            let request = build()?;
            let Some(host) = Host::of(request.uri()) else {
                return Ok(Err(SendError::Connect(ConnectError::no_host())));
            };
            let error = match timeout_at(deadline, self.connection(&host, via)).await {
                Ok(Ok(connection)) => match timeout_at(deadline, connection.send(request)).await {
                    Ok(Ok(answer)) => return Ok(Ok((answer, host))),
                    Ok(Err(failed)) => {
                        if let Some(connection) = &failed.connection {
                            self.0.pool.forget(&host, connection);
                        }
                        if let Some(next) = resends.next(failed.failure) {
                            via = next;
                            continue;
                        }
                        SendError::Failed(failed)
                    }
                    Err(elapsed) => SendError::Timeout(elapsed),
                },
                Ok(Err(error)) => SendError::Connect(error),
                Err(elapsed) => SendError::ConnectTimeout(elapsed),
            };
            return Ok(Err(self.blamed(error, &host).await));
        }
    }

    /// `error`, or that of the proxy, if the request went through one that does not answer any more:
    /// then nothing is known about the endpoint.
    async fn blamed(&self, error: SendError, host: &Host) -> SendError {
        let Some(proxy) = self.0.transport.dial.proxy_for(&host.uri()) else { return error };
        if !may_be_of_proxy(&error) || Box::pin(proxy.is_alive()).await {
            return error;
        }
        SendError::Connect(ConnectError::new(ProxyError::Silent))
    }

    /// The proxy, if there is one.
    pub(super) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.0.transport.dial.proxy()
    }

    /// Sends a request of homing's own and reads the whole answer, up to `max_bytes`, `within` this
    /// time.
    ///
    /// # Errors
    ///
    /// The causes as text for operators.
    pub(super) async fn fetch(
        &self,
        build: impl Fn() -> Result<Request<Full<Bytes>>, BoxError>,
        within: Duration,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        let response = self.read_whole(build, Instant::now() + within, max_bytes).await;
        response.map_err(|error| describe(error.as_ref()).into())
    }

    async fn read_whole(
        &self,
        build: impl Fn() -> Result<Request<Full<Bytes>>, BoxError>,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        let (mut answer, host) = self.send(build, deadline).await??;
        let (mut response, ()) = Response::new(()).into_parts();
        response.status = answer.head.status;
        response.headers.clone_from(&answer.head.headers);
        let mut read = Vec::new();
        while let Some(frame) = timeout_at(deadline, answer.frame()).await?.transpose()? {
            let data = frame.data_ref().map_or(&[][..], |data| data.as_ref());
            if data.len() > max_bytes.saturating_sub(read.len()) {
                return Err("the answer is too long".into());
            }
            read.extend_from_slice(data);
        }
        self.give_back(&host, answer).await;
        Ok(Response::from_parts(response, read.into()))
    }

    /// Keeps the connection of `answer` for the next request, if that is safe.
    pub(super) async fn give_back(&self, host: &Host, answer: Answer) {
        if let Some(connection) = answer.into_connection().await {
            self.0.pool.keep(host, Connection::Http1(connection));
        }
    }

    async fn connection(&self, host: &Host, via: Via) -> Result<Connection, ConnectError> {
        if via == Via::New {
            return self.0.open(host).await;
        }
        let mut opened: u8 = 0;
        loop {
            match self.0.pool.find(host, || self.opening(host)) {
                Found::Kept(Connection::Http1(mut connection)) => {
                    if connection.is_open().await {
                        return Ok(Connection::Http1(connection));
                    }
                }
                Found::Kept(connection) => return Ok(connection),
                Found::Opening(opening) if opened < MAX_OPENED => {
                    opened = opened.saturating_add(1);
                    // By then it is in the pool, for the first request that takes it, or for all.
                    opening.await?;
                }
                Found::Opening(_) | Found::Nothing => return self.0.open(host).await,
            }
        }
    }

    /// Opens a connection that goes into the pool.
    fn opening(&self, host: &Host) -> Opening {
        let (parts, host) = (Arc::clone(&self.0), host.clone());
        pool::opening(async move {
            let connection = parts.open(&host).await?;
            parts.pool.keep(&host, connection);
            Ok(())
        })
    }
}

impl Parts {
    /// Connects within a deadline: names, TCP and TLS.
    async fn open(&self, host: &Host) -> Result<Connection, ConnectError> {
        let opening = timeout(self.transport.connect_deadline, self.handshake(host));
        let opened: Result<_, BoxError> = match Box::pin(opening).await {
            Ok(opened) => opened,
            Err(elapsed) => Err(elapsed.into()),
        };
        opened.map_err(ConnectError::new)
    }

    fn handshake<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Connection, BoxError>> {
        Box::pin(async move {
            let uri = host.uri();
            let is_tunnel = self.transport.dial.proxy_for(&uri).is_some();
            let stream = self.connector.clone().call(uri).await?;
            let is_http2 = stream.connected().is_negotiated_h2();
            let (stream, first_bytes) = recording(stream);
            if !is_http2 {
                let parts = self.http1.handshake(stream).await?;
                return Ok(Connection::Http1(Http1::new(parts, first_bytes, is_tunnel)));
            }
            let (sender, connection) = self.http2.handshake(stream).await?;
            // It ends after its last request, once the pool has dropped it.
            TokioExecutor::new().execute(async { drop(connection.await) });
            Ok(Connection::Http2(Http2::new(sender, first_bytes, is_tunnel)))
        })
    }
}

type Recorded = (super::connection::Io, Arc<super::first_bytes::FirstBytes>);

fn recording(stream: MaybeHttpsStream<Wire>) -> Recorded {
    let (stream, first_bytes) = RecordingStream::new(TokioIo::new(stream));
    (TokioIo::new(stream), first_bytes)
}

/// Reads answers leniently: their status counts, whatever the other lines are.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HTTP2_HEADER_BYTES);
    builder
}
