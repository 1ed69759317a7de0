//! `[store]`

use serde::{Deserialize, Serialize};

use super::{SettingsError, list};
use crate::domain::encryption_key::{EncryptionKey, EncryptionKeyError};

/// Where subscriptions are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:<file>`
    pub url: String,
    /// Keys that encrypt secrets at rest: the first encrypts, all decrypt.
    #[serde(deserialize_with = "list::texts")]
    pub encryption_keys: Vec<String>,
    /// A file with such keys, one a line; empty: none.
    pub encryption_key_file: String,
}

impl StoreSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.url.strip_prefix("sqlite:").is_none_or(str::is_empty) {
            return Err(SettingsError::value("store.url", "write it as sqlite:homing.db"));
        }
        if !self.encryption_keys.is_empty() && !self.encryption_key_file.is_empty() {
            let message = "set either `store.encryption_keys` or this, not both";
            return Err(SettingsError::value("store.encryption_key_file", message));
        }
        self.keys().map(drop).map_err(|error| SettingsError::value("store.encryption_keys", error))
    }

    /// The keys that are written in the settings themselves.
    ///
    /// # Errors
    ///
    /// [`EncryptionKeyError`]: one of them is none.
    pub fn keys(&self) -> Result<Vec<EncryptionKey>, EncryptionKeyError> {
        self.encryption_keys.iter().map(|key| EncryptionKey::try_from(key.as_str())).collect()
    }
}
