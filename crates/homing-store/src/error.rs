//! Errors of the store.

use std::{io, path::PathBuf, time::Duration};

use sqlx::migrate::MigrateError;

use super::{DEADLINE, QuotaError};
use homing_domain::report::Chain;
use homing_domain::settings::SettingsError;
use homing_domain::{
    encryption_key::{EncryptionKeyError, KeyId},
    id::SubscriptionId,
    time::UnixMillis,
    topic::TopicPattern,
};

/// An error of the store. Variants name the step that failed, so that a log shows how far it got.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The setting names no store.
    #[error(transparent)]
    Settings(SettingsError),
    /// The server cannot be reached or does not let us in.
    #[error("cannot connect to the store at {location}")]
    Connect {
        /// Its URL without password and parameters.
        location: String,
        /// The error of the network or the server.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot hold every text.
    #[error(
        "the database {location} has the encoding {encoding}, homing needs UTF8; \
         make it with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// Its URL without password and parameters.
        location: String,
        /// As the server names it.
        encoding: String,
    },
    /// The schema that homing would use holds something else.
    #[error(
        "the schema `homing` of {location} holds tables of another program; \
         `store.url` must name a database in which this schema is homing's own"
    )]
    ForeignSchema {
        /// Its URL without password and parameters.
        location: String,
    },
    /// The folder for the database file is not there.
    #[error("the folder of {} in `store.url` cannot be used; create it first", file.display())]
    Folder {
        /// The database file.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The database file is not there, and this caller creates none.
    #[error(
        "there is no store at {}; `store.url`, or --store, must name that of the workers",
        file.display()
    )]
    Absent {
        /// The database file.
        file: PathBuf,
    },
    /// The database file can be neither opened nor created, or only read.
    #[error(
        "cannot write {}; `store.url` must name a file in a folder that homing may write to",
        file.display()
    )]
    NotWritable {
        /// The database file.
        file: PathBuf,
        /// The error of the database.
        #[source]
        source: sqlx::Error,
    },
    /// The file is something else.
    #[error("{} is not a database; `store.url` must name a file of homing's own", file.display())]
    NotADatabase {
        /// The file named.
        file: PathBuf,
    },
    /// A database with another application's mark or tables.
    #[error(
        "{} is the database of another program; `store.url` must name a file of homing's own",
        file.display()
    )]
    Foreign {
        /// The file named.
        file: PathBuf,
    },
    /// A newer homing has changed the schema.
    #[error(
        "the store has schema version {found}, this homing knows {known} at most; \
         use the newer homing that wrote it"
    )]
    Newer {
        /// The store's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A key in the settings is none.
    #[error("`store.encryption_keys`: {0}")]
    Key(EncryptionKeyError),
    /// Secrets would be kept in clear.
    #[error(
        "no key to encrypt secrets with; set `store.encryption_keys` or \
         `store.encryption_key_file` (`homing keys generate` makes a key)"
    )]
    NoKey,
    /// A key that secrets are encrypted with is not given.
    #[error(
        "secrets in the store are encrypted with key {missing}, which is not in {given}; \
         add that key, behind the one that is to encrypt from now on"
    )]
    KeyMissing {
        /// The missing key.
        missing: KeyId,
        /// Where the keys came from, and their ids.
        given: String,
    },
    /// The key file cannot be read or created.
    #[error("the key file {} cannot be used; see `store.encryption_key_file`", file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A line of the key file is no key.
    #[error("line {line} of the key file {}: {source}", file.display())]
    KeyFileLine {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The form of a key.
        source: EncryptionKeyError,
    },
    /// The operating system has no randomness to give.
    #[error("no key can be made")]
    Randomness(#[source] getrandom::Error),
    /// The schema could not be brought up to date; it is as it was.
    #[error("the store's schema cannot be brought up to date")]
    Migrate(#[source] Box<MigrateError>),
    /// A subscription with the same fingerprint exists.
    #[error("subscription {existing} already wants the same events at the same URL")]
    Duplicate {
        /// The one that exists.
        existing: SubscriptionId,
    },
    /// There is no such subscription.
    #[error("there is no subscription {id}")]
    NotFound {
        /// The requested id.
        id: SubscriptionId,
    },
    /// A subscription was not changed, because another change came first.
    #[error("subscription {id} was changed in the meantime; read it again")]
    Outdated {
        /// The requested id.
        id: SubscriptionId,
    },
    /// A subscription is there and cannot be read.
    #[error(transparent)]
    Corrupt(Box<Corrupt>),
    /// A subscription was not written, because it could not be read afterwards.
    #[error("this subscription could not be read again: `{}`: {}", .0.field, .0.why)]
    Unreadable(Box<Corrupt>),
    /// More is to be compared than a search may take.
    #[error(
        "`{field}` is compared with {most} different values at most, and more are parked; give a \
         narrower one, or another condition"
    )]
    TooBroad {
        /// The condition.
        field: &'static str,
        /// Values that are compared at most.
        most: u32,
    },
    /// A parked message is there and cannot be read.
    #[error("parked message {id} {why}; drop it, or add the key that it was encrypted with")]
    ParkedPayload {
        /// Its id.
        id: String,
        /// The reason.
        why: String,
    },
    /// There is no room for a subscription.
    #[error(transparent)]
    Quota(QuotaError),
    /// A circuit is there and cannot be read.
    #[error(transparent)]
    CorruptCircuit(CorruptCircuit),
    /// Another process kept the store locked.
    #[error("another process kept the store locked: {step}")]
    Busy {
        /// The step.
        step: &'static str,
    },
    /// A step took too long; it may or may not be done.
    #[error("the store did not answer within {deadline:?}: {step}")]
    TimedOut {
        /// The step.
        step: &'static str,
        /// The time limit that passed.
        deadline: Duration,
    },
    /// The database refused a step.
    #[error("the store failed: {step}")]
    Step {
        /// The step.
        step: &'static str,
        /// The error of the database.
        #[source]
        source: sqlx::Error,
    },
    /// The database takes other values, and not these.
    #[error("the store refuses the values: {step}")]
    Refused {
        /// The step.
        step: &'static str,
        /// The error of the database.
        #[source]
        source: sqlx::Error,
    },
    /// Homing is stopping.
    #[error("the store is closed")]
    Closed,
}

