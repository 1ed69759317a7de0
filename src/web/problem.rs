//! Problem documents: one form for all errors.
//!
//! Source: RFC 9457, *Problem Details for HTTP APIs*. A problem of type `about:blank` says no more
//! than its status; the others have a name of their own, which is stable.

use std::{any::Any, borrow::Cow, panic::AssertUnwindSafe};

use axum::{
    Json,
    extract::Request,
    http::{
        HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::error;

use crate::registry::RegistryError;
use homing_broker::error::BrokerError;
use homing_delivery::parking::ParkingError;
use homing_domain::{
    report::{Chain, without_types},
    subscription::FieldError,
};
use homing_store::{QuotaError, StoreError};
use homing_telemetry::metrics;

/// The kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A field, parameter or header is wrong.
    Invalid,
    /// The body is not JSON.
    Malformed,
    /// No token, or an unknown one.
    Unauthorized,
    /// Not from here.
    Forbidden,
    /// Too many wrong tokens before.
    Slowed,
    /// Nothing has this address.
    NotFound,
    /// The address does not support this method.
    MethodNotAllowed,
    /// The body did not arrive.
    BodyTimedOut,
    /// The same subscription exists.
    Duplicate,
    /// There is something else with this name.
    Taken,
    /// Another request was made with the same idempotency key.
    KeyReused,
    /// A request with the same idempotency key is under way.
    KeyInUse,
    /// The body is too large.
    TooLarge,
    /// The body is in an unsupported form.
    UnsupportedMedia,
    /// A failure of homing.
    Internal,
    /// A subscription exists and cannot be read.
    UnreadableSubscription,
    /// A quota is used up.
    Quota,
    /// The broker is unavailable.
    Broker,
    /// The broker did not confirm an event.
    NotConfirmed,
    /// The store is unavailable.
    Store,
    /// All permits are taken.
    Busy,
    /// No answer in time.
    TimedOut,
    /// Not all parts work.
    NotReady,
}

impl Kind {
    /// Status, `type`, and title; `None`: the status says it all.
    fn facts(self) -> (StatusCode, Option<(&'static str, &'static str)>) {
        let named = |urn, title| Some((urn, title));
        match self {
            Self::Invalid => (
                StatusCode::BAD_REQUEST,
                named("urn:homing:problem:invalid", "Something in the request is wrong"),
            ),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                named("urn:homing:problem:malformed", "The body is not JSON"),
            ),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, None),
            Self::Forbidden => (StatusCode::FORBIDDEN, None),
            Self::Slowed => (StatusCode::TOO_MANY_REQUESTS, None),
            Self::NotFound => (StatusCode::NOT_FOUND, None),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, None),
            Self::BodyTimedOut => (StatusCode::REQUEST_TIMEOUT, None),
            Self::Duplicate => (
                StatusCode::CONFLICT,
                named("urn:homing:problem:duplicate", "The same subscription exists"),
            ),
            Self::Taken => {
                (StatusCode::CONFLICT, named("urn:homing:problem:taken", "The name is taken"))
            }
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                named("urn:homing:problem:key-reused", "The key belongs to another request"),
            ),
            Self::KeyInUse => (
                StatusCode::CONFLICT,
                named("urn:homing:problem:key-in-use", "A request with this key is under way"),
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::UnsupportedMedia => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
            Self::UnreadableSubscription => (
                StatusCode::INTERNAL_SERVER_ERROR,
                named(
                    "urn:homing:problem:subscription-unreadable",
                    "The subscription cannot be read",
                ),
            ),
            Self::Quota => {
                (StatusCode::CONFLICT, named("urn:homing:problem:quota", "There is no room for it"))
            }
            Self::Broker => (
                StatusCode::SERVICE_UNAVAILABLE,
                named("urn:homing:problem:broker-unavailable", "The broker is not available"),
            ),
            Self::NotConfirmed => (
                StatusCode::SERVICE_UNAVAILABLE,
                named("urn:homing:problem:not-confirmed", "The event was not confirmed"),
            ),
            Self::Store => (
                StatusCode::SERVICE_UNAVAILABLE,
                named("urn:homing:problem:store-unavailable", "The store is not available"),
            ),
            Self::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, named("urn:homing:problem:busy", "Try later"))
            }
            Self::TimedOut => (
                StatusCode::SERVICE_UNAVAILABLE,
                named("urn:homing:problem:timed-out", "No answer in time"),
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                named("urn:homing:problem:not-ready", "Not ready"),
            ),
        }
    }
}

/// An error as an answer.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    more: Map<String, Value>,
}

/// The media type of a problem.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A problem and its remedy (RFC 9457). Some problems have further members.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// The kind of problem: a stable name, or `about:blank` if the status says it all.
    r#type: &'static str,
    /// The kind of problem in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The problem and its remedy.
    detail: &'a str,
    /// The fields and parameters that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    #[schema(ignore)]
    more: &'a Map<String, Value>,
}

/// Seconds after which a retry may succeed.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

