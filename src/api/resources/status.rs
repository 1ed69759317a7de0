//! `/v1/status`: overview of the pool now and in the last hour.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{api::requests::query::NoParameters, overview::Overview, web::AppState};

/// Get an overview of the pool now and in the last hour. Leaves out what broker and store do not
/// answer.
#[utoipa::path(
    get, path = "/v1/status", tag = "status", operation_id = "status",
    responses((status = 200, description = "The overview", body = Overview)),
)]
pub(super) async fn show(State(app): State<AppState>, _: NoParameters) -> Json<Arc<Overview>> {
    Json(app.services.status_service.overview().await)
}
