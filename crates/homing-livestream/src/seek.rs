//! Finds free slots, and follows which sources are to be read.
//!
//! Tries all free slots in random order. After each that it takes it pauses for a moment, for longer
//! the more slots this process has: so the slots spread over processes that start together, and all
//! of those that a process leaves are taken within seconds. A slot that is being read is never moved.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{slot, sources::Source};
use homing_broker::{
    Broker,
    control::{Announcement, ListenBackoff},
};
use homing_telemetry::{log_events, sources as telemetry};
use parking_lot::Mutex;

/// Changes are announced; this poll finds lost announcements.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a slot was taken, times the slots that this process has.
const POLITENESS: Duration = Duration::from_millis(250);

/// A slot of a source.
type Name = (String, u8);

/// Takes free slots until `stop`; each is held by its own task.
pub(super) async fn seek(
    broker: &Broker,
    sources: &[Arc<Source>],
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let held: Arc<Mutex<HashSet<Name>>> = Arc::default();
    let mut refused = HashMap::new();
    let mut logged = None;
    while !stop.is_cancelled() {
        let mut pause = broker.lock_fence() / 4;
        let mut free = free(sources, &held);
        fastrand::shuffle(&mut free);
        for (source, slot) in free {
            let name = (source.name.clone(), slot);
            let Some(tried) = stop.run_until_cancelled(broker.try_lock(&name.0, slot)).await else {
                return;
            };
            match tried {
                Ok(None) => {
                    refused.insert(name, Instant::now());
                }
                Ok(Some(lock)) => {
                    logged = None;
                    let last = refused.remove(&name);
                    let holding = slot::hold(source, slot, lock, last, stop.clone());
                    held.lock().insert(name.clone());
                    let count = u32::try_from(held.lock().len()).unwrap_or(u32::MAX);
                    pause = pause.min(POLITENESS.saturating_mul(count));
                    let held = Arc::clone(&held);
                    tasks.spawn(async move {
                        holding.await;
                        held.lock().remove(&name);
                    });
                    break;
                }
                Err(error) => {
                    let error = error.report();
                    if logged.as_ref() != Some(&error) {
                        telemetry::seeking_failed(&error);
                    }
                    logged = Some(error);
                    break;
                }
            }
        }
        let pause = pause.mul_f64(1.0 + fastrand::f64() / 2.0);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// The slots of sources to be read that this process does not have.
fn free(sources: &[Arc<Source>], held: &Mutex<HashSet<Name>>) -> Vec<(Arc<Source>, u8)> {
    let held = held.lock();
    let read = sources.iter().filter(|source| *source.is_read.borrow());
    let slots = read.flat_map(|source| {
        (1..=source.settings.max_connections).map(move |slot| (Arc::clone(source), slot))
    });
    slots.filter(|(source, slot)| !held.contains(&(source.name.clone(), *slot))).collect()
}

/// Follows pauses, resumes and stops, until `stop`.
pub(super) async fn follow(broker: Broker, sources: Vec<Arc<Source>>, stop: CancellationToken) {
    let measuring = async {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            clock.tick().await;
            for source in &sources {
                source.measure();
            }
        }
    };
    let following = async {
        let mut backoff = ListenBackoff::default();
        loop {
            refresh(&sources).await;
            match broker.changes().await {
                Ok(mut changes) => {
                    backoff.works(&broker);
                    // Changes announced before this process listened.
                    refresh(&sources).await;
                    while follow_one(&sources, &mut changes).await {}
                }
                Err(error) => {
                    let until = Instant::now() + backoff.failed(&broker, &error);
                    while Instant::now() < until {
                        tokio::time::sleep_until(until.min(Instant::now() + POLL_INTERVAL)).await;
                        refresh(&sources).await;
                    }
                }
            }
        }
    };
    let both = async { tokio::join!(measuring, following) };
    stop.run_until_cancelled(both).await;
}

/// Waits for a change or a timeout. `false`: the stream has ended.
async fn follow_one<S>(sources: &[Arc<Source>], changes: &mut S) -> bool
where
    S: futures_util::Stream<Item = Announcement> + Unpin,
{
    match timeout(POLL_INTERVAL, changes.next()).await {
        Ok(Some(Announcement::Source(_))) | Err(_) => refresh(sources).await,
        Ok(Some(Announcement::Subscriptions | Announcement::Circuit(_) | Announcement::Slots)) => {}
        Ok(None) => return false,
    }
    true
}

/// If the store does not answer, the last known state applies.
async fn refresh(sources: &[Arc<Source>]) {
    for source in sources {
        match source.store.source(&source.name).await {
            Ok(state) => source.learn(&state),
            Err(error) => log_events::store_unavailable("reading a source", &error),
        }
    }
}
