//! Settings: read once at start, unknown keys refused by name, checked by building what they
//! describe.
//!
//! `default.toml` holds every key with its default and is the reference for operators. A file per
//! section turns text into the domain's types.

use std::path::Path;

use serde::{Deserialize, Serialize};

mod address;
mod api;
mod attempts;
mod broker;
mod broker_url;
mod circuit;
mod endpoint;
mod events;
mod layers;
mod list;
mod log;
mod modes;
mod schedule;
mod show;
mod source;
mod store;
mod template;
mod traces;
mod worker;

use layers::{Layer, Layers};

pub use api::ApiSettings;
pub use attempts::AttemptsSettings;
pub use broker::BrokerSettings;
pub use broker_url::{BrokerUrl, Login};
pub use circuit::CircuitSettings;
pub use endpoint::EndpointSettings;
pub use events::{EventsSettings, SubscriptionHeader, TopicFrom};
pub use log::{LogFormat, LogSettings};
pub use modes::LooseFile;
pub use schedule::{ScheduleSettings, Schedules};
pub use source::{LivestreamSettings, SourceSettings};
pub use store::{StoreSettings, StoreUrl};
pub use template::template;
pub use traces::TracesSettings;
pub use worker::WorkerSettings;

/// Every default, with its comment; the only place where defaults live.
pub const DEFAULTS: &str = include_str!("default.toml");

/// The file that is read when none is named and it is there.
pub const FILE_DEFAULT: &str = "homing.toml";

