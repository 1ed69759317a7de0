//! One connection: what goes over it, what came of a request, and whether another one may follow.
//!
//! A connection that speaks HTTP/1.1 belongs to one request at a time, whose task drives it: between
//! two requests nobody does, and no other task has to be woken for one. One that speaks HTTP/2 is
//! shared and has a task of its own.

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
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode, Uri,
    body::{Body, Frame, Incoming},
    client::conn::{http1, http2},
    header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING},
    http::response,
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{
    again::Fate,
    heard::{Heard, Listening},
};

/// What carries a connection.
pub(super) type Io = TokioIo<Listening<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;

/// An idle connection is used again within this, unless the endpoint says otherwise: common servers
/// give it up after 5 s.
const IDLE_DEFAULT: Duration = Duration::from_secs(4);

/// ... and within this whatever it says.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(30);

/// A request that comes so near to the end of the time that an endpoint named may meet its end.
const IDLE_MARGIN: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A connection that a request may be sent over.
pub(super) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// A connection for one request at a time.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driven: Driven,
    heard: Arc<Heard>,
    opened: Instant,
    /// An answer came over it.
    is_used: bool,
    /// Until when a request may be sent over it.
    until: Instant,
}

/// What moves the bytes of an [`Http1`]; polled by whoever uses it.
struct Driven {
    /// `None` once it has ended: a request that it did not take is given back only when it is dropped.
    connection: Option<http1::Connection<Io, Full<Bytes>>>,
}

/// A share in a connection for many requests.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    opened: Instant,
    /// How many requests were sent over it.
    requests: Arc<AtomicUsize>,
}

/// The head of an answer, and the way to its body.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    body: Incoming,
    /// Where the connection is this answer's alone.
    connection: Option<Box<Http1>>,
}

/// A request without an answer that can be read.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    pub(super) fate: Fate,
    /// The status, where nothing but the rest of the head cannot be read.
    pub(super) status: Option<StatusCode>,
    /// The connection, where others would meet the same.
    pub(super) over: Option<Http2>,
}

impl Driven {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(context).is_ready()
        {
            // What went wrong is told to the request as well.
            self.connection = None;
        }
    }

    /// Moves bytes until `other` is done.
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
    /// [`Failed`]; `fate` says whether the request may be sent again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the request is given up and the connection closed, in HTTP/2 the stream.
    pub(super) async fn send(self, request: Request<Full<Bytes>>) -> Result<Answer, Box<Failed>> {
        match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(connection) => connection.send(request).await,
        }
    }
}

impl Http1 {
    pub(super) fn new(
        (sender, connection): (http1::SendRequest<Full<Bytes>>, http1::Connection<Io, Full<Bytes>>),
        heard: Arc<Heard>,
    ) -> Box<Self> {
        let (driven, now) = (Driven { connection: Some(connection) }, Instant::now());
        let until = now + IDLE_DEFAULT;
        Box::new(Self { sender, driven, heard, opened: now, is_used: false, until })
    }

    /// Whether a request may be sent over it at `now`, by what is known without a look at it.
    pub(super) fn is_fresh(&self, now: Instant, max_age: Duration) -> bool {
        now < self.until && now.duration_since(self.opened) < max_age
    }

    /// Looks whether the endpoint has ended it, or sent what belongs to no request.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            self.driven.poll(context);
            Poll::Ready(self.driven.connection.is_some() && !self.sender.is_closed())
        })
        .await
    }

    /// Ends it in the way of its protocol, as far as that needs no waiting.
    pub(super) fn close(self) {
        let Self { sender, driven, .. } = self;
        drop(sender);
        if let Some(connection) = driven.connection {
            drop(connection.now_or_never());
        }
    }

    async fn send(
        mut self: Box<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, Box<Failed>> {
        address(&mut request);
        self.heard.forget();
        let sent = self.sender.try_send_request(request);
        let mut error = match self.driven.until(sent).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                return Ok(Answer { head, body, connection: Some(self) });
            }
            Err(error) => error,
        };
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        let fate = match self.is_used {
            true if is_unsent => Fate::Unprocessed,
            // Others used the connection: it may have ended, or an answer to them may go on, without
            // a connection to this request.
            true if self.heard.is_nothing() && !error.is_user() => Fate::Unknown,
            true if self.heard.is_garbage() => Fate::Unknown,
            true | false => Fate::Failed,
        };
        let status = error.is_parse().then(|| self.heard.status()).flatten();
        Err(Box::new(Failed { error, fate, status, over: None }))
    }
}

