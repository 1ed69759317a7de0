//! The visitor and the installation: who is logged in, and what this installation is called.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::layout::{Layout, NavItem, Visitor, page};
use crate::web::AppState;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    layout: Layout,
    /// The address of the API.
    listen: String,
}

/// The page.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let layout = Layout::new("Settings", NavItem::Settings, visitor);
    page(&SettingsPage { layout, listen: app.services.settings.api.listen.to_string() })
}
