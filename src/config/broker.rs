//! `[broker]`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::SettingsError;

/// Where the broker is and how long it may take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// One or several AMQP URLs, separated by blanks.
    pub url: String,
    /// First word of the name of every queue and exchange.
    pub prefix: String,
    /// For TCP, TLS and the AMQP handshake together.
    #[serde(with = "humantime_serde")]
    pub connect_deadline: Duration,
    /// Twice this much silence ends a connection.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// For one publish, confirm included.
    #[serde(with = "humantime_serde")]
    pub confirm_deadline: Duration,
    /// Publishes under way at once.
    pub publish_channels: usize,
    /// How long a queue that was just created is not relied on.
    #[serde(with = "humantime_serde")]
    pub new_queue_wait: Duration,
    /// The management API of the broker, with user, password and virtual host; empty: none.
    pub management_url: String,
}

impl BrokerSettings {
    /// The URLs, in the order in which they are written.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: none, or one that is not an AMQP URL. The text does not repeat
    /// the URL, which may hold a password.
    pub fn urls(&self) -> Result<Vec<Url>, SettingsError> {
        let urls = self
            .url
            .split_whitespace()
            .map(|text| {
                Url::parse(text)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "amqp" | "amqps") && url.has_host())
            })
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default();
        if urls.is_empty() {
            let message = "not an AMQP URL; write it as amqp://user:password@host:5672/vhost";
            return Err(SettingsError::value("broker.url", message));
        }
        Ok(urls)
    }

    /// Where the broker is, for people: the URLs without passwords and parameters.
    #[must_use]
    pub fn locations(&self) -> Vec<String> {
        let told = |mut url: Url| {
            url.set_query(None);
            url.set_password(None).ok()?;
            Some(url.to_string())
        };
        self.urls().unwrap_or_default().into_iter().filter_map(told).collect()
    }

    /// The management API; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: not a URL. The text does not repeat it, for it may hold a password.
    pub fn management(&self) -> Result<Option<Url>, SettingsError> {
        if self.management_url.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.management_url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Some).ok_or_else(|| {
            let message =
                "write it as http://user:password@host:15672/vhost, or https://…; empty: none";
            SettingsError::value("broker.management_url", message)
        })
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.urls()?;
        self.management()?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(is_word) {
            let message = "a prefix has 1 to 64 letters, digits, `-`, `_` and `.`";
            return Err(SettingsError::value("broker.prefix", message));
        }
        if !(1..=256).contains(&self.publish_channels) {
            return Err(SettingsError::value("broker.publish_channels", "between 1 and 256"));
        }
        if !(1..=3_600).contains(&self.heartbeat.as_secs()) {
            return Err(SettingsError::value("broker.heartbeat", "between 1s and 1h"));
        }
        Ok(())
    }
}
