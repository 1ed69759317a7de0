//! Endpoints: the list of circuits, details of one, enabling and disabling.

use std::{collections::BTreeMap, time::Duration};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    audit::Changes,
    chart::{Latency, Shapes, stacked},
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::{self, link},
    words,
};
use crate::{
    history::{ErrorView, FiguresView, History, RecordView},
    registry,
    web::{AppState, acting::Acting, jobs::BulkAction},
};
use homing_delivery::circuits::View;
use homing_domain::{
    audit::ObjectKind,
    circuit::StateName,
    clock,
    history::Series,
    record::{AttemptEvent, Class, Record},
    time::{UnixMillis, hour_of},
    url::EndpointUrl,
};
use homing_store::{
    CircuitPage, ErrorFilter, Intervention, Page as Part, RecordFilter, RecordPage, StoreError,
};

const PAGE: u32 = 50;
/// Attempts that the histogram is drawn from, and those of them that are listed.
const ATTEMPTS: u32 = 500;
const LISTED: usize = 20;
const SUBSCRIPTIONS: u32 = 20;
/// Hours that are drawn: a week.
const HOURS: u32 = 168;
const HOUR: Duration = Duration::from_hours(1);
const ERRORS: u32 = 20;

#[derive(Template)]
#[template(path = "endpoints.html")]
struct ListPage {
    layout: Layout,
    state: String,
    states: [&'static str; 3],
    endpoints: Vec<View>,
    corrupt: Vec<String>,
    /// The address of the next page.
    next: Option<String>,
    is_first: bool,
    wrong: Wrong,
}

/// Lists the endpoints that were ever attempted or set.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let state: Option<StateName> = fields.get("state", &mut wrong);
    let after = fields.given("after").map(str::to_owned);
    let is_first = after.is_none();
    let wanted = CircuitPage { state, after, limit: PAGE };
    let listing = app.services.circuits.views(&wanted).await?;
    let next = listing.next.map(|next| {
        link("/endpoints", [("state", fields.text("state")), ("after", next.as_str())])
    });
    Ok(page(&ListPage {
        layout: Layout::new("Endpoints", NavItem::Endpoints, visitor),
        state: state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        states: StateName::ALL.map(StateName::as_str),
        endpoints: listing.views,
        corrupt: listing.corrupt.iter().map(|corrupt| corrupt.url.clone()).collect(),
        next,
        is_first,
        wrong,
    }))
}

#[derive(Template)]
#[template(path = "endpoint.html")]
struct OnePage {
    layout: Layout,
    view: View,
    latency: Latency,
    week: Week,
    errors: Vec<ErrorView>,
    attempts: Vec<RecordView>,
    has_more: bool,
    subscriptions: Vec<registry::View>,
    more_subscriptions: bool,
    last: Changes,
}

/// The last week by the hour.
struct Week {
    figures: FiguresView,
    chart: Shapes,
    notes: Vec<String>,
}

impl Week {
    async fn of(history: &History, url: &EndpointUrl) -> Result<Self, StoreError> {
        let now = clock::now();
        let first = hour_of(now).minus(HOUR * (HOURS - 1));
        let found = history.hours(&Series::Url(url.as_str().to_owned()), first, now).await?;
        let by_hour: BTreeMap<_, _> =
            found.hours.iter().map(|hour| (hour.hour.as_str(), &hour.figures)).collect();
        let columns = (0..HOURS).map(|hour| {
            let hour: UnixMillis = first.plus(HOUR * hour);
            let figures = by_hour.get(hour.to_string().as_str());
            figures.map_or_else(Vec::new, |figures| vec![figures.delivered, figures.failed])
        });
        let columns: Vec<_> = columns.collect();
        let chart = stacked(&columns, &["fill-accent", "fill-bad"], (600, 110));
        Ok(Self { figures: found.total, chart, notes: found.notes })
    }
}

/// One endpoint; one that was never attempted is closed.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let url = endpoint(&fields)?;
    let services = &app.services;
    let view = services.circuits.view(&url).await?;
    let filter = RecordFilter { url: Some(url.as_str().to_owned()), ..RecordFilter::default() };
    let wanted = RecordPage { filter, after: None, limit: ATTEMPTS };
    let records = services.store.attempts(&wanted).await?.records;
    let wanted = ErrorFilter { url: Some(url.as_str().to_owned()), since: None, limit: ERRORS };
    let errors = services.history.errors(&wanted).await?.errors;
    let wanted = Part { after: None, limit: SUBSCRIPTIONS };
    let listing = services.store.subscriptions_at(&url, wanted).await?;
    Ok(page(&OnePage {
        layout: Layout::new(url.as_str(), NavItem::Endpoints, visitor),
        view,
        week: Week::of(&services.history, &url).await?,
        latency: Latency::of(records.iter().filter_map(took)),
        errors,
        attempts: records.iter().take(LISTED).map(RecordView::from).collect(),
        has_more: records.len() > LISTED,
        subscriptions: listing.subscriptions.iter().map(registry::View::from).collect(),
        more_subscriptions: listing.next.is_some(),
        last: Changes::of(&app, ObjectKind::Endpoint, url.as_str()).await?,
    }))
}

fn took(record: &Record) -> Option<(Duration, bool)> {
    match &record.happened {
        AttemptEvent::Attempted(attempted) => {
            Some((attempted.duration, attempted.class == Class::Accepted))
        }
        AttemptEvent::NotAttempted(_) => None,
    }
}

/// Enables an endpoint, and on request replays the deliveries that its circuit had parked.
pub(super) async fn enable(
    State(app): State<AppState>,
    Acting(services): Acting,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let url = endpoint(&fields)?;
    services.circuits.set(&url, Intervention::Enable).await?;
    if fields.is_set("replay") {
        let id = app.jobs.begin(services, BulkAction::ReplayParkedByCircuit(url))?;
        return Ok(Redirect::to(&format!("/parked/jobs/{id}")).into_response());
    }
    Ok(back(&url))
}

/// Disables an endpoint.
pub(super) async fn disable(
    Acting(services): Acting,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let url = endpoint(&fields)?;
    services.circuits.set(&url, Intervention::Disable).await?;
    Ok(back(&url))
}

/// Makes a probe due.
pub(super) async fn probe(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    let url = endpoint(&fields)?;
    services.circuits.set(&url, Intervention::Probe).await?;
    Ok(back(&url))
}

fn back(url: &EndpointUrl) -> Response {
    Redirect::to(&link("/endpoint", [("url", url.as_str())])).into_response()
}

fn endpoint(fields: &Fields) -> Result<EndpointUrl, ErrorPage> {
    fields.text("url").parse().map_err(|error| ErrorPage::bad_request(format!("The URL: {error}.")))
}
