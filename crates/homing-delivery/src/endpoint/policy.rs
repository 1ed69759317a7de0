//! The URLs that the settings allow to call, whatever their addresses are.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{
    EndpointSetupError,
    address::{allowed, literal},
    client::BoxError,
    resolve::ResolveError,
};
use crate::settings::{EndpointSettings, Ports};
use homing_domain::{
    subscription::{FieldError, MAX_DEADLINE},
    url::EndpointUrl,
};

/// The limits that the settings set to subscriptions.
#[derive(Clone, Debug)]
pub struct Policy {
    https_only: bool,
    /// `None`: all ports.
    allowed: Option<Ports>,
    refused: Ports,
    connect_deadline: Duration,
}

/// The reason why a URL is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCalled {
    /// It does not begin with `https://`.
    #[error("only https:// is called (endpoint.https_only)")]
    NotHttps,
    /// Its port is not among those that may be called.
    #[error("port {0} is not called (endpoint.allow_ports)")]
    PortNotAllowed(u16),
    /// Its port is refused.
    #[error("port {0} is not called (endpoint.refuse_ports)")]
    PortRefused(u16),
}

impl Policy {
    /// The policy of `settings`.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError::Settings`].
    pub fn new(settings: &EndpointSettings) -> Result<Self, EndpointSetupError> {
        let (allowed, refused) = settings.ports().map_err(EndpointSetupError::Settings)?;
        let (https_only, connect_deadline) = (settings.https_only, settings.connect_deadline);
        Ok(Self { https_only, allowed, refused, connect_deadline })
    }

    /// Checks that `url` may be called. A key of other jobs than webhooks always may.
    ///
    /// # Errors
    ///
    /// [`NotCalled`].
    pub fn check(&self, url: &EndpointUrl) -> Result<(), NotCalled> {
        let url = url.url();
        if self.https_only && url.scheme() == "http" {
            return Err(NotCalled::NotHttps);
        }
        let Some(port) = url.port_or_known_default() else { return Ok(()) };
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contain(port)) {
            return Err(NotCalled::PortNotAllowed(port));
        }
        if self.refused.contain(port) { Err(NotCalled::PortRefused(port)) } else { Ok(()) }
    }

    /// As [`check`](Self::check), about the field of a subscription.
    ///
    /// # Errors
    ///
    /// [`FieldError`].
    pub fn check_field(&self, url: &EndpointUrl) -> Result<(), FieldError> {
        self.check(url).map_err(|why| FieldError::new("url", why))
    }

    /// Checks a deadline of a subscription's own: connecting is a part of it.
    ///
    /// # Errors
    ///
    /// [`FieldError`].
    pub fn check_deadline(&self, deadline: Option<Duration>) -> Result<(), FieldError> {
        if deadline.is_none_or(|deadline| deadline > self.connect_deadline) {
            return Ok(());
        }
        let message = format!(
            "more than {} s (`endpoint.connect_deadline`, which is part of it), and at most {} s",
            self.connect_deadline.as_secs_f64(),
            MAX_DEADLINE.as_secs()
        );
        Err(FieldError::new("deadline", message))
    }
}

/// Decides which URLs are called, as far as that needs no lookup: names are checked where they are
/// resolved.
#[derive(Clone)]
pub(super) struct Permitted {
    policy: Policy,
    networks: Arc<[IpNet]>,
}

impl Permitted {
    /// URLs by the policy of `settings`, with addresses that are public or in `networks`.
    pub(super) fn new(
        settings: &EndpointSettings,
        networks: Arc<[IpNet]>,
    ) -> Result<Self, EndpointSetupError> {
        Ok(Self { policy: Policy::new(settings)?, networks })
    }

    /// The reason why `url` is not called.
    pub(super) fn refusal(&self, url: &EndpointUrl) -> Option<BoxError> {
        if let Err(refused) = self.policy.check(url) {
            return Some(refused.into());
        }
        let address = literal(url.url())?;
        let is_refused = !allowed(address, &self.networks);
        is_refused.then(|| ResolveError::NotAllowed(address).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(settings: &str) -> Policy {
        Policy::new(&EndpointSettings::from_toml(settings).unwrap()).unwrap()
    }

    fn refusal(policy: &Policy, url: &str) -> Option<String> {
        policy.check(&url.parse().unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn scheme_and_port_decide() {
        let open = policy("");
        for url in ["http://a/", "https://a:22/", "http://a:1/"] {
            assert_eq!(refusal(&open, url), None, "{url}");
        }
        let strict = policy(
            "https_only = true\nallow_ports = [\"443\", \"8000-8999\"]\nrefuse_ports = [\"8080\"]",
        );
        assert_eq!(refusal(&strict, "https://a/"), None);
        assert_eq!(refusal(&strict, "https://a:8443/"), None);
        let said = |url| refusal(&strict, url).unwrap();
        assert!(said("http://a/").contains("endpoint.https_only"));
        assert!(said("https://a:22/").contains("22 is not called (endpoint.allow_ports)"));
        assert!(said("https://a:8080/").contains("8080 is not called (endpoint.refuse_ports)"));
        let key = EndpointUrl::target("mailer").unwrap();
        assert_eq!(strict.check(&key), Ok(()));
    }

    #[test]
    fn a_deadline_has_time_to_connect() {
        let policy = policy("");
        assert_eq!(policy.check_deadline(None), Ok(()));
        assert_eq!(policy.check_deadline(Some(Duration::from_secs(5))), Ok(()));
        let error = policy.check_deadline(Some(Duration::from_secs(4))).unwrap_err();
        assert_eq!(error.field, "deadline");
    }
}
