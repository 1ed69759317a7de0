//! `/v1/sources`: the streams that are read, and their connections.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{
        extract::{JsonBody, NameInPath},
        query::NoParameters,
    },
    web::{
        AppState,
        acting::Acting,
        problem::{Kind, Problem},
    },
};
use homing_domain::{source::Reset, subscription::FieldError};
use homing_livestream::{SourceAdminError, View};

/// All sources.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Sources)]
pub(crate) struct Shown {
    pub(crate) sources: Vec<View>,
}

/// The position at which the next connect begins.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SourceReset)]
pub(super) struct ResetRequest {
    to: String,
}

impl From<SourceAdminError> for Problem {
    fn from(error: SourceAdminError) -> Self {
        match error {
            SourceAdminError::Unknown { .. } => Self::new(Kind::NotFound, error.to_string()),
            SourceAdminError::Store(error) => error.into(),
        }
    }
}

/// List sources.
#[utoipa::path(
    get, path = "/v1/sources", tag = "sources", operation_id = "list_sources",
    responses((status = 200, description = "All sources", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    _: NoParameters,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown { sources: app.services.source_admin.list().await? }))
}

/// Get a source.
#[utoipa::path(
    get, path = "/v1/sources/{name}", tag = "sources", operation_id = "get_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The source", body = View)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(app.services.source_admin.get(&name).await?))
}

/// Stop reading until the source is resumed.
#[utoipa::path(
    post, path = "/v1/sources/{name}/pause", tag = "sources", operation_id = "pause_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The new state of the source", body = View)),
)]
pub(super) async fn pause(
    Acting(services): Acting,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(services.source_admin.pause(&name).await?))
}

/// Read again.
#[utoipa::path(
    post, path = "/v1/sources/{name}/resume", tag = "sources", operation_id = "resume_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The new state of the source", body = View)),
)]
pub(super) async fn resume(
    Acting(services): Acting,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(services.source_admin.resume(&name).await?))
}

/// Begin with the oldest or the newest data at the next connect.
#[utoipa::path(
    post, path = "/v1/sources/{name}/reset", tag = "sources", operation_id = "reset_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    request_body = ResetRequest,
    responses((status = 200, description = "The new state of the source", body = View)),
)]
pub(super) async fn reset(
    Acting(services): Acting,
    NameInPath(name): NameInPath,
    _: NoParameters,
    JsonBody(request): JsonBody<ResetRequest>,
) -> Result<Json<View>, Problem> {
    let reset: Reset = request.to.parse().map_err(|error| FieldError::new("to", error))?;
    Ok(Json(services.source_admin.reset(&name, reset).await?))
}
