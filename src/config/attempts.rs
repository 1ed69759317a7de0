//! `[attempts]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// What the attempt log keeps, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptsSettings {
    /// Whether attempts are logged at all.
    pub enabled: bool,
    /// How long a record is kept.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How many records are kept.
    pub rows_max: u64,
    /// How much of a response is kept, in bytes.
    pub response_bytes: usize,
}

impl AttemptsSettings {
    const KEEP_MIN: Duration = Duration::from_mins(1);
    /// Ten years.
    const KEEP_MAX: Duration = Duration::from_hours(87_600);
    /// Records wait in memory until they are written, up to some thousands.
    const RESPONSE_BYTES_MAX: usize = 4_096;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !(Self::KEEP_MIN..=Self::KEEP_MAX).contains(&self.keep) {
            return Err(SettingsError::value("attempts.keep", "between 1m and 10 years"));
        }
        if !(1_000..=100_000_000).contains(&self.rows_max) {
            let message = "between 1000 and 100000000; to log nothing, set `attempts.enabled`";
            return Err(SettingsError::value("attempts.rows_max", message));
        }
        if self.response_bytes > Self::RESPONSE_BYTES_MAX {
            let message = format!("at most {}", Self::RESPONSE_BYTES_MAX);
            return Err(SettingsError::value("attempts.response_bytes", message));
        }
        Ok(())
    }
}
