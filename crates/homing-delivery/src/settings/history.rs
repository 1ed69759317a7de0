//! `[history]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;

/// The extent of the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySettings {
    /// Turns the history on.
    pub enabled: bool,
    /// Hours and topics are kept this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub keep: Duration,
    /// At most this many rows of an hour are kept.
    pub max_rows: u64,
    /// URLs, and topics, that a worker counts by name in an hour.
    pub max_names: usize,
    /// Topics that are distinguished in all.
    pub max_topics: u32,
}

impl HistorySettings {
    /// Two whole hours are there at any time.
    const MIN_KEEP: Duration = Duration::from_hours(2);
    /// Ten years.
    const MAX_KEEP: Duration = Duration::from_hours(87_600);

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(Self::MIN_KEEP..=Self::MAX_KEEP).contains(&self.keep) {
            return Err(SettingsError::value("history.keep", "between 2h and 10 years"));
        }
        if !(1_000..=100_000_000).contains(&self.max_rows) {
            let message = "between 1000 and 100000000; to keep none, set `history.enabled`";
            return Err(SettingsError::value("history.max_rows", message));
        }
        if !(1..=100_000).contains(&self.max_names) {
            return Err(SettingsError::value("history.max_names", "between 1 and 100000"));
        }
        if !(1..=1_000_000).contains(&self.max_topics) {
            return Err(SettingsError::value("history.max_topics", "between 1 and 1000000"));
        }
        Ok(())
    }
}
