//! The client for the trace collector, the only address that homing posts to on its own behalf.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Request,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use url::Url;

use super::{
    EndpointSetupError,
    client::{BoxError, Client},
    names,
    resolve::Resolver,
};
use crate::settings::EndpointSettings;

/// Deadline for one batch, from the connect to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// A collector that takes JSON. The operator named it, so its address is not checked, and no
/// proxy is used.
#[derive(Clone)]
pub struct Collector {
    client: Client,
    target: Url,
    headers: HeaderMap,
}

/// Errors of sending a batch.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// There was no answer in time.
    #[error("the collector does not answer")]
    Unanswered(#[source] BoxError),
    /// The answer was not a success.
    #[error("the collector answered {0}")]
    Status(u16),
}

impl Collector {
    /// The collector at `target`, which gets `headers`; uses the TLS settings of endpoints.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`].
    pub fn new(
        target: Url,
        headers: HeaderMap,
        settings: &EndpointSettings,
    ) -> Result<Self, EndpointSetupError> {
        let client = Client::new(settings, Resolver::anywhere(names(settings)?), None)?;
        Ok(Self { client, target, headers })
    }

    /// Posts one document.
    ///
    /// # Errors
    ///
    /// [`CollectorError`]; the collector may have accepted the document anyway.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it abandons the request.
    pub async fn post(&self, document: Vec<u8>) -> Result<(), CollectorError> {
        let document = Bytes::from(document);
        let build = || {
            let mut request = Request::post(self.target.as_str()).body(document.clone().into())?;
            request.headers_mut().clone_from(&self.headers);
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            Ok(request)
        };
        let response = self.client.fetch(build, DEADLINE, MAX_ANSWER_BYTES).await;
        let status = response.map_err(CollectorError::Unanswered)?.status();
        status.is_success().then_some(()).ok_or(CollectorError::Status(status.as_u16()))
    }
}
