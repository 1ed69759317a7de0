//! `[attempts]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;

/// The extent of the attempt log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptsSettings {
    /// Turns the attempt log on.
    pub enabled: bool,
    /// Records are kept this long.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// At most this many records are kept.
    pub max_rows: u64,
    /// At most this many bytes of a response are kept.
    pub response_bytes: usize,
}

impl AttemptsSettings {
    const KEEP_MIN: Duration = Duration::from_mins(1);
    /// Ten years.
    const MAX_KEEP: Duration = Duration::from_hours(87_600);
    /// Records wait in memory until they are written, up to some thousands.
    const MAX_RESPONSE_BYTES: usize = 4_096;

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(Self::KEEP_MIN..=Self::MAX_KEEP).contains(&self.keep) {
            return Err(SettingsError::value("attempts.keep", "between 1m and 10 years"));
        }
        if !(1_000..=100_000_000).contains(&self.max_rows) {
            let message = "between 1000 and 100000000; to log nothing, set `attempts.enabled`";
            return Err(SettingsError::value("attempts.max_rows", message));
        }
        if self.response_bytes > Self::MAX_RESPONSE_BYTES {
            let message = format!("at most {}", Self::MAX_RESPONSE_BYTES);
            return Err(SettingsError::value("attempts.response_bytes", message));
        }
        Ok(())
    }
}
