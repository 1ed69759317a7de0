//! Parked messages: list, show, replay, drop, export.

use std::{collections::BTreeSet, num::NonZeroU32, ops::ControlFlow, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    body::Body,
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links,
    period::instant,
    words,
};
use crate::web::{
    App, AppState,
    acting::Acting,
    jobs::{BulkAction, BulkJob, Filter, JobStatus},
};
use homing_delivery::{
    circuits::Stopped,
    parking::{Action, Arriving, Begin, Bodies, Entry, MAX_COUNTED, Selection, Tally, export_line},
};
use homing_domain::{id::SubscriptionId, verdict::ParkReason};
use homing_store::{ParkedId, ParkedOrder};

const PAGE: u32 = 50;
/// An export through the browser ends here; `homing parked export` does not.
const MAX_EXPORTED: u32 = 10_000;
const MAX_EXPORTED_BYTES: usize = 32 * 1_024 * 1_024;
/// Endpoints that are named because nothing is sent to them now.
const MAX_STOPPED: usize = 10;
const FILTERS: [&str; 11] = [
    "text",
    "reason",
    "topic",
    "event",
    "delivery",
    "url",
    "subscription",
    "status",
    "error",
    "since",
    "until",
];

#[derive(Template)]
#[template(path = "parked.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    reasons: [&'static str; ParkReason::ALL.len()],
    entries: Vec<Entry>,
    matched: u32,
    total: u64,
    arriving: Arriving,
    query: String,
    is_newest: bool,
    /// The address of the first page.
    first: String,
    next: Option<String>,
    is_first: bool,
    under_way: Vec<Arc<BulkJob>>,
}

impl ListPage {
    fn is_filtered(&self) -> bool {
        !self.query.is_empty()
    }

    /// The number that matches, in words.
    fn count(&self) -> String {
        let more = if self.matched >= MAX_COUNTED { " and more" } else { "" };
        format!("{}{more}", words::grouped(self.matched))
    }
}

fn selection(fields: &Fields, wrong: &mut Wrong) -> Selection {
    Selection {
        parked_after_ms: instant(fields, "since", wrong),
        parked_before_ms: instant(fields, "until", wrong),
        ..fields.read(wrong)
    }
}

/// The order of the list: what was parked last comes first, unless the other one is asked for.
fn order(fields: &Fields, wrong: &mut Wrong) -> ParkedOrder {
    match fields.text("sort") {
        "" | "newest" => ParkedOrder::NewestFirst,
        "oldest" => ParkedOrder::OldestFirst,
        other => {
            wrong.add("sort", format!("`{other}` is not an order; one of newest, oldest"));
            ParkedOrder::NewestFirst
        }
    }
}

/// A page of those that match.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let selection = selection(&fields, &mut wrong);
    let order = order(&fields, &mut wrong);
    let after: Option<ParkedId> = fields.get("after", &mut wrong);
    let parking = &app.services.parking;
    let begin = Begin { order, after, count: MAX_COUNTED };
    let listing = if wrong.is_empty() {
        Some(parking.page(&selection, begin, PAGE, Bodies::Omitted).await?)
    } else {
        None
    };
    let (entries, next, total, arriving, matched) = listing
        .map(|it| (it.entries, it.next, it.total, it.arriving, it.matched))
        .unwrap_or_default();
    let query = fields.query(&FILTERS);
    let first = match order {
        ParkedOrder::NewestFirst => format!("/parked?{query}"),
        ParkedOrder::OldestFirst => format!("/parked?{query}&sort=oldest"),
    };
    Ok(page(&ListPage {
        layout: Layout::new("Parked", NavItem::Parked, visitor),
        reasons: ParkReason::ALL.map(ParkReason::as_str),
        next: next.map(|next| format!("{first}&after={next}")),
        is_newest: order == ParkedOrder::NewestFirst,
        first,
        is_first: after.is_none(),
        entries,
        matched,
        total,
        arriving,
        query,
        under_way: app.jobs.unended(),
        fields,
        wrong,
    }))
}

