//! `[source]`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use homing_domain::settings::{SettingsError, address, section};

/// The sources of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Wait between the loss of a connection and the next connect.
    #[serde(with = "homing_domain::settings::duration")]
    pub reconnect_wait: Duration,
    /// The wait grows up to this while the service is overloaded.
    #[serde(with = "homing_domain::settings::duration")]
    pub max_backoff: Duration,
    /// Deadline for finding the address, TCP and TLS.
    #[serde(with = "homing_domain::settings::duration")]
    pub connect_deadline: Duration,
    /// Deadline from the request for the stream to the head of its response.
    #[serde(with = "homing_domain::settings::duration")]
    pub response_deadline: Duration,
    /// A connection without a byte for this long is closed; zero: never.
    #[serde(with = "homing_domain::settings::duration")]
    pub max_idle: Duration,
    /// A larger record is skipped.
    pub max_record_bytes: usize,
    /// Records of a connection that the broker has not confirmed yet.
    pub max_unconfirmed: usize,
    /// Hits that are remembered, for each source.
    pub max_recent_ids: usize,
    /// The streams by name.
    #[serde(default)]
    pub livestream: BTreeMap<String, LivestreamSettings>,
}

/// One stream of Adobe's Live Stream API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LivestreamSettings {
    /// The stream's address.
    #[serde(deserialize_with = "address::url")]
    pub url: Url,
    /// The client id, which is also the `x-api-key`.
    pub client_id: String,
    /// The client secret; empty: it is in the file.
    #[serde(default)]
    pub client_secret: String,
    /// A file with the client secret; empty: none.
    #[serde(default)]
    pub client_secret_file: PathBuf,
    /// The scope of the token, as on the credentials' page.
    #[serde(default)]
    pub scope: String,
    /// The token service.
    #[serde(default = "token_url", deserialize_with = "address::url")]
    pub token_url: Url,
    /// Further hosts that the token is sent to when the service redirects there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_hosts: Vec<String>,
    /// First word of the topics.
    #[serde(default = "topic")]
    pub topic: String,
    /// Connections at once, in all processes together.
    #[serde(default = "max_connections")]
    pub max_connections: u8,
    /// The service's bucket for smoothing bursts; zero: none.
    #[serde(default, with = "homing_domain::settings::duration")]
    pub smoothing: Duration,
}

impl LivestreamSettings {
    /// A stream from `text`: TOML lines with keys of its section.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not TOML, a key that does not exist, a value that does not fit.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        section("", "", text)
    }
}

/// Adobe's. A constant would be checked no earlier.
fn token_url() -> Url {
    const ADOBE: &str = "https://ims-na1.adobelogin.com/ims/token/v3";
    ADOBE.parse().unwrap_or_else(|_| unreachable!("`{ADOBE}` is a URL"))
}

fn topic() -> String {
    "livestream".to_owned()
}

fn max_connections() -> u8 {
    1
}

/// More than the service ever allows. Source: Adobe, *Live Stream*, `maxConnections`.
const MAX_CONNECTIONS: u8 = 8;
/// Source: Adobe, *Live Stream*, `smoothingBucketSize`.
const MAX_SMOOTHING: Duration = Duration::from_secs(7_200);
/// Adobe counts a lost connection for this long.
const ADOBE_WAIT: Duration = Duration::from_secs(60);

/// Adobe's own client waits this long.
const MIN_RESPONSE_DEADLINE: Duration = Duration::from_secs(60);
/// Parameters of the stream that homing sets. Source: Adobe, *Live Stream*.
const OWN_PARAMETERS: [(&str, &str); 4] = [
    ("maxConnections", "set `max_connections`"),
    ("smoothing", "set `smoothing`"),
    ("smoothingBucketSize", "set `smoothing`"),
    ("reset", "every reconnect would lose what was missed; use `homing source reset`"),
];

