//! The overview page: activity of the pool, open problems and their remedies.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use tokio::time::timeout;

use super::{
    chart::{self, Shapes},
    layout::{Layout, NavItem, Visitor, page as answer},
    links,
    words::{self, Due, When},
};
use crate::{
    history::{ErrorView, TopicView},
    overview::{Kind, Overview, Queue},
    web::{App, AppState},
};
use homing_domain::{activity::Figures, clock, report::duration};
use homing_store::ErrorFilter;

/// Units of the small charts.
const CHART: (u32, u32) = (300, 40);
/// Errors that are shown, and the time since the last attempt of each.
const ERRORS: u32 = 5;
const ERRORS_SINCE: Duration = Duration::from_hours(1);
/// Deadline for them; the page comes without them then.
const ERRORS_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    layout: Layout,
    shown: Shown,
}

#[derive(Template)]
#[template(path = "overview_part.html")]
struct Part {
    shown: Shown,
}

/// The overview with its charts and texts.
struct Shown {
    overview: Arc<Overview>,
    attention: Vec<Attention>,
    tiles: Vec<Tile>,
    rungs: Vec<Rung>,
    /// Topics that no subscription wants, the last one first; `None`: not known.
    unwanted: Option<Arc<Vec<TopicView>>>,
    errors: Vec<ErrorView>,
}

/// An open problem, and the page that helps.
struct Attention {
    tone: &'static str,
    what: String,
    why: String,
    /// Target and text of the link.
    help: Option<(&'static str, &'static str)>,
}

/// One figure with its last hour.
struct Tile {
    label: &'static str,
    rate: String,
    hour: String,
    chart: Shapes,
    /// The chart in words.
    description: String,
}

/// One queue of the ladder.
struct Rung {
    queue: Queue,
    bar: Shapes,
    next: Option<Due>,
    /// Without a report of a worker, the wait itself is a bound.
    within: Option<String>,
    /// Its URL has it since then.
    since: Option<When>,
}

pub(super) async fn page(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let layout = Layout::new("Overview", NavItem::Overview, visitor);
    answer(&Page { layout, shown: shown(&app).await })
}

/// The part of the page that changes.
pub(super) async fn part(app: &App) -> Option<String> {
    Part { shown: shown(app).await }.render().ok()
}

async fn shown(app: &App) -> Shown {
    let now = clock::now();
    let (overview, unwanted) =
        tokio::join!(app.services.status_service.overview(), app.services.topics.unwanted(now));
    let wanted = ErrorFilter { url: None, since: Some(now.minus(ERRORS_SINCE)), limit: ERRORS };
    let errors = async { app.services.history.errors(&wanted).await.unwrap_or_default().errors };
    let errors = if overview.store.reachable {
        timeout(ERRORS_DEADLINE, errors).await.unwrap_or_default()
    } else {
        Vec::new()
    };
    Shown { unwanted, errors, ..Shown::of(overview) }
}

impl Shown {
    fn of(overview: Arc<Overview>) -> Self {
        // What is archived is not on its way.
        let is_shown =
            |queue: &&Queue| !matches!(queue.kind, Kind::Lock | Kind::Archive) && queue.is_listed();
        let shown: Vec<_> = overview.queues.iter().filter(is_shown).collect();
        let most = shown.iter().filter_map(|queue| queue.messages).max().unwrap_or(0);
        Self {
            attention: attention(&overview),
            tiles: tiles(&overview),
            rungs: shown.into_iter().map(|queue| Rung::of(queue, most)).collect(),
            unwanted: None,
            errors: Vec::new(),
            overview,
        }
    }
}

