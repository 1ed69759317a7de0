//! Parked messages: looked for, looked at, sent again, dropped, exported.

use std::{num::NonZeroU32, ops::ControlFlow, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Dashboard,
    body::Body,
    deliveries,
    door::Visitor,
    fields::{Fields, Wrong, link},
    frame::{Frame, Here, Trouble, page},
    walks::{Choice, Deed, Stand, Walk},
    words,
};
use crate::{
    domain::{id::SubscriptionId, time::UnixMillis, verdict::ParkReason},
    parking::{Action, Bodies, Entry, Listing, Selection, Tally, export_line},
    switchboard::Stopped,
};

const PAGE: u32 = 50;
/// How long one page looks; of a long queue, what comes later is not found by it.
const LOOK: Duration = Duration::from_secs(4);
/// For one that a list has just found.
const LOOK_FOR_ONE: Duration = Duration::from_secs(10);
/// An export through the browser ends here; `homing parked export` does not.
const EXPORT_LOOK: Duration = Duration::from_secs(25);
const EXPORTED_MAX: u32 = 10_000;
const EXPORTED_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Endpoints that are named because nothing is sent there now.
const STOPPED_MAX: usize = 10;
const FILTERS: [&str; 6] = ["reason", "subscription", "topic", "event", "since", "until"];

#[derive(Template)]
#[template(path = "parked.html")]
struct ListPage {
    frame: Frame,
    fields: Fields,
    wrong: Wrong,
    reasons: [&'static str; 8],
    entries: Vec<Entry>,
    scanned: u32,
    total: u32,
    skip: u32,
    query: String,
    next: Option<String>,
    previous: Option<String>,
    /// Others go through the messages; what they have in hand is not seen.
    under_way: Vec<Arc<Walk>>,
    /// Nobody could look: somebody else does.
    is_busy: bool,
}

impl ListPage {
    fn is_filtered(&self) -> bool {
        !self.query.is_empty()
    }

