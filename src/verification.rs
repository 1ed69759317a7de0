//! Verification: the endpoint of a subscription is asked whether it wants to be called, by one request
//! that is made at once.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::registry::{Registry, RegistryError, VerificationView};
use homing_delivery::endpoint::{Endpoints, RequestError};
use homing_domain::{clock, id::SubscriptionId};

/// The reason why a consent is not kept.
const CHANGED: &str =
    "it consented, but `url` or `verification` was changed meanwhile; verify it again";

/// The end of a verification.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = VerificationResult)]
pub struct VerificationResponse {
    /// The URL of the request.
    pub url: String,
    /// True if the endpoint consented: events are sent from now on.
    pub verified: bool,
    /// The verification of the subscription after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationView>,
    /// The outcome of the request, e.g. `accepted 200`.
    pub outcome: String,
    /// From the start to the end of the exchange.
    pub duration_ms: u64,
    /// The reason why it is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The reason why an endpoint was not asked, or its consent is not kept.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The subscription cannot be read or written, or asks for no consent.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The request cannot be made.
    #[error(transparent)]
    Request(RequestError),
}

/// Asks the endpoint of the subscription with this id for its consent, and keeps that. A consent that
/// it gave before stays where it gives none now.
///
/// # Errors
///
/// [`VerificationError`]: nothing was changed.
///
/// # Cancel safety
///
/// Dropped, the request is abandoned; the endpoint may have received it.
pub async fn verify(
    endpoints: &Endpoints,
    registry: &Registry,
    id: SubscriptionId,
) -> Result<VerificationResponse, VerificationError> {
    let subscription = registry.to_be_verified(id).await?;
    let Some(method) = subscription.spec.verification.as_ref().map(|it| it.method) else {
        return Err(RegistryError::NotFound { id }.into());
    };
    let started = Instant::now();
    let asked = endpoints.ask_for_consent(&subscription, method, clock::now()).await;
    let asked = asked.map_err(VerificationError::Request)?;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let url = subscription.spec.url.clone();
    let (after, problem) = match asked.consent {
        Ok(consent) => {
            let after = registry.verified(id, &consent).await?;
            let is_changed = after.spec.url != url || after.spec.is_unverified();
            (after, is_changed.then(|| CHANGED.to_owned()))
        }
        Err(problem) => (subscription, Some(problem)),
    };
    Ok(VerificationResponse {
        url: url.as_str().to_owned(),
        verified: problem.is_none(),
        verification: VerificationView::of(&after.spec),
        outcome: asked.outcome.to_string(),
        duration_ms,
        problem,
    })
}
