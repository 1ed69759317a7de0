//! `[api]`

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use homing_domain::settings::{SettingsError, address, list};

/// The address of the HTTP API, and its clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    /// Address and port.
    #[serde(deserialize_with = "address::socket")]
    pub listen: SocketAddr,
    /// Bearer tokens that are accepted beside those in the store; they may write.
    #[serde(deserialize_with = "list::texts")]
    pub tokens: Vec<String>,
    /// Connections that one IPv4 address, or one IPv6 network of 64 bits, has at most.
    pub max_connections_per_address: usize,
    /// The `customerId` of the Workfront-compatible API.
    pub customer_id: String,
}

impl ApiSettings {
    const TOKEN_BYTES_MIN: usize = 16;
    /// The default of `customer_id`.
    const NO_CUSTOMER: &str = "00000000000000000000000000000000";
    /// The limit of all addresses together.
    const MAX_CONNECTIONS: usize = 512;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.tokens.iter().any(|token| token.len() < Self::TOKEN_BYTES_MIN) {
            let message = format!("a token has at least {} bytes", Self::TOKEN_BYTES_MIN);
            return Err(SettingsError::value("api.tokens", message));
        }
        if !(1..=Self::MAX_CONNECTIONS).contains(&self.max_connections_per_address) {
            let message = format!("between 1 and {}", Self::MAX_CONNECTIONS);
            return Err(SettingsError::value("api.max_connections_per_address", message));
        }
        if cfg!(not(feature = "workfront")) && self.customer_id != Self::NO_CUSTOMER {
            return Err(SettingsError::not_built("api.customer_id", "Workfront API", "workfront"));
        }
        Ok(())
    }
}
