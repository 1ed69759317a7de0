//! `/v1/sources`: which streams are read, and by whom.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    extract::{JsonBody, NameInPath, NoParameters},
    problem::{Kind, Problem},
};
use crate::{
    domain::{source::Reset, subscription::FieldError},
    source::{DeskError, View},
};

/// All of them.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Sources)]
pub(super) struct Shown {
    sources: Vec<View>,
}

/// Where the next connect begins.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SourceReset)]
pub(super) struct Wanted {
    to: String,
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Unknown { .. } => Self::new(Kind::NotFound, error.to_string()),
            DeskError::Store(error) => error.into(),
        }
    }
}

/// All sources.
#[utoipa::path(
    get, path = "/v1/sources", tag = "sources", operation_id = "list_sources",
    responses((status = 200, description = "All of them", body = Shown)),
)]
pub(super) async fn list(State(api): State<Api>, _: NoParameters) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown { sources: api.parts.desk.list().await? }))
}

/// One source.
#[utoipa::path(
    get, path = "/v1/sources/{name}", tag = "sources", operation_id = "show_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The source", body = View)),
)]
pub(super) async fn show(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.get(&name).await?))
}

/// Stops reading until somebody resumes it.
#[utoipa::path(
    post, path = "/v1/sources/{name}/pause", tag = "sources", operation_id = "pause_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The source as it is now", body = View)),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.pause(&name).await?))
}

/// Reads again.
#[utoipa::path(
    post, path = "/v1/sources/{name}/resume", tag = "sources", operation_id = "resume_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    responses((status = 200, description = "The source as it is now", body = View)),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.resume(&name).await?))
}

/// Begins the stream anew at the next connect.
#[utoipa::path(
    post, path = "/v1/sources/{name}/reset", tag = "sources", operation_id = "reset_source",
    params(("name" = String, Path, description = "The source's name in the settings")),
    request_body = Wanted,
    responses((status = 200, description = "The source as it is now", body = View)),
)]
pub(super) async fn reset(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<View>, Problem> {
    let reset: Reset = wanted.to.parse().map_err(|error| FieldError::new("to", error))?;
    Ok(Json(api.parts.desk.reset(&name, reset).await?))
}
