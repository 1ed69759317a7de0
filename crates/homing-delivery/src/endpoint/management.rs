//! RabbitMQ's management API, for the one thing that AMQP does not report: the policies in force.
//!
//! Source: RabbitMQ documentation, *HTTP API*, `GET /api/queues/{vhost}`; tried with 3.10.8.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::{
    EndpointSetupError,
    client::{BoxError, Client},
    names,
    resolve::Resolver,
};
use crate::settings::EndpointSettings;

/// Deadline for one page, from the connect to its last byte.
const DEADLINE: Duration = Duration::from_secs(10);
/// Queues of a page; the API allows no more.
const PAGE: u32 = 500;
const MAX_PAGE_BYTES: usize = 4 * 1_024 * 1_024;

/// The management API of the broker. The operator named it, so its address is not checked, and no
/// proxy is used.
pub struct Management {
    client: Client,
    url: Url,
}

/// The policies in force for one queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Policed {
    /// The queue.
    pub name: String,
    /// The name of the policy.
    #[serde(default)]
    pub policy: Option<String>,
    /// The name of the operator policy.
    #[serde(default)]
    pub operator_policy: Option<String>,
    /// Both, merged. Older versions write an empty one as a list.
    #[serde(default)]
    effective_policy_definition: Value,
}

impl Policed {
    /// Keys and values in force.
    #[must_use]
    pub fn definition(&self) -> Map<String, Value> {
        self.effective_policy_definition.as_object().cloned().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Policed>,
    page_count: u32,
}

/// Errors of reading policies.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// No answer, or not in time.
    #[error("the management API does not answer")]
    Unanswered(#[source] BoxError),
    /// Not a success.
    #[error(
        "the management API answered {0}; check user, password and virtual host in \
         `broker.management_url`"
    )]
    Status(u16),
    /// Not RabbitMQ's format.
    #[error("the management API did not answer with a list of queues")]
    Unreadable(#[source] BoxError),
}

impl Management {
    /// The API at `url`, whose path is the virtual host, written as in `broker.url`.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`].
    pub fn new(url: Url, settings: &EndpointSettings) -> Result<Self, EndpointSetupError> {
        let resolver = Resolver::anywhere(names(settings)?);
        Ok(Self { client: Client::new(settings, resolver, None)?, url })
    }

    /// Fetches the policies in force for all queues whose names begin with `prefix`.
    ///
    /// # Errors
    ///
    /// [`ManagementError`].
    pub async fn policies(&self, prefix: &str) -> Result<Vec<Policed>, ManagementError> {
        let mut found = Vec::new();
        for number in 1.. {
            let page = self.page(prefix, number).await?;
            found.extend(page.items);
            if number >= page.page_count {
                break;
            }
        }
        Ok(found)
    }

    async fn page(&self, prefix: &str, number: u32) -> Result<Page, ManagementError> {
        let build = || self.request(prefix, number);
        let response = self.client.fetch(build, DEADLINE, MAX_PAGE_BYTES).await;
        let response = response.map_err(ManagementError::Unanswered)?;
        let status = response.status();
        if !status.is_success() {
            return Err(ManagementError::Status(status.as_u16()));
        }
        serde_json::from_slice(response.body())
            .map_err(|error| ManagementError::Unreadable(error.into()))
    }

    fn request(&self, prefix: &str, number: u32) -> Result<Request<Full<Bytes>>, BoxError> {
        let vhost = match self.url.path().trim_start_matches('/') {
            "" => "%2F",
            vhost => vhost,
        };
        let mut url = self.url.clone();
        url.set_path(&format!("/api/queues/{vhost}"));
        let pattern = format!("^{}[.]", prefix.replace('.', "[.]"));
        url.query_pairs_mut()
            .clear()
            .append_pair("page", &number.to_string())
            .append_pair("page_size", &PAGE.to_string())
            .append_pair("name", &pattern)
            .append_pair("use_regex", "true")
            .append_pair("columns", "name,policy,operator_policy,effective_policy_definition");
        let (user, password) =
            (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let (_, _) = (url.set_username(""), url.set_password(None));
        let request = Request::get(url.as_str()).header(AUTHORIZATION, format!("Basic {login}"));
        Ok(request.body(Full::default())?)
    }
}

/// The user or password of a URL, decoded.
fn decoded(text: &str) -> String {
    // Forms encode a blank as a plus sign, URLs do not.
    let text = text.replace('+', "%2B");
    form_urlencoded::parse(text.as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_host_and_the_login_are_the_urls() {
        let settings = EndpointSettings::from_toml("").unwrap();
        let written = [
            ("http://u:p%40ss@b:15672", "http://b:15672/api/queues/%2F?"),
            ("http://u:p%40ss@b:15672/", "http://b:15672/api/queues/%2F?"),
            ("https://u:p%40ss@b/shop", "https://b/api/queues/shop?"),
            ("https://u:p%40ss@b/%2Fa", "https://b/api/queues/%2Fa?"),
        ];
        for (url, expected) in written {
            let management = Management::new(url.parse().unwrap(), &settings).unwrap();
            let request = management.request("a.b", 2).unwrap();
            let uri = request.uri().to_string();
            assert!(uri.starts_with(expected) && uri.contains("name=%5Ea%5B.%5Db%5B.%5D"), "{uri}");
            assert_eq!(request.headers()[AUTHORIZATION], "Basic dTpwQHNz");
        }
    }

    #[test]
    fn an_answer_of_every_version_is_read() {
        let body = r#"{"page":1,"page_count":1,"items":[
            {"name":"a","policy":"p","operator_policy":null,"effective_policy_definition":{"expires":9}},
            {"name":"b","policy":null,"operator_policy":"o","effective_policy_definition":[]},
            {"name":"c"}]}"#;
        let page: Page = serde_json::from_str(body).unwrap();
        let keys: Vec<_> = page.items.iter().map(|item| item.definition().len()).collect();
        assert_eq!(keys, [1, 0, 0]);
    }
}
