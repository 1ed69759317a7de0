//! Topics: those that were seen, and who wants them.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    cut,
    fields::Fields,
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::{self, link},
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
    first: String,
    is_first: bool,
}

/// Lists the topics of which events came.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let after = fields.given("after").map(str::to_owned);
    let (is_first, unwanted) = (after.is_none(), fields.text("unwanted") == "true");
    let wanted = TopicPage { after, unwanted, limit: PAGE };
    let TopicsView { topics, next, others } = app.services.topics.page(&wanted).await?;
    let filter = unwanted.then_some(("unwanted", "true"));
    let next = next.map(|next| link("/topics", filter.into_iter().chain([("after", &*next)])));
    let first = link("/topics", filter);
    let layout = Layout::new("Topics", NavItem::Topics, visitor);
    Ok(page(&ListPage { layout, topics, others, next, unwanted, first, is_first }))
}
