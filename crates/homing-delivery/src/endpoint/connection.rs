//! One connection: sends requests, reports how they ended, and decides about its reuse.
//!
//! An HTTP/1.1 connection belongs to one request at a time, whose task drives it: no task drives it
//! between requests, and no other task has to be woken for one. An HTTP/2 connection is shared and
//! has its own task.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::Either};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body, Frame, Incoming},
    client::conn::{TrySendError, http1, http2},
    header::{HOST, HeaderValue},
    http::response,
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    first_bytes::{FirstBytes, RecordingStream},
    proxy::Wire,
    resend::Failure,
    reuse::{IDLE_DEFAULT, has_unread_body, max_idle},
};

/// The stream that a connection runs on.
pub(super) type Io = TokioIo<RecordingStream<TokioIo<MaybeHttpsStream<Wire>>>>;

/// A connection that a request may be sent over.
pub(super) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// A connection for one request at a time.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    first_bytes: Arc<FirstBytes>,
    opened: Instant,
    /// It has carried an answer.
    is_used: bool,
    /// It leads through a proxy.
    is_tunnel: bool,
    /// Requests may be sent over it until then.
    until: Instant,
}

/// Drives the I/O of an [`Http1`]; polled by the task that uses it.
struct Driver {
    /// `None` once it has ended: it returns an unsent request only when dropped.
    connection: Option<http1::Connection<Io, Full<Bytes>>>,
}

/// A share in a connection for many requests.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    opened: Instant,
    /// The number of requests sent over it.
    requests: Arc<AtomicUsize>,
    /// It leads through a proxy.
    is_tunnel: bool,
    first_bytes: Arc<FirstBytes>,
}

/// The head of an answer, and access to its body.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    body: Incoming,
    /// The connection, if it carries only this answer.
    connection: Option<Box<Http1>>,
}

/// The answer to a request that was sent, or the reason for the lack of one.
type Sent = Result<Answer, Box<Failed>>;

/// The error of a request, with the request if it was not sent.
type Unsent = TrySendError<Request<Full<Bytes>>>;

/// A request without a readable answer.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    pub(super) failure: Failure,
    /// The error of TLS that ended the connection, if the library above keeps only its text.
    pub(super) tls: Option<rustls::Error>,
    /// The status, if only the rest of the head is unreadable.
    pub(super) status: Option<StatusCode>,
    /// The connection, if other requests on it would fail as well.
    pub(super) connection: Option<Http2>,
}

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(context).is_ready()
        {
            // The request gets the error as well.
            self.connection = None;
        }
    }

    /// Drives the connection until `other` completes.
    async fn until<F: Future>(&mut self, other: F) -> F::Output {
        let mut other = pin!(other);
        poll_fn(|context| {
            self.poll(context);
            other.as_mut().poll(context)
        })
        .await
    }
}

impl Connection {
    /// Sends `request`, whose URI is absolute, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`Failed`]; its `failure` decides about a resend.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it abandons the request: closes the connection, or the HTTP/2 stream.
    pub(super) fn send(self, request: Request<Full<Bytes>>) -> impl Future<Output = Sent> {
        match self {
            Self::Http1(connection) => Either::Left(connection.send(request)),
            Self::Http2(connection) => Either::Right(connection.send(request)),
        }
    }
}

impl Http1 {
    pub(super) fn new(
        (sender, connection): (http1::SendRequest<Full<Bytes>>, http1::Connection<Io, Full<Bytes>>),
        first_bytes: Arc<FirstBytes>,
        is_tunnel: bool,
    ) -> Box<Self> {
        let (driver, opened) = (Driver { connection: Some(connection) }, Instant::now());
        let (until, is_used) = (opened + IDLE_DEFAULT, false);
        Box::new(Self { sender, driver, first_bytes, opened, is_used, is_tunnel, until })
    }

