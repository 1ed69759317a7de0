//! One request over its own connection: nothing is pooled, repeated or followed.
//!
//! The service counts connections and is slow to forget them, so every one is opened on purpose and
//! ends when its [`Body`] is dropped. HTTP/1.1 only: the service speaks nothing else.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{HOST, HeaderMap, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

use homing_domain::report::Chain;

/// Deadline for reading a response that is no stream.
const TEXT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_TEXT_BYTES: usize = 16 * 1_024;
/// The connection's read-ahead.
const MAX_BUFFER_BYTES: usize = 256 * 1_024;
/// A peer that disappeared silently is noticed after two minutes.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// A bidirectional byte stream.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to hosts: over the network, or in virtual time in tests.
pub(super) trait Connect: Send + Sync {
    /// Connects to this host and port.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;
}

/// Connects over TCP.
pub(super) struct Network {
    pub(super) deadline: Duration,
}

impl Connect for Network {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            // A silent address must not use up the time of the others.
            let each = self.deadline / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
            for address in addresses {
                match timeout(each, TcpStream::connect(address)).await {
                    Ok(Ok(connection)) => return with_keepalive(connection),
                    Ok(Err(error)) => last = error,
                    Err(elapsed) => last = elapsed.into(),
                }
            }
            Err(last)
        })
    }
}

fn with_keepalive(connection: TcpStream) -> io::Result<Box<dyn Io>> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&connection).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(connection))
}

/// Makes requests.
pub(super) struct Http {
    network: Arc<dyn Connect>,
    tls: TlsConnector,
    connect_deadline: Duration,
}

/// Errors of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// The request may have been received.
    #[error("{0}")]
    NoResponse(String),
}

/// A request, without its URL.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// From the request to the head of the response.
    pub(super) deadline: Duration,
}

/// A response whose head has arrived.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The body of a response, with its connection.
pub(super) struct Body {
    incoming: Incoming,
    _connection: JoinSet<()>,
}

impl Http {
    pub(super) fn new(
        network: Arc<dyn Connect>,
        tls: ClientConfig,
        connect_deadline: Duration,
    ) -> Self {
        Self { network, tls: Arc::new(tls).into(), connect_deadline }
    }

    /// Sends `request` to `url`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection; the request may have been received.
    pub(super) async fn send(&self, url: &Url, request: Request) -> Result<Response, HttpError> {
        let deadline = request.deadline;
        let request = to_hyper(url, request)?;
        let connecting = timeout(self.connect_deadline, self.connect(url)).await;
        let io = connecting
            .map_err(|_elapsed| {
                HttpError::NotSent(format!("no connection within {:?}", self.connect_deadline))
            })?
            .map_err(|error| HttpError::NotSent(error.to_string()))?;
        let no_response = |error: hyper::Error| HttpError::NoResponse(Chain(&error).to_string());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER_BYTES);
        let (mut sender, driver) =
            builder.handshake(TokioIo::new(io)).await.map_err(no_response)?;
        let mut connection = JoinSet::new();
        // The reader of the body gets its error.
        connection.spawn(async move { driver.await.unwrap_or_default() });
        let response = timeout(deadline, sender.send_request(request)).await;
        let response = response
            .map_err(|_elapsed| HttpError::NoResponse(format!("no response within {deadline:?}")))?
            .map_err(no_response)?;
        let (head, incoming) = response.into_parts();
        let body = Body { incoming, _connection: connection };
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    async fn connect(&self, url: &Url) -> io::Result<Box<dyn Io>> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let io = self.network.connect(host, port).await?;
        if url.scheme() != "https" {
            return Ok(io);
        }
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        Ok(Box::new(self.tls.connect(name, io).await?))
    }
}

fn to_hyper(url: &Url, request: Request) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
    let unsendable = |error: &dyn std::fmt::Display| HttpError::NotSent(error.to_string());
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut converted = hyper::Request::new(Full::new(request.body));
    *converted.method_mut() = request.method;
    *converted.uri_mut() =
        format!("{}{query}", url.path()).parse().map_err(|error| unsendable(&error))?;
    *converted.headers_mut() = request.headers;
    let host = HeaderValue::try_from(host).map_err(|error| unsendable(&error))?;
    converted.headers_mut().insert(HOST, host);
    Ok(converted)
}

impl Body {
    /// The next bytes; `None`: the body ended properly.
    ///
    /// # Errors
    ///
    /// The reason for losing the connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Chain(&error).to_string()),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Reads a short text; empty if it is too long or too late.
    pub(super) async fn text(self) -> Bytes {
        let reading = Limited::new(self.incoming, MAX_TEXT_BYTES).collect();
        match timeout(TEXT_DEADLINE, reading).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        }
    }
}
