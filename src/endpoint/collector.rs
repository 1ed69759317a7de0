//! The collector of traces: the one address that homing posts to for itself.

use std::time::Duration;

use reqwest::{Client, header::CONTENT_TYPE, redirect};
use url::Url;

use super::{EndpointSetupError, client::tls};
use crate::config::EndpointSettings;

/// For one batch, from the connect to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A collector that takes JSON. The operator named it, so its address is not checked.
#[derive(Clone)]
pub struct Collector {
    client: Client,
    target: Url,
}

/// Why a collector did not take something.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// It did not answer.
    #[error("the collector does not answer")]
    Unanswered(#[source] reqwest::Error),
    /// It answered something else than a success.
    #[error("the collector answered {0}")]
    Refused(u16),
}

impl Collector {
    /// The collector at `target`; TLS is spoken as with endpoints.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`].
    pub fn new(target: Url, settings: &EndpointSettings) -> Result<Self, EndpointSetupError> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .pool_max_idle_per_host(1)
            .tls_backend_preconfigured(tls(settings, &[b"http/1.1"])?)
            .build()
            .map_err(EndpointSetupError::Client)?;
        Ok(Self { client, target })
    }

    /// Posts one document.
    ///
    /// # Errors
    ///
    /// [`CollectorError`]; it may have taken it all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the request is given up.
    pub async fn post(&self, document: Vec<u8>) -> Result<(), CollectorError> {
        let request = self.client.post(self.target.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(document);
        let answer = request.send().await;
        let answer = answer.map_err(|error| CollectorError::Unanswered(error.without_url()))?;
        let status = answer.status();
        status.is_success().then_some(()).ok_or(CollectorError::Refused(status.as_u16()))
    }
}
