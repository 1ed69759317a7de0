//! `/v1/subscriptions/{id}/test`: a test event, sent at once.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    api::requests::{
        extract::{IdInPath, JsonBody},
        query::NoParameters,
    },
    test_event::{self, TestEvent, TestEventError, TestEventResponse},
    web::{
        AppState,
        problem::{Kind, Problem},
    },
};
use homing_delivery::endpoint::RequestError;
use homing_domain::{id::SubscriptionId, report::Chain, subscription::FieldError};

/// A test event to send.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TestEventWanted)]
pub(super) struct TestEventRequest {
    /// Its topic; without it one that the subscription wants.
    #[serde(default)]
    topic: Option<String>,
    /// Any JSON; sent literally, in the member `sample.body` of a body that is marked as a test.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
}

/// Send a test event to the endpoint of a subscription: one request, signed like any other. Nothing
/// is queued, retried or counted; the answer shows what the endpoint did.
///
/// The signed body is always marked as a test:
/// `{"test":"homing","sent":"…","sample":{"topic":"…","body":…}}`.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/test", tag = "subscriptions", operation_id = "test_subscription",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    request_body = TestEventRequest,
    responses((status = 200, description = "The response of the endpoint", body = TestEventResponse)),
)]
pub(super) async fn send(
    State(app): State<AppState>,
    _: NoParameters,
    IdInPath(id): IdInPath,
    JsonBody(request): JsonBody<TestEventRequest>,
) -> Result<Json<TestEventResponse>, Problem> {
    let subscription = app.services.registry.get(id).await?;
    let event = TestEvent { topic: request.topic, body: request.body };
    let sent = test_event::send(&app.endpoints, &subscription, event).await;
    sent.map(Json).map_err(|error| match error {
        TestEventError::Unverified(error) => error.into(),
        TestEventError::Topic(error) => FieldError::new("topic", error).into(),
        TestEventError::Request(error @ RequestError::Unfit(_)) => {
            FieldError::new("body", Chain(&error)).into()
        }
        TestEventError::Body(error) => FieldError::new("body", error).into(),
        TestEventError::Request(error) => unsent(error).unwrap_or_else(|error| {
            let detail = Chain(&error).to_string();
            tracing::error!(error = detail, "api.test_event_failed");
            Problem::new(Kind::Internal, detail)
        }),
    })
}

/// The problem of a request to an endpoint that was not made; `Err`: a failure of homing's own.
pub(super) fn unsent(error: RequestError) -> Result<Problem, RequestError> {
    if error.may_pass() {
        // Of the proxy, or of name servers.
        return Ok(Problem::new(Kind::NotReady, Chain(&error).to_string()));
    }
    if let RequestError::Certificate(error) = error {
        return Ok(error.into());
    }
    let is_refused = matches!(error, RequestError::ProxyRefuses(_));
    if is_refused { Ok(FieldError::new("url", Chain(&error)).into()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what the client can mend is no failure of homing's, which would alarm its operator.
    #[test]
    fn a_url_that_the_proxy_refuses_is_the_clients() {
        let refused = unsent(RequestError::ProxyRefuses("403".into())).expect("the client's");
        assert_eq!(refused.errors().first().map(|error| error.field.as_str()), Some("url"));
        let field = FieldError::new("client_certificate", "has expired");
        let expired = unsent(RequestError::Certificate(field.clone())).expect("the client's");
        assert_eq!(expired.errors(), [field]);
        assert!(unsent(RequestError::Unsendable("x".into())).is_err(), "homing's own");
    }
}
