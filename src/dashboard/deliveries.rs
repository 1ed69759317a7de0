//! Deliveries with their present states, and the timeline of one event.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    body::Body,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links, words,
};
use crate::{
    history::{DeliveryTimeline, Explanation, GapView},
    web::AppState,
};
use homing_domain::{delivery_state::States, id::EventId, time::UnixMillis};
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

/// An instant as a browser's field for it sends it, in UTC: `2026-11-21T14:35`, with seconds or
/// not. Source: HTML Living Standard, 2.3.5.5 (valid local date and time string).
pub(super) fn instant(fields: &Fields, name: &str, wrong: &mut Wrong) -> Option<UnixMillis> {
    let text = fields.given(name)?;
    let local = text.trim_end_matches('Z');
    let seconds = if local.matches(':').count() < 2 { ":00Z" } else { "Z" };
    let found = words::instant(&format!("{local}{seconds}"));
    if found.is_none() {
        wrong.add(name, "write it as 2026-11-21T14:35, in UTC".to_owned());
    }
    found
}

#[derive(Template)]
#[template(path = "event.html")]
struct TimelinePage {
    layout: Layout,
    explanation: Explanation,
}

/// The timeline of one event.
pub(super) async fn timeline(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let id = EventId::new(fields.text("id"))
        .map_err(|error| ErrorPage::bad_request(format!("The event: {error}.")))?;
    let history = &app.services.history;
    let mut explanation = history.explain(id.as_str(), None).await?;
    history.add_payloads(&mut explanation).await?;
    let layout = Layout::new(format!("Event {}", explanation.event), NavItem::Deliveries, visitor);
    Ok(page(&TimelinePage { layout, explanation }))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::FromRequest, http::Request};

    use super::*;

    #[tokio::test]
    async fn instants_of_browsers_and_typed_ones_are_read() {
        let read = async |text: &str| {
            let uri = links::link("/deliveries", [("since", text)]);
            let request = Request::get(uri).body(Body::empty()).unwrap();
            let fields = Fields::from_request(request, &()).await.unwrap();
            let mut wrong = Wrong::default();
            let read = instant(&fields, "since", &mut wrong);
            assert_eq!(read.is_some(), wrong.is_empty());
            read.map(|instant| instant.to_string())
        };
        assert_eq!(read("2026-11-21T14:35").await.as_deref(), Some("2026-11-21T14:35:00.000Z"));
        assert_eq!(read("2026-11-21T14:35:07Z").await.as_deref(), Some("2026-11-21T14:35:07.000Z"));
        assert_eq!(read("yesterday").await, None);
    }
}
