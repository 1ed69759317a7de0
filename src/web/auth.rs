//! Authentication: a request needs a token whose scope allows it. While there is no token at all,
//! only loopback requests are accepted.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{Extensions, header::AUTHORIZATION},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{connections::Peer, guesses::Guesses};
use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest, TokenName},
    audit::Actor,
};
use homing_store::Store;

/// The delay until a deleted token is refused, and a new one is accepted.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// For the store to answer; until it does, the tokens known before stay valid.
const STORE_DEADLINE: Duration = Duration::from_secs(1);

/// The tokens of the settings and of the store.
pub(crate) struct Tokens {
    /// `api.tokens`, all of which may write.
    configured: Vec<TokenDigest>,
    stored: Mutex<Stored>,
    store: Arc<dyn Store>,
    /// True if only this machine can reach the API.
    on_loopback: bool,
    guesses: Guesses,
}

struct Stored {
    tokens: Vec<ApiToken>,
    read: Instant,
}

/// The sender of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// There are no tokens.
    Anyone,
    /// Shows a token that is known.
    Known(Holder),
    /// Shows none, or an unknown one.
    Unknown,
    /// Shows one after so many wrong ones that none is checked for this time.
    Slowed(Duration),
}

/// A client with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The scope of the token.
    pub(crate) scope: Scope,
    /// The token's name, if it is one of the store's.
    pub(crate) name: Option<TokenName>,
    digest: TokenDigest,
}

/// The identity of a client: the text is the same for requests with the same token, and differs
/// from that of every other token. Empty: there are no tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller(String);

impl Caller {
    /// The client of a request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Holder {
    /// Its name in the audit.
    pub(crate) fn shown_name(&self) -> String {
        self.name.as_ref().map_or_else(|| Actor::CONFIGURED.to_owned(), TokenName::as_actor)
    }

    /// Its identity. A name has no `=`.
    pub(crate) fn caller(&self) -> Caller {
        Caller(match &self.name {
            Some(name) => name.to_string(),
            None => format!("={}", STANDARD.encode(self.digest.as_bytes())),
        })
    }
}

impl Tokens {
    /// `stored` are those in `store` at this moment.
    pub(crate) fn new(
        configured: &[String],
        stored: Vec<ApiToken>,
        store: Arc<dyn Store>,
        on_loopback: bool,
    ) -> Self {
        let configured = configured.iter().map(|token| TokenDigest::of(token.as_bytes())).collect();
        let stored = Mutex::new(Stored { tokens: stored, read: Instant::now() });
        Self { configured, stored, store, on_loopback, guesses: Guesses::default() }
    }

    /// The holder of `shown`. Wrong tokens are counted if their address is known.
    pub(crate) async fn bearer(&self, shown: Option<&[u8]>, from: Option<IpAddr>) -> Bearer {
        let mut stored = self.stored.lock().await;
        if stored.read.elapsed() > KNOWN_FOR {
            // Those who depend on the store report that it is away.
            if let Ok(Ok(tokens)) = timeout(STORE_DEADLINE, self.store.tokens()).await {
                stored.tokens = tokens;
            }
            stored.read = Instant::now();
        }
        match shown {
            _ if self.configured.is_empty() && stored.tokens.is_empty() && self.on_loopback => {
                Bearer::Anyone
            }
            Some(shown) => self.guess(&stored.tokens, shown, from),
            None => Bearer::Unknown,
        }
    }

    fn guess(&self, stored: &[ApiToken], shown: &[u8], from: Option<IpAddr>) -> Bearer {
        let digest = TokenDigest::of(shown);
        let Some(from) = from else { return recognise(&self.configured, stored, digest) };
        if let Err(wait) = self.guesses.check(from, digest) {
            self.guesses.wrong(from, false);
            return Bearer::Slowed(wait);
        }
        let bearer = recognise(&self.configured, stored, digest);
        match bearer {
            Bearer::Known(_) => self.guesses.right(from, digest),
            Bearer::Anyone | Bearer::Unknown | Bearer::Slowed(_) => self.guesses.wrong(from, true),
        }
        bearer
    }
}

/// Compares with all digests, whichever fits first, so that the time reveals nothing.
fn recognise(configured: &[TokenDigest], stored: &[ApiToken], digest: TokenDigest) -> Bearer {
    let known = |scope, name| Bearer::Known(Holder { scope, name, digest });
    let fits = |token: &TokenDigest| bool::from(token.as_bytes().ct_eq(digest.as_bytes()));
    let mut bearer = Bearer::Unknown;
    for token in stored {
        if fits(&token.digest) {
            bearer = known(token.scope, Some(token.name.clone()));
        }
    }
    for token in configured {
        if fits(token) {
            bearer = known(Scope::Write, None);
        }
    }
    bearer
}

/// The address that a request came from.
#[must_use]
pub(crate) fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|Peer(address)| *address)
}

/// The token of a request's header `Authorization`.
#[must_use]
pub(crate) fn token(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use homing_domain::time::UnixMillis;

    fn with_headers(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/v1/queues");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn any_token_is_recognised_and_no_other() {
        let digest = |text: &str| TokenDigest::of(text.as_bytes());
        let configured = [digest("first-token-0123"), digest("other-token-0123")];
        let reader = ApiToken {
            name: "grafana".parse().unwrap(),
            digest: digest("homing_x"),
            scope: Scope::Read,
            created: UnixMillis::new(0),
        };
        let stored = [reader.clone()];
        let who = |shown: &[u8]| recognise(&configured, &stored, TokenDigest::of(shown));
        let known =
            |scope, name, shown| Bearer::Known(Holder { scope, name, digest: digest(shown) });
        assert_eq!(who(b"first-token-0123"), known(Scope::Write, None, "first-token-0123"));
        assert_eq!(who(b"other-token-0123"), known(Scope::Write, None, "other-token-0123"));
        assert_eq!(who(b"homing_x"), known(Scope::Read, Some(reader.name), "homing_x"));
        for shown in [&b"first-token-012"[..], b"", b"homing_"] {
            assert_eq!(who(shown), Bearer::Unknown);
        }
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(token(&with_headers(&[("authorization", "Bearer abc")])), Some(&b"abc"[..]));
        assert_eq!(token(&with_headers(&[("authorization", "bearer  abc ")])), Some(&b"abc"[..]));
        assert_eq!(token(&with_headers(&[("authorization", "Basic abc")])), None);
        assert_eq!(token(&with_headers(&[("authorization", "é")])), None);
        assert_eq!(token(&with_headers(&[])), None);
    }
}
