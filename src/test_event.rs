//! A test event, sent to an endpoint to check that it works: one request, signed like any other,
//! made at once. Nothing is queued, retried, filtered, counted or logged.
//!
//! The right to test a subscription must not allow to forge events for its receiver. So the signed
//! body is marked as a test: it is always
//! `{"test":"homing","sent":…,"sample":{"topic":…,"body":…}}`, and the caller's data is below
//! `sample`, where no receiver expects an event. A header would not do: signatures do not cover
//! headers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use homing_delivery::endpoint::{Attempted, Endpoints, RequestError};
use homing_domain::{
    clock,
    delivery::{Delivery, Progress},
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{DeliveryId, EventId},
    subscription::{FieldError, Subscription},
    topic::{Topic, TopicError},
};

/// Characters of a response that are shown.
const MAX_RESPONSE_CHARS: usize = 500;

/// A test event.
#[derive(Clone, Debug, Default)]
pub struct TestEvent {
    /// Its topic; `None`: one that the subscription wants.
    pub topic: Option<String>,
    /// Sent literally as `sample.body`.
    pub body: Option<Box<RawValue>>,
}

/// The body that is sent and signed. The first two members are homing's own.
#[derive(Serialize)]
struct Body<'a> {
    test: &'static str,
    sent: String,
    sample: Given<'a>,
}

/// The data of the caller.
#[derive(Serialize)]
struct Given<'a> {
    topic: &'a Topic,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// The response to a test event.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TestEventResponse {
    /// The URL of the request.
    pub url: String,
    /// Its topic.
    pub topic: Topic,
    /// The id sent as `webhook-id`.
    #[serde(rename = "delivery", alias = "webhook_id")]
    pub webhook_id: DeliveryId,
    /// The outcome, e.g. `refused 503`.
    pub outcome: String,
    /// True if that is a success.
    pub accepted: bool,
    /// The HTTP status.
    pub status: Option<u16>,
    /// From the start to the end of the exchange.
    pub duration_ms: u64,
    /// The reason why there was no complete answer, or the target of a redirect.
    pub cause: Option<String>,
    /// The beginning of the response's body.
    pub response: String,
}

/// The reason why no test event was sent.
#[derive(Debug, thiserror::Error)]
pub enum TestEventError {
    /// The topic is not valid.
    #[error(transparent)]
    Topic(TopicError),
    /// The body cannot be written as JSON.
    #[error("the test event cannot be serialized")]
    Body(#[source] serde_json::Error),
    /// The endpoint has not consented to be called.
    #[error(transparent)]
    Unverified(FieldError),
    /// The request cannot be made.
    #[error(transparent)]
    Request(RequestError),
}

/// Sends `test_event` to the endpoint of `subscription`.
///
/// # Errors
///
/// [`TestEventError`]: nothing was sent.
///
/// # Cancel safety
///
/// Dropped, the request is abandoned; the endpoint may have received it.
pub async fn send(
    endpoints: &Endpoints,
    subscription: &Subscription,
    test_event: TestEvent,
) -> Result<TestEventResponse, TestEventError> {
    if subscription.spec.is_unverified() {
        let message = "the endpoint is not verified, so nothing is sent; verify it first";
        return Err(TestEventError::Unverified(FieldError::new("verification", message)));
    }
    let now = clock::now();
    let topic = test_event.topic.unwrap_or_else(|| topic_for(subscription));
    let topic = Topic::new(&topic).map_err(TestEventError::Topic)?;
    let given = Given { topic: &topic, body: test_event.body.as_deref() };
    let body = Body { test: "homing", sent: now.to_string(), sample: given };
    let body = serde_json::to_vec(&body).map_err(TestEventError::Body)?;
    let event = Arc::new(Event {
        id: EventId::from(clock::new_id()),
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: body.into(),
    });
    let progress = Progress { received: Some(now), ..Progress::default() };
    let delivery = Delivery::new(event, subscription.id, progress);
    let started = Instant::now();
    let attempted = endpoints.attempt(&delivery, subscription, now).await;
    let Attempted { outcome, status, response, cause, .. } =
        attempted.map_err(TestEventError::Request)?;
    let response = String::from_utf8_lossy(&response);
    Ok(TestEventResponse {
        url: subscription.spec.url.as_str().to_owned(),
        topic: delivery.event.topic.clone(),
        webhook_id: delivery.id(),
        outcome: outcome.to_string(),
        accepted: outcome.is_accepted(),
        status,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        cause,
        response: response.chars().take(MAX_RESPONSE_CHARS).collect(),
    })
}

/// A topic that the subscription wants: its first pattern, with words for the wildcards.
fn topic_for(subscription: &Subscription) -> String {
    let patterns = &subscription.spec.topics;
    let pattern = patterns.iter().find(|pattern| pattern.is_exact()).or_else(|| patterns.first());
    let words = pattern.map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> = words
        .split('.')
        .map(|word| if matches!(word, "*" | "#") { "test" } else { word })
        .collect();
    words.join(".")
}
