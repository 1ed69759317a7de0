//! One event: its deliveries with their states and attempts; and one attempt with both sides of its
//! exchange.

use std::borrow::Cow;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
};

use super::{
    body::{self, Body},
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links, words,
};
use crate::{
    history::{DeliveryTimeline, Explanation, PartView, PayloadView, RecordView},
    web::{App, AppState},
};
use homing_domain::{id::EventId, record::RecordId};

/// Deliveries that are shown; the list of deliveries has all.
const MAX_DELIVERIES: usize = 40;
/// Characters of a body on the page of an event; that of an attempt has more.
const MAX_CHARS: usize = 1_024;
/// A command that is longer is on the page of its attempt ...
const MAX_CURL: usize = 2_048;
/// ... unless it is longer than this: the body is in it once more.
const MAX_CURL_ALONE: usize = 8 * 1_024;

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    layout: Layout,
    explanation: Explanation,
    /// The number of deliveries in each state.
    states: Vec<(&'static str, usize)>,
    /// Those that are not shown.
    others: usize,
    /// Where body and headers are.
    content: Content,
    /// True if deliveries that are done can be sent again.
    is_archived: bool,
}

/// The place where body and headers of an event are shown.
enum Content {
    /// An attempt, and its number.
    Attempt(RecordId, u32),
    /// A parked delivery.
    Parked(String),
    /// Nowhere.
    NotKept,
}

impl Content {
    fn of(explanation: &Explanation) -> Self {
        let parked = explanation.deliveries.iter().find_map(|one| one.parked.as_ref());
        let attempts = explanation.deliveries.iter().flat_map(|one| &one.attempts);
        let kept = attempts.filter(|one| one.payload.is_some()).max_by_key(|one| one.id);
        match (parked, kept.and_then(|one| Some((one.id, one.attempt?)))) {
            (Some(parked), _) => Self::Parked(links::parked_as(parked.id)),
            (None, Some((id, attempt))) => Self::Attempt(id, attempt),
            (None, None) => Self::NotKept,
        }
    }
}

/// The page of an event: what was not delivered comes first.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let id = EventId::new(fields.text("id"))
        .map_err(|error| ErrorPage::bad_request(format!("The event: {error}.")))?;
    let history = &app.services.history;
    let mut explanation = history.explain(id.as_str(), None).await?;
    let states = states(&explanation.deliveries);
    explanation.deliveries.sort_by_key(|one| words::tone(one.state) == "good");
    let others = explanation.deliveries.len().saturating_sub(MAX_DELIVERIES);
    explanation.deliveries.truncate(MAX_DELIVERIES);
    history.add_payloads(&mut explanation).await?;
    let layout = Layout::new(format!("Event {}", explanation.event), NavItem::Deliveries, visitor);
    Ok(page(&EventPage {
        layout,
        states,
        others,
        content: Content::of(&explanation),
        is_archived: app.services.broker.topology().has_archive(),
        explanation,
    }))
}

fn states(deliveries: &[DeliveryTimeline]) -> Vec<(&'static str, usize)> {
    let mut states: Vec<(&'static str, usize)> = Vec::new();
    for one in deliveries {
        match states.iter_mut().find(|(state, _)| *state == one.state) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => states.push((one.state, 1)),
        }
    }
    states
}

/// The beginning of a body.
fn short(part: &PartView) -> Body {
    Body::within(&part.bytes, MAX_CHARS)
}

/// The form that sends what is not parked again; its window begins before the first record.
fn again(timeline: &DeliveryTimeline) -> Option<String> {
    let subscription = timeline.subscription?.to_string();
    let first = words::instant(&timeline.attempts.first()?.started)?;
    Some(links::replay_of(&timeline.event, &subscription, first))
}

#[derive(Template)]
#[template(path = "attempt.html")]
struct AttemptPage {
    layout: Layout,
    one: RecordView,
    /// The sides of the exchange, the request first.
    sides: Vec<Side>,
}

/// A side of an exchange.
struct Side {
    name: &'static str,
    /// Its word in the address of the body.
    word: &'static str,
    part: PartView,
    body: Body,
    hex: String,
}

impl Side {
    fn of(payload: &PayloadView) -> Vec<Self> {
        let request = Some(("Request", "request", &payload.request));
        let response = payload.response.as_ref().map(|part| ("Response", "response", part));
        let sides = request.into_iter().chain(response).map(|(name, word, part)| Self {
            name,
            word,
            body: Body::of(&part.bytes),
            hex: body::hex(&part.bytes),
            part: part.clone(),
        });
        sides.collect()
    }
}

/// The record that an address names, and its payload.
async fn record(app: &App, fields: &Fields) -> Result<RecordView, ErrorPage> {
    let mut wrong = Wrong::default();
    let id: Option<RecordId> = fields.get("id", &mut wrong);
    let Some(id) = id else {
        return Err(ErrorPage::bad_request("This address names no attempt."));
    };
    let found = app.services.history.attempt(id).await?;
    found.ok_or_else(|| {
        ErrorPage::not_found("The attempt log has no such attempt; it keeps them for some days.")
    })
}

/// One attempt: what was sent, and what was answered.
pub(super) async fn attempt(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let one = record(&app, &fields).await?;
    let title = match one.attempt {
        Some(attempt) => format!("Attempt {attempt}"),
        None => "No attempt".to_owned(),
    };
    let sides = one.payload.as_deref().map(Side::of).unwrap_or_default();
    Ok(page(&AttemptPage { layout: Layout::new(title, NavItem::Deliveries, visitor), one, sides }))
}

/// The bytes of a body, to be kept in a file.
pub(super) async fn body(
    State(app): State<AppState>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let one = record(&app, &fields).await?;
    let payload = one.payload.as_deref();
    let (part, name) = match fields.text("of") {
        "request" => (payload.map(|it| &it.request), "attachment; filename=\"request.body\""),
        "response" => {
            let part = payload.and_then(|it| it.response.as_ref());
            (part, "attachment; filename=\"response.body\"")
        }
        _ => return Err(ErrorPage::bad_request("A body is that of `request` or `response`.")),
    };
    let Some(part) = part else {
        let note = one.payload_note.map_or(Cow::from("it has none"), Cow::from);
        return Err(ErrorPage::not_found(format!("There is no such body: {note}.")));
    };
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, name),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, part.bytes.clone()).into_response())
}