/// The one delivery that [`links::parked`] names.
fn one(fields: &Fields) -> Result<Selection, ErrorPage> {
    let mut wrong = Wrong::default();
    let id: Option<ParkedId> = fields.get("id", &mut wrong);
    match id.filter(|_| wrong.is_empty()) {
        Some(_) => Ok(Selection { id, ..Selection::default() }),
        None => Err(ErrorPage::bad_request("This address names no parked message.")),
    }
}

/// The deliveries whose boxes are ticked.
fn some(fields: &Fields) -> Result<Selection, ErrorPage> {
    let ids = fields.names().filter_map(|name| name.strip_prefix("id-")?.parse::<ParkedId>().ok());
    let ids: BTreeSet<_> = ids.take(usize::try_from(PAGE).unwrap_or(usize::MAX)).collect();
    if ids.is_empty() {
        return Err(ErrorPage::bad_request(
            "Select deliveries first: tick their boxes in the list.",
        ));
    }
    Ok(Selection { ids, ..Selection::default() })
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    layout: Layout,
    entry: Entry,
    body: Body,
    /// Its endpoint, if nothing is sent to it now.
    stopped: Option<Stopped>,
}

/// One message with its body and headers; changes nothing.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let selection = one(&fields)?;
    let mut found = app.services.parking.list(&selection, 1, Bodies::Included).await?;
    let Some(mut entry) = found.entries.pop() else { return Err(not_found(found.arriving)) };
    let body = Body::of(&entry.body.take().unwrap_or_default());
    let stopped = match entry.subscription_id {
        Some(id) => stopped(&app, Some(id)).await.pop(),
        None => None,
    };
    let layout = Layout::new(format!("Parked {}", entry.event_id), NavItem::Parked, visitor);
    Ok(page(&MessagePage { layout, entry, body, stopped }))
}

/// The endpoints to which nothing is sent now: some of all, or that of one subscription. None if the
/// store does not answer.
async fn stopped(app: &App, of: Option<SubscriptionId>) -> Vec<Stopped> {
    let circuits = &app.services.circuits;
    match of {
        Some(id) => circuits.stopped_for(id).await.ok().flatten().into_iter().collect(),
        None => circuits.some_stopped(MAX_STOPPED).await.unwrap_or_default(),
    }
}

fn not_found(arriving: Arriving) -> ErrorPage {
    ErrorPage::not_found(match arriving.note() {
        None => "This message is not parked any more: it was sent again or dropped.".to_owned(),
        Some(note) => format!("This message is not in the store; {note}."),
    })
}

/// The selection as JSON lines, in the form that `homing publish` reads. The name of the file says
/// if these are not all.
pub(super) async fn export(
    State(app): State<AppState>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let selection = selection(&fields, &mut wrong);
    if !wrong.is_empty() {
        return Err(ErrorPage::bad_request("The filter is wrong; open the list to see why."));
    }
    let _permit = app.permits.parked().await?;
    let (mut lines, mut is_cut) = (Vec::new(), false);
    let collect = |entry: Entry| {
        lines.extend(export_line(&entry));
        is_cut = lines.len() >= MAX_EXPORTED_BYTES;
        if is_cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let parking = &app.services.parking;
    let tally =
        parking.scan_each(&selection, Some(MAX_EXPORTED), Bodies::Included, collect).await?;
    let is_whole = !is_cut && tally.matched < MAX_EXPORTED && tally.arriving.is_nothing();
    let disposition = if is_whole {
        "attachment; filename=\"parked.jsonl\""
    } else {
        "attachment; filename=\"parked-not-all.jsonl\""
    };
    let headers = [(CONTENT_TYPE, "application/jsonl"), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, lines).into_response())
}

/// Begins a job: acts on one message at once, on all that match only after a count.
pub(super) async fn begin(
    State(app): State<AppState>,
    Acting(services): Acting,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let action = action(fields.text("action"))?;
    let is_one = fields.is_set("one");
    let mut wrong = Wrong::default();
    let picked = fields.is_set("chosen");
    let chosen = match (is_one, picked) {
        (true, _) => one(&fields)?,
        (false, true) => some(&fields)?,
        (false, false) => selection(&fields, &mut wrong),
    };
    if !wrong.is_empty() {
        return Err(ErrorPage::bad_request("The filter is wrong; open the list to see why."));
    }
    let query = if is_one { String::new() } else { fields.query(&FILTERS) };
    let description = match (is_one, picked) {
        (true, _) => "this message".to_owned(),
        (false, true) => "those that are selected".to_owned(),
        (false, false) => report(&fields),
    };
    let filter = Filter { selection: chosen, query, description };
    let action = match action {
        Action::Replay if is_one => BulkAction::Act(filter, action, Some(1)),
        Action::Replay | Action::Drop | Action::Count => BulkAction::Preview(filter, action),
    };
    let id = app.jobs.begin(services, action)?;
    Ok(Redirect::to(&format!("/parked/jobs/{id}")).into_response())
}

