//! `/v1/subscriptions`

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header::LOCATION},
};
use humantime_serde::re::humantime::parse_duration;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{
    api::requests::{
        extract::{IdInPath, JsonBody},
        query::{NoParameters, Paging, Query},
    },
    overview::UnreadableSubscription,
    registry::{self, OVERLAP_DEFAULT, Registry, RegistryError, View},
    web::{AppState, acting::Acting, problem::Problem},
};
use homing_domain::{
    id::SubscriptionId,
    signature::SignatureScheme,
    subscription::Draft,
    text::{parsed, parsed_by},
};
use homing_store::{Listing, Page};

/// A new subscription, or one with a new secret.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = CreatedSubscription)]
pub(crate) struct Created {
    #[serde(flatten)]
    pub(crate) view: View,
    /// Shown only once; absent if the secrets were given, and of the scheme `v1a`, whose public key is
    /// in `secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

impl From<registry::Created> for Created {
    fn from(created: registry::Created) -> Self {
        let secret = created.secret.map(|secret| secret.reveal());
        Self { view: View::from(&created.subscription), secret }
    }
}

type CreatedAnswer = (StatusCode, [(HeaderName, String); 1], Json<Created>);

/// Create a subscription.
#[utoipa::path(
    post, path = "/v1/subscriptions", tag = "subscriptions", operation_id = "create_subscription",
    request_body = Draft,
    responses(
        (status = 201, description = "Created; the signing secret is shown only once", body = Created),
        (status = 409, description = "The same subscription exists"),
    )
)]
pub(super) async fn create(
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(draft): JsonBody<Draft>,
) -> Result<CreatedAnswer, Problem> {
    let created = services.registry.create(draft).await?;
    let location = format!("/v1/subscriptions/{}", created.subscription.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(Created::from(created))))
}

/// One page.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SubscriptionsPage)]
pub(crate) struct Shown {
    pub(crate) subscriptions: Vec<View>,
    /// The value of `after` for the next page.
    pub(crate) next: Option<SubscriptionId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) corrupt: Vec<UnreadableSubscription>,
}

impl Shown {
    /// A page of all subscriptions, oldest first.
    pub(crate) async fn read(registry: &Registry, page: Page) -> Result<Self, RegistryError> {
        let Listing { subscriptions, corrupt, next } = registry.page(page).await?;
        Ok(Self {
            subscriptions: registry.views(&subscriptions).await?,
            next,
            corrupt: corrupt.into_iter().map(UnreadableSubscription::from).collect(),
        })
    }
}

/// List subscriptions, oldest first.
#[utoipa::path(
    get, path = "/v1/subscriptions", tag = "subscriptions", operation_id = "list_subscriptions",
    params(
        ("after" = Option<SubscriptionId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(Paging { after, limit }, _): Query<Paging<SubscriptionId>>,
) -> Result<Json<Shown>, Problem> {
    let page = Page { after, limit: limit.0 };
    Ok(Json(Shown::read(&app.services.registry, page).await?))
}

/// Get a subscription.
#[utoipa::path(
    get, path = "/v1/subscriptions/{id}", tag = "subscriptions", operation_id = "get_subscription",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    responses((status = 200, description = "The subscription, secrets masked", body = View)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    _: NoParameters,
    IdInPath(id): IdInPath,
) -> Result<Json<View>, Problem> {
    Ok(Json(app.services.registry.view(id).await?))
}

/// Change the given fields, and keep the rest.
#[utoipa::path(
    patch, path = "/v1/subscriptions/{id}", tag = "subscriptions", operation_id = "update_subscription",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    request_body(content = HashMap<String, Value>, description = "Fields of a subscription, each replaced as a whole; null sets one back. A `url` with another origin is refused while a token, credentials, headers or signing secrets are stored, unless new ones are given or `keep_secrets` is true"),
    responses(
        (status = 200, description = "The updated subscription", body = View),
        (status = 409, description = "Another subscription is the same"),
    )
)]
pub(super) async fn update(
    Acting(services): Acting,
    _: NoParameters,
    IdInPath(id): IdInPath,
    JsonBody(changes): JsonBody<Map<String, Value>>,
) -> Result<Json<View>, Problem> {
    Ok(Json(View::from(&services.registry.update(id, changes).await?)))
}

/// The way in which secrets are rotated.
#[derive(Deserialize)]
pub(super) struct Rotation {
    #[serde(default, deserialize_with = "overlap")]
    overlap: Option<Duration>,
    #[serde(default, deserialize_with = "parsed")]
    signature_scheme: Option<SignatureScheme>,
}

fn overlap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    parsed_by(deserializer, parse_duration)
}

/// Create a new signing secret; the present ones also sign for a while.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/rotate-secret", tag = "subscriptions", operation_id = "rotate_secret",
    params(
        ("id" = SubscriptionId, Path, description = "The subscription"),
        ("overlap" = Option<String>, Query, description = "Time for which the present secrets still sign: `24h`, at most 30 days"),
        ("signature_scheme" = Option<SignatureScheme>, Query, description = "The scheme of the new secret; by default that of the newest present one"),
    ),
    responses((status = 200, description = "The subscription with its new secret, shown only once", body = Created)),
)]
pub(super) async fn rotate_secret(
    Acting(services): Acting,
    Query(Rotation { overlap, signature_scheme }, _): Query<Rotation>,
    IdInPath(id): IdInPath,
) -> Result<Json<Created>, Problem> {
    let overlap = overlap.unwrap_or(OVERLAP_DEFAULT);
    let rotated = services.registry.rotate_secret(id, overlap, signature_scheme).await?;
    Ok(Json(Created::from(rotated)))
}

/// Delete a subscription. Its pending deliveries are parked when they come due.
#[utoipa::path(
    delete, path = "/v1/subscriptions/{id}", tag = "subscriptions", operation_id = "delete_subscription",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    Acting(services): Acting,
    _: NoParameters,
    IdInPath(id): IdInPath,
) -> Result<StatusCode, Problem> {
    services.registry.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
