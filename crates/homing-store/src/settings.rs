//! `[store]`

use homing_domain::{
    encryption_key::{EncryptionKey, EncryptionKeyError},
    settings::{SettingsError, list, section},
};
use serde::{Deserialize, Serialize};

const FORMS: &str = "write it as sqlite:homing.db or postgres://user:password@host:5432/database";

/// The defaults, with their comments.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

/// Settings of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:<file>` or `postgres://user:password@host:5432/database`.
    pub url: String,
    /// Connections to PostgreSQL that one process opens at most.
    pub max_connections: u32,
    /// Keys that encrypt secrets at rest: the first encrypts, all decrypt.
    #[serde(deserialize_with = "list::texts")]
    pub encryption_keys: Vec<String>,
    /// A file with such keys, one a line; empty: none.
    pub encryption_key_file: String,
    /// Subscriptions at most.
    pub max_subscriptions: u64,
    /// Filters of one subscription at most, in bytes of JSON.
    pub max_filter_bytes: u64,
    /// Filters of all subscriptions at most, in bytes of JSON.
    pub max_filter_bytes_total: u64,
}

/// The place that `store.url` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl<'a> {
    /// A SQLite file: the part behind `sqlite:`.
    Sqlite(&'a str),
    /// A PostgreSQL database, password included.
    #[cfg(feature = "postgres")]
    Postgres(Box<url::Url>),
}

impl StoreSettings {
    /// The defaults, changed by `changes`: TOML lines with keys of the section.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not TOML, a key that does not exist, a value that does not fit.
    pub fn from_toml(changes: &str) -> Result<Self, SettingsError> {
        section(DEFAULTS, "store", changes)
    }

    /// The place that the URL names.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: no store. The text does not repeat the URL, which may hold a
    /// password.
    pub fn place(&self) -> Result<StoreUrl<'_>, SettingsError> {
        match self.url.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(StoreUrl::Sqlite(file)),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => self.postgres(),
            Some(_) | None => Err(SettingsError::value("store.url", FORMS)),
        }
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self) -> Result<StoreUrl<'_>, SettingsError> {
        Ok(StoreUrl::Postgres(Box::new(crate::postgres::database_url::parse(&self.url)?)))
    }

    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_self, reason = "the other one reads the URL")]
    fn postgres(&self) -> Result<StoreUrl<'_>, SettingsError> {
        Err(SettingsError::not_built("store.url", "PostgreSQL", "postgres"))
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.place()?;
        if !(1..=1_000).contains(&self.max_connections) {
            return Err(SettingsError::value("store.max_connections", "between 1 and 1000"));
        }
        if !self.encryption_keys.is_empty() && !self.encryption_key_file.is_empty() {
            let message = "set either `store.encryption_keys` or this, not both";
            return Err(SettingsError::value("store.encryption_key_file", message));
        }
        self.keys().map(drop).map_err(|error| SettingsError::value("store.encryption_keys", error))
    }

    /// The keys that are written in the settings themselves.
    ///
    /// # Errors
    ///
    /// [`EncryptionKeyError`]: one of them is none.
    pub fn keys(&self) -> Result<Vec<EncryptionKey>, EncryptionKeyError> {
        self.encryption_keys.iter().map(|key| EncryptionKey::try_from(key.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<String, String> {
        let settings = StoreSettings {
            url: url.to_owned(),
            max_connections: 8,
            encryption_keys: Vec::new(),
            encryption_key_file: String::new(),
            max_subscriptions: 1,
            max_filter_bytes: 1,
            max_filter_bytes_total: 1,
        };
        settings.place().map(|place| format!("{place:?}")).map_err(|error| error.to_string())
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_build_without_postgresql_says_so() {
        let error = place("postgres://homing:hidden@db/homing").unwrap_err();
        insta::assert_snapshot!(error, @"`store.url`: this build has no PostgreSQL; build it with --features postgres");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_url_names_a_file_or_a_database() {
        assert_eq!(place("sqlite:homing.db").unwrap(), "Sqlite(\"homing.db\")");
        for url in [
            "postgres://homing@db/homing",
            "postgresql://homing:p%40ss@[::1]:5433/homing?sslmode=verify-full",
            "postgres:///homing?host=/run/postgresql",
        ] {
            assert!(place(url).unwrap().starts_with("Postgres("), "{url}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let mut errors = Vec::new();
        for url in [
            "",
            "homing.db",
            "sqlite:",
            "mysql://homing:hidden@db/homing",
            "postgres:hidden",
            "postgres://homing:hid/den@db:5432/homing",
            "postgres://homing:hidden@db:port/homing",
            "postgres://homing@db/homing?password=hidden",
            "postgres://homing:hidden@db/homing?sslmodus=require",
            "postgres://homing:hidden@db/homing?sslmode=on",
        ] {
            errors.push(place(url).unwrap_err());
        }
        let errors = errors.join("\n");
        assert!(!errors.contains("hid"), "{errors}");
        insta::assert_snapshot!(errors, @r"
        `store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database
        `store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database
        `store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database
        `store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database
        `store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database
        `store.url`: not a PostgreSQL URL: its port is no number from 0 to 65535; write it as postgres://user:password@host:5432/database, with %40 for @, %2F for / and so on in the password
        `store.url`: not a PostgreSQL URL: its port is no number from 0 to 65535; write it as postgres://user:password@host:5432/database, with %40 for @, %2F for / and so on in the password
        `store.url`: the password belongs before the @, not behind the ?
        `store.url`: there is no parameter `sslmodus` behind the ?; known are application_name, dbname, host, options, port, sslcert, sslkey, sslmode, sslrootcert
        `store.url`: `sslmode` is one of disable, allow, prefer, require, verify-ca, verify-full
        ");
    }
}
