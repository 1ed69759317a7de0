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
#[derive(Serialize)]
pub(super) struct Shown {
    sources: Vec<View>,
}

/// Where the next connect begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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

pub(super) async fn list(State(api): State<Api>, _: NoParameters) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown { sources: api.parts.desk.list().await? }))
}

pub(super) async fn show(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.get(&name).await?))
}

pub(super) async fn pause(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.pause(&name).await?))
}

pub(super) async fn resume(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
) -> Result<Json<View>, Problem> {
    Ok(Json(api.parts.desk.resume(&name).await?))
}

pub(super) async fn reset(
    State(api): State<Api>,
    NameInPath(name): NameInPath,
    _: NoParameters,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<View>, Problem> {
    let reset: Reset = wanted.to.parse().map_err(|error| FieldError::new("to", error))?;
    Ok(Json(api.parts.desk.reset(&name, reset).await?))
}
