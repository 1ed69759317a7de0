//! The token that opens the stream: asked for once, kept until shortly before it ends.
//!
//! Asking too often is throttled, so the connections of a source share one, and nobody asks before
//! a connect needs it.

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

/// A token is not used for this part of its life, the last one, and never for longer than ...
const LAST_PART: u32 = 10;
/// ... this.
const MAX_LAST: Duration = Duration::from_secs(300);
/// Where the service does not say.
const LIFETIME_DEFAULT_S: u64 = 3_600;

/// The tokens of one source.
pub(super) struct Tokens {
    http: Arc<Http>,
    settings: LivestreamSettings,
    current: Mutex<Option<Token>>,
}

/// A token, until when it is used.
#[derive(Clone)]
struct Token {
    text: Arc<str>,
    until: Instant,
}

/// What the token service answers.
#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: Option<u64>,
}

/// What it answers otherwise.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

impl Tokens {
    pub(super) fn new(http: Arc<Http>, settings: LivestreamSettings) -> Self {
        Self { http, settings, current: Mutex::default() }
    }

    /// The present token, or a new one. Of several that ask at once one asks the service.
    pub(super) async fn get(&self) -> Result<Arc<str>, Disconnect> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(Arc::clone(&token.text));
        }
        let token = self.fetch().await?;
        Ok(Arc::clone(&current.insert(token).text))
    }

    /// Uses `refused` no more.
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
        let asked = Request { method: Method::POST, headers, body: form.into() };
        let unreachable =
            |error: HttpError| Disconnect::Unreachable(format!("token service: {error}"));
        let answer = self.http.send(&self.settings.token_url, asked).await.map_err(unreachable)?;
        let retry_after = retry_after(&answer.headers);
        let status = answer.status.as_u16();
        let body = answer.body.text().await;
        match status {
            200 => read(&body).ok_or_else(|| {
                Disconnect::Unreachable("token service: 200 without an `access_token`".to_owned())
            }),
            400..=428 | 430..=499 => Err(Disconnect::NoToken(format!(
                "the token service answered {status}{}",
                why(&body)
            ))),
            // Sends elsewhere, or is overloaded.
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

    /// From the file each time, so that it can be exchanged.
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
    let given: Given = serde_json::from_slice(body).ok()?;
    let lifetime = Duration::from_secs(given.expires_in.unwrap_or(LIFETIME_DEFAULT_S));
    let used = lifetime.saturating_sub((lifetime / LAST_PART).min(MAX_LAST));
    // A header takes no other characters.
    let sound = given.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    (sound && !given.access_token.is_empty())
        .then(|| Token { text: given.access_token.into(), until: Instant::now() + used })
}

/// `: invalid_client, …`; never the whole answer.
fn why(body: &Bytes) -> String {
    let refused: Refused = serde_json::from_slice(body).unwrap_or_default();
    let told: Vec<_> = [refused.error, refused.error_description].into_iter().flatten().collect();
    let told: String = told.join(", ").chars().filter(|c| !c.is_control()).take(200).collect();
    if told.is_empty() { told } else { format!(": {told}") }
}

/// Seconds; a date is left aside.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
