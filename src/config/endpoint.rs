//! `[endpoint]`

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{SettingsError, list};

/// How endpoints are called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// For one attempt as a whole.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// For finding the address, TCP and TLS.
    #[serde(with = "humantime_serde")]
    pub connect_deadline: Duration,
    /// Requests in flight at one URL, per worker process.
    pub concurrency_max: usize,
    /// How long a delivery waits for its turn before it goes to a busy lane.
    #[serde(with = "humantime_serde")]
    pub busy_wait: Duration,
    /// How much of a response is read, in bytes.
    pub response_bytes_max: usize,
    /// Networks that are called although they are private or special.
    #[serde(deserialize_with = "list::texts")]
    pub allow_networks: Vec<String>,
    /// A PEM file with further certificate authorities; empty: none.
    pub ca_file: String,
}

impl EndpointSettings {
    /// The networks of `allow_networks`.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for a text that is not a network.
    pub fn networks(&self) -> Result<Vec<IpNet>, SettingsError> {
        self.allow_networks
            .iter()
            .map(|text| {
                text.parse().map_err(|_| {
                    let message = format!("`{text}` is not a network such as 10.1.0.0/16");
                    SettingsError::value("endpoint.allow_networks", message)
                })
            })
            .collect()
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.connect_deadline.is_zero() || self.connect_deadline >= self.deadline {
            let message =
                "more than nothing and less than `endpoint.deadline`, of which it is part";
            return Err(SettingsError::value("endpoint.connect_deadline", message));
        }
        if !(1..=10_000).contains(&self.concurrency_max) {
            return Err(SettingsError::value("endpoint.concurrency_max", "between 1 and 10000"));
        }
        self.networks().map(drop)
    }
}
