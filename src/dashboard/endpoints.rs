//! Endpoints: the list of circuits, details of one, enabling and disabling.

use std::time::Duration;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    audit::Changes,
    chart::{Chart, Latency},
    cut,
    fields::{Fields, Wrong},
    figures::{Figures, Range},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    life::Life,
    links::{self, link},
    pause::Pause,
    selected,
    undo::{self, Done},
    words,
};
use crate::{
    history::{ErrorView, FiguresView, History, RecordView},
    overview::MAX_PARKED,
    registry,
    services::Services,
    web::{App, AppState, acting::Acting, jobs::BulkAction},
};
use homing_delivery::circuits::View;
use homing_domain::{
    audit::ObjectKind,
    circuit::StateName,
    clock,
    history::Series,
    id::SubscriptionId,
    record::{AttemptEvent, Class, Record},
    subscription::SubscriptionSpec,
    url::EndpointUrl,
};
use homing_store::{
    CircuitOrder, CircuitPage, ErrorFilter, Intervention, Page as Part, RecordFilter, RecordPage,
    Selection, StoreError,
};

const PAGE: u32 = 50;
/// Actions on several endpoints, and their names.
const ACTIONS: [(&str, &str); 4] =
    [("enable", "Enable"), ("probe", "Probe"), ("pause", "Pause"), ("disable", "Disable")];
/// Attempts that the histogram is drawn from, and those of them that are listed.
const ATTEMPTS: u32 = 500;
const LISTED: usize = 20;
const SUBSCRIPTIONS: u32 = 20;
const ERRORS: u32 = 20;

#[derive(Template)]
#[template(path = "endpoints.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    state: String,
    states: [&'static str; 3],
    sort: CircuitOrder,
    endpoints: Vec<Listed>,
    corrupt: Vec<String>,
    /// The address of the next page.
    next: Option<String>,
    is_first: bool,
    /// A change of several of them that was just made.
    said: Option<String>,
    wrong: Wrong,
}

/// An endpoint of the list.
struct Listed {
    view: View,
    /// The first subscription that sends to it, and its owner, or description.
    owner: Option<(SubscriptionId, Option<String>)>,
}

impl ListPage {
    /// The address of the list in another state or another order.
    fn list(&self, state: &str, sort: &str) -> String {
        let given = [("state", state), ("sort", sort), ("q", self.fields.text("q"))];
        link("/endpoints", given.into_iter().filter(|(_, text)| !text.is_empty()))
    }

    /// The order of the list by a column, as its heading has it.
    fn sorted(&self, sort: &str) -> &'static str {
        if self.sort.as_str() != sort {
            "none"
        } else if self.sort == CircuitOrder::Url {
            "ascending"
        } else {
            "descending"
        }
    }
}

/// Lists the endpoints that were ever attempted or set.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let state: Option<StateName> = fields.get("state", &mut wrong);
    let order = fields.get("sort", &mut wrong).unwrap_or(CircuitOrder::Broken);
    let after = fields.given("after").map(str::to_owned);
    let is_first = after.is_none();
    let contains = fields.given("q").map(str::to_owned);
    let wanted =
        CircuitPage { state, contains, order, after, limit: PAGE, ..CircuitPage::default() };
    let listing = app.services.circuits.views(&wanted).await?;
    let mut endpoints = Vec::new();
    for view in listing.views {
        endpoints.push(Listed { owner: owner(&app, &view.url).await?, view });
    }
    let next = listing.next.map(|next| {
        let given = ["state", "sort", "q"].map(|name| (name, fields.text(name)));
        let given = given.into_iter().filter(|(_, text)| !text.is_empty());
        link("/endpoints", given.chain([("after", next.as_str())]))
    });
    Ok(page(&ListPage {
        layout: Layout::new("Endpoints", NavItem::Endpoints, visitor),
        said: selected::said(&fields),
        fields,
        state: state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        states: StateName::ALL.map(StateName::as_str),
        sort: order,
        endpoints,
        corrupt: listing.corrupt.iter().map(|corrupt| corrupt.url.clone()).collect(),
        next,
        is_first,
        wrong,
    }))
}

/// The first subscription that sends to a URL, and its owner, or description.
async fn owner(
    app: &App,
    url: &str,
) -> Result<Option<(SubscriptionId, Option<String>)>, StoreError> {
    let Ok(url) = url.parse::<EndpointUrl>() else { return Ok(None) };
    let first = Part { after: None, limit: 1 };
    let at = app.services.store.subscriptions_at(&url, first).await?.subscriptions;
    let owner = |spec: &SubscriptionSpec| spec.shown_owner().map(str::to_owned);
    Ok(at.first().map(|one| (one.id, owner(&one.spec))))
}

#[derive(Template)]
#[template(path = "endpoint.html")]
struct OnePage {
    layout: Layout,
    view: View,
    latency: Latency,
    lately: Lately,
    life: Option<Life>,
    done: Option<Done>,
    pauses: [(&'static str, &'static str); Pause::ALL.len()],
    /// Deliveries parked for it, up to [`MAX_PARKED`].
    parked: u32,
    is_latest: bool,
    errors: Vec<ErrorView>,
    attempts: Vec<RecordView>,
    has_more: bool,
    subscriptions: Vec<registry::View>,
    more_subscriptions: bool,
    last: Changes,
}

