//! `/healthz` and `/readyz`: open without a token, so they show states, never addresses or causes.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use crate::web::{
    App, AppState,
    problem::{Kind, Problem},
};
use homing_broker::{Broker, Condition, ConnectionState};

/// For each part to answer.
const PART_DEADLINE: Duration = Duration::from_secs(2);

/// A part that fails for this long is not ready; a broker that restarts is back sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process runs.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Alive {
    /// `ok`
    status: &'static str,
    /// homing's version.
    version: &'static str,
}

/// Confirms that the process runs; says nothing about its parts.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz",
    responses((status = 200, description = "The process runs", body = Alive)),
)]
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// The state of all parts.
#[derive(Serialize, utoipa::ToSchema)]
struct Ready {
    /// `ready`
    status: &'static str,
    parts: Vec<Part>,
    /// Conditions that an operator should check.
    warnings: Vec<String>,
}

/// The state of one part.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = HealthPart)]
struct Part {
    name: &'static str,
    ready: bool,
    /// The reason why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Part {
    fn new(name: &'static str, problem: Option<String>) -> Self {
        Self { name, ready: problem.is_none(), reason: problem }
    }

    fn connection(name: &'static str, state: ConnectionState, problem: Option<&str>) -> Self {
        let blocked = |why| format!("the broker takes no messages now ({why})");
        Self::new(name, state.blocked.map(blocked).or_else(|| problem.map(str::to_owned)))
    }
}

/// Answers 200 only when every part works; else 503 with the state of each.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses((status = 200, description = "Every part works", body = Ready)),
)]
pub(super) async fn ready(State(app): State<AppState>) -> Response {
    let mut parts = Vec::from(broker(&app).await);
    parts.extend(lanes(&app));
    parts.extend(control(&app));
    parts.extend(bindings(&app));
    parts.push(store(&app).await);
    parts.extend(subscriptions(&app));
    let mut warnings: Vec<_> = unrouted(&app, &parts).await.into_iter().collect();
    warnings.extend(unreadable(&app).await);
    warnings.extend(archive(&app, &parts).await);
    warnings.extend(unconsumed(&app, &parts).await);
    warnings.extend(proxy(&app));

    let not_ready: Vec<_> = parts
        .iter()
        .filter_map(|part| Some(format!("{}: {}", part.name, part.reason.as_ref()?)))
        .collect();
    if not_ready.is_empty() {
        return Json(Ready { status: "ready", parts, warnings }).into_response();
    }
    Problem::new(Kind::NotReady, not_ready.join("; "))
        .with("parts", json!(parts))
        .with("warnings", warnings)
        .into_response()
}

/// Connects if necessary: in a process that only serves the API, nothing else does so after a loss.
/// Publishing is connected first, so if it is connected, the problem is with consuming.
async fn broker(app: &App) -> [Part; 2] {
    let broker = &app.services.broker;
    let problem = match timeout(PART_DEADLINE, broker.connect()).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.summary()),
        Err(_elapsed) => Some("connecting"),
    };
    let [publishing, consuming] = broker.states();
    let refusing = broker.refusing();
    let refusing = (!refusing.is_empty()).then(|| refusing.join("; "));
    let of_publishing = problem
        .filter(|_| !publishing.connected)
        .or(refusing.as_deref())
        .or(self::publishing(broker));
    let of_consuming = problem.filter(|_| publishing.connected || !consuming.connected);
    [
        Part::connection("broker.publishing", publishing, of_publishing),
        Part::connection("broker.consuming", consuming, of_consuming),
    ]
}

/// The reason why publishing fails, if everything published lately has failed for a while.
fn publishing(broker: &Broker) -> Option<&'static str> {
    const LATELY: Duration = Duration::from_secs(30);
    broker.conditions().publishing.failing_recently(PATIENCE, LATELY)
}

/// The lanes of the worker in this process, if there is one.
fn lanes(app: &App) -> Vec<Part> {
    if app.process.subscriptions.is_none() {
        return Vec::new();
    }
    let conditions = app.services.broker.conditions();
    let lanes = [("lane.primary", &conditions.primary), ("lane.retry", &conditions.retry)];
    let part = |(name, condition): (_, &Condition)| {
        let problem = condition.failing_for(PATIENCE).map(|why| format!("not consuming: {why}"));
        Part::new(name, problem)
    };
    // It may have had nothing to do for long; then it works as far as known.
    let held = conditions.held.failing_for(PATIENCE).map(|_| ("lane.held", &conditions.held));
    lanes.into_iter().chain(held).map(part).collect()
}

/// The announcements of changes, if this process does not receive them.
fn control(app: &App) -> Option<Part> {
    let why = app.services.broker.conditions().control.failing_for(PATIENCE)?;
    Some(Part::new("broker.control", Some(format!("changes are not announced to it: {why}"))))
}