/// The settings as written by an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[events]`
    pub events: EventsSettings,
    /// `[worker]`
    pub worker: WorkerSettings,
    /// `[endpoint]`
    pub endpoint: EndpointSettings,
    /// `[circuit]`
    pub circuit: CircuitSettings,
    /// `[schedule]`
    pub schedule: ScheduleSettings,
    /// `[source]`
    pub source: SourceSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[attempts]`
    pub attempts: AttemptsSettings,
    /// `[api]`
    pub api: ApiSettings,
    /// `[traces]`
    pub traces: TracesSettings,
    /// `[log]`
    pub log: LogSettings,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file, a variable or a flag cannot be read.
    #[error("the settings cannot be read")]
    Read(#[source] config::ConfigError),
    /// A file cannot be read, or is not TOML. The line at fault is not repeated: it may hold a secret.
    #[error("the settings cannot be read from {file}: {message}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong, and where.
        message: String,
    },
    /// Several things are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
    /// A key that does not exist, or a value that does not fit or makes no sense.
    #[error("`{key}`{}: {message}", .origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default())]
    Value {
        /// `section.key`
        key: String,
        /// The file or variable that sets it, where that is known.
        origin: Option<String>,
        /// What is wrong and what is allowed.
        message: String,
    },
}

impl SettingsError {
    /// `message` about `key`.
    pub fn value(key: &str, message: impl std::fmt::Display) -> Self {
        Self::Value { key: key.to_owned(), origin: None, message: message.to_string() }
    }

    /// All of `errors` as one, if there are any.
    fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }
}

impl Settings {
    /// Reads the defaults, `file` (or `homing.toml` where it exists), the environment, and
    /// `overrides` (dotted key, value), in this order.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: an unknown key, a value that does not fit, a file that is not there.
    pub fn load(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, SettingsError> {
        let named = file.unwrap_or(Path::new(FILE_DEFAULT));
        Self::of(vec![
            Layer::text(DEFAULTS)?,
            Layer::file(named, file.is_some())?,
            Layer::environment()?,
            Layer::flags(overrides)?,
        ])
    }

    /// The defaults changed by `text` (TOML), whatever files and environment say.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        Self::of(vec![Layer::text(DEFAULTS)?, Layer::text(text)?])
    }

    fn of(layers: Vec<Layer>) -> Result<Self, SettingsError> {
        let layers = Layers(layers);
        let settings: Self =
            layers.merge()?.try_deserialize().map_err(|error| layers.misfit(error))?;
        settings.check().map_err(|error| layers.blame(error))?;
        Ok(settings)
    }

    /// Builds everything that can be built without I/O, so that a mistake in any section shows at start.
    fn check(&self) -> Result<(), SettingsError> {
        let sections = [
            self.broker.check(),
            self.worker.check(),
            self.endpoint.check(),
            self.circuit.check(),
            self.schedule.schedules().map(drop),
            self.source.check(),
            self.store.check(),
            self.attempts.check(),
            self.traces.check(),
            self.api.check(),
        ];
        SettingsError::all(sections.into_iter().filter_map(Result::err).collect())
    }

    /// The settings in force as TOML lines `section.key = value`, secrets masked.
    #[must_use]
    pub fn shown(&self) -> String {
        show::lines(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Chain;

    fn error(toml: &str) -> String {
        Chain(&Settings::from_toml(toml).unwrap_err()).to_string()
    }

    #[test]
    fn the_shipped_defaults_are_accepted() {
        Settings::from_toml("").unwrap();
    }

    #[test]
    fn misspelt_keys_are_refused_by_name() {
        insta::assert_snapshot!(error("[worker]\ninflight_max = 3"), @"`worker.inflight_max`: there is no such setting; did you mean `worker.in_flight_max`? `homing config` lists all");
        insta::assert_snapshot!(error("[workers]\nin_flight_max = 3"), @"`workers`: there is no such setting; did you mean `worker`? `homing config` lists all");
    }

    #[test]
    fn values_that_make_no_sense_name_their_key() {
        insta::assert_snapshot!(error("[worker]\nin_flight_max = 1"), @"`worker.in_flight_max`: between 2 and 100000");
        insta::assert_snapshot!(error("[worker]\ndrain_grace = \"soon\""), @r#"`worker.drain_grace`: invalid value: string "soon", expected a duration; for example "10s""#);
        insta::assert_snapshot!(error("[broker]\nurl = \"localhost\""), @"`broker.url`: not an AMQP URL; write it as amqp://user:password@host:5672/vhost");
        insta::assert_snapshot!(error("[broker]\nprefix = \"a b\""), @"`broker.prefix`: a prefix has 1 to 64 letters, digits, `-`, `_` and `.`");
        insta::assert_snapshot!(error("[endpoint]\nallow_networks = [\"10.0.0.0/33\"]"), @"`endpoint.allow_networks`: `10.0.0.0/33` is not a network such as 10.1.0.0/16");
        insta::assert_snapshot!(error("[schedule]\ndefault = \"hourly\""), @"`schedule.default`: no schedule `hourly`; one of workfront, workfront-delay, standard-webhooks");
        insta::assert_snapshot!(error("[schedule.custom]\nfast = [\"0s\"]"), @"`schedule.custom`: fast: wait 1 is 0ns; a wait lasts from 1 ms to 4294967.295s");
        insta::assert_snapshot!(error("[store]\nurl = \"mysql://x\""), @"`store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database");
        insta::assert_snapshot!(error("[api]\ntokens = [\"short\"]"), @"`api.tokens`: a token has at least 16 bytes");
        insta::assert_snapshot!(error("[store]\nencryption_keys = [\"short\"]"), @"`store.encryption_keys`: an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one");
        insta::assert_snapshot!(error(&format!("[store]\nencryption_keys = [\"{}=\"]\nencryption_key_file = \"k\"", "A".repeat(43))), @"`store.encryption_key_file`: set either `store.encryption_keys` or this, not both");
        insta::assert_snapshot!(error("[attempts]\nkeep = \"1s\""), @"`attempts.keep`: between 1m and 10 years");
        insta::assert_snapshot!(error("[attempts]\nrows_max = 0"), @"`attempts.rows_max`: between 1000 and 100000000; to log nothing, set `attempts.enabled`");
        insta::assert_snapshot!(error("[traces]\ncollector = \"nowhere\""), @"`traces.collector`: write it as http://127.0.0.1:4318, or https://…; empty: no traces");
        insta::assert_snapshot!(error("[traces]\nsample_percent = 101"), @"`traces.sample_percent`: from 0 to 100");
        insta::assert_snapshot!(error("[attempts]\nresponse_bytes = 5000"), @"`attempts.response_bytes`: at most 4096");
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let unknown = "[worker]\nfoo = 1\nbar = 2\n[x]\ny = 3";
        insta::assert_snapshot!(error(unknown), @"`worker.bar`: there is no such setting; `homing config` lists all; `worker.foo`: there is no such setting; `homing config` lists all; `x`: there is no such setting; `homing config` lists all");
        let values = "[worker]\nin_flight_max = 1\n[attempts]\nkeep = \"1s\"";
        insta::assert_snapshot!(error(values), @"`worker.in_flight_max`: between 2 and 100000; `attempts.keep`: between 1m and 10 years");
    }

    /// Reported: a password in the line above a mistake was printed with it.
    #[test]
    fn what_is_wrong_is_named_without_what_may_be_secret() {
        let toml = "[broker]\nurl = \"amqp://u:hidden@h\n[api]";
        insta::assert_snapshot!(error(toml), @r#"the settings cannot be read from a text: TOML parse error at line 2, column 25: invalid basic string, expected `"`"#);
        insta::assert_snapshot!(error("[api]\ntokens = \"hidden\""), @"`api.tokens`: a token has at least 16 bytes");
        insta::assert_snapshot!(error("[store]\nencryption_keys = \"hidden\""), @"`store.encryption_keys`: an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one");
        insta::assert_snapshot!(error("[broker]\nurl = [\"hidden\"]"), @"`broker.url`: it has to be a string");
    }

    #[test]
    fn addresses_are_shown_without_the_keys_in_them() {
        let shown = |toml: &str| Settings::from_toml(toml).unwrap().shown();
        let stream = "[source.livestream.main]\nclient_id = \"id\"\nclient_secret = \"hidden\"\n";
        for toml in [
            "[traces]\ncollector = \"https://hidden:hidden@otlp.example.com\"",
            "[traces]\ncollector = \"https://hidden@otlp.example.com/a?api-key=hidden\"",
            &format!("{stream}url = \"https://stream.example.com/s?key=hidden\""),
            &format!(
                "{stream}url = \"https://x.example.com/s\"\ntoken_url = \"https://x/?hidden\""
            ),
        ] {
            let shown = shown(toml);
            assert!(!shown.contains("hidden"), "{shown}");
        }
        let shown = shown("[traces]\ncollector = \"http://127.0.0.1:4318\"");
        assert!(shown.contains("traces.collector = \"http://127.0.0.1:4318\"\n"), "{shown}");
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let settings = Settings::from_toml(
            "[broker]\nurl = \"amqp://me:hidden@h1 amqp://h2/v\"\n[api]\ntokens = [\"hidden-token-0123456789\"]
             [store]\nurl = \"postgres://homing:hid%2Fden@db/homing?sslmode=require\"",
        )
        .unwrap();
        assert_eq!(settings.broker.locations(), ["amqp://me@h1:5672", "amqp://guest@h2:5672/v"]);
        let shown = settings.shown();
        assert!(!shown.contains("hidden"), "{shown}");
        let store = "store.url = \"postgres://homing:****@db/homing?sslmode=require\"";
        assert!(!shown.contains("hid%2Fden") && shown.contains(store), "{shown}");
        assert!(shown.contains("broker.url = \"amqp://me:****@h1 amqp://h2/v\""), "{shown}");
    }
}