/// The figures of a day or a week.
struct Lately {
    range: Range,
    figures: FiguresView,
    charts: Vec<Chart>,
    notes: Vec<String>,
}

impl Lately {
    async fn read(range: Range, history: &History, url: &EndpointUrl) -> Result<Self, StoreError> {
        let (now, series) = (clock::now(), Series::Url(url.as_str().to_owned()));
        let found = history.hours(&series, range.since(now), now).await?;
        let charts = Figures::charts(range, &found);
        Ok(Self { range, figures: found.total, charts, notes: found.notes })
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
    let range = fields.get("range", &mut Wrong::default()).filter(|range| *range != Range::Hour);
    let is_latest = fields.text("attempts") == "latest";
    let view = services.circuits.view(&url).await?;
    let filter = RecordFilter { url: Some(url.as_str().to_owned()), ..RecordFilter::default() };
    let wanted = RecordPage { filter, after: None, limit: ATTEMPTS };
    let mut records = services.store.attempts(&wanted).await?.records;
    let latency = Latency::of(records.iter().filter_map(took));
    if !is_latest {
        records.sort_by_key(|record| match record.class() {
            Class::Refused | Class::TimedOut | Class::Unreachable => 0,
            Class::NotAttempted => 1,
            Class::Accepted => 2,
        });
    }
    let selection = Selection { url: Some(url.as_str().to_owned()), ..Selection::default() };
    let wanted = ErrorFilter { url: Some(url.as_str().to_owned()), since: None, limit: ERRORS };
    let errors = services.history.errors(&wanted).await?.errors;
    let wanted = Part { after: None, limit: SUBSCRIPTIONS };
    let listing = services.store.subscriptions_at(&url, wanted).await?;
    Ok(page(&OnePage {
        layout: Layout::new(url.as_str(), NavItem::Endpoints, visitor),
        lately: Lately::read(range.unwrap_or(Range::Week), &services.history, &url).await?,
        life: Life::of(&services.store.circuit_changes(&url).await?, clock::now()),
        done: Done::of(&fields, &view),
        pauses: Pause::ALL.map(|pause| (pause.as_str(), pause.name())),
        parked: services.store.count_parked(&selection, MAX_PARKED).await?,
        is_latest,
        latency,
        errors,
        attempts: records.iter().take(LISTED).map(RecordView::from).collect(),
        has_more: records.len() > LISTED,
        subscriptions: listing.subscriptions.iter().map(registry::View::from).collect(),
        more_subscriptions: listing.next.is_some(),
        last: Changes::of(&app, ObjectKind::Endpoint, url.as_str()).await?,
        view,
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
    if fields.is_set("replay") {
        services.circuits.set(&url, Intervention::Enable).await?;
        let id = app.jobs.begin(services, BulkAction::ReplayParkedByCircuit(url))?;
        return Ok(Redirect::to(&format!("/parked/jobs/{id}")).into_response());
    }
    set(&services, &url, Intervention::Enable, "enabled").await
}

/// Disables an endpoint.
pub(super) async fn disable(
    Acting(services): Acting,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    set(&services, &endpoint(&fields)?, Intervention::Disable, "disabled").await
}

/// Makes a probe due.
pub(super) async fn probe(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    set(&services, &endpoint(&fields)?, Intervention::Probe, "probed").await
}

/// Pauses an endpoint.
pub(super) async fn pause(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    let until = Pause::of(&fields)?.end(clock::now());
    set(&services, &endpoint(&fields)?, Intervention::Pause(until), "paused").await
}

/// Takes a change back that was made some seconds before.
pub(super) async fn undo(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    let url = endpoint(&fields)?;
    let turned = services.circuits.turn(&url, undo::intervention(&fields)?).await?;
    if turned.1.is_none() {
        return Err(undo::overtaken());
    }
    Ok(Redirect::to(&undo::address(&url, "undone", &turned)).into_response())
}

/// Sets the circuit; back to the endpoint's page, where the change can be undone for a while.
async fn set(
    services: &Services,
    url: &EndpointUrl,
    intervention: Intervention,
    done: &str,
) -> Result<Response, ErrorPage> {
    let turned = services.circuits.turn(url, intervention).await?;
    let done = if undo::has_effect(intervention, &turned) { done } else { "unchanged" };
    Ok(Redirect::to(&undo::address(url, done, &turned)).into_response())
}

/// Leads from the name of a held queue, which dashboards of metrics show, to its endpoint.
pub(super) async fn held(
    State(app): State<AppState>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let names = app.services.broker.topology().names();
    let slots = app.services.store.held_slots(names.prefix()).await?;
    let own = slots.into_iter().find(|slot| names.held(slot.slot) == fields.text("queue"));
    let to = own.and_then(|slot| slot.url).map(|url| links::endpoint(url.as_str()));
    Ok(Redirect::to(to.as_deref().unwrap_or("/endpoints?sort=broken")).into_response())
}

fn endpoint(fields: &Fields) -> Result<EndpointUrl, ErrorPage> {
    fields.text("url").parse().map_err(|error| ErrorPage::bad_request(format!("The URL: {error}.")))
}
