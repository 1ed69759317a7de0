//! Refusals of the broker: its reply decides what homing reports, and is always shown.
//!
//! Source: the texts of RabbitMQ 3.10.8 and 4.0.5; `tests/it/refusals.rs` provokes each of them.

use std::fmt;

use lapin::{
    ErrorKind,
    protocol::{AMQPHardError, AMQPSoftError},
};

use crate::settings::{BrokerUrl, Login};

/// The reply with which the broker closed a channel or a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Such as 403.
    pub code: u16,
    /// Such as `ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'`.
    pub text: String,
}

impl Reply {
    /// The reply in `error`, if that is one of the broker's.
    pub(super) fn of(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::ProtocolError(error) = error.kind() else { return None };
        Some(Self { code: error.get_id(), text: error.get_message().as_str().to_owned() })
    }

    /// Returns true if it has this code.
    pub(super) fn has_code(&self, soft: &AMQPSoftError) -> bool {
        self.code == soft.get_id()
    }

    /// Returns true if something exists with other arguments than requested, which can never
    /// change.
    pub(super) fn is_other_arguments(&self) -> bool {
        self.has_code(&AMQPSoftError::PRECONDITIONFAILED) && self.text.contains("inequivalent arg")
    }

    /// Returns true if the connection ended because the client wrote to a channel that had ended: it
    /// answers the end of a channel before it writes the messages that wait for that channel, and
    /// takes those back too late. Nothing else on the connection was at fault.
    ///
    /// Source: lapin 4.12, `frames.rs` (`close-ok` goes before publishes).
    pub(super) fn is_of_the_client(&self) -> bool {
        self.code == AMQPHardError::CHANNELERROR.get_id() && self.text.contains("channel.open")
    }

    /// Returns true if it is a limit of this broker, virtual host or user.
    pub(super) fn is_limit(&self) -> bool {
        ["limit", "maximum allowed"].iter().any(|word| self.text.contains(word))
            && (self.has_code(&AMQPSoftError::PRECONDITIONFAILED) || self.code == NOT_ALLOWED)
    }

    /// Returns true if the request needs a feature flag that is disabled.
    pub(super) fn is_disabled_feature(&self) -> bool {
        self.text.contains("feature flag is disabled")
    }

    /// Returns true if the broker has no exchange of the requested type: a plugin is disabled.
    pub(super) fn is_unknown_exchange_type(&self) -> bool {
        self.text.contains("exchange type")
    }

    /// Returns true if there is no queue of that name; other reasons have the same code.
    pub(super) fn is_unknown_queue(&self) -> bool {
        self.has_code(&AMQPSoftError::NOTFOUND) && self.text.contains("no queue '")
    }

    /// Advice for the operator.
    pub(super) fn advice(&self) -> &'static str {
        if self.is_limit() {
            "; raise that limit: rabbitmq/README.md says what an installation needs"
        } else if self.has_code(&AMQPSoftError::ACCESSREFUSED) {
            "; rabbitmq/README.md says which permissions an account needs"
        } else {
            ""
        }
    }

    /// The reply without addresses, names and users, fit for anyone to see.
    pub(super) fn summary(&self) -> &'static str {
        if self.is_limit() {
            return "a limit of the broker is reached (queues, connections or channels)";
        }
        match self.code {
            403 => "the broker account lacks a permission (403)",
            404 => "a queue or exchange is missing at the broker (404)",
            405 => "something else has locked a queue at the broker (405)",
            406 => "the broker refuses arguments or a message (406)",
            530 => "the broker does not allow this (530)",
            541 => "the broker failed by itself (541)",
            _ => "the broker refused this",
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

/// Source: AMQP 0-9-1, *not-allowed*; RabbitMQ refuses virtual hosts and connections with it.
const NOT_ALLOWED: u16 = 530;

/// Reasons why the broker refuses a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// User or password is wrong, or the user may not connect from here.
    Login {
        /// From the URL.
        user: String,
    },
    /// The client certificate names no user.
    Certificate,
    /// There is no such virtual host.
    UnknownVhost {
        /// From the URL.
        vhost: String,
    },
    /// The user may not enter the virtual host.
    NoAccess {
        /// From the URL.
        user: String,
        /// From the URL.
        vhost: String,
    },
    /// The limit of connections is reached.
    Limit,
    /// Another reason, which the reply contains.
    Other,
}

impl Denial {
    pub(super) fn new(url: &BrokerUrl, reply: &Reply) -> Self {
        let user = || url.user().to_owned();
        let vhost = || url.vhost.clone();
        if reply.has_code(&AMQPSoftError::ACCESSREFUSED) {
            return match url.login {
                Login::Password { .. } => Self::Login { user: user() },
                Login::Certificate => Self::Certificate,
            };
        }
        if reply.code != NOT_ALLOWED {
            return Self::Other;
        }
        if reply.is_limit() {
            Self::Limit
        } else if reply.text.contains(&format!("vhost {} not found", url.vhost)) {
            Self::UnknownVhost { vhost: vhost() }
        } else if reply.text.contains("access to vhost") {
            Self::NoAccess { user: user(), vhost: vhost() }
        } else {
            Self::Other
        }
    }

    /// The refusal without names, fit for anyone to see.
    pub(super) fn summary(&self) -> &'static str {
        match self {
            Self::Login { .. } | Self::Certificate => "the broker refuses the login",
            Self::UnknownVhost { .. } => "the virtual host does not exist at the broker",
            Self::NoAccess { .. } => "the broker account may not enter the virtual host",
            Self::Limit => "a limit of connections is reached at the broker",
            Self::Other => "the broker refuses the connection",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { user } => {
                write!(f, "refuses user `{user}`; check user and password in `broker.url`")
            }
            Self::Certificate => f.write_str(
                "finds no user for the client certificate; its name must be that of a user, see \
                 `ssl_cert_login_from` of the broker",
            ),
            Self::UnknownVhost { vhost } => write!(
                f,
                "has no virtual host `{vhost}`; check `broker.url`, or create it with \
                 `rabbitmqctl add_vhost`"
            ),
            Self::NoAccess { user, vhost } => write!(
                f,
                "does not let user `{user}` into virtual host `{vhost}`; allow it with \
                 `rabbitmqctl set_permissions`"
            ),
            Self::Limit => f.write_str(
                "takes no more connections; raise that limit: rabbitmq/README.md says what an \
                 installation needs",
            ),
            Self::Other => f.write_str("refuses the connection"),
        }
    }
}
