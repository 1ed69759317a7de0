//! A running homing, reached over its HTTP API: for commands with `--api` or `--profile`.
//!
//! A command asks [`Target`](super::target::Target), which does the work here or has it done there;
//! both give the documents of the API. Nothing is ever done here in place of there: what is not
//! offered over the API is refused by name.
//!
//! Source: RFC 9457 (problem documents), RFC 6750 (bearer tokens).

mod error;
mod parameters;

use std::{fmt::Display, net::IpAddr, path::Path, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::{error::RemoteError, parameters::Parameters};

use super::failure::Failure;
use crate::config::{Profile, Settings};
use homing_delivery::endpoint;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// A little more than the API takes at most for a scan of what is parked.
const DEADLINE: Duration = Duration::from_secs(620);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// The longest token.
const MAX_TOKEN_BYTES: usize = 4_096;
/// Protocols that are offered (ALPN).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The API of a running homing. Cheap to clone.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    base: Url,
    token: Option<HeaderValue>,
}

/// An event as the API takes it.
pub(super) struct Publication<'a> {
    pub(super) parameters: Parameters,
    pub(super) content_type: &'a str,
    pub(super) content_encoding: Option<&'a str>,
    pub(super) body: Bytes,
}

impl Remote {
    /// A client of the API that `profile` names; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Remote`]: its URL, or a file that it names, cannot be used.
    pub(super) fn new(profile: &Profile) -> Result<Self, Failure> {
        let base = base(&profile.api)?;
        let token = profile.token_file.as_deref().map(token).transpose()?;
        let mut settings = Settings::from_toml("").map_err(Failure::Settings)?.endpoint;
        if let Some(file) = &profile.ca_file {
            settings.ca_file = file.display().to_string();
        }
        let tls = endpoint::tls(&settings, &PROTOCOLS).map_err(Failure::Endpoints)?;
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(DEADLINE)
            // A token is for the address that was given.
            .redirect(Policy::none())
            .user_agent(concat!("homing/", env!("CARGO_PKG_VERSION")));
        let builder = if is_here(&base) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|source| unreachable(&base, source))?;
        Ok(Self { client, base, token })
    }

    /// The URL of the API, which is also that of the dashboard.
    pub(super) fn url(&self) -> &Url {
        &self.base
    }

    /// The document at `path`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: Parameters,
    ) -> Result<T, Failure> {
        let request = self.request(Method::GET, path, &parameters)?;
        self.read(self.send(request).await?).await
    }

    /// Sends a document with `method`, and reads another one.
    pub(super) async fn submit<T: DeserializeOwned>(
        &self,
        (method, path): (Method, &[&str]),
        parameters: Parameters,
        document: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(document)
            .map_err(|error| self.foreign(&format_args!("cannot be asked: {error}")))?;
        let request = self.request(method, path, &parameters)?;
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.read(self.send(request).await?).await
    }

    /// As [`submit`](Self::submit), of a request without a document.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: Parameters,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path, &parameters)?;
        self.read(self.send(request).await?).await
    }

    /// Deletes what is at `path`.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, path, &Parameters::default())?;
        self.send(request).await.map(drop)
    }

    /// Publishes one event.
    pub(super) async fn publish<T: DeserializeOwned>(
        &self,
        event: Publication<'_>,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, &["v1", "events"], &event.parameters)?;
        let mut request = request.header(CONTENT_TYPE, event.content_type).body(event.body);
        if let Some(encoding) = event.content_encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        self.read(self.send(request).await?).await
    }

    /// True if every part of it works.
    pub(super) async fn is_ready(&self) -> bool {
        let request = self.request(Method::GET, &["readyz"], &Parameters::default());
        let Ok(request) = request else { return false };
        self.send(request).await.is_ok()
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        parameters: &Parameters,
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        let opaque = || self.foreign(&"its URL takes no path");
        url.path_segments_mut().map_err(|()| opaque())?.pop_if_empty().extend(path);
        parameters.add_to(&mut url);
        let mut request = self.client.request(method, url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }

    /// The answer, unless it is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answered = request.send().await;
        let response = answered.map_err(|source| unreachable(&self.base, source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await.unwrap_or_default();
        let has_token = self.token.is_some();
        Err(RemoteError::of_answer(&self.shown(), status, &body, has_token).into())
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let status = response.status();
        let body = self.body(response).await?;
        // `204 No Content` is `null`.
        let body = if status == StatusCode::NO_CONTENT { b"null" } else { &body[..] };
        serde_json::from_slice(body)
            .map_err(|error| self.foreign(&format_args!("its answer is not understood: {error}")))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let part = response.chunk().await;
            let Some(part) = part.map_err(|source| unreachable(&self.base, source))? else {
                return Ok(body);
            };
            if body.len().saturating_add(part.len()) > MAX_ANSWER_BYTES {
                return Err(self.foreign(&format_args!("more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&part);
        }
    }

    fn shown(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn foreign(&self, why: &dyn Display) -> Failure {
        RemoteError::Foreign { api: self.shown(), why: why.to_string() }.into()
    }
}

fn unreachable(base: &Url, source: reqwest::Error) -> Failure {
    let api = base.as_str().trim_end_matches('/').to_owned();
    RemoteError::Unreachable { api, source: source.without_url() }.into()
}

/// The URL of an API, without what only one of its addresses has.
fn base(text: &str) -> Result<Url, RemoteError> {
    let wrong = |why: &str| RemoteError::Url { text: text.to_owned(), why: why.to_owned() };
    let mut url: Url = text.parse().map_err(|_| wrong("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("not one of http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text has a password.
        let text = "…@…".to_owned();
        let why = "it has a user name or a password; the API takes a token".to_owned();
        return Err(RemoteError::Url { text, why });
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// True if `url` is on this machine, where no proxy leads.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The header with the token in `file`.
fn token(file: &Path) -> Result<HeaderValue, RemoteError> {
    let shown = file.display().to_string();
    let text = homing_files::read_text(file)
        .map_err(|source| RemoteError::TokenFile { file: shown.clone(), source })?;
    let text = text.trim();
    let header = HeaderValue::from_str(&format!("Bearer {text}"));
    match header {
        Ok(mut header) if !text.is_empty() && text.len() <= MAX_TOKEN_BYTES => {
            header.set_sensitive(true);
            Ok(header)
        }
        Ok(_) | Err(_) => Err(RemoteError::Token { file: shown }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_named_by_its_url() {
        assert_eq!(
            base("https://homing.example.com/a?b#c").unwrap().as_str(),
            "https://homing.example.com/a"
        );
        insta::assert_snapshot!(base("homing.example.com").unwrap_err(), @"`homing.example.com` is no URL of an API: not a URL; write it as https://host, or http://127.0.0.1:8080");
        assert!(base("ftp://a").is_err());
        let error = base("https://me:secret@a").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn no_proxy_leads_to_this_machine() {
        for (url, here) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:80", true),
            ("http://10.0.0.1", false),
            ("https://homing.example.com", false),
        ] {
            assert_eq!(is_here(&url.parse().unwrap()), here, "{url}");
        }
    }

    #[test]
    fn a_token_is_one_line_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "homing_abc\n").unwrap();
        let header = token(&file).unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer homing_abc");
        assert!(!format!("{header:?}").contains("abc"));
        for wrong in ["", "two\nlines"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(token(&file).is_err(), "{wrong:?}");
        }
        assert!(token(&folder.path().join("nowhere")).is_err());
    }
}