/// The request in the form of HTTP/1.1: where it goes to stands in `host`.
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
    pub(super) fn new(sender: http2::SendRequest<Full<Bytes>>) -> Self {
        Self { sender, opened: Instant::now(), requests: Arc::default() }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.requests, &other.requests)
    }

    /// Whether a request may be sent over it at `now`.
    pub(super) fn is_open(&self, now: Instant, max_age: Duration) -> bool {
        !self.sender.is_closed() && now.duration_since(self.opened) < max_age
    }

    async fn send(mut self, request: Request<Full<Bytes>>) -> Result<Answer, Box<Failed>> {
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
        let is_shared = self.requests.load(Ordering::Relaxed) > 1;
        let fate = if is_unsent { Fate::Unprocessed } else { Fate::of_stream(&error, is_shared) };
        let over = fate.concerns_others().then_some(self);
        Err(Box::new(Failed { error, fate, status: None, over }))
    }
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        let frame = self.body.frame();
        match &mut self.connection {
            Some(connection) => connection.driven.until(frame).await,
            None => frame.await,
        }
    }

    /// The connection, if it may carry another request: the answer was complete, nothing came after
    /// it, and nothing it said lets expect more.
    pub(super) async fn into_connection(self) -> Option<Box<Http1>> {
        let Self { head, body, connection } = self;
        let mut connection = connection?;
        let may_be_used = body.is_end_stream() && !has_unread_body(head.status, &head.headers);
        let max_idle = max_idle(&head.headers).filter(|_| may_be_used)?;
        connection.is_used = true;
        connection.until = Instant::now() + max_idle;
        let Http1 { driven, sender, .. } = connection.as_mut();
        let ready = poll_fn(|context| {
            driven.poll(context);
            let is_ready = matches!(sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(is_ready && driven.connection.is_some())
        });
        ready.await.then_some(connection)
    }
}

/// A body is announced that an answer with this status does not have. Some servers send it all the
/// same, and late: what comes would be taken for the answer to the next request. An answer with two
/// lengths may be read by the other side in another way than by us.
///
/// Source: RFC 9112, 6.3.
fn has_unread_body(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_coding = headers.contains_key(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return has_coding || lengths.any(|length| length != "0");
    }
    has_coding && lengths.next().is_some()
}

/// For how long the connection may be idle: what the endpoint says in `keep-alive: timeout=5`, less
/// a margin, or the default. `None`: it may not be used again.
///
/// Source: RFC 2068, 19.7.1.1; draft-thomson-hybi-http-timeout, 2.
fn max_idle(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get_all(KEEP_ALIVE).iter().filter_map(|value| value.to_str().ok());
    let timeout = parameters.flat_map(|value| value.split(',')).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim_ascii().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim_ascii().trim_matches('"').parse().ok()).flatten()
    });
    let Some(seconds) = timeout else { return Some(IDLE_DEFAULT) };
    let max_idle = Duration::from_secs(seconds).checked_sub(IDLE_MARGIN)?;
    (!max_idle.is_zero()).then_some(max_idle.min(MAX_IDLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn how_long_a_connection_may_be_idle_is_heard_from_the_endpoint() {
        let idle = |value| max_idle(&headers(&[("keep-alive", value)])).map(|idle| idle.as_secs());
        assert_eq!(max_idle(&headers(&[])), Some(IDLE_DEFAULT));
        assert_eq!(idle("timeout=5"), Some(4));
        assert_eq!(idle("max=100, Timeout = \"20\""), Some(19));
        assert_eq!(idle("timeout=86400"), Some(30));
        assert_eq!(idle("timeout=1"), None);
        assert_eq!(idle("timeout=0, max=1"), None);
        assert_eq!(idle("timeout=soon"), Some(4));
        assert_eq!(idle("timeout=99999999999999999999999"), Some(4));
    }

    #[test]
    fn an_answer_that_announces_a_body_it_does_not_have_ends_its_connection() {
        let unread = |status, lines: &[_]| has_unread_body(status, &headers(lines));
        assert!(unread(StatusCode::NO_CONTENT, &[("content-length", "5")]));
        assert!(unread(StatusCode::NOT_MODIFIED, &[("transfer-encoding", "chunked")]));
        assert!(!unread(StatusCode::NO_CONTENT, &[("content-length", "0")]));
        assert!(!unread(StatusCode::OK, &[("content-length", "5")]));
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert!(unread(StatusCode::OK, &both));
    }

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
