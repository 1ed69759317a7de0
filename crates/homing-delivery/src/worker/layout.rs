//! Knowledge of the installation that only the store has, and that the topology depends on.

use std::time::Duration;

use homing_broker::Broker;
use homing_domain::clock;
use homing_store::{Store, StoreError};

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
    store.remember_queues(&broker.topology().variable_queues()).await?;
    learn(broker, store).await?;
    // Nothing is declared yet.
    let _changed = broker.topology().allow_spreading(is_of_this_version(store).await?);
    Ok(())
}

/// Learns which queues earlier settings declared.
pub(super) async fn learn(broker: &Broker, store: &dyn Store) -> Result<(), StoreError> {
    broker.topology().learn(&store.known_queues().await?);
    Ok(())
}

/// Returns true if no worker of an earlier version runs.
pub(super) async fn is_of_this_version(store: &dyn Store) -> Result<bool, StoreError> {
    store.all_read_groups(clock::now().minus(GONE_AFTER)).await
}
