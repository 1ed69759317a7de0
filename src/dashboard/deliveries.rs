//! Deliveries with their present states.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links,
    period::instant,
    words,
};
use crate::{
    history::{DeliveryTimeline, GapView},
    web::AppState,
};
use homing_domain::delivery_state::States;
use homing_store::{DeliveryFilter, DeliveryPage};

const PAGE: u32 = 50;
/// The filters of the list.
const FILTERS: [&str; 8] =
    ["event", "delivery", "subscription", "url", "topic", "state", "since", "until"];
/// Those of attempts, which this page had before.
const OF_ATTEMPTS: [&str; 2] = ["outcome", "status"];

#[derive(Template)]
#[template(path = "deliveries.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    states: Vec<&'static str>,
    deliveries: Vec<DeliveryTimeline>,
    gaps: Vec<GapView>,
    notes: Vec<String>,
    next: Option<String>,
    attempts: String,
    is_filtered: bool,
    is_first: bool,
}

/// Lists deliveries, those that changed last first.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let query = fields.query(&FILTERS);
    if OF_ATTEMPTS.iter().any(|name| fields.given(name).is_some()) {
        let query = format!("{query}&{}", fields.query(&OF_ATTEMPTS));
        return Ok(Redirect::to(&format!("/attempts?{query}")).into_response());
    }
    let mut wrong = Wrong::default();
    let filter = DeliveryFilter {
        since: instant(&fields, "since", &mut wrong),
        until: instant(&fields, "until", &mut wrong),
        ..fields.read(&mut wrong)
    };
    let after = fields.get("after", &mut wrong);
    let wanted = DeliveryPage { filter, after, limit: PAGE };
    // A wrong filter finds nothing, rather than something else.
    let found =
        if wrong.is_empty() { Some(app.services.history.deliveries(&wanted).await?) } else { None };
    let next = found.as_ref().and_then(|found| found.next);
    let next = next.map(|next| format!("/deliveries?{query}&after={next}"));
    let found = found.map(|found| (found.deliveries, found.gaps, found.notes));
    let (deliveries, gaps, notes) = found.unwrap_or_default();
    Ok(page(&ListPage {
        layout: Layout::new("Deliveries", NavItem::Deliveries, visitor),
        is_filtered: !query.is_empty(),
        is_first: fields.given("after").is_none(),
        attempts: format!(
            "/attempts?{}",
            fields.query(&["event", "delivery", "subscription", "url", "since", "until"])
        ),
        fields,
        wrong,
        states: States::names(),
        deliveries,
        gaps,
        notes,
        next,
    }))
}
