//! The token for the stream: fetched once, kept until shortly before it expires.
//!
//! The service throttles frequent requests, so the connections of a source share one token, which
//! is fetched only when a connect needs it.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde::Deserialize;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};
use url::form_urlencoded;

use super::{
    http::{Http, HttpError, Request},
    rule::{Disconnect, Refusal},
};
use crate::settings::LivestreamSettings;

/// The last part of a token's life, in which it is not used: one tenth, but at most ...
const LAST_PART: u32 = 10;
/// ... this.
const MAX_LAST: Duration = Duration::from_secs(300);
/// From the request to the head of the response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);
/// If the service does not say.
const LIFETIME_DEFAULT_S: u64 = 3_600;

/// The tokens of one source.
pub(super) struct Tokens {
    http: Arc<Http>,
    settings: LivestreamSettings,
    current: Mutex<Option<Token>>,
}

/// A token, and when its use ends.
#[derive(Clone)]
struct Token {
    text: Arc<str>,
    until: Instant,
}

/// The token service's response.
#[derive(Deserialize)]
struct TokenBody {
    access_token: String,
    expires_in: Option<u64>,
}

/// Its response to a refused request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Option<String>,
    error_description: Option<String>,
}

impl Tokens {
    pub(super) fn new(http: Arc<Http>, settings: LivestreamSettings) -> Self {
        Self { http, settings, current: Mutex::default() }
    }

    /// The current token, or a new one. Concurrent calls make one request to the service.
    pub(super) async fn get(&self) -> Result<Arc<str>, Disconnect> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(Arc::clone(&token.text));
        }
        let token = self.fetch().await?;
        Ok(Arc::clone(&current.insert(token).text))
    }

    /// Stops using `refused`.
    pub(super) async fn forget(&self, refused: &str) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| *token.text == *refused) {
            *current = None;
        }
    }

    async fn fetch(&self) -> Result<Token, Disconnect> {
        let secret = self.secret().await?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("client_secret", &secret)
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &self.settings.scope)
            .finish();
        let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        let length = HeaderValue::from(form.len());
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, urlencoded),
            (hyper::header::CONTENT_LENGTH, length),
        ]);
        let (method, deadline) = (Method::POST, RESPONSE_DEADLINE);
        let request = Request { method, headers, body: form.into(), deadline };
        let unreachable =
            |error: HttpError| Disconnect::Unreachable(format!("token service: {error}"));
        let response =
            self.http.send(&self.settings.token_url, request).await.map_err(unreachable)?;
        let retry_after = retry_after(&response.headers);
        let status = response.status.as_u16();
        let body = response.body.text().await;
        match status {
            200 => read(&body).ok_or_else(|| {
                Disconnect::Unreachable("token service: 200 without an `access_token`".to_owned())
            }),
            400..=428 | 430..=499 => Err(Disconnect::NoToken(format!(
                "the token service answered {status}{}",
                why(&body)
            ))),
            // A redirect, or overload.
            _ => {
                let description = Some(format!("by the token service{}", why(&body)));
                Err(Disconnect::Refused(Refusal {
                    status: status.max(500),
                    description,
                    retry_after,
                }))
            }
        }
    }

    /// Reads the file each time, so that the secret can be replaced.
    async fn secret(&self) -> Result<String, Disconnect> {
        let file = self.settings.client_secret_file.clone();
        if file.as_os_str().is_empty() {
            return Ok(self.settings.client_secret.clone());
        }
        let path = file.clone();
        let read =
            spawn_blocking(move || homing_files::read_text(&path)).await.map_err(io::Error::other);
        let read = read.flatten().map_err(|error| {
            Disconnect::NoToken(format!(
                "cannot read `client_secret_file` {}: {error}",
                file.display()
            ))
        })?;
        Ok(read.trim().to_owned())
    }
}

fn read(body: &Bytes) -> Option<Token> {
    let body: TokenBody = serde_json::from_slice(body).ok()?;
    let lifetime = Duration::from_secs(body.expires_in.unwrap_or(LIFETIME_DEFAULT_S));
    let used = lifetime.saturating_sub((lifetime / LAST_PART).min(MAX_LAST));
    // A header allows no other characters.
    let sound = body.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    (sound && !body.access_token.is_empty())
        .then(|| Token { text: body.access_token.into(), until: Instant::now() + used })
}

/// `: invalid_client, …`; never the whole response.
fn why(body: &Bytes) -> String {
    let error: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let description: Vec<_> =
        [error.error, error.error_description].into_iter().flatten().collect();
    let description: String =
        description.join(", ").chars().filter(|c| !c.is_control()).take(200).collect();
    if description.is_empty() { description } else { format!(": {description}") }
}

/// Seconds; a date is ignored.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