fn action(word: &str) -> Result<Action, ErrorPage> {
    match word {
        "replay" => Ok(Action::Replay),
        "drop" => Ok(Action::Drop),
        _ => Err(ErrorPage::bad_request("Parked messages can only be replayed or dropped.")),
    }
}

/// The filters in words.
fn report(fields: &Fields) -> String {
    let given = FILTERS.iter().filter_map(|name| Some(format!("{name} {}", fields.given(name)?)));
    let given: Vec<_> = given.collect();
    if given.is_empty() { "everything that is parked".to_owned() } else { given.join(", ") }
}

/// Carries out a previewed job, on as many messages as were counted.
pub(super) async fn go(
    State(app): State<AppState>,
    Acting(services): Acting,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let job = app.jobs.find(&id).ok_or_else(forgotten)?;
    let (BulkAction::Preview(filter, action), (JobStatus::Done, tally)) =
        (&job.action, job.state())
    else {
        return Err(ErrorPage::bad_request("There is nothing to confirm; open the list again."));
    };
    if *action == Action::Drop && !fields.is_set("sure") {
        return Err(ErrorPage::bad_request(
            "Tick the box first: dropped messages cannot be restored.",
        ));
    }
    let limit = NonZeroU32::new(tally.matched).map(NonZeroU32::get);
    let Some(limit) = limit else { return Ok(Redirect::to("/parked").into_response()) };
    let action = BulkAction::Act(filter.clone(), *action, Some(limit));
    let id = app.jobs.begin(services, action)?;
    Ok(Redirect::to(&format!("/parked/jobs/{id}")).into_response())
}

/// Stops a job.
pub(super) async fn stop(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let job = app.jobs.find(&id).ok_or_else(forgotten)?;
    job.stop();
    Ok(Redirect::to(&format!("/parked/jobs/{id}")).into_response())
}

fn forgotten() -> ErrorPage {
    ErrorPage::not_found("This job is no longer remembered; what it did is done.")
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    layout: Layout,
    job: Arc<BulkJob>,
    /// Endpoints that replayed messages would not reach.
    stopped: Vec<Stopped>,
    status: JobStatus,
    tally: Tally,
}

#[derive(Template)]
#[template(path = "job_part.html")]
struct JobPart {
    job: Arc<BulkJob>,
    status: JobStatus,
    tally: Tally,
}

/// The progress of a job.
pub(super) async fn job(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let job = app.jobs.find(&id).ok_or_else(forgotten)?;
    let title = match &job.action {
        BulkAction::Preview(_, Action::Drop) => "Drop parked messages?",
        BulkAction::Preview(..) => "Replay parked messages?",
        BulkAction::Act(_, Action::Drop, _) => "Dropping",
        BulkAction::Act(..) | BulkAction::ReplayParkedByCircuit(_) => "Replaying",
    };
    let layout = Layout::new(title, NavItem::Parked, visitor);
    let stopped = match &job.action {
        BulkAction::Preview(filter, Action::Replay) => {
            stopped(&app, filter.selection.subscription).await
        }
        BulkAction::Preview(..) | BulkAction::Act(..) | BulkAction::ReplayParkedByCircuit(_) => {
            Vec::new()
        }
    };
    let (status, tally) = job.state();
    Ok(page(&JobPage { layout, job, stopped, status, tally }))
}

/// The part of the page that changes; `None`: the job is over.
pub(crate) fn job_part(app: &App, id: &str) -> Option<String> {
    let job = app.jobs.find(id)?;
    let (status, tally) = job.state();
    if status.is_over() { None } else { JobPart { job, status, tally }.render().ok() }
}
