//! The outcome of one attempt.
//!
//! Outcomes are the endpoint's actions. What *homing* could not do (build a request, read the
//! store) is an error, never an outcome, and costs the endpoint nothing.

use std::{fmt, time::Duration};

/// The outcome of one attempt. Unknown is never success: there is no other variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx answer, read within the deadline.
    Accepted {
        /// The HTTP status.
        status: u16,
    },
    /// Any other answer, redirects included.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The time that `Retry-After` requested, on the statuses with which it counts.
        retry_after: Option<Duration>,
    },
    /// No complete answer within the deadline.
    TimedOut {
        /// The phase of the attempt.
        phase: Phase,
    },
    /// No answer at all.
    Unreachable {
        /// The obstacle.
        kind: Obstacle,
    },
    /// The handler of another job than webhooks succeeded.
    Done,
    /// The handler of another job failed; it may succeed later.
    Failed {
        /// The handler's reason.
        why: String,
    },
    /// The handler of another job cancelled it.
    Cancelled {
        /// The handler's reason.
        why: String,
    },
}

/// The phase that an attempt was in at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name, the TCP and the TLS handshake.
    Connect,
    /// The status line and headers.
    Headers,
    /// The rest of the response.
    Body,
}

/// The reason for the lack of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The name has no address.
    Dns,
    /// The address is one that homing does not call (`endpoint.allow_networks`).
    AddressNotAllowed,
    /// Nothing listens there.
    ConnectionRefused,
    /// The connection broke before the answer was complete.
    ConnectionLost,
    /// No network path.
    NoRoute,
    /// The TLS handshake failed.
    Tls,
    /// The answer is not HTTP.
    NotHttp,
}

impl Outcome {
    /// True if the endpoint accepted the event.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        match self {
            Self::Accepted { .. } | Self::Done => true,
            Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. } => false,
        }
    }

    /// The HTTP status, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted { status } | Self::Refused { status, .. } => Some(*status),
            Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::Done
            | Self::Failed { .. }
            | Self::Cancelled { .. } => None,
        }
    }

    /// The outcome without its details: `accepted`, `refused`, `timed_out`, `unreachable`.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Accepted { .. } | Self::Done => "accepted",
            Self::Refused { .. } | Self::Failed { .. } | Self::Cancelled { .. } => "refused",
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// The form in headers, logs and lists: `refused 503`, `timed_out headers`, `unreachable dns`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class();
        match self {
            Self::Accepted { status } | Self::Refused { status, .. } => {
                write!(f, "{class} {status}")
            }
            Self::TimedOut { phase } => write!(f, "{class} {phase}"),
            Self::Unreachable { kind } => write!(f, "{class} {kind}"),
            Self::Done => f.write_str("done"),
            Self::Failed { why } => write!(f, "failed: {why}"),
            Self::Cancelled { why } => write!(f, "cancelled: {why}"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Headers => "headers",
            Self::Body => "body",
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionLost => "connection_lost",
            Self::NoRoute => "no_route",
            Self::Tls => "tls",
            Self::NotHttp => "not_http",
        })
    }
}
