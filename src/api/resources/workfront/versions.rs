//! Versions of subscriptions: of one, of several, of all.

use axum::Json;
use serde::{Deserialize, Serialize};

use super::{FIRST_PAGE, Versioned};
use crate::{
    api::requests::{
        extract::{IdInPath, JsonBody},
        query::NoParameters,
    },
    registry::{Registry, RegistryError},
    web::{acting::Acting, problem::Problem},
};
use homing_domain::{
    id::SubscriptionId,
    subscription::{FieldError, Version},
};

/// The version that a subscription gets.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkfrontWantedVersion)]
pub(in crate::api) struct SetVersionRequest {
    version: Version,
}

/// Set the version of a subscription.
///
/// For five minutes, events are sent in both versions.
#[utoipa::path(
    put, path = "/attask/eventsubscription/api/v1/subscriptions/{id}/version", tag = "workfront", operation_id = "workfront_set_version",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    request_body = SetVersionRequest,
    responses((status = 200, description = "Version set", body = Versioned)),
)]
pub(in crate::api) async fn set_version(
    Acting(services): Acting,
    _: NoParameters,
    IdInPath(id): IdInPath,
    JsonBody(SetVersionRequest { version }): JsonBody<SetVersionRequest>,
) -> Result<Json<Versioned>, Problem> {
    let subscription = services.registry.get_workfront(id).await?;
    services.registry.set_versions(vec![subscription], version).await?;
    Ok(Json(Versioned { id, version }))
}

/// The version that several subscriptions get.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = WorkfrontWantedVersions)]
pub(in crate::api) struct SetVersionsRequest {
    #[serde(default)]
    subscription_ids: Vec<SubscriptionId>,
    #[serde(default)]
    all_customer_subscriptions: bool,
    version: Version,
}

/// The subscriptions and their version.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontAllVersioned)]
pub(in crate::api) struct AllVersioned {
    subscription_ids: Vec<SubscriptionId>,
    version: Version,
}

/// Set the version of several subscriptions, or of all.
///
/// All given ids must exist; otherwise nothing is changed. For five minutes, events are sent in
/// both versions.
#[utoipa::path(
    put, path = "/attask/eventsubscription/api/v1/subscriptions/version", tag = "workfront", operation_id = "workfront_set_versions",
    request_body = SetVersionsRequest,
    responses(
        (status = 200, description = "Versions set", body = AllVersioned),
    )
)]
pub(in crate::api) async fn set_versions(
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(wanted): JsonBody<SetVersionsRequest>,
) -> Result<Json<AllVersioned>, Problem> {
    let SetVersionsRequest { subscription_ids, all_customer_subscriptions: all, version } = wanted;
    if all != subscription_ids.is_empty() {
        let message =
            "set either this, with at least one id, or `allCustomerSubscriptions` to true";
        return Err(FieldError::new("subscriptionIds", message).into());
    }
    if all {
        return set_all_versions(&services.registry, version).await.map(Json);
    }
    let mut subscriptions = Vec::with_capacity(subscription_ids.len());
    for (index, id) in subscription_ids.iter().enumerate() {
        let found = services.registry.get_workfront(*id).await;
        subscriptions.push(found.map_err(|error| unknown(index, error))?);
    }
    services.registry.set_versions(subscriptions, version).await?;
    Ok(Json(AllVersioned { subscription_ids, version }))
}

/// The problem with the id at `index`. Source: Adobe Workfront, *Event subscription API*, which has
/// 400 and no 404 for a change of several.
fn unknown(index: usize, error: RegistryError) -> Problem {
    if let RegistryError::NotFound { .. } = error {
        FieldError::new(format!("subscriptionIds[{index}]"), error).into()
    } else {
        error.into()
    }
}

async fn set_all_versions(registry: &Registry, version: Version) -> Result<AllVersioned, Problem> {
    let (mut subscription_ids, mut page) = (Vec::new(), FIRST_PAGE);
    loop {
        let listing = registry.page_in_workfronts_form(page).await?;
        subscription_ids.extend(listing.subscriptions.iter().map(|one| one.id));
        registry.set_versions(listing.subscriptions, version).await?;
        page.after = listing.next;
        if page.after.is_none() {
            return Ok(AllVersioned { subscription_ids, version });
        }
    }
}
