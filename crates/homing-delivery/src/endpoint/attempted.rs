//! The result of one attempt.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::LOCATION};

use super::{
    RequestError, classify,
    client::BoxError,
    connection::Failed,
    describe::describe,
    secrets::{Secrets, without_query},
};
use homing_domain::{
    delivery_control::DeliveryControl, outcome::Outcome, payload::Payload, time::UnixMillis,
};

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The endpoint's action.
    pub outcome: Outcome,
    /// The HTTP status, if there was one; also that of an answer that was not complete in time.
    pub status: Option<u16>,
    /// The part of the response's body that was read, at most `endpoint.max_response_bytes` bytes;
    /// where it repeats a secret of the request, that is masked.
    pub response: Bytes,
    /// The reason for an incomplete answer, the target of a redirect, or advice about a client
    /// certificate that was refused, as text for operators.
    /// Bounded, without the URL.
    pub cause: Option<String>,
    /// The instruction of the answer, where the settings have it followed.
    pub control: Option<DeliveryControl>,
    /// The permission that the answer to a handshake gives.
    pub permission: Option<Permission>,
    /// The request and the answer, if they are to be kept.
    pub payload: Option<Arc<Payload>>,
}

/// The permission that an endpoint gives in its answer to a handshake; its texts as the endpoint
/// wrote them, without the secrets that they repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// True if the origin that asked is allowed.
    pub is_given: bool,
    /// `WebHook-Allowed-Origin`
    pub origin: String,
    /// `WebHook-Allowed-Rate`
    pub rate: Option<String>,
}

impl Permission {
    /// Reads the permission for `asking`, if there is one; its texts are not [`shown`](Self::shown)
    /// yet. Source: CloudEvents, *HTTP 1.1 Web Hooks for Event Delivery* 1.0.2, 4.2.
    pub(super) fn read(headers: &HeaderMap, asking: &str) -> Option<Self> {
        let text = |name| {
            let value = headers.get(name)?.as_bytes();
            Some(String::from_utf8_lossy(value).trim().to_owned())
        };
        let origin = text("webhook-allowed-origin")?;
        let is_given = origin == "*" || origin.eq_ignore_ascii_case(asking);
        Some(Self { is_given, origin, rate: text("webhook-allowed-rate") })
    }

    /// The same for operators: bounded, and without `secrets`.
    pub(super) fn shown(self, secrets: &Secrets) -> Self {
        let shown = |text: String| bounded(secrets.masked_text(text.as_bytes()));
        Self { origin: shown(self.origin), rate: self.rate.map(shown), ..self }
    }
}

impl Attempted {
    /// There was no complete answer, because of `cause`.
    pub(super) fn silent(outcome: Outcome, cause: &(dyn Error + 'static)) -> Self {
        let cause = Some(bounded(describe(cause)));
        let (status, response) = (outcome.status(), Bytes::new());
        Self { outcome, status, response, cause, control: None, permission: None, payload: None }
    }

    /// There was no complete answer; `error` decides if that is an outcome.
    pub(super) fn failed(error: BoxError) -> Result<Self, RequestError> {
        let error = classify::endpoint_error(error)?;
        Ok(Self::silent(classify::failure(error.as_ref()), error.as_ref()))
    }

    /// There was no readable answer, but its status may be known.
    pub(super) fn unread(failed: Failed, now: UnixMillis) -> Result<Self, RequestError> {
        if let Some(tls) = failed.tls {
            return Self::failed(tls.into());
        }
        let Some(status) = failed.status else { return Self::failed(failed.error.into()) };
        let outcome = classify::outcome_of(status, &HeaderMap::new(), now);
        Ok(Self::silent(outcome, &failed.error))
    }
}

/// The target of a redirect, which is not followed. Leaves out parts that may be secret.
pub(super) fn moved(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if !status.is_redirection() {
        return None;
    }
    let location = String::from_utf8_lossy(headers.get(LOCATION)?.as_bytes()).into_owned();
    let address = without_query(&location);
    let address: String = address.chars().filter(|c| !c.is_control()).take(200).collect();
    Some(format!(
        "it redirects to {address}, which is not followed; change the subscription's URL to \
         the one that it ends at"
    ))
}

/// The beginning of a text for operators.
pub(super) fn bounded(text: String) -> String {
    const MAX_CHARS: usize = 300;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
