//! Topics: those that were seen, and who wants them.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    fields::Fields,
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::link,
    words,
};
use crate::{
    history::{TopicView, TopicsView},
    web::AppState,
};
use homing_store::TopicPage;

const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "topics.html")]
struct ListPage {
    layout: Layout,
    topics: Vec<TopicView>,
    others: Option<TopicView>,
    next: Option<String>,
    unwanted: bool,
    is_first: bool,
}

/// Lists the topics of which events came.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let after = fields.given("after").map(str::to_owned);
    let (is_first, unwanted) = (after.is_none(), fields.is_set("unwanted"));
    let wanted = TopicPage { after, unwanted, limit: PAGE };
    let TopicsView { topics, next, others } = app.services.topics.page(&wanted).await?;
    let next = next.map(|next| {
        link("/topics", [("unwanted", fields.text("unwanted")), ("after", next.as_str())])
    });
    let layout = Layout::new("Topics", NavItem::Topics, visitor);
    Ok(page(&ListPage { layout, topics, others, next, unwanted, is_first }))
}
