//! `/v1/status`: overview of the pool now and in the last hour.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{Api, extract::NoParameters};
use crate::overview::Overview;

/// Get an overview of the pool now and in the last hour. Leaves out what broker and store do not
/// answer.
#[utoipa::path(
    get, path = "/v1/status", tag = "status", operation_id = "status",
    responses((status = 200, description = "The overview", body = Overview)),
)]
pub(super) async fn show(State(api): State<Api>, _: NoParameters) -> Json<Arc<Overview>> {
    Json(api.parts.status_service.overview().await)
}
