//! The overview page: what is broken and the button that helps, what happened lately, and the state
//! of queues, workers and dependencies.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use tokio::{join, time::timeout};

use super::{
    chart::{self, Shapes},
    cut,
    fields::{Fields, Wrong},
    figures::{Figures, Range},
    first_run::FirstRun,
    layout::{Layout, NavItem, Visitor, page as answer},
    links,
    problems::{Problem, problems},
    words::{self, Due, When},
};
use crate::{
    history::{ErrorView, TopicView},
    overview::{Broken, BrokenEndpoint, Kind, MAX_PARKED, Overview, Queue, Trouble},
    web::{App, AppState},
};
use homing_domain::{
    circuit::{Reason, StateName},
    clock,
    report::duration,
};
use homing_store::ErrorFilter;

/// Errors that are shown, and the time since the last attempt of each.
const ERRORS: u32 = 5;
const ERRORS_SINCE: Duration = Duration::from_hours(1);
/// Deadline for them, and for the figures; the page comes without them then.
const PART_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    layout: Layout,
    shown: Shown,
    may_write: bool,
}

#[derive(Template)]
#[template(path = "overview_part.html")]
struct Part {
    shown: Shown,
    may_write: bool,
}

/// The overview with its charts and texts.
struct Shown {
    overview: Arc<Overview>,
    problems: Vec<Problem>,
    /// Endpoints in trouble; `None`: not known.
    broken: Option<Arc<Broken>>,
    first_run: Option<FirstRun>,
    figures: Figures,
    errors: Vec<ErrorView>,
    rungs: Vec<Rung>,
    /// Queues that hold nothing.
    empty: Vec<Rung>,
    /// Topics that no subscription wants, the last one first; `None`: not known.
    unwanted: Option<Arc<Vec<TopicView>>>,
}

/// One queue.
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
    fields: Fields,
) -> Response {
    let may_write = visitor.may_write;
    let layout = Layout::new("Overview", NavItem::Overview, visitor);
    let shown = Shown::read(&app, range(&fields)).await;
    answer(&Page { layout, shown, may_write })
}

/// The part of the page that changes.
pub(super) async fn part(app: &App, range: Range, may_write: bool) -> Option<String> {
    Part { shown: Shown::read(app, range).await, may_write }.render().ok()
}

/// The range of an address; a wrong one is the usual one.
pub(super) fn range(fields: &Fields) -> Range {
    fields.get("range", &mut Wrong::default()).unwrap_or_default()
}

impl Shown {
    async fn read(app: &App, range: Range) -> Self {
        let services = &app.services;
        let overview = services.status_service.overview().await;
        let now = clock::now();
        let figures = Figures::read(range, &overview, &services.history);
        let wanted = ErrorFilter { url: None, since: Some(now.minus(ERRORS_SINCE)), limit: ERRORS };
        let (unwanted, broken, figures, errors, first_run) = join!(
            services.topics.unwanted(now),
            services.broken.read(&overview),
            timeout(PART_DEADLINE, figures),
            timeout(PART_DEADLINE, services.history.errors(&wanted)),
            FirstRun::of(app, &overview),
        );
        let figures = figures.ok().and_then(Result::ok);
        let figures = figures.unwrap_or_else(|| Figures::unknown(range));
        let errors = errors.ok().and_then(Result::ok).unwrap_or_default().errors;
        let listed = unwanted.as_ref().map(|unwanted| unwanted.as_slice());
        let problems = problems(&overview, listed, broken.is_none());
        let (rungs, empty) = rungs(&overview);
        Self { overview, problems, broken, first_run, figures, errors, rungs, empty, unwanted }
    }

    /// True if nothing is broken, as far as everything is known.
    fn is_well(&self) -> bool {
        let broken = self.broken.as_ref();
        self.problems.is_empty() && broken.is_some_and(|broken| broken.endpoints.is_empty())
    }
}

/// The queues that hold something or have a problem, and the others.
fn rungs(overview: &Overview) -> (Vec<Rung>, Vec<Rung>) {
    // What is archived is not on its way.
    let is_shown =
        |queue: &&Queue| !matches!(queue.kind, Kind::Lock | Kind::Archive) && queue.is_listed();
    let shown: Vec<_> = overview.queues.iter().filter(is_shown).collect();
    let most = shown.iter().filter_map(|queue| queue.messages).max().unwrap_or(0);
    let rungs = shown.into_iter().map(|queue| Rung::of(queue, most));
    rungs.partition(|rung| rung.queue.messages != Some(0))
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
        let wait = queue.wait_ms.map(Duration::from_millis);
        let within = wait.filter(|_| waits && queue.next_due_ms.is_none()).map(duration);
        Self {
            bar: chart::bar(messages.into(), most.into(), class),
            next: queue.next_due_ms.map(Due::at),
            within,
            since: queue.since_ms.map(When::at),
            queue: queue.clone(),
        }
    }
}

/// The state of an endpoint in trouble, as a word with a colour.
fn trouble(one: &BrokenEndpoint) -> words::State {
    words::state(match one.trouble {
        Trouble::Frozen => "frozen",
        Trouble::Open => "open",
        Trouble::Failing => "failing",
        Trouble::Slow => "slow",
    })
}

/// An operator's decision about an endpoint in trouble, or else its most frequent error, or its last
/// outcome.
fn says(one: &BrokenEndpoint) -> (String, String) {
    if one.trouble == Trouble::Slow {
        let text = "Its answers take long; its deliveries have a queue of their own.";
        return (text.to_owned(), String::new());
    }
    let decided = [StateName::Open, StateName::Frozen].map(|state| Reason::Disabled.of(state));
    if let Some(reason) = one.circuit.reason.as_ref().filter(|reason| decided.contains(reason)) {
        return (reason.clone(), String::new());
    }
    if let Some(error) = &one.error {
        return (error.report(), error.text.clone());
    }
    let known = one.circuit.reason.clone().or_else(|| one.circuit.last_outcome.clone());
    (known.unwrap_or_else(|| "no attempt is in the log".to_owned()), String::new())
}
