//! Opens the stream: with a token, over redirects, with all headers on each hop.
//!
//! A redirect of this service leads to another of its hosts, which wants the token, too. It goes
//! there only if the host is that of the settings, shares its parent domain, or is in the settings.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Method,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT,
    },
};
use serde::Deserialize;
use url::Url;

use super::{
    http::{Body, Http, HttpError, Request, Response},
    rule::{Disconnect, Refusal},
    token::{Tokens, retry_after},
};
use crate::settings::LivestreamSettings;
use homing_domain::source::Reset;

const MAX_HOPS: usize = 5;
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Opens connections to one source.
pub(super) struct Connector {
    http: Arc<Http>,
    tokens: Tokens,
    settings: LivestreamSettings,
    response_deadline: Duration,
}

/// The error of opening a stream.
pub(super) struct NotOpened {
    pub(super) ended: Disconnect,
    /// The token used, if the service answered.
    pub(super) token: Option<Arc<str>>,
    /// True if the service may have received the request.
    pub(super) may_be_received: bool,
}

impl NotOpened {
    fn not_received(ended: Disconnect) -> Self {
        Self { ended, token: None, may_be_received: false }
    }
}

impl Connector {
    pub(super) fn new(
        http: Arc<Http>,
        settings: LivestreamSettings,
        response_deadline: Duration,
    ) -> Self {
        let tokens = Tokens::new(Arc::clone(&http), settings.clone());
        Self { http, tokens, settings, response_deadline }
    }

    /// Stops using `token`.
    pub(super) async fn forget(&self, token: &str) {
        self.tokens.forget(token).await;
    }

    /// Opens the stream; the service has answered 200.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection; the service may count it anyway.
    pub(super) async fn open(&self, reset: Option<Reset>) -> Result<Body, NotOpened> {
        let token = self.tokens.get().await.map_err(NotOpened::not_received)?;
        let headers = self.headers(&token).map_err(NotOpened::not_received)?;
        let mut url = self.url(reset);
        for _hop in 0..=MAX_HOPS {
            let request = Request {
                method: Method::GET,
                headers: headers.clone(),
                body: Bytes::new(),
                deadline: self.response_deadline,
            };
            let response = self.http.send(&url, request).await.map_err(|error| NotOpened {
                may_be_received: matches!(error, HttpError::NoResponse(_)),
                ended: Disconnect::Unreachable(error.to_string()),
                token: None,
            })?;
            match response.status.as_u16() {
                200 => return Ok(response.body),
                301 | 302 | 303 | 307 | 308 => {
                    let next = self.next(&url, &response.headers);
                    url = next.map_err(NotOpened::not_received)?;
                }
                _ => {
                    let ended = Disconnect::Refused(refusal(response).await);
                    return Err(NotOpened { ended, token: Some(token), may_be_received: false });
                }
            }
        }
        let why =
            format!("redirected more than {MAX_HOPS} times, the last time to {}", shown(&url));
        Err(NotOpened::not_received(Disconnect::Unreachable(why)))
    }

    /// The target of a redirect from `url`, with the same query unless it has its own.
    fn next(&self, url: &Url, headers: &HeaderMap) -> Result<Url, Disconnect> {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| url.join(location).ok());
        let Some(mut next) = next else {
            let why = format!("redirected by {} without an address", shown(url));
            return Err(Disconnect::Unreachable(why));
        };
        if !matches!((url.scheme(), next.scheme()), (_, "https") | ("http", "http")) {
            let why = format!("to {}, which is not encrypted", shown(&next));
            return Err(Disconnect::BadRedirect(why));
        }
        if !self.may_have_token(&next) {
            let why = format!(
                "to {}, which gets no token: if it is the service's, add its host to \
                 `redirect_hosts` of the source",
                shown(&next)
            );
            return Err(Disconnect::BadRedirect(why));
        }
        if next.query().is_none() {
            next.set_query(url.query());
        }
        Ok(next)
    }

    /// True if `next` is at the host of the settings, at one beside or below it, or at one that the
    /// settings name. Another port is another service, except at a host beside it.
    fn may_have_token(&self, next: &Url) -> bool {
        let LivestreamSettings { url, redirect_hosts, .. } = &self.settings;
        let Some((host, own)) = next.host_str().zip(url.host_str()) else {
            return false;
        };
        if host == own {
            let port = Url::port_or_known_default;
            return port(next) == port(url) || (url.scheme(), next.scheme()) == ("http", "https");
        }
        let is_named = redirect_hosts.iter().any(|named| named.eq_ignore_ascii_case(host));
        // `livestream.adobe.net` has `adobe.net`; an address or a domain of two words has none.
        let parent = match url.domain().and_then(|domain| domain.split_once('.')) {
            Some((_, parent)) if parent.contains('.') => Some(parent),
            _ => None,
        };
        let is_beside = parent
            .is_some_and(|parent| host.strip_suffix(parent).is_some_and(|at| at.ends_with('.')));
        is_named || is_beside
    }

    fn headers(&self, token: &str) -> Result<HeaderMap, Disconnect> {
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| Disconnect::NoToken(error.to_string()))
        };
        let mut bearer = header(&format!("Bearer {token}"))?;
        bearer.set_sensitive(true);
        let agent = concat!("homing/", env!("CARGO_PKG_VERSION"));
        Ok(HeaderMap::from_iter([
            (AUTHORIZATION, bearer),
            (API_KEY, header(&self.settings.client_id)?),
            (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            (USER_AGENT, HeaderValue::from_static(agent)),
        ]))
    }

    /// The stream's address with its parameters. Every client sends the same `maxConnections`.
    fn url(&self, reset: Option<Reset>) -> Url {
        let LivestreamSettings { url, max_connections, smoothing, .. } = &self.settings;
        let mut url = url.clone();
        if *max_connections > 1 {
            url.query_pairs_mut().append_pair("maxConnections", &max_connections.to_string());
        }
        if *smoothing > Duration::ZERO {
            let seconds = smoothing.as_secs().to_string();
            url.query_pairs_mut()
                .append_pair("smoothing", "1")
                .append_pair("smoothingBucketSize", &seconds);
        }
        if let Some(reset) = reset {
            url.query_pairs_mut().append_pair("reset", reset.as_str());
        }
        url
    }
}

/// Without parameters, which may be long.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

async fn refusal(response: Response) -> Refusal {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct ErrorBody {
        error_description: Option<String>,
        error: Option<String>,
    }
    let (status, retry_after) = (response.status.as_u16(), retry_after(&response.headers));
    let body = response.body.text().await;
    let description = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => body.error_description.or(body.error),
        Err(_) => std::str::from_utf8(&body).ok().map(str::to_owned),
    };
    let printable = |text: String| -> String {
        let words: Vec<_> = text.split_whitespace().collect();
        words.join(" ").chars().filter(|c| !c.is_control()).take(200).collect()
    };
    let description = description.map(printable).filter(|text| !text.is_empty());
    Refusal { status, description, retry_after }
}