    /// Not all were looked at, and what was looked for may be among the rest.
    fn is_cut(&self) -> bool {
        self.next.is_none() && self.scanned < self.total
    }
}

fn selection(fields: &Fields, wrong: &mut Wrong) -> Selection {
    Selection {
        reason: fields.get("reason", wrong),
        subscription: fields.get("subscription", wrong),
        topic: fields.get("topic", wrong),
        event: fields.given("event").map(str::to_owned),
        parked_after_ms: deliveries::instant(fields, "since", wrong),
        parked_before_ms: deliveries::instant(fields, "until", wrong),
        spared_for: None,
    }
}

/// A page of those that match, from the head of the queue.
pub(super) async fn list(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let mut wrong = Wrong::default();
    let selection = selection(&fields, &mut wrong);
    let skip: u32 = fields.get("skip", &mut wrong).unwrap_or(0);
    let turn = if wrong.is_empty() { dashboard.parts.api.walk().await } else { None };
    let listing = match &turn {
        Some(_) => {
            let parking = &dashboard.api().parking;
            Some(parking.page(&selection, (skip, PAGE), Bodies::Left, LOOK).await?)
        }
        None => None,
    };
    let is_busy = wrong.is_empty() && turn.is_none();
    let (entries, scanned, total) = listing
        .map(|listing| (listing.entries, listing.scanned, listing.total))
        .unwrap_or_default();
    let query = fields.query(&FILTERS);
    let to = |skip: u32| format!("/parked?{query}&skip={skip}");
    let is_full = entries.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    Ok(page(&ListPage {
        frame: Frame::new("Parked", Here::Parked, visitor),
        reasons: ParkReason::ALL.map(ParkReason::as_str),
        next: (is_full && scanned < total).then(|| to(skip.saturating_add(PAGE))),
        previous: (skip > 0).then(|| to(skip.saturating_sub(PAGE))),
        entries,
        scanned,
        total,
        skip,
        query,
        under_way: dashboard.walks.unended(),
        is_busy,
        fields,
        wrong,
    }))
}

/// The page of one message.
pub(super) fn to(entry: &Entry) -> String {
    let subscription = entry.subscription_id.map(|id| id.to_string()).unwrap_or_default();
    let parked = entry.parked_ms.map(|at| at.get().to_string()).unwrap_or_default();
    let parts =
        [("event", entry.event_id.as_str()), ("subscription", &subscription), ("parked", &parked)];
    link("/parked/message", parts)
}

/// The one message that `to` names.
fn one(fields: &Fields) -> Result<Selection, Trouble> {
    let mut wrong = Wrong::default();
    let parked: Option<i64> = fields.get("parked", &mut wrong);
    let selection = Selection {
        event: Some(fields.text("event").to_owned()),
        subscription: fields.get("subscription", &mut wrong),
        parked_after_ms: parked.map(UnixMillis::new),
        parked_before_ms: parked.map(|at| UnixMillis::new(at.saturating_add(1))),
        ..Selection::default()
    };
    if wrong.is_empty() {
        Ok(selection)
    } else {
        Err(Trouble::bad_request("This address names no parked message."))
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    entry: Entry,
    body: Body,
    /// Where it goes, if nothing is sent there now.
    stopped: Option<Stopped>,
}

/// One message with its body and headers; looking changes nothing.
pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let selection = one(&fields)?;
    let _turn = dashboard.parts.api.walk().await.ok_or_else(busy)?;
    let parking = &dashboard.api().parking;
    let mut found = parking.page(&selection, (0, 1), Bodies::Kept, LOOK_FOR_ONE).await?;
    let Some(mut entry) = found.entries.pop() else { return Err(not_found(&found)) };
    let body = Body::of(&entry.body.take().unwrap_or_default());
    let stopped = match entry.subscription_id {
        Some(id) => stopped(&dashboard, Some(id)).await.pop(),
        None => None,
    };
    let frame = Frame::new(format!("Parked {}", entry.event_id), Here::Parked, visitor);
    Ok(page(&MessagePage { frame, entry, body, stopped }))
}

/// The endpoints to which nothing is sent now: all of them, or that of one subscription. Where the
/// store does not say, nothing is said of it.
async fn stopped(dashboard: &Dashboard, of: Option<SubscriptionId>) -> Vec<Stopped> {
    let mut stopped = dashboard.api().switchboard.stopped().await.unwrap_or_default();
    stopped.retain(|one| match of {
        Some(id) => one.subscriptions.contains(&id),
        None => !one.subscriptions.is_empty(),
    });
    stopped.truncate(STOPPED_MAX);
    stopped
}

fn not_found(looked: &Listing) -> Trouble {
    if looked.scanned >= looked.total {
        let why = "This message is not parked any more: it was sent again or dropped.";
        return Trouble::not_found(why);
    }
    let (scanned, total) = (words::grouped(looked.scanned), words::grouped(looked.total));
    Trouble::not_found(format!(
        "This message is not among the first {scanned} of {total} that are parked, which is how far \
         a page looks. `homing parked list --event` looks at all of them."
    ))
}

fn busy() -> Trouble {
    let why = "Somebody is going through the parked messages, and one does at a time. Try again in a moment.";
    Trouble::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// The selection as JSON lines, in the form that `homing publish` reads. The name of the file says
/// where these are not all.
pub(super) async fn export(
    State(dashboard): State<Dashboard>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let mut wrong = Wrong::default();
    let selection = selection(&fields, &mut wrong);
    if !wrong.is_empty() {
        return Err(Trouble::bad_request("The filter is wrong; look at the list."));
    }
    let _turn = dashboard.parts.api.walk().await.ok_or_else(busy)?;
    let mut lines = Vec::new();
    let collect = |entry: Entry| {
        lines.extend(export_line(&entry));
        if lines.len() < EXPORTED_BYTES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let parking = &dashboard.api().parking;
    let tally = parking.visit(&selection, Some(EXPORTED_MAX), Some(EXPORT_LOOK), collect).await?;
    let disposition = if tally.scanned < tally.total {
        "attachment; filename=\"parked-not-all.jsonl\""
    } else {
        "attachment; filename=\"parked.jsonl\""
    };
    let headers = [(CONTENT_TYPE, "application/jsonl"), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, lines).into_response())
}

/// Begins a walk: with one message at once, with all that match after a look at how many they are.
pub(super) async fn begin(
    State(dashboard): State<Dashboard>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let action = action(fields.text("action"))?;
    let is_one = fields.is_set("one");
    let mut wrong = Wrong::default();
    let chosen = if is_one { one(&fields)? } else { selection(&fields, &mut wrong) };
    if !wrong.is_empty() {
        return Err(Trouble::bad_request("The filter is wrong; look at the list."));
    }
    let query = if is_one { String::new() } else { fields.query(&FILTERS) };
    let told = if is_one { "this message".to_owned() } else { told(&fields) };
    let choice = Choice { selection: chosen, query, told };
    let deed = match action {
        Action::Replay if is_one => Deed::Act(choice, action, Some(1)),
        Action::Replay | Action::Drop | Action::Count => Deed::Preview(choice, action),
    };
    let id = dashboard.walks.begin(Walk::new(deed))?;
    Ok(Redirect::to(&format!("/parked/walks/{id}")).into_response())
}

fn action(word: &str) -> Result<Action, Trouble> {
    match word {
        "replay" => Ok(Action::Replay),
        "drop" => Ok(Action::Drop),
        _ => Err(Trouble::bad_request(
            "Nothing but replay and drop can be done with what is parked.",
        )),
    }
}

/// The filters in words.
fn told(fields: &Fields) -> String {
    let given = FILTERS.iter().filter_map(|name| Some(format!("{name} {}", fields.given(name)?)));
    let given: Vec<_> = given.collect();
    if given.is_empty() { "everything that is parked".to_owned() } else { given.join(", ") }
}

/// Does what was looked at before, with as many messages as were found then.
pub(super) async fn go(
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let walk = dashboard.walks.find(&id).ok_or_else(forgotten)?;
    let (Deed::Preview(choice, action), (Stand::Done, tally)) = (&walk.deed, walk.state()) else {
        return Err(Trouble::bad_request(
            "There is nothing to say yes to; look at the list again.",
        ));
    };
    if *action == Action::Drop && !fields.is_set("sure") {
        return Err(Trouble::bad_request("Tick the box first: what is dropped is gone for ever."));
    }
    let limit = NonZeroU32::new(tally.matched).map(NonZeroU32::get);
    let Some(limit) = limit else { return Ok(Redirect::to("/parked").into_response()) };
    let id = dashboard.walks.begin(Walk::new(Deed::Act(choice.clone(), *action, Some(limit))))?;
    Ok(Redirect::to(&format!("/parked/walks/{id}")).into_response())
}

/// Breaks a walk off.
pub(super) async fn stop(
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let walk = dashboard.walks.find(&id).ok_or_else(forgotten)?;
    walk.stop();
    Ok(Redirect::to(&format!("/parked/walks/{id}")).into_response())
}

fn forgotten() -> Trouble {
    Trouble::not_found("This walk is not remembered any more; what it did is done.")
}

#[derive(Template)]
#[template(path = "walk.html")]
struct WalkPage {
    frame: Frame,
    walk: Arc<Walk>,
    /// Where what is sent again would not arrive.
    stopped: Vec<Stopped>,
    stand: Stand,
    tally: Tally,
}

#[derive(Template)]
#[template(path = "walk_part.html")]
struct WalkPart {
    walk: Arc<Walk>,
    stand: Stand,
    tally: Tally,
}

/// How far a walk has come.
pub(super) async fn walk(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let walk = dashboard.walks.find(&id).ok_or_else(forgotten)?;
    let (stand, tally) = walk.state();
    let title = match &walk.deed {
        Deed::Preview(_, Action::Drop) => "Drop parked messages?",
        Deed::Preview(..) => "Replay parked messages?",
        Deed::Act(_, Action::Drop, _) => "Dropping",
        Deed::Act(..) | Deed::ReplaySpared(_) => "Replaying",
    };
    let frame = Frame::new(title, Here::Parked, visitor);
    let stopped = match &walk.deed {
        Deed::Preview(choice, Action::Replay) => {
            stopped(&dashboard, choice.selection.subscription).await
        }
        Deed::Preview(..) | Deed::Act(..) | Deed::ReplaySpared(_) => Vec::new(),
    };
    Ok(page(&WalkPage { frame, walk, stopped, stand, tally }))
}

/// The part of it that changes; `None`: it changes no more.
pub(super) fn walk_part(dashboard: &Dashboard, id: &str) -> Option<String> {
    let walk = dashboard.walks.find(id).filter(|walk| !walk.is_over())?;
    let (stand, tally) = walk.state();
    WalkPart { walk, stand, tally }.render().ok()
}
