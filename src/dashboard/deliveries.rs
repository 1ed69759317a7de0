//! Deliveries: the attempt log with filters, and the timeline of one event.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    body::Body,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links, words,
};
use crate::{
    history::{Explanation, GapView, RecordView},
    web::AppState,
};
use homing_domain::{id::EventId, record::Classes, time::UnixMillis};
use homing_store::{RecordFilter, RecordPage};

const PAGE: u32 = 50;
/// The filters of the list.
const FILTERS: [&str; 8] =
    ["event", "subscription", "delivery", "url", "outcome", "status", "since", "until"];

#[derive(Template)]
#[template(path = "deliveries.html")]
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
    let next = next.map(|next| format!("/deliveries?{query}&after={next}"));
    let (attempts, gaps) = found.map(|found| (found.attempts, found.gaps)).unwrap_or_default();
    Ok(page(&ListPage {
        layout: Layout::new("Deliveries", NavItem::Deliveries, visitor),
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