impl Rung {
    fn of(queue: &Queue, most: u32) -> Self {
        let messages = queue.messages.unwrap_or(0);
        let class = match queue.kind {
            Kind::Primary | Kind::Retry => "fill-accent",
            Kind::Wait | Kind::Held => "fill-wait",
            Kind::Parked | Kind::Unrouted => "fill-bad",
            Kind::Archive | Kind::Lock => "fill-idle",
        };
        let waits = queue.kind == Kind::Wait && messages > 0;
        let wait = queue.wait_ms.map(std::time::Duration::from_millis);
        let within = wait.filter(|_| waits && queue.next_due_ms.is_none()).map(duration);
        Self {
            bar: chart::bar(messages.into(), most.into(), class),
            next: queue.next_due_ms.map(Due::at),
            within,
            since: queue.since_ms.map(When::at),
            queue: queue.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.messages == Some(0)
    }
}

fn tiles(overview: &Overview) -> Vec<Tile> {
    let (rates, hour) = (&overview.rates, &overview.last_hour);
    let tile = |label, rate: f64, total: u64, class: &'static str, of: fn(&Figures) -> u64| {
        let columns: Vec<_> =
            overview.minutes.iter().map(|minute| vec![of(&minute.figures)]).collect();
        let most = columns.iter().flatten().max().copied().unwrap_or(0);
        Tile {
            label,
            rate: words::rate(rate),
            hour: words::grouped(total),
            chart: chart::stacked(&columns, &[class], CHART),
            description: format!("{label} per minute in the last hour, {most} at most"),
        }
    };
    vec![
        tile("Events in", rates.events, hour.events, "fill-accent", |it| it.events),
        tile("Delivered", rates.accepted, hour.accepted, "fill-good", |it| it.accepted),
        tile("Failed attempts", rates.failed, hour.failed(), "fill-bad", Figures::failed),
        tile("Held", rates.held, hour.held, "fill-wait", |it| it.held),
        tile("Parked", rates.parked, hour.parked, "fill-bad", |it| it.parked),
    ]
}

/// The open problems, the worst first.
fn attention(overview: &Overview) -> Vec<Attention> {
    let mut found = Vec::new();
    for (name, health) in [("broker", &overview.broker), ("store", &overview.store)] {
        let why = health.error.clone().unwrap_or_default();
        if !health.reachable {
            found.push(Attention::bad(format!("The {name} does not answer"), why));
        } else if health.error.is_some() {
            found.push(Attention::bad(format!("The {name} does not work fully"), why));
        }
    }
    if overview.store.reachable {
        unreadable(overview, &mut found);
        costly(overview, &mut found);
        expiring(overview, &mut found);
        workers(overview, &mut found);
        problems(overview, &mut found);
        circuits(overview, &mut found);
    }
    queues(overview, &mut found);
    for source in overview.sources.iter().filter(|source| source.state == "stopped") {
        let why = source.reason.clone().unwrap_or_default();
        let stopped = Attention::bad(format!("Source {} is stopped", source.name), why);
        found.push(stopped.helped("/sources", "Sources"));
    }
    found.sort_by_key(|one| one.tone != "bad");
    found
}

impl Attention {
    fn bad(what: String, why: String) -> Self {
        Self { tone: "bad", what, why, help: None }
    }

    fn wait(what: String, why: String) -> Self {
        Self { tone: "wait", ..Self::bad(what, why) }
    }

    fn helped(self, to: &'static str, says: &'static str) -> Self {
        Self { help: Some((to, says)), ..self }
    }
}

fn unreadable(overview: &Overview, found: &mut Vec<Attention>) {
    let all = &overview.unreadable_subscriptions;
    let Some(first) = all.first() else { return };
    let (one, several) = ("subscription cannot be read", "subscriptions cannot be read");
    let what = words::count(as_u64(all.len()), one, several);
    let why = format!("{}, `{}`: {}; {}.", first.id, first.field, first.message, first.advice());
    found.push(Attention::bad(what, why).helped("/subscriptions", "Subscriptions"));
}

fn costly(overview: &Overview, found: &mut Vec<Attention>) {
    let all = &overview.costly_subscriptions;
    let Some(first) = all.first() else { return };
    let (one, several) =
        ("subscription filters at too high a cost", "subscriptions filter at too high a cost");
    let what = words::count(as_u64(all.len()), one, several);
    let why = format!("{}: {}.", first.id, first.advice());
    found.push(Attention::wait(what, why).helped("/subscriptions", "Subscriptions"));
}

