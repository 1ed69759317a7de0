//! `/v1/queues`: queues and their depths.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    api::requests::query::NoParameters,
    overview::{Kind as Purpose, left_over_advice},
    services::Services,
    web::{
        App, AppState,
        problem::{Kind, Problem},
    },
};
use homing_broker::{
    error::BrokerError,
    topology::{Depth, Topology},
};
use homing_delivery::worker::layout;

/// A queue with its depth.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Queue {
    name: String,
    kind: Purpose,
    /// The time that messages stay; only in wait queues.
    wait_ms: Option<u64>,
    /// Ready, without those in flight; absent: there is no such queue.
    messages: Option<u32>,
    consumers: Option<u32>,
    /// False: earlier settings declared it (more shards, another schedule), and it still exists.
    in_force: bool,
    /// Advice for a queue that is not in force.
    advice: Option<String>,
}

/// All queues in force, in the order in which a message passes through them, and then those that
/// earlier settings left.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Queues {
    queues: Vec<Queue>,
}

/// List the queues, in the order in which a message passes through them.
///
/// Last come those that earlier settings left, such as further shards, with what to do about them.
/// Held queues in force are in `/v1/status` only. Queries the broker, queue by queue; fails if it
/// does not answer. For a view that is refreshed often use `/v1/status`: it has the same queues with
/// their next due time, a second old at most, and reports a broker that is away.
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues", operation_id = "list_queues",
    responses((status = 200, description = "The queues with their depth", body = Queues)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    _: NoParameters,
) -> Result<Json<Queues>, Problem> {
    let mut queues = queues(app.services.broker.topology());
    for queue in &mut queues {
        let depth = app.services.broker.depth(&queue.name).await;
        let depth = depth.map_err(|error| not_known(&error))?;
        queue.messages = depth.map(|depth| depth.messages);
        queue.consumers = depth.map(|depth| depth.consumers);
    }
    queues.extend(left_over(&app).await?);
    Ok(Json(Queues { queues }))
}

/// The queues that earlier settings left.
async fn left_over(app: &App) -> Result<Vec<Queue>, Problem> {
    let Services { broker, store, .. } = &app.services;
    let found = layout::left_over(broker, store.as_ref()).await;
    let found = found.map_err(|error| not_known(&error))?;
    let names = broker.topology().names();
    let queue = |(name, depth): (String, Depth)| Queue {
        kind: Purpose::of_left_over(names, &name),
        wait_ms: names.wait_of(&name).and_then(|wait| u64::try_from(wait.as_millis()).ok()),
        messages: Some(depth.messages),
        consumers: Some(depth.consumers),
        in_force: false,
        advice: Some(left_over_advice(names, &name, depth)),
        name,
    };
    Ok(found.into_iter().map(queue).collect())
}

fn not_known(error: &BrokerError) -> Problem {
    Problem::broker(Kind::Broker, error, "the depth of the queues is not known")
}

/// The names of all queues in force.
pub(super) fn names(topology: &Topology) -> impl Iterator<Item = String> {
    queues(topology).into_iter().map(|queue| queue.name)
}

fn queues(topology: &Topology) -> Vec<Queue> {
    let names = topology.names();
    let queue = |name, kind| Queue {
        name,
        kind,
        wait_ms: None,
        messages: None,
        consumers: None,
        in_force: true,
        advice: None,
    };
    let primary = names.primary_queues().into_iter().map(|name| queue(name, Purpose::Primary));
    let retry = names.retry_queues().into_iter().map(|name| queue(name, Purpose::Retry));
    let mut queues: Vec<_> = primary.chain(retry).collect();
    queues.extend(topology.waits().map(|wait| Queue {
        wait_ms: u64::try_from(wait.as_millis()).ok(),
        ..queue(names.wait(wait), Purpose::Wait)
    }));
    queues.push(queue(names.parked(), Purpose::Parked));
    queues.push(queue(names.unrouted(), Purpose::Unrouted));
    if topology.has_archive() {
        queues.push(queue(names.archive(), Purpose::Archive));
    }
    queues
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn every_queue_of_the_topology_is_listed_once_waits_by_length() {
        let waits = [Duration::from_millis(169_600), Duration::from_millis(84_800)];
        let topology = Topology::new("p", waits).with_shards(3);
        let listed = queues(&topology);

        let names: BTreeSet<_> = listed.iter().map(|queue| queue.name.clone()).collect();
        let declared: BTreeSet<_> = topology.queues().into_iter().map(|queue| queue.name).collect();
        assert_eq!(names, declared);
        assert_eq!(listed.len(), declared.len());
        let waits: Vec<_> = listed.iter().filter_map(|queue| queue.wait_ms).collect();
        assert_eq!(waits, [1_000, 4_000, 16_000, 64_000, 84_800, 169_600]);
    }
}
