//! `[held]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;

/// The queues in which deliveries wait for their endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldSettings {
    /// URLs whose deliveries can be held at a time, each in a queue of its own.
    pub queues: u16,
    /// A delivery waits for its endpoint for as long as its schedule is long, and at least this long.
    #[serde(with = "homing_domain::settings::duration")]
    pub min_hold: Duration,
}

impl HeldSettings {
    /// Each is a quorum queue, with a process and files at every member.
    const MAX_QUEUES: u16 = 256;

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.queues > Self::MAX_QUEUES {
            return Err(SettingsError::value("held.queues", "at most 256"));
        }
        Ok(())
    }
}
