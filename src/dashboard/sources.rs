//! Sources: the streams that are read, and their connections; pausing, resuming and resetting.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    fields::Fields,
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    words,
};
use crate::web::{AppState, acting::Acting};
use homing_domain::source::Reset;
use homing_livestream::View;

#[derive(Template)]
#[template(path = "sources.html")]
struct ListPage {
    layout: Layout,
    sources: Vec<View>,
}

/// Lists the sources.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, ErrorPage> {
    let sources = app.services.source_admin.list().await?;
    Ok(page(&ListPage { layout: Layout::new("Sources", NavItem::Sources, visitor), sources }))
}

/// Pauses a source.
pub(super) async fn pause(
    Acting(services): Acting,
    Path(name): Path<String>,
) -> Result<Response, ErrorPage> {
    services.source_admin.pause(&name).await?;
    Ok(back())
}

/// Resumes a source.
pub(super) async fn resume(
    Acting(services): Acting,
    Path(name): Path<String>,
) -> Result<Response, ErrorPage> {
    services.source_admin.resume(&name).await?;
    Ok(back())
}

/// Makes the next connect begin with the oldest or the newest data.
pub(super) async fn reset(
    Acting(services): Acting,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let to: Reset = fields
        .text("to")
        .parse()
        .map_err(|_| ErrorPage::bad_request("Choose where the next connect begins."))?;
    services.source_admin.reset(&name, to).await?;
    Ok(back())
}

fn back() -> Response {
    Redirect::to("/sources").into_response()
}
