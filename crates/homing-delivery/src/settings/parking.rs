//! `[parking]`

use serde::{Deserialize, Serialize};

use homing_domain::settings::SettingsError;
use homing_store::ParkedBounds;

/// Bounds of the parked deliveries in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParkingSettings {
    /// Deliveries at most.
    pub max_rows: u64,
    /// Bytes of their messages at most, compressed.
    pub max_bytes: u64,
}

impl ParkingSettings {
    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.max_rows > 100_000_000 {
            return Err(SettingsError::value("parking.max_rows", "at most 100000000"));
        }
        if self.max_bytes > 1 << 44 {
            return Err(SettingsError::value(
                "parking.max_bytes",
                "at most 17592186044416 (16 TiB)",
            ));
        }
        Ok(())
    }

    /// The same for the store.
    #[must_use]
    pub fn bounds(&self) -> ParkedBounds {
        ParkedBounds { rows: self.max_rows, bytes: self.max_bytes }
    }
}
