//! Open problems, the worst first, each with the page that helps.

use super::words;
use crate::{
    history::TopicView,
    overview::{Kind, Overview},
};

/// Topics that are named where no subscription wants them.
const NAMED: usize = 3;

/// An open problem, and the page that helps.
pub(super) struct Problem {
    pub(super) tone: &'static str,
    pub(super) what: String,
    pub(super) why: String,
    /// Target and text of the link.
    pub(super) help: Option<(&'static str, &'static str)>,
}

/// The open problems, the worst first. Endpoints in trouble have lines of their own, unless they
/// are not known: then they are counted here.
pub(super) fn problems(
    overview: &Overview,
    unwanted: Option<&[TopicView]>,
    counts_endpoints: bool,
) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, health) in [("broker", &overview.broker), ("store", &overview.store)] {
        let why = health.error.clone().unwrap_or_default();
        if !health.reachable {
            found.push(Problem::bad(format!("The {name} does not answer"), why));
        } else if health.error.is_some() {
            found.push(Problem::bad(format!("The {name} does not work fully"), why));
        }
    }
    if overview.store.reachable {
        unreadable(overview, &mut found);
        costly(overview, &mut found);
        expiring(overview, &mut found);
        workers(overview, &mut found);
        no_attempts(overview, &mut found);
        if counts_endpoints {
            circuits(overview, &mut found);
        }
    }
    queues(overview, &mut found);
    for source in overview.sources.iter().filter(|source| source.state == "stopped") {
        let why = source.reason.clone().unwrap_or_default();
        let stopped = Problem::bad(format!("Source {} is stopped", source.name), why);
        found.push(stopped.helped("/sources", "Sources"));
    }
    topics(unwanted, &mut found);
    found.sort_by_key(|one| one.tone != "bad");
    found
}

/// Events come that no subscription wants.
fn topics(unwanted: Option<&[TopicView]>, found: &mut Vec<Problem>) {
    let Some(unwanted) = unwanted else {
        let what = "It is not known which topics no subscription wants".to_owned();
        found.push(Problem::wait(what, "The store does not answer in time.".to_owned()));
        return;
    };
    if unwanted.is_empty() {
        return;
    }
    let names = unwanted
        .iter()
        .take(NAMED)
        .map(|one| format!("{} ({})", one.topic, words::count(one.unwanted, "event", "events")));
    let names: Vec<_> = names.collect();
    let more = unwanted.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (one, several) = ("topic has no subscription", "topics have no subscription");
    let what = words::count(as_u64(unwanted.len()), one, several);
    let why =
        format!("In the last day came {}{more}; none of these events was sent.", names.join(", "));
    found.push(Problem::wait(what, why).helped("/topics?unwanted=true", "Show topics"));
}

