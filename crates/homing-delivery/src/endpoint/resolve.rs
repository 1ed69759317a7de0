//! Resolves names for the client, only to addresses that may be called.
//!
//! The client connects only to these addresses and uses no other source, so a name cannot have one
//! address when it is checked and another when it is called (DNS rebinding).
//!
//! Lookups of one name are shared: however many attempts wait for it, it is looked up once.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use parking_lot::Mutex;
use tower_service::Service;

use super::{address::allowed, dns::Dns};

/// The reason why a name has no callable address.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// It has no address.
    #[error("the name has no address")]
    Nothing,
    /// No name server answers.
    #[error("the name servers do not answer")]
    Silent,
    /// The name servers report a failure.
    #[error("the name servers cannot resolve it ({0})")]
    Failed(String),
    /// It has addresses, and none of them may be called.
    #[error("{0} is not called (endpoint.allow_networks)")]
    NotAllowed(IpAddr),
    /// It was not looked up: too many lookups are running.
    #[error("too many names are being looked up")]
    Busy,
    /// It was not looked up: no name server is available.
    #[error("no name server is available ({0})")]
    Unasked(String),
}

impl ResolveError {
    /// True if the lookup never ran, so that it says nothing about the name.
    pub(super) fn is_ours(&self) -> bool {
        match self {
            Self::Busy | Self::Unasked(_) => true,
            Self::Nothing | Self::Silent | Self::Failed(_) | Self::NotAllowed(_) => false,
        }
    }
}

type Found = Result<Arc<[IpAddr]>, ResolveError>;
type Lookup = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Resolves names to addresses that may be called. Cheap to clone; clones share their lookups.
#[derive(Clone)]
pub(super) struct Resolver {
    networks: Arc<[IpNet]>,
    dns: Arc<Dns>,
    lookups: Arc<Mutex<HashMap<String, WeakShared<Lookup>>>>,
}

impl Resolver {
    /// `networks` may be called although they are special.
    pub(super) fn new(networks: Arc<[IpNet]>, dns: Dns) -> Self {
        Self { networks, dns: Arc::new(dns), lookups: Arc::default() }
    }

    /// Every address may be called: the operator chose it.
    pub(super) fn anywhere(dns: Dns) -> Self {
        let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        Self::new(everything.into(), dns)
    }

    /// The running lookup of `name`, or a new one. The map keeps nothing alive: a lookup ends with
    /// the last attempt that waits for it.
    fn lookup(&self, name: &str) -> Shared<Lookup> {
        let mut lookups = self.lookups.lock();
        let under_way = lookups.get(name).and_then(WeakShared::upgrade);
        under_way.filter(|lookup| lookup.peek().is_none()).unwrap_or_else(|| {
            lookups.retain(|_, lookup| lookup.upgrade().is_some());
            let (dns, owned) = (Arc::clone(&self.dns), name.to_owned());
            let started = async move { dns.look_up(&owned).await.map(Arc::from) }.boxed().shared();
            if let Some(weak) = started.downgrade() {
                lookups.insert(name.to_owned(), weak);
            }
            started
        })
    }

    /// The addresses of `name` that may be called; there is at least one.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, it abandons the lookup, unless others wait for it.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = self.lookup(name).await?;
        let is_callable = |address: &IpAddr| allowed(*address, &self.networks);
        let callable: Vec<_> = found.iter().copied().filter(is_callable).collect();
        match found.first() {
            Some(first) if callable.is_empty() => Err(ResolveError::NotAllowed(*first)),
            Some(_) => Ok(callable),
            None => Err(ResolveError::Nothing),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.look_up(name.as_str()).await?;
            // The client replaces port 0 with the port of the URL.
            let found: Vec<_> = found.into_iter().map(|found| SocketAddr::new(found, 0)).collect();
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn resolver(networks: &[&str]) -> Resolver {
        let dns = Dns::new(vec!["127.0.0.1:9".parse().unwrap()], Duration::from_millis(400));
        Resolver::new(networks.iter().map(|text| text.parse().unwrap()).collect(), dns)
    }

    #[tokio::test]
    async fn only_addresses_that_may_be_called_are_given() {
        let found = resolver(&["127.0.0.0/8"]).look_up("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_ipv4) && !found.is_empty(), "{found:?}");

        let error = resolver(&[]).look_up("localhost").await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAllowed(_)), "{error}");
    }

    /// Goal: a thousand attempts do not block a thousand threads. Method: two lookups of a name
    /// before either was polled are one; afterwards nothing is kept.
    #[tokio::test]
    async fn lookups_of_one_name_are_shared_and_not_remembered() {
        let resolver = resolver(&[]);
        let (one, other) = (resolver.lookup("localhost"), resolver.lookup("localhost"));
        assert!(one.ptr_eq(&other));
        assert!(!one.ptr_eq(&resolver.lookup("nothing.invalid")));

        one.await.unwrap();
        assert!(!other.ptr_eq(&resolver.lookup("localhost")), "an old answer was given");
        drop(other);
        let last = resolver.lookup("another.invalid");
        assert_eq!(resolver.lookups.lock().len(), 1);
        drop(last);
    }
}
