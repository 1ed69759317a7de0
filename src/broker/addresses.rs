//! The nodes of the broker, and which of them to try first.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use url::Url;

/// How long a node that failed is tried after the others: a silent one costs every attempt its whole
/// deadline, and the broker may take a minute to do without it.
const SHUNNED: Duration = Duration::from_secs(60);

/// Every URL of `broker.url`; shared by all connections of the process, which learn from each other.
pub(super) struct Addresses(Vec<Arc<Address>>);

/// One of them.
pub(super) struct Address {
    pub(super) url: Url,
    failed: Mutex<Option<Instant>>,
}

impl Addresses {
    pub(super) fn new(urls: Vec<Url>) -> Self {
        let address = |url| Arc::new(Address { url, failed: Mutex::default() });
        Self(urls.into_iter().map(address).collect())
    }

    /// In random order, so that workers spread over the nodes; those that failed lately come last.
    pub(super) fn in_order(&self) -> Vec<Arc<Address>> {
        let mut addresses = self.0.clone();
        fastrand::shuffle(&mut addresses);
        addresses.sort_by_key(|address| address.is_shunned());
        addresses
    }
}

impl Address {
    /// It could not be connected to, or a connection to it was lost.
    pub(super) fn failed(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_shunned(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| failed.elapsed() < SHUNNED)
    }

    /// `host:port/vhost`: all of the URL that may be shown.
    pub(super) fn shown(&self) -> String {
        let port =
            self.url.port().unwrap_or(if self.url.scheme() == "amqps" { 5671 } else { 5672 });
        format!("{}:{port}{}", self.url.host_str().unwrap_or_default(), self.url.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_failed_comes_last_for_a_minute() {
        let urls = ["amqp://a", "amqp://b", "amqp://c"].map(|url| url.parse().unwrap());
        let addresses = Addresses::new(urls.to_vec());
        let last = || addresses.in_order().last().unwrap().url.host_str().unwrap().to_owned();
        addresses.in_order().iter().find(|address| address.shown() == "b:5672").unwrap().failed();

        assert!((0..50).all(|_| last() == "b"));
        tokio::time::advance(SHUNNED).await;
        assert!((0..500).any(|_| last() != "b"));
    }
}
