//! Connections that are kept, by host: all URLs of a host share them.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use hyper::{
    Uri,
    http::uri::{Authority, Scheme},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    client::ConnectError,
    connection::{Connection, Http1, Http2, MAX_IDLE},
};

/// How often connections are looked through for those that are over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// To whom a connection leads: the scheme, and name and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    scheme: Scheme,
    authority: Authority,
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

/// A connection being made that all requests to its host wait for.
pub(super) type Opening = Shared<Open>;

type Open = Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>;

/// Connections that are kept.
pub(super) struct Pool {
    max_age: Duration,
    hosts: Mutex<HashMap<Host, Kept>>,
    /// The task that ends what is over. It ends with the pool.
    sweeping: Mutex<JoinSet<()>>,
}

/// What is kept of one host.
#[derive(Default)]
struct Kept {
    /// The last one used is the first to be used again, so that those that are too many end.
    #[expect(clippy::vec_box, reason = "a connection goes to a request and back without moving")]
    idle: Vec<Box<Http1>>,
    shared: Option<(Http2, Instant)>,
    opening: Option<WeakShared<Open>>,
    /// It was seen to speak HTTP/1.1 over TLS, so each request may open a connection of its own.
    speaks_http1: bool,
}

impl Kept {
    fn is_nothing(&self) -> bool {
        let is_opening = self.opening.as_ref().is_some_and(|opening| opening.upgrade().is_some());
        self.idle.is_empty() && self.shared.is_none() && !is_opening
    }
}

/// What a pool has for a request.
pub(super) enum Found {
    /// This one; whether an [`Http1`] is open still has to be looked at.
    Kept(Connection),
    /// One that is being made, for all who ask.
    Opening(Opening),
    /// Nothing; the request needs one of its own.
    Nothing,
}

impl Pool {
    /// No request is sent over a connection that is older than `max_age`.
    pub(super) fn new(max_age: Duration) -> Arc<Self> {
        Arc::new(Self { max_age, hosts: Mutex::default(), sweeping: Mutex::default() })
    }

    /// A connection to `host`. Where HTTP/2 may be spoken, one is made at a time, by `open`.
    pub(super) fn find(&self, host: &Host, open: impl FnOnce() -> Opening) -> Found {
        let now = Instant::now();
        let mut hosts = self.hosts();
        if let Some(kept) = hosts.get_mut(host) {
            if let Some((shared, used)) = &mut kept.shared {
                if shared.is_open(now, self.max_age) {
                    *used = now;
                    return Found::Kept(Connection::Http2(shared.clone()));
                }
                kept.shared = None;
            }
            while let Some(connection) = kept.idle.pop() {
                if connection.is_fresh(now, self.max_age) {
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
        self.sweep_from_now_on();
        let mut hosts = self.hosts();
        // A host that is known costs no copy of its name.
        if !hosts.contains_key(host) {
            hosts.insert(host.clone(), Kept::default());
        }
        let Some(kept) = hosts.get_mut(host) else { return };
        match connection {
            Connection::Http1(connection) if connection.is_fresh(now, self.max_age) => {
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

    /// Sends nothing more over `connection`; what is under way on it goes on.
    pub(super) fn forget(&self, host: &Host, connection: &Http2) {
        if let Some(kept) = self.hosts().get_mut(host) {
            kept.shared.take_if(|(shared, _)| shared.is_same(connection));
        }
    }

    /// Ends what was idle for too long or is too old.
    fn sweep(&self) {
        let now = Instant::now();
        let mut over = Vec::new();
        self.hosts().retain(|_, kept| {
            let is_over = |connection: &mut Box<Http1>| !connection.is_fresh(now, self.max_age);
            over.extend(kept.idle.extract_if(.., is_over));
            kept.shared.take_if(|(shared, used)| {
                !shared.is_open(now, self.max_age) || now.duration_since(*used) >= MAX_IDLE
            });
            !kept.is_nothing()
        });
        for connection in over {
            connection.close();
        }
    }

    fn sweep_from_now_on(self: &Arc<Self>) {
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeping.is_empty() {
            sweeping.spawn(sweep_while_there(Arc::downgrade(self)));
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Host, Kept>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep_while_there(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}

/// A connection being made, as [`Pool::find`] wants it.
pub(super) fn opening(
    open: impl Future<Output = Result<(), ConnectError>> + Send + 'static,
) -> Opening {
    let open: Open = Box::pin(open);
    open.shared()
}
