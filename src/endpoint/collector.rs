//! The collector of traces: the one address that homing posts to for itself.

use std::time::Duration;

use hyper::{
    Request,
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::time::{error::Elapsed, timeout};
use url::Url;

use super::{
    EndpointSetupError,
    client::{self, BoxError, Client},
    resolve::Resolver,
};
use crate::config::EndpointSettings;

/// For one batch, from the connect to the head of the answer.
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
    Unanswered(#[source] BoxError),
    /// It did not answer in time.
    #[error("the collector does not answer in time")]
    Late(#[source] Elapsed),
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
        let client = client::build(settings, Resolver::anywhere())?;
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
        let mut request = Request::post(self.target.as_str())
            .body(document.into())
            .map_err(|error| CollectorError::Unanswered(error.into()))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = timeout(DEADLINE, self.client.request(request)).await;
        let answer = answer.map_err(CollectorError::Late)?;
        let answer = answer.map_err(|error| CollectorError::Unanswered(error.into()))?;
        let status = answer.status();
        status.is_success().then_some(()).ok_or(CollectorError::Refused(status.as_u16()))
    }
}
