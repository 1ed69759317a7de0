//! `[api]`

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{SettingsError, list};

/// Where the HTTP API listens, and to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    /// Address and port.
    pub listen: SocketAddr,
    /// Bearer tokens that are accepted beside those in the store; they may write.
    #[serde(deserialize_with = "list::texts")]
    pub tokens: Vec<String>,
    /// Told as `customerId` where the API speaks as Workfront does.
    pub customer_id: String,
}

impl ApiSettings {
    const TOKEN_BYTES_MIN: usize = 16;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.tokens.iter().any(|token| token.len() < Self::TOKEN_BYTES_MIN) {
            let message = format!("a token has at least {} bytes", Self::TOKEN_BYTES_MIN);
            return Err(SettingsError::value("api.tokens", message));
        }
        Ok(())
    }
}
