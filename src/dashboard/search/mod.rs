//! Search by anything: one page with what is found, by kind; at once to the object where only one is
//! meant.
//!
//! Promises: the address has all of the search; every kind is bounded in what is looked at and in
//! what is shown, and the page says where it is not all.

use std::time::Duration;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use tokio::{join, time::timeout};

mod query;

use self::query::Query;
use super::{
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page as answer},
    links::{self, link},
    words,
};
use crate::{
    history::{ErrorView, TopicView},
    registry,
    web::{App, AppState},
};
use homing_delivery::{circuits, parking::Entry};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    status_range::StatusRange,
    url::EndpointUrl,
};
use homing_store::{
    CircuitOrder, CircuitPage, ErrorFilter, Page as Part, ParkedPage, SearchText, Selection,
    StoreError, SubscriptionPage,
};

/// Results of a kind that are shown.
const SHOWN: u32 = 10;
/// Parked deliveries are counted up to this number.
const MAX_PARKED: u32 = 1_000;
/// Errors that are looked at, the latest.
const MAX_ERRORS: u32 = 1_000;
/// Records of the attempt log that are looked at for a webhook-id, the newest.
const MAX_RECORDS: u32 = 20_000;
/// Deadline for a kind of results; the page comes without it then, and says so.
const DEADLINE: Duration = Duration::from_secs(2);
/// The results.
#[derive(Default)]
struct Found {
    events: Vec<String>,
    subscriptions: Vec<registry::View>,
    more_subscriptions: bool,
    endpoints: Vec<circuits::View>,
    more_endpoints: bool,
    topics: Vec<TopicView>,
    errors: Vec<ErrorView>,
    parked: Vec<Entry>,
    parked_count: u32,
    /// Notes of what was not looked at.
    notes: Vec<String>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.subscriptions.is_empty()
            && self.endpoints.is_empty()
            && self.topics.is_empty()
            && self.errors.is_empty()
            && self.parked.is_empty()
    }

    /// The page of the only object that was found.
    fn only(&self) -> Option<String> {
        let is_of_event = |one: &Entry| self.events.contains(&one.event_id);
        let is_parked_alone = !self.parked.iter().all(is_of_event);
        if is_parked_alone || !self.topics.is_empty() || !self.errors.is_empty() {
            return None;
        }
        match (&*self.events, &*self.subscriptions, &*self.endpoints) {
            ([event], [], []) => Some(links::event(event)),
            ([], [one], []) => Some(format!("/subscriptions/{}", one.id)),
            ([], [], [endpoint]) => Some(links::endpoint(&endpoint.url)),
            _ => None,
        }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    query: Query,
    found: Found,
    /// The lists with the same search.
    attempts: String,
    all_parked: String,
}

/// Searches; redirects to the object where only one is meant.
pub(super) async fn page(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let query = Query::of(&fields, &mut wrong);
    let mut found = Found::default();
    if wrong.is_empty() && !query.is_empty() {
        if query.is_text()
            && let Some(to) = exact(&app, &query.text).await?
        {
            return Ok(Redirect::to(&to).into_response());
        }
        found = find(&app, &query).await?;
        if query.is_text()
            && let Some(to) = found.only()
        {
            return Ok(Redirect::to(&to).into_response());
        }
    }
    let status = query.status.map(|status| status.to_string()).unwrap_or_default();
    let times = ["since", "until"].map(|name| (name, fields.text(name)));
    let given = |pairs: [(&'static str, &str); 2]| {
        let given = pairs.into_iter().chain(times).filter(|(_, text)| !text.is_empty());
        given.map(|(name, text)| (name, text.to_owned())).collect::<Vec<_>>()
    };
    let with = |path: &str, pairs: Vec<(&'static str, String)>| {
        link(path, pairs.iter().map(|(name, text)| (*name, text.as_str())))
    };
    let text = if query.text.parse::<StatusRange>().is_ok() { "" } else { query.text.as_str() };
    let attempts = with("/attempts", given([("status", &status), ("", "")]));
    let all_parked = with("/parked", given([("status", &status), ("text", text)]));
    let mut layout = Layout::new("Search", NavItem::Nowhere, visitor);
    fields.text("q").clone_into(&mut layout.sought);
    Ok(answer(&SearchPage { layout, fields, wrong, query, found, attempts, all_parked }))
}

/// The page of the object whose whole id or URL the text is.
async fn exact(app: &App, text: &str) -> Result<Option<String>, StoreError> {
    let store = &app.services.store;
    if let Ok(id) = text.parse::<SubscriptionId>()
        && !matches!(store.subscription(id).await, Ok(None))
    {
        return Ok(Some(format!("/subscriptions/{id}")));
    }
    if let Ok(url) = text.parse::<EndpointUrl>() {
        let at = store.subscriptions_at(&url, Part { after: None, limit: 1 }).await?;
        let is_known =
            !at.subscriptions.is_empty() || !matches!(store.circuit(&url).await, Ok(None));
        return Ok(is_known.then(|| links::endpoint(url.as_str())));
    }
    // The shortest of those that begin so comes first.
    if store.events_with(text, 1).await?.first().is_some_and(|event| event == text) {
        return Ok(Some(links::event(text)));
    }
    let Ok(delivery) = text.parse::<DeliveryId>() else { return Ok(None) };
    let selection = Selection { delivery: Some(delivery), ..Selection::default() };
    let parked = store.parked(&ParkedPage { selection, limit: 1, ..ParkedPage::default() }).await?;
    let event = match parked.into_iter().next() {
        Some(parked) => Some(parked.event),
        None => store.event_of(delivery, MAX_RECORDS).await?,
    };
    Ok(event.map(|event| links::event(&event)))
}

async fn find(app: &App, query: &Query) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let text = query.text.as_str();
    // Fewer letters are in nearly everything.
    let is_long = text.parse::<SearchText>().is_ok();
    let is_sought = is_long && (query.status.is_none() || text.parse::<StatusRange>().is_ok());
    let (events, subscriptions, endpoints, topics, errors, parked) = join!(
        timeout(DEADLINE, events(app, text, !text.is_empty())),
        timeout(DEADLINE, subscriptions(app, text, is_sought)),
        timeout(DEADLINE, endpoints(app, text, is_sought)),
        timeout(DEADLINE, topics(app, text, is_sought)),
        timeout(DEADLINE, errors(app, query)),
        timeout(DEADLINE, parked(app, query)),
    );
    if let Some(events) = found.take("events", events)? {
        found.events = events;
    }
    if let Some((views, more)) = found.take("subscriptions", subscriptions)? {
        (found.subscriptions, found.more_subscriptions) = (views, more);
    }
    if let Some((views, more)) = found.take("endpoints", endpoints)? {
        (found.endpoints, found.more_endpoints) = (views, more);
    }
    if let Some(topics) = found.take("topics", topics)? {
        found.topics = topics;
    }
    if let Some((errors, more)) = found.take("errors", errors)? {
        found.errors = errors;
        if more {
            found.notes.push(format!("only the {MAX_ERRORS} latest errors were searched"));
        }
    }
    if let Some((count, entries)) = found.take("parked deliveries", parked)? {
        (found.parked_count, found.parked) = (count, entries);
    }
    if text.parse::<DeliveryId>().is_ok() {
        let note = "a webhook-id is searched among what is parked and in the newest records of the \
                    attempt log; the list of deliveries searches more of it";
        found.notes.push(note.to_owned());
    } else if !text.is_empty() && !is_long {
        found.notes.push("texts are searched from three letters on, ids from the first".to_owned());
    }
    Ok(found)
}

