//! Opens connections: directly, or through the proxy.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::{
    client::BoxError,
    proxy::{Proxy, Wire},
    resolve::Resolver,
};

/// The system detects a peer that disappeared silently within this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens TCP connections, some of them through a proxy. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dial {
    tcp: HttpConnector<Resolver>,
    proxy: Option<Arc<Proxy>>,
}

/// Opens TCP connections to addresses from `resolver`, and to literal ones.
pub(super) fn tcp(resolver: Resolver) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(MAX_UNACKNOWLEDGED));
    tcp
}

impl Dial {
    /// Uses `proxy` for the hosts that it serves, and `tcp` for the others.
    pub(super) fn new(tcp: HttpConnector<Resolver>, proxy: Option<Arc<Proxy>>) -> Self {
        Self { tcp, proxy }
    }

    /// The proxy, if there is one.
    pub(super) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref()
    }

    /// The proxy through which the host of `uri` is called.
    pub(super) fn proxy_for(&self, uri: &Uri) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|proxy| proxy.serves(uri))
    }
}

impl Service<Uri> for Dial {
    type Response = Wire;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Wire, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Some(proxy) = self.proxy_for(&uri).map(Arc::clone) {
            return Box::pin(async move { proxy.connect(uri).await });
        }
        let connecting = self.tcp.call(uri);
        Box::pin(async move { Ok(Wire::Tcp(connecting.await?)) })
    }
}
