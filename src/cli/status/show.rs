//! The overview as text.

use crate::{
    cli::{failure::Failure, output::Output, table::Rows, words},
    overview::{
        CostlySubscription, ExpiringCertificateView, Health, Kind, Overview, Queue, Rates,
        UnreadableSubscription,
    },
};
use homing_domain::{activity::Figures, clock, time::UnixMillis};

/// Subscriptions with a problem that are named; of more there is the number.
const TROUBLES_NAMED: usize = 20;
/// Workers that are named; of more there is the number.
const WORKERS_NAMED: usize = 20;

pub(super) fn write(overview: &Overview, output: &mut Output<'_>) -> Result<(), Failure> {
    let subscriptions = overview.subscriptions.map(|count| words::count(count, "subscription"));
    let subscriptions = subscriptions.map(|text| format!(", {text}")).unwrap_or_default();
    output.line(format_args!("broker  {}", report(&overview.broker)))?;
    output.line(format_args!("store   {}{subscriptions}", report(&overview.store)))?;
    unreadable(&overview.unreadable_subscriptions, output)?;
    costly(&overview.costly_subscriptions, output)?;
    expiring(&overview.expiring_certificates, output)?;
    sources(&overview.sources, output)?;
    if let Some(counts) = overview.circuits
        && counts.open.saturating_add(counts.frozen) > 0
    {
        let (open, frozen) = (counts.open, counts.frozen);
        let stopped = format!("{open} open, {frozen} frozen (`homing endpoints list`)");
        output.line(format_args!("circuit {stopped}"))?;
    }
    if overview.store.reachable {
        workers(overview, output)?;
        figures(&overview.rates, &overview.last_hour, output)?;
    }
    ladder(&overview.queues, output)
}

fn report(health: &Health) -> String {
    // A running homing does not say where its parts are.
    let at = health.location.as_ref().map(|location| format!(" at {location}"));
    let at = at.unwrap_or_default();
    match &health.error {
        Some(error) if !health.reachable => format!("unreachable{at}: {error}"),
        Some(error) => format!("reachable{at}; {error}"),
        None => format!("reachable{at}"),
    }
}

fn unreadable(
    subscriptions: &[UnreadableSubscription],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    for one in subscriptions.iter().take(TROUBLES_NAMED) {
        let UnreadableSubscription { id, field, message } = one;
        let advice = one.advice();
        output.line(format_args!(
            "problem subscription {id} cannot be read: `{field}`: {message}; {advice}"
        ))?;
    }
    and_more(subscriptions.len(), "subscriptions that cannot be read", output)
}

fn costly(subscriptions: &[CostlySubscription], output: &mut Output<'_>) -> Result<(), Failure> {
    for one in subscriptions.iter().take(TROUBLES_NAMED) {
        let (CostlySubscription { id, last }, advice) = (one, one.advice());
        output.line(format_args!(
            "problem the filters of subscription {id} cost too much (at {last}): {advice}"
        ))?;
    }
    and_more(subscriptions.len(), "subscriptions whose filters cost too much", output)
}

fn expiring(
    certificates: &[ExpiringCertificateView],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    for one in certificates.iter().take(TROUBLES_NAMED) {
        let (id, at, advice) = (one.id, &one.expires, one.advice());
        let verb = if one.expired { "expired" } else { "expires" };
        output.line(format_args!(
            "problem the client certificate of subscription {id} {verb} at {at}: {advice}"
        ))?;
    }
    and_more(certificates.len(), "client certificates that expire", output)
}

/// The line about those of `all` that are not named.
fn and_more(all: usize, what: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    match all.saturating_sub(TROUBLES_NAMED) {
        0 => Ok(()),
        more => output.line(format_args!("problem and {more} more {what}")),
    }
}

fn sources(sources: &[homing_livestream::View], output: &mut Output<'_>) -> Result<(), Failure> {
    for homing_livestream::View { name, state, connected, max_connections, reason, .. } in sources {
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        output.line(format_args!(
            "source  {name} {state}{reason}, {connected} of {max_connections} connected"
        ))?;
    }
    Ok(())
}

fn workers(overview: &Overview, output: &mut Output<'_>) -> Result<(), Failure> {
    let now = clock::now();
    if overview.workers.is_empty() {
        return output.line("worker  none is running: `homing run`");
    }
    for worker in overview.workers.iter().take(WORKERS_NAMED) {
        let report = &worker.report;
        let up = words::duration(now.since(report.started_ms));
        let state = if worker.alive {
            format!("{} in flight, up {up}, version {}", report.in_flight, report.version)
        } else {
            let silent = words::duration(now.since(report.seen_ms));
            format!("silent for {silent}, probably dead")
        };
        output.line(format_args!("worker  {} process {}: {state}", report.host, report.pid))?;
        if let Some(problem) = report.problem.as_ref().filter(|_| worker.alive) {
            output.line(format_args!("problem of process {}: {problem}", report.pid))?;
        }
    }
    let more = overview.workers.len().saturating_sub(WORKERS_NAMED);
    if more > 0 { output.line(format_args!("worker  and {more} more")) } else { Ok(()) }
}

fn figures(rates: &Rates, hour: &Figures, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line("")?;
    let mut rows = Rows::new(output, &["NOW AND LATELY", "PER SECOND", "LAST HOUR"]);
    for (name, rate, count) in [
        ("events in", rates.events, hour.events),
        ("delivered", rates.accepted, hour.accepted),
        ("failed attempts", rates.failed, hour.failed()),
        ("held", rates.held, hour.held),
        ("parked", rates.parked, hour.parked),
    ] {
        rows.add([name.to_owned(), format!("{rate:.2}"), count.to_string()]);
    }
    rows.write(output, &[1, 2])
}

fn ladder(queues: &[Queue], output: &mut Output<'_>) -> Result<(), Failure> {
    if queues.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let now = clock::now();
    let mut rows = Rows::new(output, &["QUEUE", "HOLDS", "MESSAGES", "CONSUMERS", "NEXT DUE"]);
    for queue in queues.iter().filter(|queue| queue.is_listed()) {
        let messages = queue.messages.map(|number| number.to_string());
        let messages = messages.unwrap_or_else(|| queue.state.to_owned());
        let consumers = queue.consumers.map(|number| number.to_string()).unwrap_or_default();
        let due = next_due(queue, now);
        rows.add([queue.name.clone(), holds(queue), messages, consumers, due]);
    }
    rows.write(output, &[2, 3])?;
    if queues.iter().any(|queue| queue.messages.is_none()) {
        output.line("")?;
        output.line("Not all queues are as they should be: `homing topology check` says more.")?;
    }
    Ok(())
}

fn holds(queue: &Queue) -> String {
    let since = queue.since_ms.map(|since| words::to_seconds(&since.to_string()));
    let since = since.map(|since| format!(" since {since}"));
    format!("{}{}", queue.holds, since.unwrap_or_default())
}

/// Without a report of a worker, the wait itself is a bound.
fn next_due(queue: &Queue, now: UnixMillis) -> String {
    let holds_some = queue.messages.is_some_and(|messages| messages > 0);
    match (queue.next_due_ms, queue.wait_ms) {
        (Some(due), _) if due > now => format!("in {}", words::duration(due.since(now))),
        (Some(_), _) => "due now".to_owned(),
        (None, Some(wait)) if holds_some && queue.kind == Kind::Wait => {
            let wait = std::time::Duration::from_millis(wait);
            format!("within {}", words::duration(wait))
        }
        (None, Some(_) | None) => String::new(),
    }
}
