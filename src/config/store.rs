//! `[store]`

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// Where subscriptions are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:<file>`
    pub url: String,
}

impl StoreSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.url.strip_prefix("sqlite:").is_none_or(str::is_empty) {
            return Err(SettingsError::value("store.url", "write it as sqlite:homing.db"));
        }
        Ok(())
    }
}
