//! The failures of a proxy, and the one that each of them is charged to.
//!
//! | the proxy … | failure of | what follows |
//! |---|---|---|
//! | cannot be reached, is silent, refuses the login (407, 401), speaks another protocol | the proxy | wait, and ask it once a second |
//! | answers CONNECT with another 5xx, or 429; SOCKS5 with 1; ends the connection | the proxy | wait |
//! | answers CONNECT with another 3xx or 4xx; SOCKS5 with 2, 7, 8 | its rules | next step of the schedule |
//! | answers CONNECT with 502 or 504, or says that the host is at fault; SOCKS5 with 3, 4, 5, 6 | the endpoint | a failed attempt |
//! | answers CONNECT with 200, and the host speaks first | the endpoint | a failed attempt |
//!
//! Only the last one is charged to anyone. Sources: RFC 9110, 15.5.8, 15.6.3, 15.6.5; RFC 9209,
//! 2.3; RFC 1928, 6. Squid 5 answers 503 for every host that it does not reach, and says so in
//! `X-Squid-Error`; tinyproxy 1.11 answers 500, with *Unable to connect* in the status line.

use homing_domain::outcome::{Obstacle, Outcome, Phase};

use crate::endpoint::client::BoxError;

/// A failure of a proxy, or its answer that there is no connection to a host.
#[derive(Debug, thiserror::Error)]
pub(in crate::endpoint) enum ProxyError {
    /// No connection to it.
    #[error("the proxy (`endpoint.proxy`) cannot be reached")]
    Unreachable(#[source] BoxError),
    /// No answer in time.
    #[error("the proxy (`endpoint.proxy`) does not answer")]
    Silent,
    /// The user or the password is wrong or missing.
    #[error("the proxy (`endpoint.proxy`) refuses user and password ({0}); set them there")]
    Login(String),
    /// It is none, or one of another kind.
    #[error("what `endpoint.proxy` names is no such proxy: {0}")]
    Protocol(String),
    /// It has failed less than a second ago.
    #[error("{0}")]
    Down(String),
    /// It fails with this request.
    #[error("the proxy (`endpoint.proxy`) fails: {0}")]
    Failed(String),
    /// Its rules do not allow this host.
    #[error("the proxy (`endpoint.proxy`) refuses to connect to this host: {0}")]
    Refused(String),
    /// It cannot reach the host.
    #[error("the proxy cannot reach the endpoint: {said}")]
    Target {
        /// Its answer.
        said: String,
        /// The outcome for the endpoint.
        fault: Fault,
    },
    /// The host sends something as soon as there is a tunnel, which no server of HTTP does, with TLS
    /// or without.
    #[error("the endpoint sends something before it is asked")]
    SpeaksFirst,
}

/// The reason for which a proxy does not reach a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Fault {
    NoAddress,
    NoRoute,
    Refused,
    TimedOut,
    Tls,
    /// Another one, or not known.
    Lost,
}

impl ProxyError {
    /// The outcome, if the endpoint is at fault.
    pub(in crate::endpoint) fn outcome(&self) -> Option<Outcome> {
        let not_http = Outcome::Unreachable { kind: Obstacle::NotHttp };
        let Self::Target { fault, .. } = self else {
            return matches!(self, Self::SpeaksFirst).then_some(not_http);
        };
        let kind = match fault {
            Fault::TimedOut => return Some(Outcome::TimedOut { phase: Phase::Connect }),
            Fault::NoAddress => Obstacle::Dns,
            Fault::NoRoute => Obstacle::NoRoute,
            Fault::Refused => Obstacle::ConnectionRefused,
            Fault::Tls => Obstacle::Tls,
            Fault::Lost => Obstacle::ConnectionLost,
        };
        Some(Outcome::Unreachable { kind })
    }

    /// True if its rules do not allow this host, which only an operator can change.
    pub(in crate::endpoint) fn is_rule(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// True if the next request fails as well, whatever its host is.
    pub(super) fn concerns_all(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent | Self::Login(_) | Self::Protocol(_) => true,
            Self::Down(_)
            | Self::Failed(_)
            | Self::Refused(_)
            | Self::Target { .. }
            | Self::SpeaksFirst => false,
        }
    }

    /// True if another address of the host may do.
    pub(super) fn is_of_address(&self) -> bool {
        matches!(self, Self::Target { .. } | Self::Refused(_))
    }

    /// The host did not answer in time, and the proxy did.
    pub(super) fn target_timed_out() -> Self {
        Self::Target {
            said: "no connection within the deadline".to_owned(),
            fault: Fault::TimedOut,
        }
    }
}
