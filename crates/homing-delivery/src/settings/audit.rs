//! `[audit]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;

/// The extent of the audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    /// Records are kept this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub keep: Duration,
    /// At most this many records are kept.
    pub max_rows: u64,
}

impl AuditSettings {
    const KEEP_MIN: Duration = Duration::from_hours(24);
    /// A hundred years.
    const MAX_KEEP: Duration = Duration::from_hours(876_000);

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(Self::KEEP_MIN..=Self::MAX_KEEP).contains(&self.keep) {
            return Err(SettingsError::value("audit.keep", "between 1 day and 100 years"));
        }
        if !(1_000..=100_000_000).contains(&self.max_rows) {
            return Err(SettingsError::value("audit.max_rows", "between 1000 and 100000000"));
        }
        Ok(())
    }
}
