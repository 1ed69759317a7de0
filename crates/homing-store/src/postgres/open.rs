//! From a URL to a database whose schema is up to date, and a pool of connections to it.
//!
//! homing's tables are in the schema `homing`, so that a database may hold other programs' tables
//! too. It is created where it is missing; where an operator has created it and given it to
//! homing's role, that role needs no right to create schemas. No superuser and no extension is
//! needed.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, migrate::Migrator, pool::PoolOptions,
    postgres::PgConnectOptions,
};
use url::Url;

use super::{PostgresDatabase, PostgresStore};
use crate::{
    StoreError, backend,
    encryption::used_keys,
    error::{within, within_deadline},
    key_source::GivenKeys,
    schema::{self, APPLIED},
    subscriptions::Quotas,
};

/// The schema, a file per version.
pub(crate) static MIGRATIONS: Migrator = sqlx_macros::migrate!("migrations/postgres");

/// For TCP, TLS, the password, and waiting for a connection of the pool to come free. Half of
/// [`DEADLINE`](crate::DEADLINE), so that the error can say what is wrong.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Settings of every connection. A statement that homing no longer waits for ends at the server
/// too, and the locks of a lost process are released.
const SESSION: [(&str, &str); 4] = [
    ("search_path", "homing"),
    // Below the store's deadline, so that the error can say so. All three in milliseconds.
    ("lock_timeout", "5000"),
    ("statement_timeout", "9000"),
    ("idle_in_transaction_session_timeout", "20000"),
];

/// An idle connection is closed after this time: a server has few of them.
const MAX_IDLE: Duration = Duration::from_secs(300);
/// A connection is replaced after this time, so that the server frees the memory that it gathered.
const MAX_LIFETIME: Duration = Duration::from_secs(1_800);

/// One process at a time changes the schema; "hmng" as a number, fixed for ever.
const MIGRATION_LOCK: i64 = 0x686d_6e67;
/// For the process that holds that lock to end.
const MIGRATION_DEADLINE: Duration = Duration::from_secs(120);

/// The state of a database before homing uses it.
const LOOK: &str = "\
    SELECT current_setting('server_encoding'), \
    to_regclass('homing._sqlx_migrations') IS NOT NULL, \
    EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('homing'))";

impl PostgresStore {
    /// Opens the database at `url`, bringing its schema up to date.
    pub(crate) async fn open(
        url: &Url,
        max_connections: u32,
        (keys, quotas): (GivenKeys, Quotas),
    ) -> Result<Self, StoreError> {
        let location = location(url);
        let options = connect_options(url, &location)?;
        let mut connection = connect(&options, &location).await?;
        let prepared = async {
            prepare(&mut connection, &location).await?;
            used_keys::<PostgresDatabase>(&mut connection).await
        };
        let prepared = prepared.await;
        let closed = within("closing after opening", connection.close()).await;
        let used = closed.and(prepared)?;
        let pool = PoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(CONNECT_DEADLINE)
            .idle_timeout(MAX_IDLE)
            .max_lifetime(MAX_LIFETIME)
            // After a restart of the server, the next call connects again instead of failing.
            .test_before_acquire(true)
            .connect_lazy_with(options.clone());
        let backend = PostgresDatabase { pool, options, location };
        let store = Self::new(keys.keyring(&used)?, quotas, backend);
        store.adopt(&used, &keys).await?;
        Ok(store)
    }
}

fn connect_options(url: &Url, location: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.as_str())
        .map_err(|source| StoreError::Connect { location: location.to_owned(), source })?
        .options(SESSION)
        .disable_statement_logging();
    let application = options.get_application_name().unwrap_or("homing").to_owned();
    Ok(options.application_name(&application))
}

/// True if opening the database would change nothing in it.
pub(crate) async fn is_current(url: &Url) -> Result<bool, StoreError> {
    let location = location(url);
    let mut connection = connect(&connect_options(url, &location)?, &location).await?;
    let found = has_our_schema(&mut connection, &location).await;
    within("closing after opening", connection.close()).await.and(found)
}

/// `url` without password and parameters.
pub(crate) fn location(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Refused only where there is no host, and thus no password.
    let _had_none = shown.set_password(None);
    shown.to_string()
}

/// One connection beside the pool.
pub(super) async fn connect(
    options: &PgConnectOptions,
    location: &str,
) -> Result<PgConnection, StoreError> {
    let connecting = within_deadline(CONNECT_DEADLINE, "connecting", options.connect());
    connecting.await.map_err(|error| {
        let StoreError::Step { source, .. } = error else { return error };
        StoreError::Connect { location: location.to_owned(), source }
    })
}

/// Brings the database to the state that the pool expects.
async fn prepare(connection: &mut PgConnection, location: &str) -> Result<(), StoreError> {
    // Usually nothing is to be done; then no lock is taken, and the rights to read and write are
    // enough.
    if has_our_schema(connection, location).await? {
        return Ok(());
    }
    migrate(connection, location).await
}

/// True if the schema is the one that this homing knows. Refuses that of another program or of a
/// newer homing.
async fn has_our_schema(connection: &mut PgConnection, location: &str) -> Result<bool, StoreError> {
    let location = || location.to_owned();
    let look = sqlx::query_as::<_, (String, bool, bool)>(LOOK).fetch_one(&mut *connection);
    match ask("reading whose schema it is", look).await? {
        (encoding, ..) if encoding != "UTF8" => {
            return Err(StoreError::Encoding { location: location(), encoding });
        }
        (_, true, _) => {}
        (_, false, true) => return Err(StoreError::ForeignSchema { location: location() }),
        (_, false, false) => return Ok(false),
    }
    let applied = sqlx::query_as(APPLIED).fetch_all(connection);
    schema::is_current(&ask("reading the schema version", applied).await?, &MIGRATIONS)
}

/// All or nothing, and one process at a time: the others wait for the lock, which ends with the
/// transaction, and then find nothing to do. The change itself has no deadline: half a migration
/// is worth nothing, however long it takes.
async fn migrate(connection: &mut PgConnection, location: &str) -> Result<(), StoreError> {
    let mut transaction = ask("beginning to change the schema", connection.begin()).await?;
    let locked = async {
        sqlx::raw_sql("SET LOCAL lock_timeout = '110s'; SET LOCAL statement_timeout = 0")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await
    };
    within_deadline(MIGRATION_DEADLINE, "waiting for another process to change the schema", locked)
        .await?;
    if has_our_schema(&mut transaction, location).await? {
        return ask("finding the schema changed", transaction.rollback()).await;
    }
    // `IF NOT EXISTS` alone would need the right to make schemas even where it exists.
    let schema = "DO $$ BEGIN IF to_regnamespace('homing') IS NULL THEN \
                  CREATE SCHEMA homing; END IF; END $$";
    ask("making the schema `homing`", sqlx::raw_sql(schema).execute(&mut *transaction)).await?;
    // sqlx's own lock is that of all programs in this database that use sqlx.
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.set_locking(false);
    // Not `run`: its future is only `Send` for some lifetimes.
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|source| StoreError::Migrate(Box::new(source)))?;
    ask("keeping the schema", transaction.commit()).await
}

/// [`backend::ask`] without a pool.
async fn ask<T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    backend::ask::<PostgresDatabase, T>(step, work).await
}
