//! Opens a store by its settings.

use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::postgres;
use super::{Store, StoreError, key_source::GivenKeys, sqlite, subscriptions::Quotas};
use crate::settings::{StoreSettings, StoreUrl};

/// Opens the store that `settings` name; creates it or brings its schema up to date.
///
/// # Errors
///
/// [`StoreError`]: no such backend, no place to write, not ours, or of a newer homing.
///
/// # Cancel safety
///
/// Cancel safe: the schema is changed completely or not at all.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    let place = settings.place().map_err(StoreError::Settings)?;
    let keys = GivenKeys::configured(settings)?;
    let quotas = Quotas::from(settings);
    Ok(match place {
        StoreUrl::Sqlite(file) => Arc::new(sqlite::SqliteStore::open(file, keys, quotas).await?),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(url) => {
            let keys = (keys.ok_or(StoreError::NoKey)?, quotas);
            Arc::new(postgres::PostgresStore::open(&url, settings.max_connections, keys).await?)
        }
    })
}

/// True if there is a store whose schema is the one that this homing knows, so that opening it
/// changes nothing.
///
/// # Errors
///
/// [`StoreError`]: no such backend, not ours, or of a newer homing.
///
/// # Cancel safety
///
/// Cancel safe: only reads.
pub async fn is_current(settings: &StoreSettings) -> Result<bool, StoreError> {
    match settings.place().map_err(StoreError::Settings)? {
        StoreUrl::Sqlite(file) => sqlite::SqliteStore::is_current(file).await,
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(url) => postgres::is_current(&url).await,
    }
}

/// As [`open`], for what others have put into the store: a file that is not there is not created.
///
/// # Errors
///
/// As [`open`], and [`StoreError::Absent`]. Cancel safe as that.
pub async fn open_existing(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    match settings.place().map_err(StoreError::Settings)? {
        StoreUrl::Sqlite(file) => sqlite::SqliteStore::refuse_absent(file).await?,
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(_) => {}
    }
    open(settings).await
}

/// The place of the store for display: the whole path of its file, or the URL of its database
/// without password and parameters.
#[must_use]
pub fn location(settings: &StoreSettings) -> String {
    match settings.place() {
        Ok(StoreUrl::Sqlite(file)) => sqlite::SqliteStore::absolute(file)
            .map_or_else(|_| settings.url.clone(), |path| path.display().to_string()),
        #[cfg(feature = "postgres")]
        Ok(StoreUrl::Postgres(url)) => postgres::location(&url),
        Err(_) => String::new(),
    }
}