impl Problem {
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

fn unreadable(overview: &Overview, found: &mut Vec<Problem>) {
    let all = &overview.unreadable_subscriptions;
    let Some(first) = all.first() else { return };
    let (one, several) = ("subscription cannot be read", "subscriptions cannot be read");
    let what = words::count(as_u64(all.len()), one, several);
    let why = format!("{}, `{}`: {}; {}.", first.id, first.field, first.message, first.advice());
    found.push(Problem::bad(what, why).helped("/subscriptions", "Subscriptions"));
}

fn costly(overview: &Overview, found: &mut Vec<Problem>) {
    let all = &overview.costly_subscriptions;
    let Some(first) = all.first() else { return };
    let (one, several) =
        ("subscription filters at too high a cost", "subscriptions filter at too high a cost");
    let what = words::count(as_u64(all.len()), one, several);
    let why = format!("{}: {}.", first.id, first.advice());
    found.push(Problem::wait(what, why).helped("/subscriptions", "Subscriptions"));
}

fn expiring(overview: &Overview, found: &mut Vec<Problem>) {
    let all = &overview.expiring_certificates;
    let Some(first) = all.first() else { return };
    let (one, several) = ("client certificate expires", "client certificates expire");
    let what = words::count(as_u64(all.len()), one, several);
    let verb = if first.expired { "expired" } else { "expires" };
    let why = format!("That of {} {verb} at {}: {}.", first.id, first.expires, first.advice());
    let problem = if first.expired { Problem::bad(what, why) } else { Problem::wait(what, why) };
    found.push(problem.helped("/subscriptions", "Subscriptions"));
}

fn workers(overview: &Overview, found: &mut Vec<Problem>) {
    let alive = overview.workers.iter().filter(|worker| worker.alive).count();
    let silent = overview.workers.len().saturating_sub(alive);
    if alive == 0 {
        let why = "Nothing is delivered until one is started with `homing run`. Events wait at the broker.";
        found.push(Problem::bad("No worker is running".to_owned(), why.to_owned()));
    } else if silent > 0 {
        let what = words::count(as_u64(silent), "worker is silent", "workers are silent");
        let why = "Probably killed. Other workers took over its deliveries.".to_owned();
        found.push(Problem::wait(what, why));
    }
}

/// Reasons for which workers make no attempts.
fn no_attempts(overview: &Overview, found: &mut Vec<Problem>) {
    let alive = overview.workers.iter().filter(|worker| worker.alive);
    let all: Vec<_> = alive.filter_map(|worker| worker.report.problem.as_ref()).collect();
    let Some(why) = all.first() else { return };
    let (one, several) = ("worker makes no attempts", "workers make no attempts");
    let what = words::count(as_u64(all.len()), one, several);
    found.push(Problem::bad(what, format!("Deliveries wait, uncharged: {why}.")));
}

fn circuits(overview: &Overview, found: &mut Vec<Problem>) {
    let what = "It is not known which endpoints are in trouble".to_owned();
    let unknown = Problem::wait(what, "The store does not answer in time.".to_owned());
    found.push(unknown.helped("/endpoints?sort=broken", "Endpoints"));
    let Some(counts) = overview.circuits else { return };
    if counts.frozen > 0 {
        let what = words::count(counts.frozen, "endpoint is frozen", "endpoints are frozen");
        let why =
            "Nothing is sent to a frozen endpoint until it is enabled; what comes due is held.";
        let frozen = Problem::bad(what, why.to_owned());
        found.push(frozen.helped("/endpoints?state=frozen", "Show frozen"));
    }
    if counts.open > 0 {
        let what = words::count(counts.open, "circuit is open", "circuits are open");
        let why = "An open circuit lets a probe through in every interval; a success closes it.";
        let open = Problem::wait(what, why.to_owned());
        found.push(open.helped("/endpoints?state=open", "Show open"));
    }
}

fn queues(overview: &Overview, found: &mut Vec<Problem>) {
    let of_kind = overview.queues.iter().filter(|queue| queue.kind == Kind::Parked);
    let arriving: u64 = of_kind.filter_map(|queue| queue.messages).map(u64::from).sum();
    let parked = overview.parked.unwrap_or(0).saturating_add(arriving);
    if parked > 0 {
        let what = words::count(parked, "delivery is parked", "deliveries are parked");
        let why = "Each is kept until an operator replays or drops it.".to_owned();
        found.push(Problem::wait(what, why).helped("/parked", "Show parked"));
    }
    for queue in &overview.queues {
        let messages = queue.messages.unwrap_or(0);
        match queue.kind {
            _ if queue.messages.is_none() => {
                let why = "`homing topology check` says more, `homing topology apply` creates it.";
                let what = format!("{} is {}", queue.name, queue.state);
                found.push(Problem::bad(what, why.to_owned()));
            }
            Kind::Unrouted if messages > 0 => {
                let what = words::count(messages, "message had no route", "messages had no route");
                let why =
                    "Kept. Routed again once the topology is complete: `homing topology check`.";
                found.push(Problem::bad(what, why.to_owned()));
            }
            Kind::Primary if messages > 0 && queue.consumers == Some(0) => {
                let what = words::count(messages, "event waits", "events wait");
                found.push(Problem::bad(what, "No worker takes new events.".to_owned()));
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
