//! Kept connections by host: all URLs of a host share them.

use std::{
    collections::HashMap,
    future::Future,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use hyper::{
    Uri,
    http::uri::{Authority, Scheme},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    client::ConnectError,
    connection::{Connection, Http1, Http2},
    reuse::MAX_IDLE,
    sweeping::Sweeping,
};

/// Kept connections are checked for expired ones this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The destination of a connection: scheme, name and port.
#[derive(Clone, Debug, Eq)]
pub(super) struct Host {
    scheme: Scheme,
    authority: Authority,
}

/// By bytes: names of endpoints are in lower case already, and `Authority` compares letter by letter.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.authority.as_str() == other.authority.as_str() && self.scheme == other.scheme
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.as_str().hash(state);
        self.speaks_tls().hash(state);
    }
}

impl Host {
    /// `None` for a URI that is not absolute.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let parts = (uri.scheme().cloned(), uri.authority().cloned());
        let (Some(scheme), Some(authority)) = parts else { return None };
        Some(Self { scheme, authority })
    }

    /// Without a path.
    pub(super) fn uri(&self) -> Uri {
        let parts = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        parts.path_and_query("/").build().unwrap_or_default()
    }

    fn speaks_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

/// A connection attempt that all requests to its host wait for.
pub(super) type Opening = Shared<Open>;

type Open = Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>;

/// Connections that are kept.
pub(super) struct Pool {
    max_age: Duration,
    hosts: Mutex<HashMap<Host, Kept, RandomState>>,
    /// The task that closes expired connections.
    sweeping: Sweeping,
}

/// The connections of one host.
#[derive(Default)]
struct Kept {
    /// The last one used is the first to be reused, so that surplus ones expire.
    #[expect(clippy::vec_box, reason = "a connection goes to a request and back without moving")]
    idle: Vec<Box<Http1>>,
    shared: Option<(Http2, Instant)>,
    opening: Option<WeakShared<Open>>,
    /// It was seen to speak HTTP/1.1 over TLS, so each request may open its own connection.
    speaks_http1: bool,
}

impl Kept {
    fn is_empty(&self) -> bool {
        let is_opening = self.opening.as_ref().is_some_and(|opening| opening.upgrade().is_some());
        self.idle.is_empty() && self.shared.is_none() && !is_opening
    }
}

/// The pool's answer to a request.
pub(super) enum Found {
    /// This one; an [`Http1`] still has to be checked for being open.
    Kept(Connection),
    /// One that is being opened, for all requests that wait.
    Opening(Opening),
    /// Nothing; the request needs its own.
    Nothing,
}

impl Pool {
    /// No request is sent over a connection that is older than `max_age`.
    pub(super) fn new(max_age: Duration) -> Arc<Self> {
        Arc::new(Self { max_age, hosts: Mutex::default(), sweeping: Sweeping::default() })
    }

    /// Finds a connection to `host`. If HTTP/2 may be spoken, `open` makes one at a time.
    pub(super) fn find(&self, host: &Host, open: impl FnOnce() -> Opening) -> Found {
        let now = Instant::now();
        let mut hosts = self.hosts.lock();
        if let Some(kept) = hosts.get_mut(host) {
            if let Some((shared, used)) = &mut kept.shared {
                if shared.is_open(now, self.max_age) {
                    *used = now;
                    return Found::Kept(Connection::Http2(shared.clone()));
                }
                kept.shared = None;
            }
            while let Some(connection) = kept.idle.pop() {
                if connection.is_usable(now, self.max_age) {
                    return Found::Kept(Connection::Http1(connection));
                }
                connection.close();
            }
            if kept.speaks_http1 {
                return Found::Nothing;
            }
        }
        if !host.speaks_tls() {
            return Found::Nothing;
        }
        let kept = hosts.entry(host.clone()).or_default();
        let under_way = kept.opening.as_ref().and_then(WeakShared::upgrade);
        let opening = under_way.filter(|opening| opening.peek().is_none()).unwrap_or_else(open);
        kept.opening = opening.downgrade();
        Found::Opening(opening)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(self: &Arc<Self>, host: &Host, connection: Connection) {
        let now = Instant::now();
        self.sweeping.begin(self, SWEEP_INTERVAL, Self::sweep);
        let mut hosts = self.hosts.lock();
        // A known host costs no copy of its name.
        let kept = match hosts.get_mut(host) {
            Some(kept) => kept,
            None => hosts.entry(host.clone()).or_default(),
        };
        match connection {
            Connection::Http1(connection) if connection.is_usable(now, self.max_age) => {
                kept.speaks_http1 = true;
                kept.idle.push(connection);
            }
            Connection::Http1(connection) => connection.close(),
            Connection::Http2(connection) => {
                kept.speaks_http1 = false;
                kept.shared = Some((connection, now));
            }
        }
    }

    /// Sends nothing more over `connection`; requests in flight on it continue.
    pub(super) fn forget(&self, host: &Host, connection: &Http2) {
        if let Some(kept) = self.hosts.lock().get_mut(host) {
            kept.shared.take_if(|(shared, _)| shared.is_same(connection));
        }
    }

    /// Closes connections that were idle for too long or are too old.
    fn sweep(&self) {
        let now = Instant::now();
        let mut over = Vec::new();
        self.hosts.lock().retain(|_, kept| {
            let is_over = |connection: &mut Box<Http1>| !connection.is_usable(now, self.max_age);
            over.extend(kept.idle.extract_if(.., is_over));
            kept.shared.take_if(|(shared, used)| {
                !shared.is_open(now, self.max_age) || now.duration_since(*used) >= MAX_IDLE
            });
            !kept.is_empty()
        });
        for connection in over {
            connection.close();
        }
    }
}

/// A connection being opened, as [`Pool::find`] takes it.
pub(super) fn opening(
    open: impl Future<Output = Result<(), ConnectError>> + Send + 'static,
) -> Opening {
    let open: Open = Box::pin(open);
    open.shared()
}
