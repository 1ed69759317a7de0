//! `/v1/errors`: failed attempts by what failed.

use axum::{Json, extract::State};

use crate::{
    api::requests::query::{Query, Size},
    history::ErrorsView,
    web::{AppState, problem::Problem},
};
use homing_store::ErrorFilter;

/// List errors, those with the latest attempts first.
///
/// Failed attempts are one error if they have the URL, the outcome and the text of the answer in
/// common, but for numbers, ids and addresses.
#[utoipa::path(
    get, path = "/v1/errors", tag = "attempts", operation_id = "list_errors",
    params(
        ("url" = Option<String>, Query, description = "Only at this URL"),
        ("since" = Option<String>, Query, description = "Only with an attempt from this instant on"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "The errors", body = ErrorsView)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(filter, Size { limit }): Query<ErrorFilter, Size>,
) -> Result<Json<ErrorsView>, Problem> {
    let filter = ErrorFilter { limit: limit.0, ..filter };
    Ok(Json(app.services.history.errors(&filter).await?))
}
