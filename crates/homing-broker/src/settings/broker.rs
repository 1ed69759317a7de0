//! `[broker]`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{BrokerUrl, Login};
use homing_domain::settings::{SettingsError, section};

/// The most shards: each costs a worker two consumers, and the broker two quorum queues.
pub const MAX_SHARDS: u16 = 64;

/// Address, queues and deadlines of the broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// One or several AMQP URLs, separated by blanks.
    pub url: String,
    /// A file that holds them instead; empty: none.
    pub url_file: String,
    /// First word of the name of every queue and exchange.
    pub prefix: String,
    /// Queues of new events, and as many of due deliveries.
    pub shards: u16,
    /// For TCP, TLS and the AMQP handshake together.
    #[serde(with = "homing_domain::settings::duration")]
    pub connect_deadline: Duration,
    /// Twice this much silence ends a connection.
    #[serde(with = "homing_domain::settings::duration")]
    pub heartbeat: Duration,
    /// For one publish, confirm included.
    #[serde(with = "homing_domain::settings::duration")]
    pub confirm_deadline: Duration,
    /// The time for which a new queue is not relied on.
    #[serde(with = "homing_domain::settings::duration")]
    pub new_queue_wait: Duration,
    /// The management API of the broker, with user, password and virtual host; empty: none.
    pub management_url: String,
    /// A PEM file with the certificate authorities that are trusted; empty: the system's.
    pub ca_file: String,
    /// A PEM file with our certificate, and those of its issuers; empty: none.
    pub client_certificate_file: String,
    /// A PEM file with its private key.
    pub client_key_file: String,
}

impl BrokerSettings {
    /// The defaults, changed by `changes`: TOML lines with keys of the section.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not TOML, a key that does not exist, a value that does not fit.
    pub fn from_toml(changes: &str) -> Result<Self, SettingsError> {
        section(super::DEFAULTS, "broker", changes)
    }

    /// The URLs, in the order in which they are written; from `broker.url_file` where that is set,
    /// which is read again each time.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: none, one that homing cannot act on, or a file that cannot be
    /// read. The text does not repeat the URL, which may hold a password.
    pub fn urls(&self) -> Result<Vec<BrokerUrl>, SettingsError> {
        if self.url_file.is_empty() {
            return self.parse("broker.url", &self.url);
        }
        let key = "broker.url_file";
        let text = homing_files::read_text(self.url_file.as_ref()).map_err(|error| {
            SettingsError::value(key, format!("cannot read {}: {error}", self.url_file))
        })?;
        self.parse(key, &text)
    }

    /// The URLs without passwords and parameters, for display.
    #[must_use]
    pub fn locations(&self) -> Vec<String> {
        self.urls().unwrap_or_default().iter().map(BrokerUrl::location).collect()
    }

    /// The URLs in `text`, which is the value of `key`.
    fn parse(&self, key: &str, text: &str) -> Result<Vec<BrokerUrl>, SettingsError> {
        let texts: Vec<_> = text.split_whitespace().collect();
        if texts.is_empty() {
            return Err(SettingsError::value(key, "there is no URL"));
        }
        let parse = |(index, url): (usize, &&str)| {
            let which =
                if texts.len() > 1 { format!("URL {}: ", index + 1) } else { String::new() };
            let wrong = |message: String| SettingsError::value(key, format!("{which}{message}"));
            let url = BrokerUrl::parse(url).map_err(&wrong)?;
            let has_certificate = url.parameters.certificate_file.is_some()
                || !self.client_certificate_file.is_empty();
            if url.login == Login::Certificate && !has_certificate {
                return Err(wrong(
                    "`auth_mechanism=external` needs a client certificate: `certfile` and `keyfile` \
                     in the URL, or `broker.client_certificate_file` and `broker.client_key_file`"
                        .to_owned(),
                ));
            }
            Ok(url)
        };
        texts.iter().enumerate().map(parse).collect()
    }

    /// The management API; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: not a URL. The text does not repeat it, for it may hold a
    /// password.
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

    /// Builds what can be built without I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.management()?;
        if self.url_file.is_empty() {
            self.urls()?;
        }
        if self.client_certificate_file.is_empty() != self.client_key_file.is_empty() {
            let message = "a client certificate is `broker.client_certificate_file` and \
                           `broker.client_key_file` together";
            return Err(SettingsError::value("broker.client_certificate_file", message));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(is_word) {
            let message = "a prefix has 1 to 64 letters, digits, `-`, `_` and `.`";
            return Err(SettingsError::value("broker.prefix", message));
        }
        if !(1..=MAX_SHARDS).contains(&self.shards) {
            let message = format!("between 1 and {MAX_SHARDS}");
            return Err(SettingsError::value("broker.shards", message));
        }
        if !(1..=3_600).contains(&self.heartbeat.as_secs()) {
            return Err(SettingsError::value("broker.heartbeat", "between 1s and 1h"));
        }
        Ok(())
    }
}
