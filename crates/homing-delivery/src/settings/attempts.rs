//! `[attempts]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::endpoint::PayloadRule;
use homing_domain::settings::{SettingsError, word::word};

/// The extent of the attempt log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptsSettings {
    /// Turns the attempt log on.
    pub enabled: bool,
    /// Records are kept this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub keep: Duration,
    /// At most this many records are kept.
    pub max_rows: u64,
    /// At most this many bytes of a response are kept.
    pub response_bytes: usize,
    /// The attempts whose payloads are kept.
    #[serde(deserialize_with = "word")]
    pub payloads: KeptPayloads,
    /// Of a hundred attempts that succeeded, the payloads of so many are kept as well.
    pub accepted_payloads_percent: u8,
    /// At most this many bytes of each body are kept.
    pub payload_bytes: usize,
    /// At most this many payloads are kept.
    pub max_payloads: u64,
    /// At most this many bytes of payloads are kept.
    pub max_payloads_bytes: u64,
}

/// The attempts whose payloads are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptPayloads {
    /// Those that failed, and a share of the others.
    #[default]
    Failed,
    /// All.
    All,
    /// None.
    None,
}

impl AttemptsSettings {
    const KEEP_MIN: Duration = Duration::from_mins(1);
    /// Ten years.
    const MAX_KEEP: Duration = Duration::from_hours(87_600);
    /// Records wait in memory until they are written, up to some thousands.
    const MAX_RESPONSE_BYTES: usize = 4_096;
    /// A body of a payload; the store takes a payload as one value.
    const MAX_PAYLOAD_BYTES: usize = 1_024 * 1_024;
    /// `keys rotate` reads all of them.
    const MAX_PAYLOADS: u64 = 100_000_000;
    /// One tebibyte.
    const MAX_PAYLOADS_BYTES: u64 = 1 << 40;

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
        if self.accepted_payloads_percent > 100 {
            let key = "attempts.accepted_payloads_percent";
            return Err(SettingsError::value(key, "between 0 and 100"));
        }
        if !(1..=Self::MAX_PAYLOAD_BYTES).contains(&self.payload_bytes) {
            let message = format!("between 1 and {}", Self::MAX_PAYLOAD_BYTES);
            return Err(SettingsError::value("attempts.payload_bytes", message));
        }
        for (key, bound, max) in [
            ("attempts.max_payloads", self.max_payloads, Self::MAX_PAYLOADS),
            ("attempts.max_payloads_bytes", self.max_payloads_bytes, Self::MAX_PAYLOADS_BYTES),
        ] {
            if !(1..=max).contains(&bound) {
                let rest = "to keep no payload, set `attempts.payloads` to none";
                return Err(SettingsError::value(key, format!("between 1 and {max}; {rest}")));
            }
        }
        Ok(())
    }

    /// The attempts whose payloads are kept, and the extent of these.
    #[must_use]
    pub fn payload_rule(&self) -> PayloadRule {
        let max_body_bytes = self.payload_bytes;
        let (failed, accepted_percent) = match self.payloads {
            _ if !self.enabled => (false, 0),
            KeptPayloads::Failed => (true, self.accepted_payloads_percent),
            KeptPayloads::All => (true, 100),
            KeptPayloads::None => (false, 0),
        };
        PayloadRule { failed, accepted_percent, max_body_bytes }
    }
}
