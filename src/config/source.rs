//! `[source]`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{SettingsError, address};

/// Where events are read from, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// From the loss of a connection to the next connect.
    #[serde(with = "humantime_serde")]
    pub reconnect_wait: Duration,
    /// To which that grows while the service is overloaded.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// For finding the address, TCP and TLS.
    #[serde(with = "humantime_serde")]
    pub connect_deadline: Duration,
    /// A connection without a byte for this long is given up; zero: never.
    #[serde(with = "humantime_serde")]
    pub idle_max: Duration,
    /// A larger record is skipped.
    pub record_bytes_max: usize,
    /// Records of a connection that the broker has not confirmed yet.
    pub unconfirmed_max: usize,
    /// Hits that are remembered, of each source.
    pub recent_ids_max: usize,
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
    /// What the token is asked for, as the credentials' page has it.
    #[serde(default)]
    pub scope: String,
    /// Where tokens are given out.
    #[serde(default = "token_url", deserialize_with = "address::url")]
    pub token_url: Url,
    /// First word of the topics.
    #[serde(default = "topic")]
    pub topic: String,
    /// Connections at once, in all processes together.
    #[serde(default = "max_connections")]
    pub max_connections: u8,
    /// The bucket of the service's smoothing of bursts; zero: none.
    #[serde(default, with = "humantime_serde")]
    pub smoothing: Duration,
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
const CONNECTIONS_MAX: u8 = 8;
/// Source: Adobe, *Live Stream*, `smoothingBucketSize`.
const SMOOTHING_MAX: Duration = Duration::from_secs(7_200);
/// How long Adobe counts a connection that is gone.
const ADOBE_WAIT: Duration = Duration::from_secs(60);

impl SourceSettings {
    /// Name and number of every slot: of each connection that a source may have at once.
    pub fn slots(&self) -> impl Iterator<Item = (&str, u8)> {
        self.livestream.iter().flat_map(|(name, stream)| {
            (1..=stream.max_connections).map(move |slot| (name.as_str(), slot))
        })
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let wrong =
            |key: &str, message: &str| Err(SettingsError::value(&format!("source.{key}"), message));
        if self.backoff_max < self.reconnect_wait {
            return wrong("backoff_max", "at least `source.reconnect_wait`");
        }
        if self.connect_deadline.is_zero() {
            return wrong("connect_deadline", "more than nothing; for example \"10s\"");
        }
        if !(1..=16 * 1_024 * 1_024).contains(&self.record_bytes_max) {
            return wrong("record_bytes_max", "between 1 and 16777216");
        }
        if !(1..=100_000).contains(&self.unconfirmed_max) {
            return wrong("unconfirmed_max", "between 1 and 100000");
        }
        if self.recent_ids_max > 10_000_000 {
            return wrong("recent_ids_max", "at most 10000000");
        }
        for (name, stream) in &self.livestream {
            stream.check(name)?;
            let adobe = stream.url.host_str().is_some_and(|host| host.ends_with("adobe.net"));
            if adobe && self.reconnect_wait < ADOBE_WAIT {
                return wrong("reconnect_wait", "at least 60s: who connects sooner is refused");
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
        if !(1..=CONNECTIONS_MAX).contains(&self.max_connections) {
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
        if !self.smoothing.is_zero() && !(second..=SMOOTHING_MAX).contains(&self.smoothing) {
            return wrong("smoothing", "between 1s and 2h, or 0s for none");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::Settings, report::Chain};

    const STREAM: &str = "url = \"https://livestream.adobe.net/api/1/stream/s\"\n\
                          client_id = \"id\"\nclient_secret = \"hidden\"\n";

    fn error(section: &str, changed: &str) -> String {
        let is_changed = |line: &&str| line.split(' ').next() == changed.split(' ').next();
        let stream: Vec<_> = STREAM.lines().filter(|line| !is_changed(line)).collect();
        let stream = stream.join("\n");
        let toml = format!("{section}\n[source.livestream.main]\n{stream}\n{changed}\n");
        Chain(&Settings::from_toml(&toml).unwrap_err()).to_string()
    }

    #[test]
    fn a_source_is_a_section_or_an_entry_of_a_list() {
        let section = format!("[source.livestream.main]\n{STREAM}");
        let list = format!("[[source.livestream]]\nname = \"main\"\n{STREAM}");
        let [section, list] = [section, list].map(|toml| Settings::from_toml(&toml).unwrap());
        assert_eq!(section.shown(), list.shown());
        let stream = &list.source.livestream["main"];
        assert_eq!((stream.topic.as_str(), stream.max_connections), ("livestream", 1));
        assert_eq!(list.source.slots().collect::<Vec<_>>(), [("main", 1)]);
        assert!(!list.shown().contains("hidden"), "{}", list.shown());
        assert!(list.shown().contains("source.livestream.main.client_secret = \"****\""));
    }

    #[test]
    fn what_is_wrong_with_a_source_is_told_by_name() {
        insta::assert_snapshot!(error("", "urll = 1"), @"`source.livestream.main`: unknown field `urll`, expected one of `url`, `client_id`, `client_secret`, `client_secret_file`, `scope`, `token_url`, `topic`, `max_connections`, `smoothing`");
        insta::assert_snapshot!(error("", "client_secret = \"\""), @"`source.livestream.main.client_secret`: missing; set it, or `client_secret_file`");
        insta::assert_snapshot!(error("", "client_secret_file = \"/run/secret\""), @"`source.livestream.main.client_secret_file`: there is a `client_secret` too; one of both");
        insta::assert_snapshot!(error("", "max_connections = 9"), @"`source.livestream.main.max_connections`: between 1 and 8");
        insta::assert_snapshot!(error("", "max_connections = \"many\""), @r#"`source.livestream.main.max_connections`: invalid type: string "many", expected an integer"#);
        insta::assert_snapshot!(error("", "topic = \"homing\""), @"`source.livestream.main.topic`: topics that begin with `homing.` are homing's own");
        insta::assert_snapshot!(error("", "topic = \"a..b\""), @"`source.livestream.main.topic`: words of letters, digits, `-` and `_`, with dots between them");
        insta::assert_snapshot!(error("", "url = \"ftp://x\""), @"`source.livestream.main.url`: an address such as https://livestream.adobe.net/api/1/stream/NAME");
        insta::assert_snapshot!(error("", "url = \"x\""), @"`source.livestream.main.url`: not a URL: it has no `https://` in front");
        insta::assert_snapshot!(error("", "smoothing = \"3h\""), @"`source.livestream.main.smoothing`: between 1s and 2h, or 0s for none");
        insta::assert_snapshot!(error("[source]\nreconnect_wait = \"5s\"", ""), @"`source.reconnect_wait`: at least 60s: who connects sooner is refused");
        insta::assert_snapshot!(error("[source]\nbackoff_max = \"5s\"", ""), @"`source.backoff_max`: at least `source.reconnect_wait`");
    }

    #[test]
    fn a_list_of_sources_needs_names() {
        let error = |toml: &str| Chain(&Settings::from_toml(toml).unwrap_err()).to_string();
        insta::assert_snapshot!(error("[[source.livestream]]\nurl = \"x\""), @"`source.livestream`: every [[source.livestream]] has a `name`, a text");
        let twice = format!("[[source.livestream]]\nname = \"a\"\n{STREAM}").repeat(2);
        insta::assert_snapshot!(error(&twice), @"`source.livestream`: `a` is there twice");
        let missing = "[source.livestream.main]\nclient_id = \"x\"";
        insta::assert_snapshot!(error(missing), @r#"the settings cannot be read: missing configuration field "source.livestream.main.url""#);
    }
}
