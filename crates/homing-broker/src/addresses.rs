//! The nodes of the broker, and the order in which they are tried.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use crate::settings::{BrokerSettings, BrokerUrl, Login};
use homing_domain::settings::SettingsError;
use parking_lot::Mutex;

/// A node that failed is tried after the others for this long: a silent node costs every attempt
/// its whole deadline, and a cluster may take a minute to give it up.
const SHUNNED: Duration = Duration::from_secs(60);

/// Every URL of the broker, shared by all connections of the process: a node that one finds
/// unreachable, the others try last.
pub(super) struct Addresses {
    settings: BrokerSettings,
    current: Mutex<Vec<Arc<Address>>>,
}

/// The URL of one node, and when it failed last.
pub(super) struct Address {
    pub(super) url: BrokerUrl,
    failed: Mutex<Option<Instant>>,
}

impl Addresses {
    /// # Errors
    ///
    /// [`SettingsError`]: as [`BrokerSettings::urls`].
    pub(super) fn new(settings: &BrokerSettings) -> Result<Self, SettingsError> {
        let addresses = settings.urls()?.into_iter().map(Address::new).map(Arc::new).collect();
        Ok(Self { settings: settings.clone(), current: Mutex::new(addresses) })
    }

    /// Returns the addresses in random order, so that workers spread over the nodes; those that
    /// failed recently come last. A file of URLs is read again.
    pub(super) async fn in_order(&self) -> Vec<Arc<Address>> {
        if self.are_in_a_file() {
            self.read_again().await;
        }
        let mut addresses = self.current.lock().clone();
        fastrand::shuffle(&mut addresses);
        addresses.sort_by_key(|address| address.is_shunned());
        addresses
    }

    /// Reads the URLs again. Keeps the last ones if the file cannot be read: it may be being
    /// replaced.
    async fn read_again(&self) {
        let settings = self.settings.clone();
        let urls = match tokio::task::spawn_blocking(move || settings.urls()).await {
            Ok(Ok(urls)) => urls,
            Ok(Err(error)) => {
                return warn!(%error, "broker.url_not_read: using the URLs that were read last");
            }
            Err(_panicked) => return,
        };
        let mut current = self.current.lock();
        let known = |url: BrokerUrl| {
            let known = current.iter().find(|address| address.url == url);
            known.map_or_else(|| Arc::new(Address::new(url)), Arc::clone)
        };
        *current = urls.into_iter().map(known).collect();
    }

    /// Returns true if the URLs come from a file, and so may change.
    pub(super) fn are_in_a_file(&self) -> bool {
        !self.settings.url_file.is_empty()
    }

    /// Reads the current login of the same user at `address`; `None` if it is no longer named.
    pub(super) async fn login_now(&self, address: &Address) -> Option<Login> {
        self.read_again().await;
        let place = |url: &BrokerUrl| {
            (url.host.clone(), url.port, url.vhost.clone(), url.user().to_owned())
        };
        let sought = place(&address.url);
        let mut now = self.all().into_iter().filter(|now| place(&now.url) == sought);
        now.next().map(|now| now.url.login.clone())
    }

    /// All addresses, in the order in which they are written.
    pub(super) fn all(&self) -> Vec<Arc<Address>> {
        self.current.lock().clone()
    }
}

impl Address {
    fn new(url: BrokerUrl) -> Self {
        Self { url, failed: Mutex::default() }
    }

    /// Notes that a connection to it failed or was lost.
    pub(super) fn failed(&self) {
        *self.failed.lock() = Some(Instant::now());
    }

    fn is_shunned(&self) -> bool {
        self.failed.lock().is_some_and(|failed| failed.elapsed() < SHUNNED)
    }

    /// `host:port/vhost`: all of the URL that may be shown.
    pub(super) fn shown(&self) -> String {
        self.url.shown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(toml: &str) -> Addresses {
        let settings = BrokerSettings::from_toml(toml).unwrap();
        Addresses::new(&settings).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_failed_comes_last_for_a_minute() {
        let addresses = addresses("url = \"amqp://a amqp://b amqp://c\"");
        let b = addresses.all().into_iter().find(|address| address.shown() == "b:5672").unwrap();
        b.failed();

        let mut last = Vec::new();
        for _ in 0..50 {
            last.push(addresses.in_order().await.last().unwrap().shown());
        }
        assert!(last.iter().all(|last| last == "b:5672"));
        tokio::time::advance(SHUNNED).await;
        for _ in 0..500 {
            last.push(addresses.in_order().await.last().unwrap().shown());
        }
        assert!(last.iter().any(|last| last != "b:5672"));
    }

    #[tokio::test]
    async fn a_file_of_urls_is_read_for_every_connection_and_its_last_urls_are_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        write("amqp://u:old@a\namqp://u:old@b\n");
        let addresses = addresses(&format!("url_file = \"{}\"", file.path().display()));
        let passwords = || async {
            let addresses = addresses.in_order().await;
            let password = |address: &Arc<Address>| match &address.url.login {
                Login::Password { password, .. } => format!("{}:{password}", address.url.host),
                Login::Certificate => unreachable!(),
            };
            let mut passwords: Vec<_> = addresses.iter().map(password).collect();
            passwords.sort();
            passwords
        };
        assert_eq!(passwords().await, ["a:old", "b:old"]);
        write("amqp://u:new@a");
        assert_eq!(passwords().await, ["a:new"]);
        write("");
        assert_eq!(passwords().await, ["a:new"]);
    }
}