impl Problem {
    /// A problem of this kind; `detail` says what is wrong and what to do about it.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), more: Map::new() }
    }

    /// A wrong field or parameter.
    pub(crate) fn field(error: FieldError) -> Self {
        let mut problem = Self::new(Kind::Invalid, error.to_string());
        problem.errors.push(error);
        problem
    }

    /// The same problem with a further member.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    fn document(&self) -> Document<'_> {
        let (status, named) = self.kind.facts();
        let phrase = status.canonical_reason().unwrap_or_default();
        let (r#type, title) = named.unwrap_or(("about:blank", phrase));
        Document {
            r#type,
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            more: &self.more,
        }
    }

    /// The log has the cause; the client gets a summary.
    pub(crate) fn broker(kind: Kind, failure: &BrokerError, consequence: &str) -> Self {
        let detail = format!("{}; {consequence}", failure.summary());
        error!(error = failure.report(), "api.broker_failed");
        Self::new(kind, detail)
    }
}

impl Problem {
    /// An action on what is parked failed.
    pub(crate) fn parking(failure: ParkingError, consequence: &str) -> Self {
        match failure {
            ParkingError::Store(failure) => failure.into(),
            ParkingError::Broker(failure) => Self::broker(Kind::Broker, &failure, consequence),
            failure @ ParkingError::Unreadable(_) => Self::new(Kind::Internal, failure.to_string()),
            failure @ ParkingError::NotRemoved { .. } => {
                Self::new(Kind::Store, failure.to_string())
            }
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::field(error)
    }
}

impl From<StoreError> for Problem {
    fn from(failure: StoreError) -> Self {
        if let StoreError::TooBroad { field, .. } = &failure {
            return Self::field(FieldError::new(*field, failure.to_string()));
        }
        error!(error = failure.report(), "api.store_failed");
        if let StoreError::Corrupt(corrupt) = &failure {
            return Self::new(Kind::UnreadableSubscription, failure.to_string())
                .with("subscription", corrupt.subscription.to_string())
                .with("field", corrupt.field.as_str())
                .with("message", corrupt.why.as_str());
        }
        if matches!(failure, StoreError::CorruptCircuit(_) | StoreError::ParkedPayload { .. }) {
            return Self::new(Kind::Internal, failure.to_string());
        }
        Self::new(
            Kind::Store,
            "the store is unavailable; the change may or may not have been saved",
        )
    }
}

impl From<RegistryError> for Problem {
    fn from(failure: RegistryError) -> Self {
        match failure {
            RegistryError::Field(error) => Self::field(in_full(error)),
            RegistryError::Fields(errors) => {
                let errors = errors.map(in_full);
                let mut problem = Self::new(Kind::Invalid, errors.to_string());
                problem.errors.extend(errors);
                problem
            }
            RegistryError::Duplicate { existing } => {
                Self::new(Kind::Duplicate, failure.to_string())
                    .with("existing", existing.to_string())
            }
            RegistryError::NotFound { .. } => Self::new(Kind::NotFound, failure.to_string()),
            RegistryError::OriginChanged { .. } => Self::field(FieldError::new("url", failure)),
            RegistryError::Quota(QuotaError::Filter { .. }) => {
                Self::field(FieldError::new("filters", failure))
            }
            RegistryError::Quota(_) => Self::new(Kind::Quota, failure.to_string()),
            RegistryError::Unreadable(corrupt) => StoreError::Corrupt(corrupt).into(),
            RegistryError::Store(failure) => failure.into(),
            RegistryError::Randomness(_) => {
                error!(error = %Chain(&failure), "api.no_randomness");
                Self::new(Kind::Internal, failure.to_string())
            }
        }
    }
}

/// The error with the whole path of its field.
fn in_full(FieldError { field, message }: FieldError) -> FieldError {
    FieldError::new(full_path(&field, &message), message)
}

/// The problem of a body that is no JSON, or has a wrong field at `path`.
pub(crate) fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))
            .with("line", error.line())
            .with("column", error.column());
    }
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = without_types(text.strip_suffix(&place).unwrap_or(&text));
    Problem::field(FieldError::new(full_path(path, &message), message))
}

/// The path with the name of a field that is missing, unknown or duplicate, which serde puts into
/// its message only.
fn full_path(path: &str, message: &str) -> String {
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    match (path, named) {
        ("." | "?" | "", Some(name)) => name.to_owned(),
        ("." | "?" | "", None) => "body".to_owned(),
        (path, Some(name)) if path.rsplit('.').next() != Some(name) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, _named) = self.kind.facts();
        let mut response = (status, Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Turns a panic into an answer, and puts on every answer the headers that keep browsers from
/// guessing and storing.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|panic| {
        error!(panic = %panic_text(&*panic), "api.panicked");
        Problem::new(Kind::Internal, "homing failed; its log says why").into_response()
    });
    metrics::api_request(response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn panic_text(panic: &(dyn Any + Send)) -> Cow<'_, str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").into()
}

#[cfg(test)]
impl Problem {
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self.document()).unwrap_or_default()
    }
}
