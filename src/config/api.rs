//! `[api]`

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use homing_domain::settings::{SettingsError, address, list, word::word};

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
    /// The name of the installation; empty: none.
    pub name: String,
    /// The colour of the dashboard.
    #[serde(deserialize_with = "word")]
    pub colour: Colour,
    /// The `customerId` of the Workfront-compatible API.
    pub customer_id: String,
}

/// A colour that distinguishes an installation from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// That of every installation.
    #[default]
    #[serde(rename = "")]
    None,
    /// `blue`
    Blue,
    /// `green`
    Green,
    /// `amber`
    Amber,
    /// `red`
    Red,
    /// `violet`
    Violet,
    /// `grey`
    Grey,
}

impl Colour {
    /// As in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
            Self::Violet => "violet",
            Self::Grey => "grey",
        }
    }
}

impl ApiSettings {
    const MAX_NAME_CHARS: usize = 40;
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
        let is_line = !self.name.chars().any(char::is_control);
        if !is_line || self.name.chars().count() > Self::MAX_NAME_CHARS {
            let message = format!("one line of at most {} characters", Self::MAX_NAME_CHARS);
            return Err(SettingsError::value("api.name", message));
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
