//! Knowledge of the installation that only the store has, and that the topology depends on.

use std::time::Duration;

use homing_broker::{Broker, error::BrokerError, topology::Depth};
use homing_domain::clock;
use homing_store::{Store, StoreError};
use homing_telemetry::{log_events, metrics};

/// A worker that ended without saying so is taken for gone after this time: one that the store has
/// not heard of for less may consume without its store.
const GONE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Prepares to declare the topology: remembers what will be declared, so that it is found after no
/// setting needs it any more, and learns what earlier settings declared, and if workers of an
/// earlier version run.
///
/// # Errors
///
/// [`StoreError`].
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn prepare(broker: &Broker, store: &dyn Store) -> Result<(), StoreError> {
    learn(broker, store).await?;
    let may_spread = is_of_this_version(store).await?;
    // Nothing is declared yet.
    if !allow_spreading(broker, may_spread) && !may_spread && broker.topology().names().shards() > 1
    {
        log_events::topology_spread(false);
    }
    Ok(())
}

/// Sets and logs if messages are spread over the shards; true: that changed.
pub(super) fn allow_spreading(broker: &Broker, may_spread: bool) -> bool {
    let topology = broker.topology();
    let has_changed = topology.allow_spreading(may_spread);
    if has_changed && topology.names().shards() > 1 {
        log_events::topology_spread(may_spread);
    }
    has_changed
}

/// Remembers which queues are declared, and learns which ones earlier settings declared.
pub(super) async fn learn(broker: &Broker, store: &dyn Store) -> Result<(), StoreError> {
    let known = store.known_queues().await?;
    let needed = broker.topology().variable_queues();
    // Also one that another process looked for before it was declared, and forgot.
    if needed.iter().any(|queue| !known.contains(queue)) {
        store.remember_queues(&needed).await?;
    }
    broker.topology().learn(&known);
    Ok(())
}

/// The queues that earlier settings declared, that no setting needs, and that still exist.
///
/// # Errors
///
/// [`BrokerError`]. While the store is unavailable, those that were learned before are looked for.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn left_over(
    broker: &Broker,
    store: &dyn Store,
) -> Result<Vec<(String, Depth)>, BrokerError> {
    // Callers report an unavailable store by themselves.
    if let Ok(known) = store.known_queues().await {
        broker.topology().learn(&known);
    }
    existing(broker, store, broker.topology().left_over()).await
}

/// Those of `queues`, which no setting needs, that exist. Forgets the others.
pub(super) async fn existing(
    broker: &Broker,
    store: &dyn Store,
    queues: Vec<String>,
) -> Result<Vec<(String, Depth)>, BrokerError> {
    let found = broker.find(queues).await?;
    for queue in found.missing {
        match store.forget_queue(&queue).await {
            Ok(_was_known) => {
                broker.topology().forget(&queue);
                metrics::queue(&queue, None);
            }
            Err(error) => log_events::store_unavailable("forgetting a queue", &error),
        }
    }
    Ok(found.present)
}

/// Returns true if every worker that runs sends what was replayed with `x-homing-replay`.
pub(super) async fn all_mark_replays(store: &dyn Store) -> Result<bool, StoreError> {
    let since = clock::now().minus(GONE_AFTER);
    let workers = store.workers().await?;
    let mut running = workers.iter().filter(|worker| worker.seen_ms >= since);
    Ok(running.all(|worker| worker.runs_replays.is_some()))
}

/// Returns true if no worker of an earlier version runs.
///
/// # Errors
///
/// [`StoreError`].
pub async fn is_of_this_version(store: &dyn Store) -> Result<bool, StoreError> {
    store.all_read_groups(clock::now().minus(GONE_AFTER)).await
}
