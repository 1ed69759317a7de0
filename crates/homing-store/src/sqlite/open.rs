//! From a file name to a database that is known to be ours and up to date.
//!
//! Nothing is written before the file is known to be empty or ours. SQLite's write-ahead log needs
//! memory shared between processes: the file must be on a local disk.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use backon::{ConstantBuilder, RetryableWithContext};
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    migrate::Migrator,
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use super::{SqliteFile, SqliteStore, primary_code};
use crate::{
    DEADLINE, StoreError,
    backend::{self, Backend},
    encryption::used_keys,
    key_source::GivenKeys,
    schema::{self, APPLIED},
    subscriptions::Quotas,
};
use homing_domain::settings::SettingsError;

/// The schema, a file per version.
pub(crate) static MIGRATIONS: Migrator = sqlx_macros::migrate!("migrations/sqlite");

/// Marks the file as homing's, see the first migration.
const APPLICATION_ID: i64 = 0x686d_6e67;

/// SQLite waits this long for another process to finish writing; well below [`DEADLINE`], so that
/// the error can say so.
const BUSY_TIMEOUT: Duration = Duration::from_secs(8);

/// Concurrent reads of one process; more would only wait for the same disk.
const MAX_READERS: u32 = 4;

/// Pages that the writer keeps, in KiB (negative: SQLite, `PRAGMA cache_size`): the inner pages of the
/// indexes of a million records, and those that each batch writes to. With 2 MiB, the default, they are
/// read anew for each batch.
const WRITER_CACHE: &str = "-8192";

/// As long as [`BUSY_TIMEOUT`] in all, for the one step in which SQLite does not wait itself.
const WAL_RETRY_WAIT: Duration = Duration::from_millis(20);
const MAX_WAL_RETRIES: usize = 400;

const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
const READONLY: i32 = 8;

impl SqliteStore {
    /// Opens `file`, the part behind `sqlite:` in the settings, creating it where it is missing.
    /// Without `keys`, the keys in the file beside it encrypt.
    pub(crate) async fn open(
        file: &str,
        keys: Option<GivenKeys>,
        quotas: Quotas,
    ) -> Result<Self, StoreError> {
        let file = Self::absolute(file)?;
        check_folder(&file).await?;
        create_private(&file).await?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            // Explicit: with less, the last commits before a power cut are lost, and with them
            // subscriptions that were confirmed.
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        prepare(&file, &options).await?;
        // One writer: writes of this process queue here, in order, instead of competing for
        // SQLite's lock. Readers never wait for it.
        let readers = options.clone().pragma("query_only", "ON");
        // A batch of the attempt log touches more pages than the cache holds. Each is written once,
        // at the end, and not whenever another one needs its place: some megabytes for a moment.
        let writer = options.pragma("cache_spill", "OFF").pragma("cache_size", WRITER_CACHE);
        let (writer, readers) = (pool(1, writer), pool(MAX_READERS, readers));
        let used = ask("reading which keys encrypt", readers.acquire());
        let used = used_keys::<SqliteFile>(&mut *used.await?).await?;
        let keys = keys.map_or_else(|| GivenKeys::beside(&file, used.is_empty()), Ok)?;
        let backend = SqliteFile { writer, readers };
        let store = Self::new(keys.keyring(&used)?, quotas, backend);
        store.adopt(&used, &keys).await?;
        Ok(store)
    }

    /// True if opening the file would change nothing in it; it is not created.
    pub(crate) async fn is_current(file: &str) -> Result<bool, StoreError> {
        let file = Self::absolute(file)?;
        if !tokio::fs::try_exists(&file).await.unwrap_or(false) {
            return Ok(false);
        }
        let options = SqliteConnectOptions::new().filename(&file).busy_timeout(BUSY_TIMEOUT);
        let explained = |error| about_file(&file, error);
        let opening = ask("opening", options.connect()).await;
        let mut connection = opening.map_err(explained)?;
        let found = async {
            refuse_foreign(&file, &mut connection).await?;
            is_current(&mut connection).await
        };
        let found = found.await.map_err(explained);
        ask("closing after opening", connection.close()).await.and(found)
    }

    /// Refuses a `file` that is not there; if that cannot be known, opening it says why.
    pub(crate) async fn refuse_absent(file: &str) -> Result<(), StoreError> {
        let file = Self::absolute(file)?;
        let exists = tokio::fs::try_exists(&file).await.unwrap_or(true);
        if exists { Ok(()) } else { Err(StoreError::Absent { file }) }
    }

    /// Accepts `homing.db`, `/var/lib/homing.db` and both after `//`.
    pub(crate) fn absolute(file: &str) -> Result<PathBuf, StoreError> {
        let wrong = |message| StoreError::Settings(SettingsError::value("store.url", message));
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file.starts_with(':') {
            return Err(wrong("needs a file, sqlite:homing.db: memory forgets at the end"));
        }
        if file.contains(['?', '\0']) {
            return Err(wrong("takes a file name only, without `?` and parameters"));
        }
        std::path::absolute(file)
            .map_err(|source| StoreError::Folder { file: PathBuf::from(file), source })
    }
}