/// A stored subscription that cannot be read; its events wait until it can. Never repeats a token,
/// a secret or a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "subscription {subscription} cannot be read, and its events wait: `{field}`: {why}; set this \
     field anew (`homing subscriptions update`), or remove the subscription"
)]
pub struct Corrupt {
    /// Its id.
    pub subscription: SubscriptionId,
    /// The field that is wrong.
    pub field: String,
    /// The reason.
    pub why: String,
    /// Its topics; `None`: they cannot be read either.
    pub topics: Option<Vec<TopicPattern>>,
    /// The instant of its last change.
    pub updated: UnixMillis,
}

/// A stored circuit that cannot be read; its URL counts as closed. The text leaves out the query of
/// the URL, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the circuit of {} cannot be read, enable or disable this URL to replace it: `{field}`: {why}",
    url.split('?').next().unwrap_or_default()
)]
pub struct CorruptCircuit {
    /// Its URL, as written in the store.
    pub url: String,
    /// The field that is wrong.
    pub field: String,
    /// The reason.
    pub why: String,
}

/// A result about a circuit, which may be one that cannot be read.
pub(super) type Readable<T> = Result<T, CorruptCircuit>;

impl StoreError {
    pub(super) fn step(step: &'static str, source: sqlx::Error) -> Self {
        if matches!(source, sqlx::Error::PoolTimedOut) {
            Self::TimedOut { step, deadline: DEADLINE }
        } else if matches!(source, sqlx::Error::PoolClosed) {
            Self::Closed
        } else {
            Self::Step { step, source }
        }
    }

    /// The error with all its causes, on one line.
    #[must_use]
    pub fn report(&self) -> String {
        Chain(self).to_string()
    }
}

/// Runs one step against the database under [`DEADLINE`]; every await on it goes through here.
pub(super) async fn within<T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    within_deadline(DEADLINE, step, work).await
}

/// [`within`] another deadline.
pub(super) async fn within_deadline<T>(
    deadline: Duration,
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(StoreError::step(step, source)),
        Err(_elapsed) => Err(StoreError::TimedOut { step, deadline }),
    }
}
