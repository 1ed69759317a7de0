//! One request over one connection of its own: nothing is pooled, repeated or followed.
//!
//! The service counts connections and is slow to forget them, so every one is opened on purpose
//! and ends when its [`Body`] is dropped. HTTP/1.1 only: the service speaks nothing else.

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

/// From the request to the head of the answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// For what is read of an answer that is no stream.
const TEXT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_TEXT_BYTES: usize = 16 * 1_024;
/// What the connection reads ahead.
const MAX_BUFFER_BYTES: usize = 256 * 1_024;
/// A peer that is gone without a word is noticed after two minutes of silence.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// Bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How a host is reached; the network, but for tests in virtual time.
pub(super) trait Connect: Send + Sync {
    /// A connection to this host and port.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;
}

/// TCP.
pub(super) struct Network {
    pub(super) deadline: Duration,
}

impl Connect for Network {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            // One that does not answer must not take the time of the others.
            let each = self.deadline / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
            for address in addresses {
                match timeout(each, TcpStream::connect(address)).await {
                    Ok(Ok(connection)) => return alive(connection),
                    Ok(Err(error)) => last = error,
                    Err(elapsed) => last = elapsed.into(),
                }
            }
            Err(last)
        })
    }
}

fn alive(connection: TcpStream) -> io::Result<Box<dyn Io>> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&connection).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(connection))
}

/// Makes requests.
pub(super) struct Http {
    dial: Arc<dyn Connect>,
    tls: TlsConnector,
    connect_deadline: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// What was sent may have been heard.
    #[error("{0}")]
    NoAnswer(String),
}

/// A request; where it goes is said apart.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer, of which the head has come.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The body of an answer, and the connection that it comes over.
pub(super) struct Body {
    incoming: Incoming,
    _connection: JoinSet<()>,
}

impl Http {
    pub(super) fn new(
        dial: Arc<dyn Connect>,
        tls: ClientConfig,
        connect_deadline: Duration,
    ) -> Self {
        Self { dial, tls: Arc::new(tls).into(), connect_deadline }
    }

    /// Sends `asked` to `url`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the connection is closed; what was sent may have been heard.
    pub(super) async fn send(&self, url: &Url, asked: Request) -> Result<Response, HttpError> {
        let request = request(url, asked)?;
        let connecting = timeout(self.connect_deadline, self.connect(url)).await;
        let pipe = connecting
            .map_err(|_elapsed| {
                HttpError::NotSent(format!("no connection within {:?}", self.connect_deadline))
            })?
            .map_err(|error| HttpError::NotSent(error.to_string()))?;
        let no_answer = |error: hyper::Error| HttpError::NoAnswer(Chain(&error).to_string());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER_BYTES);
        let (mut sender, driver) =
            builder.handshake(TokioIo::new(pipe)).await.map_err(no_answer)?;
        let mut connection = JoinSet::new();
        // What goes wrong with it is seen by whoever reads the body.
        connection.spawn(async move { driver.await.unwrap_or_default() });
        let answer = timeout(ANSWER_DEADLINE, sender.send_request(request)).await;
        let answer = answer
            .map_err(|_elapsed| {
                HttpError::NoAnswer(format!("no answer within {ANSWER_DEADLINE:?}"))
            })?
            .map_err(no_answer)?;
        let (head, incoming) = answer.into_parts();
        let body = Body { incoming, _connection: connection };
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    async fn connect(&self, url: &Url) -> io::Result<Box<dyn Io>> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let pipe = self.dial.dial(host, port).await?;
        if url.scheme() != "https" {
            return Ok(pipe);
        }
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        Ok(Box::new(self.tls.connect(name, pipe).await?))
    }
}

fn request(url: &Url, asked: Request) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
    let unsendable = |error: &dyn std::fmt::Display| HttpError::NotSent(error.to_string());
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = hyper::Request::new(Full::new(asked.body));
    *request.method_mut() = asked.method;
    *request.uri_mut() =
        format!("{}{query}", url.path()).parse().map_err(|error| unsendable(&error))?;
    *request.headers_mut() = asked.headers;
    let host = HeaderValue::try_from(host).map_err(|error| unsendable(&error))?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

impl Body {
    /// The next bytes; `None`: it ended as it should.
    ///
    /// # Errors
    ///
    /// Why the connection was lost.
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

    /// The whole of a short text; empty where it is not short, or does not come in time.
    pub(super) async fn text(self) -> Bytes {
        let reading = Limited::new(self.incoming, MAX_TEXT_BYTES).collect();
        match timeout(TEXT_DEADLINE, reading).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        }
    }
}
