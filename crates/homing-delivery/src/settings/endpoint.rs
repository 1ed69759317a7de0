//! `[endpoint]`

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ports::{self, Ports},
    proxy::{self, ProxyDns, ProxyUrl},
};
use homing_domain::{
    cloud_event::is_source,
    settings::{SettingsError, list, section, word::word},
};

/// The longest deadline. Together with a turn at a held queue it is less than the half hour after
/// which the broker takes a message back (`consumer_timeout`).
const MAX_DEADLINE: Duration = Duration::from_mins(10);

/// The way endpoints are called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// Deadline for one attempt as a whole.
    #[serde(with = "homing_domain::settings::duration")]
    pub deadline: Duration,
    /// Deadline for finding the address, TCP and TLS.
    #[serde(with = "homing_domain::settings::duration")]
    pub connect_deadline: Duration,
    /// Requests in flight at one URL, per worker process.
    pub max_concurrency: usize,
    /// A delivery waits this long for a permit before it goes to a throttle queue.
    #[serde(with = "homing_domain::settings::duration")]
    pub permit_wait: Duration,
    /// At most this many bytes of a response are read.
    pub max_response_bytes: usize,
    /// Networks that may be called although they are private or special.
    #[serde(deserialize_with = "list::texts")]
    pub allow_networks: Vec<String>,
    /// Maximum age of a connection over which a request is sent.
    #[serde(with = "homing_domain::settings::duration")]
    pub max_connection_age: Duration,
    /// Name servers to use instead of the system's, with or without a port.
    #[serde(deserialize_with = "list::texts")]
    pub dns_servers: Vec<String>,
    /// A PEM file with further certificate authorities; empty: none.
    pub ca_file: String,
    /// A PEM file with the client certificate for endpoints; empty: none.
    pub client_certificate_file: String,
    /// A PEM file with its private key.
    pub client_key_file: String,
    /// True if only URLs with `https://` are called.
    pub https_only: bool,
    /// Ports that may be called, `443` or `8000-8999`; empty: all.
    #[serde(deserialize_with = "list::texts")]
    pub allow_ports: Vec<String>,
    /// Ports that are not called, though they are among those.
    #[serde(deserialize_with = "list::texts")]
    pub refuse_ports: Vec<String>,
    /// The URL of a proxy for all requests to endpoints; empty: none. May hold a secret.
    pub proxy: String,
    /// A file with the proxy's `USER:PASSWORD`; empty: none.
    pub proxy_login_file: String,
    /// Hosts, domains and networks that are called without the proxy.
    #[serde(deserialize_with = "list::texts")]
    pub no_proxy: Vec<String>,
    /// The one that looks up the names of endpoints that are called through the proxy.
    #[serde(deserialize_with = "word")]
    pub proxy_dns: ProxyDns,
    /// True if the header `webhook-delivery` of an answer is followed.
    pub delivery_control: bool,
    /// The name by which homing introduces itself to endpoints that are asked for their consent.
    pub origin: String,
    /// The attribute `source` of events that are sent as CloudEvents: a URI reference.
    pub cloudevents_source: String,
}

impl EndpointSettings {
    /// The defaults, overridden by `changes`: TOML lines with keys of the section.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not TOML, a key that does not exist, a value that does not fit.
    pub fn from_toml(changes: &str) -> Result<Self, SettingsError> {
        section(super::DEFAULTS, "endpoint", changes)
    }

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

    /// The name servers of `dns_servers`; none: the system's.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for a text that is not an address.
    pub fn name_servers(&self) -> Result<Vec<SocketAddr>, SettingsError> {
        const PORT: u16 = 53;
        let read = |text: &String| {
            let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
            alone.or_else(|_| text.parse()).map_err(|_| {
                let message = format!("`{text}` is not an address such as 10.0.0.2 or 10.0.0.2:53");
                SettingsError::value("endpoint.dns_servers", message)
            })
        };
        self.dns_servers.iter().map(read).collect()
    }

    /// The ports of `allow_ports` (`None`: all), and those of `refuse_ports`.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for a text that is no port.
    pub(crate) fn ports(&self) -> Result<(Option<Ports>, Ports), SettingsError> {
        let allowed = ports::read("endpoint.allow_ports", &self.allow_ports)?;
        let refused = ports::read("endpoint.refuse_ports", &self.refuse_ports)?;
        Ok((Some(allowed).filter(|allowed| !allowed.is_empty()), refused))
    }

    /// The proxy; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: no URL of a proxy, or no host in `no_proxy`. It repeats no secret.
    pub(crate) fn proxy(&self) -> Result<Option<ProxyUrl>, SettingsError> {
        let has_login_file = !self.proxy_login_file.is_empty();
        self.no_proxy.iter().try_for_each(|host| proxy::check_host(host))?;
        if !self.proxy.is_empty() {
            return proxy::read(&self.proxy, has_login_file).map(Some);
        }
        if has_login_file {
            let message = "`endpoint.proxy` names no proxy that it could be for";
            return Err(SettingsError::value("endpoint.proxy_login_file", message));
        }
        Ok(None)
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.connect_deadline.is_zero() || self.connect_deadline >= self.deadline {
            let message =
                "more than nothing and less than `endpoint.deadline`, of which it is part";
            return Err(SettingsError::value("endpoint.connect_deadline", message));
        }
        if self.deadline > MAX_DEADLINE {
            let message = "at most 10m: the broker takes back what a worker keeps for half an hour";
            return Err(SettingsError::value("endpoint.deadline", message));
        }
        if !(1..=10_000).contains(&self.max_concurrency) {
            return Err(SettingsError::value("endpoint.max_concurrency", "between 1 and 10000"));
        }
        if self.max_connection_age.is_zero() {
            return Err(SettingsError::value("endpoint.max_connection_age", "more than nothing"));
        }
        if !is_source(&self.cloudevents_source) {
            let message = "a URI reference such as `https://example.com/shop` or `/shop`";
            return Err(SettingsError::value("endpoint.cloudevents_source", message));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if self.origin.is_empty() || !self.origin.chars().all(is_name) {
            let message = "a name in DNS such as hooks.example.com";
            return Err(SettingsError::value("endpoint.origin", message));
        }
        let parts = [
            self.name_servers().map(drop),
            self.networks().map(drop),
            self.ports().map(drop),
            self.proxy().map(drop),
        ];
        SettingsError::all(parts.into_iter().filter_map(Result::err).collect())
    }
}
