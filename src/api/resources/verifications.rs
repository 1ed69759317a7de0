//! `/v1/subscriptions/{id}/verify`: the endpoint is asked for its consent.

use axum::{Json, extract::State};

use super::test_events::unsent;
use crate::{
    api::requests::{extract::IdInPath, query::NoParameters},
    verification::{self, VerificationError, VerificationResponse},
    web::{
        AppState,
        acting::Acting,
        problem::{Kind, Problem},
    },
};
use homing_domain::{id::SubscriptionId, report::Chain};

/// Ask the endpoint of a subscription with `verification` whether it wants to be called: one request,
/// made now. If it consents, its events are sent from now on; until then they are parked
/// (`unverified`).
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/verify", tag = "subscriptions", operation_id = "verify_subscription",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    responses((status = 200, description = "The answer of the endpoint, a consent or none", body = VerificationResponse)),
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    IdInPath(id): IdInPath,
) -> Result<Json<VerificationResponse>, Problem> {
    let verified = verification::verify(&app.endpoints, &services.registry, id).await;
    verified.map(Json).map_err(|error| match error {
        VerificationError::Registry(error) => error.into(),
        VerificationError::Request(error) => unsent(error).unwrap_or_else(|error| {
            let detail = Chain(&error).to_string();
            tracing::error!(error = detail, "api.verification_failed");
            Problem::new(Kind::Internal, detail)
        }),
    })
}
