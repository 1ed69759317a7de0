//! `/v1/audit`: who changed what.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::query::{Paging, Query},
    web::{AppState, problem::Problem},
};
use homing_domain::{audit::View, record::RecordId};
use homing_store::{AuditFilter, AuditListing, AuditPage};

/// One page.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AuditPage)]
pub(crate) struct Shown {
    pub(crate) records: Vec<View>,
    /// The value of `after` for the next page.
    pub(crate) next: Option<RecordId>,
}

impl From<AuditListing> for Shown {
    fn from(AuditListing { records, next }: AuditListing) -> Self {
        Self { records: records.into_iter().map(View::from).collect(), next }
    }
}

/// List changes and who made them, newest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_audit",
    params(
        ("kind" = Option<String>, Query, description = "Only about objects of this kind"),
        ("object" = Option<String>, Query, description = "Only about the object with this id, URL or name"),
        ("actor" = Option<String>, Query, description = "Only by this actor: the name of a token, `api.tokens`, `loopback`, `user@host` or `homing`"),
        ("action" = Option<String>, Query, description = "Only this action"),
        ("since" = Option<String>, Query, description = "Only from this instant on"),
        ("until" = Option<String>, Query, description = "Only before this instant"),
        ("after" = Option<RecordId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(filter, Paging { after, limit }): Query<AuditFilter, Paging<RecordId>>,
) -> Result<Json<Shown>, Problem> {
    let page = AuditPage { filter, after, limit: limit.0 };
    Ok(Json(app.services.store.audit(&page).await?.into()))
}
