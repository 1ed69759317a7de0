//! `[ledger]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;

/// The extent of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// Turns the ledger on.
    pub enabled: bool,
    /// Publishes an event for each hour that is over.
    pub events: bool,
    /// Hours are kept this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub keep: Duration,
    /// At most this many rows are kept: one for each subscription, hour and worker.
    pub max_rows: u64,
}

impl LedgerSettings {
    const KEEP_MIN: Duration = Duration::from_hours(24);
    /// A year; as much as one request reads.
    const MAX_KEEP: Duration = Duration::from_hours(24 * 366);

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(Self::KEEP_MIN..=Self::MAX_KEEP).contains(&self.keep) {
            return Err(SettingsError::value("ledger.keep", "between 1 day and 366 days"));
        }
        if !(1_000..=100_000_000).contains(&self.max_rows) {
            let message = "between 1000 and 100000000; to keep none, set `ledger.enabled`";
            return Err(SettingsError::value("ledger.max_rows", message));
        }
        Ok(())
    }
}
