//! `/v1/replays`: events of the archive that are sent again.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header::LOCATION, request::Parts},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{
        extract::JsonBody,
        query::{NoParameters, Query, Size},
    },
    web::{
        AppState,
        acting::Acting,
        problem::{Kind, Problem},
    },
};
use homing_delivery::archive::{ArchiveError, Preview};
use homing_domain::replay::{Replay, ReplayId, ReplaySelection};

/// The id in the path. Text that is no id is answered with 404.
pub(super) struct ReplayInPath(ReplayId);

impl<S: Send + Sync> FromRequestParts<S> for ReplayInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let not_found = |error: String| Problem::new(Kind::NotFound, error);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| not_found(error.body_text()))?;
        let id: Result<ReplayId, _> = text.parse();
        id.map(Self).map_err(|error| not_found(error.to_string()))
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Field(error) => Self::field(error),
            ArchiveError::Unknown(_) => Self::new(Kind::NotFound, error.to_string()),
            ArchiveError::Off | ArchiveError::RecipientsUnknown | ArchiveError::State { .. } => {
                Self::new(Kind::Invalid, error.to_string())
            }
            ArchiveError::TooSlow => Self::new(Kind::TimedOut, error.to_string()),
            ArchiveError::TooMany => Self::new(Kind::Quota, error.to_string()),
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Broker(error) => Self::broker(Kind::Broker, &error, "nothing was sent"),
        }
    }
}

/// The latest replays.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Replays)]
pub(crate) struct Shown {
    pub(crate) replays: Vec<Replay>,
}

/// Send events of the archive again.
#[utoipa::path(
    post, path = "/v1/replays", tag = "replays", operation_id = "create_replay",
    request_body = ReplaySelection,
    responses((status = 201, description = "The replay; a worker takes it within seconds", body = Replay)),
)]
pub(super) async fn create(
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(selection): JsonBody<ReplaySelection>,
) -> Result<impl IntoResponse, Problem> {
    let replay = services.archive.begin(selection).await?;
    let location = format!("/v1/replays/{}", replay.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(replay)))
}

/// Show what a replay would send; sends nothing.
#[utoipa::path(
    post, path = "/v1/replays/preview", tag = "replays", operation_id = "preview_replay",
    request_body = ReplaySelection,
    responses((status = 200, description = "Events by topic, of the first 20000 of the window", body = Preview)),
)]
pub(super) async fn preview(
    State(app): State<AppState>,
    _: NoParameters,
    JsonBody(selection): JsonBody<ReplaySelection>,
) -> Result<Json<Preview>, Problem> {
    Ok(Json(app.services.archive.preview(selection).await?))
}

/// List replays, newest first.
#[utoipa::path(
    get, path = "/v1/replays", tag = "replays", operation_id = "list_replays",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default")),
    responses((status = 200, description = "The latest replays", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(Size { limit }, _): Query<Size>,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown { replays: app.services.archive.list(limit.0).await? }))
}

/// Get a replay, and how far it is.
#[utoipa::path(
    get, path = "/v1/replays/{id}", tag = "replays", operation_id = "get_replay",
    params(("id" = ReplayId, Path, description = "The replay")),
    responses((status = 200, description = "The replay", body = Replay)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    _: NoParameters,
    ReplayInPath(id): ReplayInPath,
) -> Result<Json<Replay>, Problem> {
    Ok(Json(app.services.archive.get(id).await?))
}

/// Stop a replay that waits or runs.
#[utoipa::path(
    post, path = "/v1/replays/{id}/stop", tag = "replays", operation_id = "stop_replay",
    params(("id" = ReplayId, Path, description = "The replay")),
    responses((status = 200, description = "The stopped replay", body = Replay)),
)]
pub(super) async fn stop(
    Acting(services): Acting,
    _: NoParameters,
    ReplayInPath(id): ReplayInPath,
) -> Result<Json<Replay>, Problem> {
    Ok(Json(services.archive.stop(id).await?))
}

/// Have a replay that was stopped or failed go on where it ended.
#[utoipa::path(
    post, path = "/v1/replays/{id}/resume", tag = "replays", operation_id = "resume_replay",
    params(("id" = ReplayId, Path, description = "The replay")),
    responses((status = 200, description = "The replay, which waits for a worker", body = Replay)),
)]
pub(super) async fn resume(
    Acting(services): Acting,
    _: NoParameters,
    ReplayInPath(id): ReplayInPath,
) -> Result<Json<Replay>, Problem> {
    Ok(Json(services.archive.resume(id).await?))
}
