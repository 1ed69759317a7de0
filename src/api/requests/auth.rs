//! Authentication of requests: a token, whose scope allows the request, or a request of this
//! machine while there is no token.

use axum::{
    extract::{Request, State},
    http::HeaderName,
    middleware::Next,
    response::Response,
};

use crate::web::{
    AppState,
    acting::identify,
    auth::{Bearer, peer, token},
    local::foreign,
    problem::{Kind, Problem},
};
use homing_domain::{
    api_token::{Scope, TokenName},
    audit::Via,
};

/// Lets authorised requests pass.
pub(crate) async fn guard(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let via = if is_workfronts(&request) { Via::Workfront } else { Via::Api };
    match app.tokens.bearer(shown(&request), peer(&request)).await {
        Bearer::Anyone => {
            if let Some(sign) = foreign(&request) {
                let detail = format!(
                    "{sign}; with an API token (`homing tokens create`) homing accepts requests from \
                     elsewhere"
                );
                return Err(Problem::new(Kind::Forbidden, detail));
            }
            identify(&mut request, via, None);
        }
        Bearer::Known(holder) => {
            check_scope(&request, holder.scope, holder.name.as_ref())?;
            identify(&mut request, via, Some(&holder));
            request.extensions_mut().insert(holder.caller());
        }
        Bearer::Slowed(wait) => {
            let seconds = wait.as_secs().saturating_add(1);
            let detail = format!(
                "too many wrong tokens came from your address; this one was not checked, send it \
                 again in {seconds} s"
            );
            return Err(Problem::new(Kind::Slowed, detail));
        }
        Bearer::Unknown => {
            let detail = "send an API token as `Authorization: Bearer <token>`; `homing tokens create` \
                          adds one";
            return Err(Problem::new(Kind::Unauthorized, detail));
        }
    }
    Ok(next.run(request).await)
}

/// Tokens and Workfront's API are for administrators alone. Source: Adobe Workfront, *Event
/// subscription API*, event subscription authentication.
fn check_scope(request: &Request, scope: Scope, name: Option<&TokenName>) -> Result<(), Problem> {
    let (is_safe, is_workfronts) = (request.method().is_safe(), is_workfronts(request));
    let is_guarded = is_workfronts || is_about_tokens(request);
    let needed = if is_safe && !is_guarded { Scope::Read } else { Scope::Write };
    if scope.covers(needed) {
        return Ok(());
    }
    let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
    let elsewhere = if is_workfronts && is_safe {
        "; `/v1/subscriptions` shows them to a token of scope `read`"
    } else {
        ""
    };
    let detail =
        format!("the token{name} has scope `{scope}`; this needs scope `{needed}`{elsewhere}");
    Err(Problem::new(Kind::Forbidden, detail))
}

/// The addresses of Workfront's API.
pub(crate) const WORKFRONT: &str = "/attask/eventsubscription/api/v1/subscriptions";
/// The address of the tokens.
const TOKENS: &str = "/v1/tokens";
/// The headers in which clients of Workfront's API send their session, here an API token; the
/// second one may come with a token of something else.
const SESSION_ID: HeaderName = HeaderName::from_static("sessionid");
const USER_TOKEN: HeaderName = HeaderName::from_static("x-user-token");

/// True for a request in the form of Workfront's.
fn is_workfronts(request: &Request) -> bool {
    request.uri().path().starts_with(WORKFRONT)
}

/// True for a request about the tokens of the API.
fn is_about_tokens(request: &Request) -> bool {
    let path = request.uri().path();
    path.strip_prefix(TOKENS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The token that a request shows.
fn shown(request: &Request) -> Option<&[u8]> {
    let session = |name| {
        let session = request.headers().get(name).filter(|_| is_workfronts(request));
        session.map(|session| session.as_bytes().trim_ascii()).filter(|shown| !shown.is_empty())
    };
    session(SESSION_ID).or_else(|| token(request)).or_else(|| session(USER_TOKEN))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Method};

    use super::*;

    #[test]
    fn who_may_only_read_changes_nothing() {
        let allowed = |method, scope| {
            let request = Request::builder().method(method).uri("/v1/subscriptions");
            check_scope(&request.body(Body::empty()).unwrap(), scope, None).is_ok()
        };
        assert!(allowed(Method::GET, Scope::Read) && allowed(Method::HEAD, Scope::Read));
        for method in [Method::POST, Method::PATCH, Method::DELETE, Method::PUT] {
            assert!(!allowed(method.clone(), Scope::Read), "{method}");
            assert!(allowed(method, Scope::Write));
        }
    }

    #[test]
    fn workfronts_api_needs_the_scope_of_an_administrator() {
        let request = Request::get(WORKFRONT).body(Body::empty()).unwrap();
        assert!(check_scope(&request, Scope::Write, None).is_ok());
        assert!(check_scope(&request, Scope::Read, None).is_err());
    }

    #[test]
    fn tokens_are_shown_to_administrators_alone() {
        for (path, may_read) in
            [("/v1/tokens", false), ("/v1/tokens/ci", false), ("/v1/topics", true)]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert!(check_scope(&request, Scope::Write, None).is_ok());
            assert_eq!(check_scope(&request, Scope::Read, None).is_ok(), may_read, "{path}");
        }
    }

    #[test]
    fn a_session_is_a_token_where_workfronts_api_is_spoken() {
        let of = |path: &str| {
            let request =
                Request::get(path).header("sessionID", " abc ").header("authorization", "Bearer x");
            shown(&request.body(Body::empty()).unwrap()).unwrap().to_vec()
        };
        assert_eq!(of("/attask/eventsubscription/api/v1/subscriptions?page=1"), b"abc");
        assert_eq!(of("/v1/queues"), b"x");
        let token = Request::get(WORKFRONT).header("sessionID", "").header("X-User-Token", "abc");
        assert_eq!(shown(&token.body(Body::empty()).unwrap()), Some(&b"abc"[..]));
    }
}
