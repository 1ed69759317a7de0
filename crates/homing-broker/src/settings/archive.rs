//! `[archive]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::topology::Retention;
use homing_domain::settings::{SettingsError, section};

/// The archive: a stream at the broker that keeps what was published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSettings {
    /// Turns the archive on.
    pub enabled: bool,
    /// Events are kept this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub keep: Duration,
    /// At most this many bytes are kept on each node that has a copy.
    pub max_bytes: u64,
}

impl ArchiveSettings {
    const KEEP_MIN: Duration = Duration::from_secs(60);
    const MAX_KEEP: Duration = Duration::from_hours(24 * 366);
    /// Four of the smallest segments, which the broker removes as a whole.
    const MIN_BYTES: u64 = 16 * 1_024 * 1_024;
    const MAX_BYTES: u64 = 16 * 1_024 * 1_024 * 1_024 * 1_024;

    /// The defaults, changed by `changes`: TOML lines with keys of the section.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not TOML, a key that does not exist, a value that does not fit.
    pub fn from_toml(changes: &str) -> Result<Self, SettingsError> {
        section(super::DEFAULTS, "archive", changes)
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(Self::KEEP_MIN..=Self::MAX_KEEP).contains(&self.keep) {
            return Err(SettingsError::value("archive.keep", "between 1 minute and 366 days"));
        }
        if !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&self.max_bytes) {
            let message = "between 16777216 (16 MiB) and 17592186044416 (16 TiB); to keep \
                           nothing, set `archive.enabled`";
            return Err(SettingsError::value("archive.max_bytes", message));
        }
        Ok(())
    }

    /// The bounds of the stream; `None`: there is no archive.
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        let Self { enabled, keep, max_bytes } = *self;
        enabled.then_some(Retention { keep, max_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_archive_unless_it_is_turned_on() {
        let off = ArchiveSettings::from_toml("").expect("the defaults");
        assert_eq!(off.retention(), None);
        off.check().expect("they make sense");
        let on = ArchiveSettings::from_toml("enabled = true").expect("a setting");
        let keep = Duration::from_hours(24);
        assert_eq!(on.retention(), Some(Retention { keep, max_bytes: 1 << 30 }));
    }

    #[test]
    fn an_archive_without_bounds_is_refused() {
        for wrong in ["keep = \"59s\"", "keep = \"367d\"", "max_bytes = 1048576"] {
            let settings = ArchiveSettings::from_toml(wrong).expect("a setting");
            assert!(settings.check().is_err(), "{wrong}");
        }
    }
}
