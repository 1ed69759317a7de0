//! Authentication of visitors, and the security headers of every page.
//!
//! As with the API, a visitor needs a token whose scope allows the request, here mostly through a
//! session with a cookie; while there is no token at all, only loopback requests are accepted. A
//! form is accepted only from homing's own pages, by `Sec-Fetch-Site` or `Origin`; in addition,
//! browsers send the cookie only with requests of this site.
//!
//! Source: Fetch Metadata Request Headers (W3C) 2.4; RFC 6265bis 5.6.5 (`Secure`), 5.6.7
//! (`SameSite`); Content Security Policy Level 3 (W3C).

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, ORIGIN, REFERRER_POLICY, SET_COOKIE,
        },
    },
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    fields::Fields,
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::link,
};
use crate::web::{
    App, AppState,
    acting::identify,
    auth::{Bearer, Holder, peer, token},
    local::{comes_from_another_page, foreign},
    sessions::LASTS,
    uploads::UploadError,
};
use homing_domain::{
    api_token::Scope,
    audit::{Actor, Via},
};

const COOKIE_NAME: &str = "homing_session";
/// Size of the largest form with a token.
const MAX_LOGIN_BYTES: usize = 4 * 1_024;
/// Size of the largest form; filters and headers of a subscription are the most.
const MAX_FORM_BYTES: usize = 256 * 1_024;
/// Only homing's own files, and nothing inline; forms only to homing; no frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The token that a visitor shows, if there is one.
#[derive(Clone)]
pub(super) struct Shown(Option<Vec<u8>>);

impl Shown {
    /// True if the token is still known; a deleted one is not.
    pub(super) async fn is_known(&self, app: &App) -> bool {
        match app.tokens.bearer(self.0.as_deref(), None).await {
            Bearer::Anyone | Bearer::Known(_) => true,
            Bearer::Unknown | Bearer::Slowed(_) => false,
        }
    }
}

/// Lets a request pass if the visitor's scope allows it.
pub(super) async fn guard(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let session = session(&app, request.headers());
    let in_header = token(&request).map(<[u8]>::to_vec);
    // A session is no guess.
    let from = in_header.as_ref().and_then(|_| peer(&request));
    let shown = in_header.or_else(|| session.as_ref().map(|(_, token)| token.clone()));
    let (scope, logged_in, holder) = match app.tokens.bearer(shown.as_deref(), from).await {
        Bearer::Anyone => {
            if let Some(what) = foreign(&request) {
                let why = format!(
                    "{what}. With an API token (`homing tokens create`) homing can be used from elsewhere."
                );
                return Err(ErrorPage::forbidden(why).into_response());
            }
            (Scope::Write, false, None)
        }
        Bearer::Known(holder) => (holder.scope, session.is_some(), Some(holder)),
        Bearer::Slowed(_) => return Err(slowed().into_response()),
        Bearer::Unknown => {
            if let Some((id, _)) = session.filter(|_| from.is_none()) {
                app.sessions.end(&id);
            }
            return Err(to_login(&request));
        }
    };
    let name = holder.as_ref().map_or_else(|| Actor::LOOPBACK.to_owned(), Holder::shown_name);
    let visitor = Visitor {
        name: Some(name.into()),
        may_write: scope.covers(Scope::Write),
        logged_in,
        ..Visitor::unknown(&app)
    };
    if !request.method().is_safe() {
        check_may_post(&request, &visitor).map_err(|error| {
            let mut refused = error.into_response();
            refused.extensions_mut().insert(visitor.clone());
            refused
        })?;
    }
    identify(&mut request, Via::Dashboard, holder.as_ref());
    request.extensions_mut().insert(visitor.clone());
    request.extensions_mut().insert(Shown(shown));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(visitor);
    Ok(response)
}

/// Refuses a form of another site, or of a visitor who may only read.
fn check_may_post(request: &Request, visitor: &Visitor) -> Result<(), ErrorPage> {
    check_is_ours(request)?;
    let leaves = request.uri().path() == "/logout";
    if visitor.may_write || leaves {
        return Ok(());
    }
    Err(ErrorPage::forbidden("Your token has scope `read`, which allows no changes."))
}

/// Refuses a form that was not sent by one of homing's pages. Every browser sends one of the two
/// headers; clients without them are no browsers, and have the API.
fn check_is_ours(request: &Request) -> Result<(), ErrorPage> {
    let site = request.headers().get(SEC_FETCH_SITE);
    let has_origin = request.headers().contains_key(ORIGIN);
    let is_ours = match site {
        Some(site) => site == "same-origin" && !comes_from_another_page(request),
        None => has_origin && !comes_from_another_page(request),
    };
    if is_ours {
        return Ok(());
    }
    Err(ErrorPage::forbidden(
        "This form was not sent by a page of homing. Open the page again and press the button there; \
         programs use the API.",
    ))
}

/// Redirects a page to the login, and back afterwards; everything else fails.
fn to_login(request: &Request) -> Response {
    if request.method() == Method::GET && !request.uri().path().starts_with("/live/") {
        let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
        return Redirect::to(&link("/login", [("next", wanted)])).into_response();
    }
    ErrorPage::new(StatusCode::UNAUTHORIZED, "Log in again; nothing was changed.").into_response()
}

/// The session of a request and the token that was shown in it.
fn session(app: &App, headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let id = cookie(headers)?;
    let token = app.sessions.token(&id)?;
    Some((id, token))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then(|| value.to_owned())
    })
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    layout: Layout,
    next: &'a str,
    wrong: bool,
}

