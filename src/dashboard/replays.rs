//! Replays of the archive: preview, begin, watch, stop and resume.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    period::fixed,
    words,
};
use crate::web::{AppState, acting::Acting};
use homing_delivery::archive::{ArchiveError, Preview};
use homing_domain::{
    id::EventId,
    replay::{DEFAULT_RATE, Replay, ReplayId, ReplaySelection, ReplayState},
};

/// Replays that are listed.
const LISTED: u32 = 50;
const FILTERS: [&str; 8] =
    ["since", "until", "topic", "event", "subscription", "url", "unfiltered", "rate"];

#[derive(Template)]
#[template(path = "replays.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    is_on: bool,
    preview: Option<Preview>,
    /// The filled-in fields, for the button that begins.
    given: Vec<(&'static str, String)>,
    replays: Vec<Replay>,
}

impl From<ArchiveError> for ErrorPage {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unknown(_) => Self::not_found(error.to_string()),
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Broker(error) => error.into(),
            ArchiveError::TooSlow => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            ArchiveError::Off
            | ArchiveError::RecipientsUnknown
            | ArchiveError::Field(_)
            | ArchiveError::TooMany
            | ArchiveError::State { .. } => Self::bad_request(error.to_string()),
        }
    }
}

/// The selection of the form; `None`: fields are missing or wrong.
fn selection(fields: &Fields, wrong: &mut Wrong) -> Option<ReplaySelection> {
    let since = fixed(fields, "since", wrong);
    let until = fixed(fields, "until", wrong);
    for (name, instant) in [("since", since), ("until", until)] {
        if instant.is_none() && wrong.with(name).is_none() {
            wrong.add(name, "when the window begins and ends".to_owned());
        }
    }
    let event = fields.given("event").map(EventId::new).transpose();
    let event = event.map_err(|error| wrong.add("event", error.to_string())).ok();
    let rate = fields.get("rate", wrong).or_else(|| DEFAULT_RATE.try_into().ok());
    let selection = ReplaySelection {
        since_ms: since?,
        until_ms: until?,
        topic: fields.get("topic", wrong),
        event: event?,
        subscriptions: fields.get("subscription", wrong).into_iter().collect(),
        url: fields.get("url", wrong),
        unfiltered: fields.is_set("unfiltered"),
        rate: rate?,
    };
    wrong.is_empty().then_some(selection)
}

/// Lists the latest replays; with a filled-in form, shows what it would send.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let (mut wrong, mut preview) = (Wrong::default(), None);
    let archive = &app.services.archive;
    if fields.is_set("preview")
        && let Some(selection) = selection(&fields, &mut wrong)
    {
        match archive.preview(selection).await {
            Ok(found) => preview = Some(found),
            Err(ArchiveError::Field(error)) => {
                wrong.add(&error.field, error.message);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let given = FILTERS.iter().filter_map(|name| Some((*name, fields.given(name)?.to_owned())));
    let given = given.collect();
    Ok(page(&ListPage {
        layout: Layout::new("Replays", NavItem::Replays, visitor),
        is_on: app.services.broker.topology().has_archive(),
        replays: archive.list(LISTED).await?,
        preview,
        given,
        fields,
        wrong,
    }))
}

/// Begins the replay that was previewed.
pub(super) async fn begin(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    let selection = selection(&fields, &mut Wrong::default())
        .ok_or_else(|| ErrorPage::bad_request("Fill in the form again."))?;
    services.archive.begin(selection).await?;
    Ok(back())
}

/// Stops a replay.
pub(super) async fn stop(
    Acting(services): Acting,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    services.archive.stop(named(&id)?).await?;
    Ok(back())
}

/// Has a replay go on.
pub(super) async fn resume(
    Acting(services): Acting,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    services.archive.resume(named(&id)?).await?;
    Ok(back())
}

fn named(id: &str) -> Result<ReplayId, ErrorPage> {
    id.parse().map_err(|_| ErrorPage::not_found("There is no such replay."))
}

fn back() -> Response {
    Redirect::to("/replays").into_response()
}
