//! Sources: which streams are read, and by whom; pausing, resuming and resetting.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Dashboard,
    door::Visitor,
    fields::Fields,
    frame::{Frame, Here, Trouble, page},
};
use crate::{domain::source::Reset, source::View};

#[derive(Template)]
#[template(path = "sources.html")]
struct ListPage {
    frame: Frame,
    sources: Vec<View>,
}

/// All of them.
pub(super) async fn list(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Trouble> {
    let sources = dashboard.api().desk.list().await?;
    Ok(page(&ListPage { frame: Frame::new("Sources", Here::Sources, visitor), sources }))
}

/// Reads it no more.
pub(super) async fn pause(
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    dashboard.api().desk.pause(&name).await?;
    Ok(back())
}

/// Reads it again.
pub(super) async fn resume(
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
) -> Result<Response, Trouble> {
    dashboard.api().desk.resume(&name).await?;
    Ok(back())
}

/// Has the next connect begin at one end of the data.
pub(super) async fn reset(
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let to: Reset = fields
        .text("to")
        .parse()
        .map_err(|_| Trouble::bad_request("Choose where the next connect begins."))?;
    dashboard.api().desk.reset(&name, to).await?;
    Ok(back())
}

fn back() -> Response {
    Redirect::to("/sources").into_response()
}
