//! Attempts: the attempt log with filters.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links,
    period::instant,
    words,
};
use crate::{
    history::{GapView, RecordView},
    web::AppState,
};
use homing_domain::record::Classes;
use homing_store::{RecordFilter, RecordPage};

const PAGE: u32 = 50;
/// The filters of the list.
const FILTERS: [&str; 8] =
    ["event", "subscription", "delivery", "url", "outcome", "status", "since", "until"];

#[derive(Template)]
#[template(path = "attempts_page.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    outcomes: Vec<&'static str>,
    attempts: Vec<RecordView>,
    gaps: Vec<GapView>,
    next: Option<String>,
    is_filtered: bool,
    is_first: bool,
}

/// Lists attempts, newest first.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let filter = filter(&fields, &mut wrong);
    let after = fields.get("after", &mut wrong);
    let wanted = RecordPage { filter, after, limit: PAGE };
    // A wrong filter finds nothing, rather than something else.
    let found =
        if wrong.is_empty() { Some(app.services.history.page(&wanted).await?) } else { None };
    let query = fields.query(&FILTERS);
    let next = found.as_ref().and_then(|found| found.next);
    let next = next.map(|next| format!("/attempts?{query}&after={next}"));
    let (attempts, gaps) = found.map(|found| (found.attempts, found.gaps)).unwrap_or_default();
    Ok(page(&ListPage {
        layout: Layout::new("Attempts", NavItem::Deliveries, visitor),
        is_filtered: !query.is_empty(),
        is_first: fields.given("after").is_none(),
        fields,
        wrong,
        outcomes: Classes::names(),
        attempts,
        gaps,
        next,
    }))
}

fn filter(fields: &Fields, wrong: &mut Wrong) -> RecordFilter {
    RecordFilter {
        since: instant(fields, "since", wrong),
        until: instant(fields, "until", wrong),
        ..fields.read(wrong)
    }
}