impl SourceSettings {
    /// Name and number of every slot: of each connection that a source may have at once.
    pub fn slots(&self) -> impl Iterator<Item = (&str, u8)> {
        self.livestream.iter().flat_map(|(name, stream)| {
            (1..=stream.max_connections).map(move |slot| (name.as_str(), slot))
        })
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong =
            |key: &str, message: &str| Err(SettingsError::value(&format!("source.{key}"), message));
        if self.max_backoff < self.reconnect_wait {
            return wrong("max_backoff", "at least `source.reconnect_wait`");
        }
        if self.connect_deadline.is_zero() {
            return wrong("connect_deadline", "more than nothing; for example \"10s\"");
        }
        if self.response_deadline < MIN_RESPONSE_DEADLINE {
            let message = "at least 60s: the service may take that long, and counts a connection \
                           that was given up";
            return wrong("response_deadline", message);
        }
        if !(1..=16 * 1_024 * 1_024).contains(&self.max_record_bytes) {
            return wrong("max_record_bytes", "between 1 and 16777216");
        }
        if !(1..=100_000).contains(&self.max_unconfirmed) {
            return wrong("max_unconfirmed", "between 1 and 100000");
        }
        if self.max_recent_ids > 10_000_000 {
            return wrong("max_recent_ids", "at most 10000000");
        }
        for (name, stream) in &self.livestream {
            stream.check(name)?;
            let adobe = stream.url.host_str().is_some_and(|host| host.ends_with("adobe.net"));
            if adobe && self.reconnect_wait < ADOBE_WAIT {
                return wrong("reconnect_wait", "at least 60s: an earlier connect is refused");
            }
        }
        Ok(())
    }
}

impl LivestreamSettings {
    fn check(&self, name: &str) -> Result<(), SettingsError> {
        let wrong = |key: &str, message: &str| {
            Err(SettingsError::value(&format!("source.livestream.{name}.{key}"), message))
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            let message = "a source's name has 1 to 64 letters, digits, `-` and `_`";
            return Err(SettingsError::value(&format!("source.livestream.{name}"), message));
        }
        for (key, url) in [("url", &self.url), ("token_url", &self.token_url)] {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return wrong(
                    key,
                    "an address such as https://livestream.adobe.net/api/1/stream/NAME",
                );
            }
            if !url.username().is_empty() || url.password().is_some() {
                return wrong(key, "without user and password; the credentials have settings");
            }
        }
        for (parameter, _) in self.url.query_pairs() {
            let own = OWN_PARAMETERS.iter().find(|(own, _)| parameter.eq_ignore_ascii_case(own));
            if let Some((own, instead)) = own {
                return wrong("url", &format!("without the parameter `{own}`: {instead}"));
            }
        }
        let is_host = |host: &String| {
            url::Host::parse(host).is_ok_and(|parsed| parsed.to_string().eq_ignore_ascii_case(host))
        };
        if !self.redirect_hosts.iter().all(is_host) {
            return wrong("redirect_hosts", "names of hosts, such as \"stream.example.net\"");
        }
        let is_header = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.client_id.is_empty() || !is_header(&self.client_id) {
            return wrong("client_id", "the client id of the credentials");
        }
        let in_file = !self.client_secret_file.as_os_str().is_empty();
        if self.client_secret.is_empty() && !in_file {
            return wrong("client_secret", "missing; set it, or `client_secret_file`");
        }
        if !self.client_secret.is_empty() && in_file {
            return wrong("client_secret_file", "there is a `client_secret` too; one of both");
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            return wrong("max_connections", "between 1 and 8");
        }
        if self.topic.len() > 64
            || self.topic.split('.').any(|word| word.is_empty() || !word.chars().all(is_word))
        {
            return wrong("topic", "words of letters, digits, `-` and `_`, with dots between them");
        }
        if self.topic.split('.').next() == Some("homing") {
            return wrong("topic", "topics that begin with `homing.` are homing's own");
        }
        let second = Duration::from_secs(1);
        if !self.smoothing.is_zero() && !(second..=MAX_SMOOTHING).contains(&self.smoothing) {
            return wrong("smoothing", "between 1s and 2h, or 0s for none");
        }
        Ok(())
    }
}
