//! The reasons for making no attempt.

use hyper::http::uri::InvalidUri;

use super::{client::BoxError, describe::describe, oauth2::TokenError};
use homing_domain::subscription::{FieldError, UnfitEvent};

/// The reason for making no attempt: our own fault, never the endpoint's.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A header that HTTP cannot carry. Permanent.
    #[error("header `{name}` cannot be sent: its name or value is not one")]
    Header {
        /// The header's name.
        name: String,
    },
    /// An event that does not fit the subscription's form. Permanent.
    #[error("the event cannot be sent in the subscription's form")]
    Unfit(#[source] UnfitEvent),
    /// A message in the subscription's form that is larger than its event may be. Permanent.
    #[error(
        "in Workfront's form it has {bytes} bytes, and a message has at most {max} \
         (`worker.max_event_bytes`)"
    )]
    TooLarge {
        /// The bytes of the message.
        bytes: usize,
        /// The most that a message has.
        max: usize,
    },
    /// A key in place of the URL. Permanent.
    #[error("`{0}` is the key of another pool's jobs, and no URL that a webhook can be sent to")]
    Key(String),
    /// A URL that HTTP cannot carry. Permanent.
    #[error("the subscription's URL cannot be called: give it another one")]
    Url(#[source] InvalidUri),
    /// The client rejects this request. Permanent.
    #[error("the request cannot be sent")]
    Unsendable(#[source] BoxError),
    /// A client certificate that cannot be presented. Permanent.
    #[error("the client certificate cannot be presented: {0}")]
    Certificate(FieldError),
    /// There is no OAuth 2.0 token for the endpoint. May pass.
    #[error("no OAuth 2.0 token: {0}")]
    Token(TokenError),
    /// No file descriptors or memory left for a connection. May pass.
    #[error("this process has no resources left for a connection")]
    Resources(#[source] BoxError),
    /// The name was not looked up: no name server is available, or too many lookups are running.
    /// May pass.
    #[error("the name was not looked up ({})", describe(&**.0))]
    Lookup(BoxError),
    /// The proxy fails. What was under way may have reached the endpoint. May pass.
    #[error("{}", describe(&**.0))]
    Proxy(BoxError),
    /// The rules of the proxy do not allow the host. Permanent.
    #[error("{}", describe(&**.0))]
    ProxyRefuses(BoxError),
}

impl RequestError {
    /// True if the error may pass by itself, soon.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Token(_) | Self::Resources(_) | Self::Lookup(_) | Self::Proxy(_) => true,
            Self::Header { .. }
            | Self::Unfit(_)
            | Self::TooLarge { .. }
            | Self::Key(_)
            | Self::Url(_)
            | Self::Certificate(_)
            | Self::ProxyRefuses(_)
            | Self::Unsendable(_) => false,
        }
    }
}