impl Found {
    /// The results of a kind; `None`: they did not come in time, or the search is too broad, which
    /// is noted.
    fn take<T>(
        &mut self,
        kind: &str,
        found: Result<Result<T, StoreError>, tokio::time::error::Elapsed>,
    ) -> Result<Option<T>, StoreError> {
        match found {
            Ok(Ok(found)) => return Ok(Some(found)),
            Ok(Err(failure @ StoreError::TooBroad { .. })) => {
                self.notes.push(format!("{kind} were not searched: {failure}"));
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_elapsed) => self.notes.push(format!(
                "{kind} were not searched to the end: that takes longer than two seconds"
            )),
        }
        Ok(None)
    }
}

async fn events(app: &App, text: &str, is_sought: bool) -> Result<Vec<String>, StoreError> {
    if !is_sought {
        return Ok(Vec::new());
    }
    app.services.store.events_with(text, SHOWN).await
}

async fn subscriptions(
    app: &App,
    text: &str,
    is_sought: bool,
) -> Result<(Vec<registry::View>, bool), StoreError> {
    if !is_sought {
        return Ok((Vec::new(), false));
    }
    let contains = Some(text.to_owned());
    let page = SubscriptionPage { contains, limit: SHOWN, ..SubscriptionPage::default() };
    let listing = app.services.store.list_subscriptions(&page).await?;
    let views = listing.subscriptions.iter().map(registry::View::from).collect();
    Ok((views, listing.next.is_some()))
}

async fn endpoints(
    app: &App,
    text: &str,
    is_sought: bool,
) -> Result<(Vec<circuits::View>, bool), StoreError> {
    if !is_sought {
        return Ok((Vec::new(), false));
    }
    let (contains, order) = (Some(text.to_owned()), CircuitOrder::Broken);
    let page = CircuitPage { contains, order, limit: SHOWN, ..CircuitPage::default() };
    let listing = app.services.store.circuits(&page).await?;
    let views = listing.circuits.iter().map(|(url, circuit)| circuits::View::of(url, circuit));
    Ok((views.collect(), listing.next.is_some()))
}

async fn topics(app: &App, text: &str, is_sought: bool) -> Result<Vec<TopicView>, StoreError> {
    if !is_sought {
        return Ok(Vec::new());
    }
    app.services.topics.with(text, SHOWN).await
}

async fn errors(app: &App, query: &Query) -> Result<(Vec<ErrorView>, bool), StoreError> {
    let wanted = ErrorFilter { url: None, since: query.since, limit: MAX_ERRORS };
    let found = app.services.history.errors(&wanted).await?;
    let is_in_time = |error: &ErrorView| {
        let first = words::instant(&error.first);
        query.until.is_none_or(|until| first.is_some_and(|first| first < until))
    };
    let errors = found.errors.into_iter().filter(|error| query.matches(error) && is_in_time(error));
    Ok((errors.take(usize::try_from(SHOWN).unwrap_or(usize::MAX)).collect(), found.more))
}

async fn parked(app: &App, query: &Query) -> Result<(u32, Vec<Entry>), StoreError> {
    let Some(selection) = query.parked() else { return Ok((0, Vec::new())) };
    let page = ParkedPage { selection, limit: SHOWN, ..ParkedPage::default() };
    let (found, count) = app.services.store.parked_counted(&page, MAX_PARKED).await?;
    Ok((count, found.into_iter().map(Entry::from).collect()))
}
