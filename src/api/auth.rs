//! Who may ask: whoever shows a token, or, without tokens, whoever sits at this machine.
//!
//! Without tokens the API listens on loopback only, where the browser of a person on this machine
//! can still be made to ask on behalf of a web page. A name that an attacker rebinds to 127.0.0.1
//! is told by the `Host` header, a form sent by a foreign page by its `Origin`.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{
        header::{AUTHORIZATION, HOST, ORIGIN},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{
    Api,
    problem::{Kind, Problem},
};

/// The configured tokens, as digests: all of the same length, so that comparing tells nothing.
pub(super) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(super) fn new(tokens: &[String]) -> Self {
        Self(tokens.iter().map(|token| Sha256::digest(token).into()).collect())
    }

    /// Compares with all of them, whichever fits first.
    fn accept(&self, shown: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        let fits = |any: Choice, token: &[u8; 32]| any | token.ct_eq(&digest);
        self.0.iter().fold(Choice::from(0), fits).into()
    }
}

/// Lets a request pass that may ask.
pub(super) async fn guard(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if api.tokens.0.is_empty() {
        check_is_local(&request)?;
    } else if !token(&request).is_some_and(|shown| api.tokens.accept(shown)) {
        let detail = "show one of `api.tokens` as `Authorization: Bearer <token>`";
        return Err(Problem::new(Kind::Unauthorized, detail));
    }
    Ok(next.run(request).await)
}

fn token(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn check_is_local(request: &Request) -> Result<(), Problem> {
    let refused = |what: String| {
        let detail = format!("{what}; configure `api.tokens` to be asked from elsewhere");
        Err(Problem::new(Kind::Forbidden, detail))
    };
    let named = request.headers().get_all(HOST).iter().filter_map(|host| host.to_str().ok());
    let named = named.filter_map(|host| host.parse::<Authority>().ok());
    let hosts: Vec<_> = request.uri().authority().cloned().into_iter().chain(named).collect();
    let Some(host) = hosts.first() else {
        return refused("the request names no host".to_owned());
    };
    if let Some(foreign) = hosts.iter().find(|host| !is_loopback(host.host())) {
        return refused(format!("`{}` is not a name of this machine", foreign.host()));
    }
    let origin = request.headers().get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_scheme, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
    };
    match origin {
        Some(origin) if !own(origin) => refused("the request comes from another page".to_owned()),
        Some(_) | None => Ok(()),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/v1/queues");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn any_configured_token_is_accepted_and_no_other() {
        let tokens = Tokens::new(&["first-token-0123".to_owned(), "other-token-0123".to_owned()]);
        assert!(tokens.accept(b"first-token-0123"));
        assert!(tokens.accept(b"other-token-0123"));
        assert!(!tokens.accept(b"first-token-012"));
        assert!(!tokens.accept(b""));
        assert!(!Tokens::new(&[]).accept(b""));
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(token(&asked(&[("authorization", "Bearer abc")])), Some(&b"abc"[..]));
        assert_eq!(token(&asked(&[("authorization", "bearer  abc ")])), Some(&b"abc"[..]));
        assert_eq!(token(&asked(&[("authorization", "Basic abc")])), None);
        assert_eq!(token(&asked(&[("authorization", "é")])), None);
        assert_eq!(token(&asked(&[])), None);
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_answered() {
        let answered = |host| check_is_local(&asked(&[("host", host)])).is_ok();
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:80"] {
            assert!(answered(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", ""] {
            assert!(!answered(host), "{host}");
        }
        assert!(check_is_local(&asked(&[])).is_err());
        assert!(
            check_is_local(&asked(&[("host", "localhost"), ("host", "evil.example")])).is_err()
        );
    }

    #[test]
    fn without_tokens_foreign_pages_are_not_answered() {
        let host = ("host", "127.0.0.1:8080");
        let answered = |origin| check_is_local(&asked(&[host, ("origin", origin)])).is_ok();
        assert!(answered("http://127.0.0.1:8080"));
        for origin in ["null", "http://127.0.0.1:3000", "https://evil.example", "é", ""] {
            assert!(!answered(origin), "{origin}");
        }
    }
}