/// Asks for a token, unless none is needed.
pub(super) async fn login_page(
    State(app): State<AppState>,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let next = destination(fields.text("next"));
    let shown = session(&app, &headers).map(|(_, token)| token);
    match app.tokens.bearer(shown.as_deref(), None).await {
        Bearer::Anyone | Bearer::Known(_) => Redirect::to(next).into_response(),
        Bearer::Unknown | Bearer::Slowed(_) => {
            page(&LoginPage { layout: Layout::closed("Log in", &app), next, wrong: false })
        }
    }
}

/// Begins a session with a known token.
pub(super) async fn login(
    State(app): State<AppState>,
    request: Request,
) -> Result<Response, ErrorPage> {
    check_is_ours(&request)?;
    let (request, _upload) = app.uploads.received(request, MAX_LOGIN_BYTES).await?;
    let (attributes, from) = (attributes(request.headers()), peer(&request));
    let fields = <Fields as axum::extract::FromRequest<_>>::from_request(request, &()).await?;
    let next = destination(fields.text("next"));
    let token = fields.text("token").as_bytes();
    match app.tokens.bearer(Some(token), from).await {
        Bearer::Known(_) => {}
        Bearer::Slowed(_) => return Err(slowed()),
        Bearer::Anyone | Bearer::Unknown => {
            let wrong = LoginPage { layout: Layout::closed("Log in", &app), next, wrong: true };
            return Ok((StatusCode::UNAUTHORIZED, page(&wrong)).into_response());
        }
    }
    let id = app
        .sessions
        .begin(token)
        .map_err(|error| ErrorPage::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let lasts = LASTS.as_secs();
    let cookie = format!("{COOKIE_NAME}={id}; {attributes}; Max-Age={lasts}");
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// Ends the session.
pub(super) async fn logout(State(app): State<AppState>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie(&headers) {
        app.sessions.end(&id);
    }
    let cookie = format!("{COOKIE_NAME}=; {}; Max-Age=0", attributes(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// The attributes of the cookie. A page that the browser loaded over HTTPS gets a cookie for HTTPS
/// only: the form's `Origin` shows that, and so may the proxy that terminates TLS. A false claim
/// only makes the cookie stricter.
fn attributes(headers: &HeaderMap) -> &'static str {
    let begins = |name: HeaderName, with: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    if begins(ORIGIN, "https://") || begins(X_FORWARDED_PROTO, "https") {
        "Path=/; HttpOnly; SameSite=Strict; Secure"
    } else {
        "Path=/; HttpOnly; SameSite=Strict"
    }
}

/// The page after the login: only one of homing's own.
fn destination(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_path && next.chars().all(|c| c.is_ascii_graphic()) { next } else { "/" }
}

fn slowed() -> ErrorPage {
    let why = "Too many wrong tokens came from your address; try again in a minute.";
    ErrorPage::new(StatusCode::TOO_MANY_REQUESTS, why)
}

/// Lets a bounded number of requests pass at a time, after their forms were read.
pub(super) async fn bounded(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ErrorPage> {
    let (request, _upload) = app.uploads.received(request, MAX_FORM_BYTES).await?;
    let _permit = app.permits.request().await?;
    Ok(next.run(request).await)
}

impl From<UploadError> for ErrorPage {
    fn from(error: UploadError) -> Self {
        let status = match error {
            UploadError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Late => StatusCode::REQUEST_TIMEOUT,
            UploadError::Broken => StatusCode::BAD_REQUEST,
            UploadError::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, format!("The form was not read: {error}."))
    }
}

/// Sets the security headers of every answer.
pub(super) async fn policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Pages without authentication.
impl Layout {
    fn closed(title: &str, app: &App) -> Self {
        Self { is_closed: true, ..Self::new(title, NavItem::Nowhere, Visitor::unknown(app)) }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn ours(headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/parked/jobs").header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_is_ours(&request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn a_form_is_accepted_only_from_own_pages() {
        assert!(ours(&[("sec-fetch-site", "same-origin")]));
        assert!(ours(&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8080")]));
        assert!(ours(&[("origin", "http://localhost:8080")]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(!ours(&[("sec-fetch-site", site), ("origin", "http://localhost:8080")]));
        }
        assert!(!ours(&[("origin", "http://localhost:8081")]));
        assert!(!ours(&[("origin", "null")]));
        assert!(!ours(&[]));
    }

    #[test]
    fn a_session_over_https_has_a_secure_cookie() {
        let is_secure = |name: &'static str, value: &str| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let headers = [(HeaderName::from_static(name), value)];
            attributes(&HeaderMap::from_iter(headers)).ends_with("; Secure")
        };
        assert!(is_secure("origin", "https://homing.example"));
        assert!(is_secure("x-forwarded-proto", "https"));
        assert!(is_secure("x-forwarded-proto", "HTTPS, http"));
        assert!(!is_secure("x-forwarded-proto", "http"));
        assert!(!is_secure("origin", "http://localhost:8080"));
        assert!(!is_secure("origin", "ä"));
        assert!(!is_secure("host", "https"));
    }

    #[test]
    fn the_login_never_leads_to_another_site() {
        assert_eq!(destination("/parked?reason=gone"), "/parked?reason=gone");
        for foreign in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\nb"] {
            assert_eq!(destination(foreign), "/", "{foreign}");
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b; homing_session=xyz; c=d"));
        assert_eq!(cookie(&headers).as_deref(), Some("xyz"));
        assert_eq!(cookie(&HeaderMap::new()), None);
    }
}