/// The bindings of the exchanges, if messages without a route do not find one again.
fn bindings(app: &App) -> Option<Part> {
    let why = app.services.broker.conditions().unrouted.failing_for(PATIENCE)?;
    Some(Part::new("broker.bindings", Some(why.to_owned())))
}

async fn store(app: &App) -> Part {
    let problem = match timeout(PART_DEADLINE, app.services.store.check()).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => {
            tracing::error!(error = failure.report(), "api.store_failed");
            Some("the store is unavailable".to_owned())
        }
        Err(_elapsed) => Some("the store does not answer".to_owned()),
    };
    Part::new("store", problem)
}

/// The subscriptions, without which a worker delivers nothing. `None`: there is no worker in this
/// process.
fn subscriptions(app: &App) -> Option<Part> {
    let subscriptions = app.process.subscriptions.as_ref()?;
    let problem = (!subscriptions.are_loaded()).then(|| "not read yet".to_owned());
    Some(Part::new("subscriptions", problem))
}

/// Subscriptions that cannot be read. Only their events wait, and a restart of this process would
/// not help, so this is a warning.
async fn unreadable(app: &App) -> Option<String> {
    let read = timeout(PART_DEADLINE, app.services.status_service.unreadable_subscriptions()).await;
    // A store that does not answer is reported by its own part.
    let unreadable = read.ok()?.ok().filter(|unreadable| !unreadable.is_empty())?;
    Some(format!(
        "{} of the subscriptions cannot be read, and their events wait; `homing status` names them",
        unreadable.len()
    ))
}

/// Shards that no worker consumes: this process may do its part, and another one be missing.
async fn unconsumed(app: &App, parts: &[Part]) -> Option<String> {
    if !is_broker_ready(parts) {
        return None;
    }
    let without = timeout(PART_DEADLINE, app.services.broker.shards_without_consumer()).await;
    match without {
        Ok(Ok(without)) if without.is_empty() => None,
        Ok(Ok(without)) => Some(format!(
            "no worker consumes {}; `homing topology check` says more",
            without.join(", ")
        )),
        Ok(Err(_)) | Err(_) => Some("the consumers of shards are not known".to_owned()),
    }
}

/// The proxy for endpoints, if it fails. Deliveries wait for it, and other processes would not do
/// better.
fn proxy(app: &App) -> Option<String> {
    app.endpoints.proxy_problem().map(|problem| {
        let since = problem.since;
        format!("the proxy of `endpoint.proxy` fails since {since}; `homing status` says more")
    })
}

fn is_broker_ready(parts: &[Part]) -> bool {
    parts.iter().filter(|part| part.name.starts_with("broker")).all(|part| part.ready)
}

/// An archive that is to be there and is not, on which deliveries do not depend.
async fn archive(app: &App, parts: &[Part]) -> Option<String> {
    if !is_broker_ready(parts) {
        return None;
    }
    match archive_is_missing(app).await {
        Some(false) => None,
        Some(true) => Some("nothing is archived; `homing topology check` says more".to_owned()),
        None => Some("it is not known if events are archived".to_owned()),
    }
}

/// True if there is to be an archive and nothing is archived; `None`: the broker does not answer.
pub(super) async fn archive_is_missing(app: &App) -> Option<bool> {
    let topology = app.services.broker.topology();
    if !topology.has_archive() {
        return Some(false);
    }
    let queue = topology.names().archive();
    let depth = timeout(PART_DEADLINE, app.services.broker.depth(&queue)).await.ok()?.ok()?;
    // Only workers look again at what they could not declare.
    let is_worker = app.process.subscriptions.is_some();
    Some(depth.is_none() || (is_worker && topology.archive_problem().is_some()))
}

/// Messages without a route, which are kept and need an operator.
async fn unrouted(app: &App, parts: &[Part]) -> Option<String> {
    if !is_broker_ready(parts) {
        return None;
    }
    let queue = app.services.broker.topology().names().unrouted();
    let depth = timeout(PART_DEADLINE, app.services.broker.depth(&queue)).await;
    match depth {
        Ok(Ok(Some(depth))) if depth.messages == 0 => None,
        Ok(Ok(Some(depth))) => Some(format!(
            "{} messages without a route in `{queue}`; `homing topology check` says more",
            depth.messages
        )),
        Ok(Ok(None)) => Some(format!("`{queue}` is missing; `homing topology apply` creates it")),
        Ok(Err(_)) | Err(_) => Some(format!("the depth of `{queue}` is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_says_why_it_is_not_ready() {
        let reason = |blocked: Option<&str>, problem| {
            let state = ConnectionState { connected: true, blocked: blocked.map(str::to_owned) };
            Part::connection("broker.consuming", state, problem).reason
        };
        assert_eq!(reason(None, None), None);
        assert_eq!(reason(None, Some("connecting")).as_deref(), Some("connecting"));
        let blocked = reason(Some("low on disk"), None);
        assert_eq!(blocked.as_deref(), Some("the broker takes no messages now (low on disk)"));
    }
}