fn expiring(overview: &Overview, found: &mut Vec<Attention>) {
    let all = &overview.expiring_certificates;
    let Some(first) = all.first() else { return };
    let (one, several) = ("client certificate expires", "client certificates expire");
    let what = words::count(as_u64(all.len()), one, several);
    let verb = if first.expired { "expired" } else { "expires" };
    let why = format!("That of {} {verb} at {}: {}.", first.id, first.expires, first.advice());
    let attention =
        if first.expired { Attention::bad(what, why) } else { Attention::wait(what, why) };
    found.push(attention.helped("/subscriptions", "Subscriptions"));
}

fn workers(overview: &Overview, found: &mut Vec<Attention>) {
    let alive = overview.workers.iter().filter(|worker| worker.alive).count();
    let silent = overview.workers.len().saturating_sub(alive);
    if alive == 0 {
        let why = "Nothing is delivered until one is started with `homing run`. Events wait at the broker.";
        found.push(Attention::bad("No worker is running".to_owned(), why.to_owned()));
    } else if silent > 0 {
        let what = words::count(as_u64(silent), "worker is silent", "workers are silent");
        let why = "Probably killed. Other workers took over its deliveries.".to_owned();
        found.push(Attention::wait(what, why));
    }
}

/// Reasons for which workers make no attempts.
fn problems(overview: &Overview, found: &mut Vec<Attention>) {
    let alive = overview.workers.iter().filter(|worker| worker.alive);
    let all: Vec<_> = alive.filter_map(|worker| worker.report.problem.as_ref()).collect();
    let Some(why) = all.first() else { return };
    let (one, several) = ("worker makes no attempts", "workers make no attempts");
    let what = words::count(as_u64(all.len()), one, several);
    found.push(Attention::bad(what, format!("Deliveries wait, uncharged: {why}.")));
}

fn circuits(overview: &Overview, found: &mut Vec<Attention>) {
    let Some(counts) = overview.circuits else { return };
    if counts.frozen > 0 {
        let what = words::count(counts.frozen, "endpoint is frozen", "endpoints are frozen");
        let why =
            "Nothing is sent to a frozen endpoint until it is enabled; what comes due is held.";
        let frozen = Attention::bad(what, why.to_owned());
        found.push(frozen.helped("/endpoints?state=frozen", "Show frozen"));
    }
    if counts.open > 0 {
        let what = words::count(counts.open, "circuit is open", "circuits are open");
        let why = "An open circuit lets a probe through in every interval; a success closes it.";
        let open = Attention::wait(what, why.to_owned());
        found.push(open.helped("/endpoints?state=open", "Show open"));
    }
}

fn queues(overview: &Overview, found: &mut Vec<Attention>) {
    let of_kind = overview.queues.iter().filter(|queue| queue.kind == Kind::Parked);
    let arriving: u64 = of_kind.filter_map(|queue| queue.messages).map(u64::from).sum();
    let parked = overview.parked.unwrap_or(0).saturating_add(arriving);
    if parked > 0 {
        let what = words::count(parked, "delivery is parked", "deliveries are parked");
        let why = "Each is kept until an operator replays or drops it.".to_owned();
        found.push(Attention::wait(what, why).helped("/parked", "Show parked"));
    }
    for queue in &overview.queues {
        let messages = queue.messages.unwrap_or(0);
        match queue.kind {
            _ if queue.messages.is_none() => {
                let why = "`homing topology check` says more, `homing topology apply` creates it.";
                let what = format!("{} is {}", queue.name, queue.state);
                found.push(Attention::bad(what, why.to_owned()));
            }
            Kind::Unrouted if messages > 0 => {
                let what = words::count(messages, "message had no route", "messages had no route");
                let why =
                    "Kept. Routed again once the topology is complete: `homing topology check`.";
                found.push(Attention::bad(what, why.to_owned()));
            }
            Kind::Primary if messages > 0 && queue.consumers == Some(0) => {
                let what = words::count(messages, "event waits", "events wait");
                found.push(Attention::bad(what, "No worker takes new events.".to_owned()));
            }
            Kind::Primary
            | Kind::Retry
            | Kind::Wait
            | Kind::Held
            | Kind::Parked
            | Kind::Unrouted
            | Kind::Archive
            | Kind::Lock => {}
        }
    }
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
