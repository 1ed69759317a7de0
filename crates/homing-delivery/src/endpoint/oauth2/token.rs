//! A token in memory, and the reason for having none.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use homing_domain::{subscription::OAuth2Credentials, url::EndpointUrl};

/// A token is renewed in the last part of its lifetime: one tenth of it, but at most …
const LAST_PART: u32 = 10;
/// … this.
const MAX_LAST: Duration = Duration::from_mins(5);
/// A token is not sent any more in the last part of the time that its server gives it: servers count
/// in whole seconds, and the request is under way for a while. A fourth of it, but at most …
const LEEWAY_PART: u32 = 4;
/// … this.
const MAX_LEEWAY: Duration = Duration::from_secs(2);

/// An access token. No `Debug`: it is a secret.
pub(in crate::endpoint) struct Token {
    text: String,
    /// That of the store's row; 0 and more without one.
    pub(super) generation: i64,
    received: Instant,
    /// Its age when it was received here.
    age: Duration,
    renew: Instant,
    expires: Instant,
}

impl Token {
    /// A token of this age that expires in `left`.
    pub(super) fn new(text: String, generation: i64, age: Duration, left: Duration) -> Self {
        let received = Instant::now();
        let last = (age.saturating_add(left) / LAST_PART).min(MAX_LAST);
        let left = left.saturating_sub((left / LEEWAY_PART).min(MAX_LEEWAY));
        let (renew, expires) = (received + left.saturating_sub(last), received + left);
        Self { text, generation, received, age, renew, expires }
    }

    /// The token itself: for the request, never for a log.
    pub(in crate::endpoint) fn reveal(&self) -> &str {
        &self.text
    }

    /// The value of `Authorization`. A secret. Source: RFC 6750, 2.1.
    pub(in crate::endpoint) fn authorization(&self) -> String {
        format!("Bearer {}", self.text)
    }

    /// The time since it was obtained.
    pub(super) fn age(&self) -> Duration {
        self.age.saturating_add(self.received.elapsed())
    }
}

/// The state of the token for some credentials.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) token: Option<Arc<Token>>,
    /// An endpoint does not accept it any more.
    pub(super) is_refused: bool,
    /// The last request for the next one failed.
    pub(super) failure: Option<Failure>,
}

/// A token request that failed.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) error: TokenError,
    /// The next one is due then.
    pub(super) until: Instant,
    /// Those that have failed since the last token.
    pub(super) count: u32,
}

impl State {
    pub(super) fn of(token: Token) -> Self {
        Self { token: Some(Arc::new(token)), ..Self::default() }
    }

    /// The token, if it can be sent. One that an endpoint refuses is sent to others until the next
    /// one is there, or is not obtained.
    pub(super) fn usable(&self, now: Instant) -> Option<&Arc<Token>> {
        let is_over = self.is_refused && self.failure.is_some();
        self.token.as_ref().filter(|token| !is_over && token.expires > now)
    }

    /// The failure, while it is waited out.
    pub(super) fn failing(&self, now: Instant) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| failure.until > now)
    }

    /// True if the next token is to be asked for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_due = self.usable(now).is_none_or(|token| token.renew <= now);
        (is_due || self.is_refused) && self.failing(now).is_none()
    }
}

/// The reason for having no token: never the endpoint's fault. Has no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(Arc<str>);

impl TokenError {
    /// The reason `what` about the token endpoint of `credentials`.
    pub(super) fn new(credentials: &OAuth2Credentials, what: &str) -> Self {
        Self(format!("{}: {what}", shown(credentials)).into())
    }

    /// A reason that another worker noted.
    pub(super) fn noted(text: String) -> Self {
        Self(text.into())
    }

    pub(super) fn pending(credentials: &OAuth2Credentials) -> Self {
        Self::new(credentials, "there was no answer yet")
    }
}

/// The token endpoint, without the query of its URL.
pub(super) fn shown(credentials: &OAuth2Credentials) -> String {
    let url = credentials.token_url.parse::<EndpointUrl>();
    url.map_or_else(|_| "`token_url`".to_owned(), |url| url.to_string())
}
