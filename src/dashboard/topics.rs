//! Topics: those that were seen, and who wants them.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::{self, link, query},
    words,
};
use crate::{
    history::{TopicView, TopicsView},
    web::AppState,
};
use homing_store::{TopicOrder, TopicPage};

const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "topics.html")]
struct ListPage {
    layout: Layout,
    topics: Vec<TopicView>,
    others: Option<TopicView>,
    next: Option<String>,
    unwanted: bool,
    order: TopicOrder,
    wrong: Wrong,
    first: String,
    is_first: bool,
}

impl ListPage {
    /// The address of the list in another order.
    fn list(&self, sort: &str) -> String {
        address(self.unwanted, sort)
    }

    /// The order of the list by a column, as its heading has it.
    fn sorted(&self, sort: &str) -> &'static str {
        if self.order.as_str() != sort {
            "none"
        } else if self.order == TopicOrder::Topic {
            "ascending"
        } else {
            "descending"
        }
    }
}

fn address(unwanted: bool, sort: &str) -> String {
    let filter = unwanted.then_some(("unwanted", "true"));
    link("/topics", filter.into_iter().chain([("sort", sort)]))
}

/// Lists the topics of which events came.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let after = fields.given("after").map(str::to_owned);
    let order = fields.get("sort", &mut wrong).unwrap_or_default();
    let (is_first, unwanted) = (after.is_none(), fields.text("unwanted") == "true");
    let wanted = TopicPage { after, order, unwanted, limit: PAGE };
    let TopicsView { topics, next, others } = app.services.topics.page(&wanted).await?;
    let first = address(unwanted, order.as_str());
    let next = next.map(|next| format!("{first}&{}", query([("after", next.as_str())])));
    Ok(page(&ListPage {
        layout: Layout::new("Topics", NavItem::Topics, visitor),
        topics,
        others,
        next,
        unwanted,
        order,
        wrong,
        first,
        is_first,
    }))
}
