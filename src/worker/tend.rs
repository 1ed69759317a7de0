//! What the pool looks after beside deliveries: its subscriptions and the topology.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use crate::report::Chain;

/// Changes are announced; this finds those whose announcement was lost.
const SUBSCRIPTIONS_INTERVAL: Duration = Duration::from_secs(5);
/// After a failure of store or broker.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often a queue that somebody deleted is declared again and the net emptied.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps the subscriptions current until `stop`.
pub(super) async fn subscriptions(context: Arc<Context>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        refresh(&context).await;
        loop {
            match context.broker.changes().await {
                Ok(mut changes) => {
                    refresh(&context).await;
                    while follow(&context, &mut changes).await {}
                }
                Err(error) => {
                    info!(error = error.told(), "control.unavailable");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    refresh(&context).await;
                }
            }
        }
    })
    .await;
}

/// Waits for a change, or for a while, and reads again. `false`: the stream has ended.
async fn follow<S>(context: &Context, changes: &mut S) -> bool
where
    S: futures_util::Stream + Unpin,
{
    let next = tokio::time::timeout(SUBSCRIPTIONS_INTERVAL, changes.next()).await;
    refresh(context).await;
    !matches!(next, Ok(None))
}

async fn refresh(context: &Context) {
    while let Err(error) = context.subscriptions.refresh().await {
        warn!(error = %Chain(&error), "subscriptions.read_failed");
        if context.subscriptions.are_loaded() {
            return;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Keeps the topology whole until `stop`, and publishes again what the net caught meanwhile.
pub(super) async fn topology(context: Arc<Context>, stop: CancellationToken) {
    while stop.run_until_cancelled(tend(&context)).await.is_some() {
        if stop.run_until_cancelled(tokio::time::sleep(TOPOLOGY_INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn tend(context: &Context) {
    if let Err(error) = context.broker.restore_topology().await {
        warn!(error = error.told(), "topology.restore_failed");
        return;
    }
    match context.broker.reroute().await {
        Ok(0) => {}
        Ok(rerouted) => warn!(rerouted, "topology.rerouted: messages without a route sent again"),
        Err(error) => warn!(error = error.told(), "topology.reroute_failed"),
    }
}
