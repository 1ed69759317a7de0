//! Background maintenance: refreshes shared state, repairs the topology.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Context;
use super::layout::{all_mark_replays, allow_spreading, is_of_this_version, learn};
use homing_broker::{
    control::{Announcement, ListenBackoff},
    empty::EmptiedQueue,
};
use homing_domain::clock;
use homing_telemetry::{log_events, metrics};

/// Changes are announced; this poll finds lost announcements, and counts the live workers.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// After a failure of the store or the broker.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of pruning unneeded circuits, counting subscriptions, and checking for queues of
/// earlier versions (if none is expected).
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Deleted queues are declared again this often.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps subscriptions and circuits current until `stop`.
pub(super) async fn shared_state(context: Arc<Context>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        refresh_all(&context).await;
        let mut backoff = ListenBackoff::default();
        loop {
            match context.broker.changes().await {
                Ok(mut changes) => {
                    backoff.works(&context.broker);
                    // Changes announced before this process listened.
                    refresh_all(&context).await;
                    let mut refresh_at = Instant::now() + REFRESH_INTERVAL;
                    while follow(&context, &mut changes, &mut refresh_at).await {}
                }
                Err(error) => {
                    let pause = backoff.failed(&context.broker, &error);
                    refresh_for(&context, pause).await;
                }
            }
        }
    })
    .await;
}

/// Waits for a change and reads what has changed, and everything at `refresh_at`. `false`: the stream
/// has ended.
async fn follow<S>(context: &Context, changes: &mut S, refresh_at: &mut Instant) -> bool
where
    S: futures_util::Stream<Item = Announcement> + Unpin,
{
    if *refresh_at <= Instant::now() {
        refresh_all(context).await;
        *refresh_at = Instant::now() + REFRESH_INTERVAL;
    }
    match tokio::time::timeout_at(*refresh_at, changes.next()).await {
        Ok(Some(Announcement::Subscriptions)) => refresh_subscriptions(context).await,
        Ok(Some(Announcement::Circuit(url))) => {
            if let Err(error) = context.circuits.refresh(&url).await {
                log_events::store_unavailable("reading a circuit", &error);
            }
        }
        Ok(Some(Announcement::Slots)) => refresh_slots(context).await,
        Ok(Some(Announcement::Source(_))) => {}
        Ok(None) => return false,
        Err(_elapsed) => {}
    }
    true
}

/// Reads again every few seconds for `pause`, while no announcements arrive.
async fn refresh_for(context: &Context, pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        tokio::time::sleep_until(until.min(Instant::now() + REFRESH_INTERVAL)).await;
        refresh_all(context).await;
    }
}

/// Reads the subscriptions last: consuming begins once they are loaded, and an endpoint with an open
/// circuit gets no requests after a restart either.
async fn refresh_all(context: &Context) {
    if let Err(error) = context.circuits.refresh_all().await {
        log_events::store_unavailable("reading the circuits", &error);
    }
    refresh_slots(context).await;
    refresh_permissions(context).await;
    refresh_subscriptions(context).await;
}

/// Reads what this worker may do beside those of earlier versions.
async fn refresh_permissions(context: &Context) {
    match all_mark_replays(context.store.as_ref()).await {
        Ok(all) => context.may_replay.store(all, Ordering::Relaxed),
        Err(error) => log_events::store_unavailable("reading which workers run", &error),
    }
    match is_of_this_version(context.store.as_ref()).await {
        Ok(all) => {
            context.may_group.store(all, Ordering::Relaxed);
            if allow_spreading(&context.broker, all) {
                restore_topology(context).await;
            }
        }
        Err(error) => log_events::store_unavailable("reading which workers run", &error),
    }
}

async fn refresh_slots(context: &Context) {
    if let Err(error) = context.slots.refresh().await {
        log_events::store_unavailable("reading the slots", &error);
    }
}

/// Returns only after the subscriptions have been read once.
async fn refresh_subscriptions(context: &Context) {
    while let Err(error) = context.subscriptions.refresh().await {
        log_events::store_unavailable("reading the subscriptions", &error);
        if context.subscriptions.are_loaded() {
            return;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Measures until `stop` how late this process gets its turns.
pub(super) async fn lag(context: Arc<Context>, stop: CancellationToken) {
    let _stopped = stop.run_until_cancelled(context.limits.measure_lag()).await;
}

/// Merges counts until `stop`, forgets unneeded circuits, and verifies the subscriptions in memory.
pub(super) async fn circuits(context: Arc<Context>, stop: CancellationToken) {
    let housekeeping = async {
        loop {
            context.circuits.prune().await;
            if let Err(error) = context.subscriptions.verify().await {
                log_events::store_unavailable("counting the subscriptions anew", &error);
            }
            tokio::time::sleep(PRUNE_INTERVAL).await;
        }
    };
    tokio::join!(context.circuits.run(&stop), stop.run_until_cancelled(housekeeping));
}

/// Updates the shares of the rate limits, the number of slow URLs and the age of the oldest
/// delivery, until dropped.
async fn share_limits(context: &Context) {
    loop {
        // A broker that does not know reports none; this worker is one.
        if let Ok(workers @ 1..) = context.broker.workers(context.settings.shards.parts()).await {
            context.limits.share_with(workers);
        }
        metrics::slow_urls(context.limits.slow_urls());
        metrics::oldest_undelivered(context.observers.oldest_waiting.age(clock::now()));
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

/// Keeps the topology complete until `stop`.
pub(super) async fn topology(context: Arc<Context>, stop: CancellationToken) {
    let tending = async {
        loop {
            restore_topology(&context).await;
            tokio::time::sleep(TOPOLOGY_INTERVAL).await;
        }
    };
    let sharing = share_limits(&context);
    let both = Box::pin(async { tokio::join!(tending, sharing) });
    stop.run_until_cancelled(both).await;
}

async fn restore_topology(context: &Context) {
    if let Err(error) = learn(&context.broker, context.store.as_ref()).await {
        log_events::store_unavailable("reading which queues were declared", &error);
    }
    if let Err(error) = context.broker.restore_topology().await {
        // The lanes report a broker that is unavailable.
        debug!(error = error.report(), "topology.restore_failed");
    }
}

/// Keeps the net empty until `stop`, and the queues of earlier versions, if there are any.
pub(super) async fn net(context: Arc<Context>, stop: CancellationToken) {
    let [unrouted, former_unrouted, former_parked] =
        EmptiedQueue::ALL.map(|what| keep_empty(&context, what, &stop));
    tokio::join!(unrouted, former_unrouted, former_parked);
}

async fn keep_empty(context: &Context, what: EmptiedQueue, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match context.broker.empty(what, stop).await {
            Ok(true) => REFRESH_INTERVAL,
            Ok(false) => PRUNE_INTERVAL,
            // The lanes report a broker that is unavailable.
            Err(error) => {
                debug!(?what, error = error.report(), "topology.not_emptied");
                REFRESH_INTERVAL
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
