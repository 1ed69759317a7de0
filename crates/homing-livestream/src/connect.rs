//! Opens the stream: with a token, over redirects, with all headers on each hop.

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
    pub(super) fn new(http: Arc<Http>, settings: LivestreamSettings) -> Self {
        let tokens = Tokens::new(Arc::clone(&http), settings.clone());
        Self { http, tokens, settings }
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
            let request =
                Request { method: Method::GET, headers: headers.clone(), body: Bytes::new() };
            let response = self.http.send(&url, request).await.map_err(|error| NotOpened {
                may_be_received: matches!(error, HttpError::NoResponse(_)),
                ended: Disconnect::Unreachable(error.to_string()),
                token: None,
            })?;
            match response.status.as_u16() {
                200 => return Ok(response.body),
                301 | 302 | 303 | 307 | 308 => {
                    let next = next(&url, &response.headers);
                    url =
                        next.map_err(|why| NotOpened::not_received(Disconnect::BadRedirect(why)))?;
                }
                _ => {
                    let ended = Disconnect::Refused(refusal(response).await);
                    return Err(NotOpened { ended, token: Some(token), may_be_received: false });
                }
            }
        }
        let why = format!("more than {MAX_HOPS} times, the last time to {}", shown(&url));
        Err(NotOpened::not_received(Disconnect::BadRedirect(why)))
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

/// The target of a redirect from `url`, with the same query unless it has its own. The token is
/// sent there, too, so the target must not be less encrypted.
fn next(url: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers.get(LOCATION).ok_or("without a `Location`")?;
    let location = location.to_str().map_err(|error| error.to_string())?;
    let mut next = url.join(location).map_err(|error| format!("to no address: {error}"))?;
    if !matches!((url.scheme(), next.scheme()), (_, "https") | ("http", "http")) {
        return Err(format!("to {}, which is not encrypted", shown(&next)));
    }
    if next.query().is_none() {
        next.set_query(url.query());
    }
    Ok(next)
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