    /// True if a request may be sent over it at `now`, judged without I/O.
    pub(super) fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        now < self.until && now.duration_since(self.opened) < max_age
    }

    /// Checks that the endpoint has not closed it, or sent unexpected data.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            self.driver.poll(context);
            Poll::Ready(self.driver.connection.is_some() && !self.sender.is_closed())
        })
        .await
    }

    /// Closes it as its protocol requires, as far as that needs no waiting.
    pub(super) fn close(self) {
        let Self { sender, driver, .. } = self;
        drop(sender);
        if let Some(connection) = driver.connection {
            drop(connection.now_or_never());
        }
    }

    /// Hands the request over at once, so that the future, which each delivery in flight has, needs
    /// no room for it.
    fn send(mut self: Box<Self>, mut request: Request<Full<Bytes>>) -> impl Future<Output = Sent> {
        address(&mut request);
        self.first_bytes.forget();
        let sent = self.sender.try_send_request(request);
        self.answer(sent)
    }

    async fn answer(
        mut self: Box<Self>,
        sent: impl Future<Output = Result<Response<Incoming>, Unsent>>,
    ) -> Sent {
        let mut error = match self.driver.until(sent).await {
            Ok(response) => {
                self.first_bytes.answered();
                let (head, body) = response.into_parts();
                return Ok(Answer { head, body, connection: Some(self) });
            }
            Err(error) => error,
        };
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        let has_ended = self.first_bytes.is_empty() && !error.is_user();
        let failure = match self.is_used {
            true if is_unsent => Failure::Unprocessed,
            // The reused connection may have ended, or the answer to an earlier request may
            // continue, independently of this request.
            true if has_ended || self.first_bytes.is_garbage() => Failure::Unknown,
            // The proxy may have ended the tunnel.
            false if has_ended && self.is_tunnel => Failure::Unknown,
            true | false => Failure::Failed,
        };
        let status = error.is_parse().then(|| self.first_bytes.status()).flatten();
        Err(Box::new(Failed { error, failure, tls: None, status, connection: None }))
    }
}

/// Converts the request to the form of HTTP/1.1: the authority moves to `host`.
fn address(request: &mut Request<Full<Bytes>>) {
    let uri = request.uri();
    let host = uri.authority().and_then(|authority| {
        let is_default = matches!(
            (uri.scheme_str(), authority.port_u16()),
            (Some("http"), Some(80)) | (Some("https"), Some(443))
        );
        let host = if is_default { authority.host() } else { without_user(authority.as_str()) };
        HeaderValue::from_str(host).ok()
    });
    let target = uri.path_and_query().cloned().map(Uri::from);
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = target.unwrap_or_default();
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_user, host)| host)
}

impl Http2 {
    pub(super) fn new(
        sender: http2::SendRequest<Full<Bytes>>,
        first_bytes: Arc<FirstBytes>,
        is_tunnel: bool,
    ) -> Self {
        let (opened, requests) = (Instant::now(), Arc::default());
        Self { sender, opened, requests, is_tunnel, first_bytes }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.requests, &other.requests)
    }

    /// True if a request may be sent over it at `now`.
    pub(super) fn is_open(&self, now: Instant, max_age: Duration) -> bool {
        !self.sender.is_closed() && now.duration_since(self.opened) < max_age
    }

    async fn send(mut self, request: Request<Full<Bytes>>) -> Sent {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut error = match self.sender.try_send_request(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                return Ok(Answer { head, body, connection: None });
            }
            Err(error) => error,
        };
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        // The end of a tunnel is not this request's, either.
        let is_shared = self.is_tunnel || self.requests.load(Ordering::Relaxed) > 1;
        let tls = self.first_bytes.tls_error();
        let failure = if tls.is_some() {
            // An alert: the next connection would get it, too.
            Failure::Failed
        } else if is_unsent {
            Failure::Unprocessed
        } else {
            Failure::of_stream(&error, is_shared)
        };
        let connection = (tls.is_some() || failure.concerns_others()).then_some(self);
        Err(Box::new(Failed { error, failure, tls, status: None, connection }))
    }
}

impl Answer {
    /// The next part of the body; `None` at its end.
    pub(super) async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        let frame = self.body.frame();
        match &mut self.connection {
            Some(connection) => connection.driver.until(frame).await,
            None => frame.await,
        }
    }

    /// True if the body is known to have no further part. One may follow where it is not yet known: a
    /// body in chunks has an end of its own.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The connection, if it may carry another request: the answer was complete, nothing followed
    /// it, and its head announces nothing more.
    pub(super) async fn into_connection(self) -> Option<Box<Http1>> {
        let Self { head, body, connection } = self;
        let mut connection = connection?;
        let may_be_used = body.is_end_stream() && !has_unread_body(head.status, &head.headers);
        let max_idle = max_idle(&head.headers).filter(|_| may_be_used)?;
        connection.is_used = true;
        connection.until = Instant::now() + max_idle;
        let Http1 { driver, sender, .. } = connection.as_mut();
        let ready = poll_fn(|context| {
            driver.poll(context);
            let is_ready = matches!(sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(is_ready && driver.connection.is_some())
        });
        ready.await.then_some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_host_and_asks_for_a_path() {
        for (uri, host, path) in [
            ("http://example.com/a?b=c", "example.com", "/a?b=c"),
            ("http://example.com:80/", "example.com", "/"),
            ("https://example.com:8443", "example.com:8443", "/"),
            ("http://user:secret@[::1]:8080/a", "[::1]:8080", "/a"),
        ] {
            let mut request = Request::post(uri).body(Full::default()).unwrap();
            address(&mut request);
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.uri(), path);
        }
    }
}