/// Connections are opened when needed, and never again create the file.
///
/// A connection that is still in a transaction is closed: where SQLite itself ends a transaction
/// (the disk is full), the client library still counts it and refuses all that follow.
fn pool(max_connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    PoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(DEADLINE)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut SqliteConnection, _| {
            Box::pin(async move {
                // When it answers, everything sent before is done, such as a rollback.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

async fn check_folder(file: &Path) -> Result<(), StoreError> {
    let refused = |source| StoreError::Folder { file: file.to_owned(), source };
    let folder = file.parent().ok_or_else(|| refused(io::ErrorKind::IsADirectory.into()))?;
    let metadata = tokio::fs::metadata(folder).await.map_err(refused)?;
    if !metadata.is_dir() {
        return Err(refused(io::ErrorKind::NotADirectory.into()));
    }
    Ok(())
}

/// Creates the file, which will hold secrets, readable by its owner only; SQLite gives its log the
/// same mode. An existing file keeps its mode.
async fn create_private(file: &Path) -> Result<(), StoreError> {
    let mut options = tokio::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(file).await {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let source = sqlx::Error::Io(error);
            Err(StoreError::NotWritable { file: file.to_owned(), source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Brings the file to the state that the pools expect.
async fn prepare(file: &Path, options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let explained = |error| about_file(file, error);
    let opening = options.clone().create_if_missing(true);
    let mut connection = ask("opening", opening.connect()).await.map_err(explained)?;
    let prepared = async {
        refuse_foreign(file, &mut connection).await?;
        let is_current = is_current(&mut connection).await?;
        turn_on_wal(&mut connection).await?;
        // Usually nothing is to be done; then no lock is taken, which others may hold for long.
        if is_current { Ok(()) } else { migrate(&mut connection).await }
    };
    let prepared = prepared.await.map_err(explained);
    ask("closing after opening", connection.close()).await.and(prepared)
}

/// Refuses a database that has another program's mark, or tables and no mark.
async fn refuse_foreign(file: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mark = sqlx::query_scalar::<_, i64>(
        "SELECT application_id FROM pragma_application_id \
         WHERE application_id <> 0 OR EXISTS (SELECT 1 FROM sqlite_schema)",
    );
    match ask("reading whose database it is", mark.fetch_optional(connection)).await? {
        None | Some(APPLICATION_ID) => Ok(()),
        Some(_) => Err(StoreError::Foreign { file: file.to_owned() }),
    }
}

/// True if the schema is the one that this homing knows; refuses that of a newer one.
async fn is_current(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let applied = async {
        let table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
        if !sqlx::query_scalar(table).fetch_one(&mut *connection).await? {
            return Ok(Vec::new());
        }
        sqlx::query_as(APPLIED).fetch_all(&mut *connection).await
    };
    schema::is_current(&ask("reading the schema version", applied).await?, &MIGRATIONS)
}

/// Turns on the write-ahead log; the file remembers this. While several processes open a new file,
/// SQLite reports it as locked to all but one, without waiting.
async fn turn_on_wal(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    async fn turn_on(
        connection: &mut SqliteConnection,
    ) -> (&mut SqliteConnection, Result<(), StoreError>) {
        let wal = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection);
        let done = ask("turning on the write-ahead log", wal).await.map(drop);
        (connection, done)
    }
    let retries = ConstantBuilder::new().with_delay(WAL_RETRY_WAIT).with_max_times(MAX_WAL_RETRIES);
    turn_on
        .retry(retries)
        .context(connection)
        .when(|error| matches!(error, StoreError::Busy { .. }))
        .await
        .1
}

/// All or nothing, and one process at a time: the write lock is taken first, since sqlx takes none
/// for SQLite. Without a deadline: half a migration is worth nothing, however long it takes.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let begun = connection.begin_with(SqliteFile::DIALECT.begin_write);
    let mut transaction = ask("locking for the schema", begun).await?;
    // Not `run`: its future is only `Send` for some lifetimes.
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|source| StoreError::Migrate(Box::new(source)))?;
    ask("keeping the schema", transaction.commit()).await
}

/// Turns the database's error about the file into one that says what to do about it.
fn about_file(file: &Path, error: StoreError) -> StoreError {
    let file = file.to_owned();
    let StoreError::Step { step, source } = error else { return error };
    match primary_code(&source) {
        Some(CANTOPEN | READONLY) => StoreError::NotWritable { file, source },
        Some(NOTADB) => StoreError::NotADatabase { file },
        Some(_) | None => StoreError::Step { step, source },
    }
}

/// [`backend::ask`] without a pool.
async fn ask<T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    backend::ask::<SqliteFile, T>(step, work).await
}
