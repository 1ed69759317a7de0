//! One held queue: probes its URL while the circuit is open, and empties it once that is closed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::worker::{
    Context, attempt,
    intake::{self, PendingDelivery, Turn, Work},
    lane,
};
use homing_broker::{consume::Lane, error::BrokerError, prefetch::Bounds};
use homing_domain::{
    circuit::{Admission, CircuitState},
    clock,
    time::UnixMillis,
    url::EndpointUrl,
};

/// A queue is looked at this often, or sooner, when its slot or a circuit changes.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// While a probe is due and nothing is held: what comes is then the probe.
const PROBE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A slot is given back when its queue was empty for this long.
const EMPTY: Duration = Duration::from_secs(30);
/// A session that got no message for this long ends.
const QUIET: Duration = Duration::from_secs(5);
/// The shortest time from one look to the next, unless there is news.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// After a failure of the broker.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Deliveries of other URLs that one probe takes out of the queue before it gives up.
const MAX_STRAGGLERS: usize = 64;

/// The decision about a held queue, by the circuit of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// It is emptied: its URL is well, or it has no owner.
    Emptying,
    /// It is left alone until this instant, when a probe is due; `None`: until an operator acts.
    Holding(EndpointUrl, Option<UnixMillis>),
}

fn phase(context: &Context, slot: u16) -> Phase {
    let Some(url) = context.slots.owned(slot).and_then(|held| held.url) else {
        return Phase::Emptying;
    };
    match context.circuits.state(&url) {
        CircuitState::Closed => Phase::Emptying,
        CircuitState::Open { probe_at } => Phase::Holding(url, Some(probe_at)),
        CircuitState::Frozen => Phase::Holding(url, None),
    }
}

/// Looks after the held queue of `slot` until `stop`.
pub(super) async fn run(context: Arc<Context>, slot: u16, stop: CancellationToken) {
    let mut news = context.slots.news();
    let mut empty_since = None;
    while !stop.is_cancelled() {
        news.mark_unchanged();
        let before = phase(&context, slot);
        let Some(pause) = look(&context, slot, &mut empty_since, &stop).await else { return };
        let until = Instant::now() + pause;
        while phase(&context, slot) == before {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => break,
                // Most news are about others.
                _ = news.changed() => {}
            }
        }
    }
}

/// Does what is to be done with the queue now; returns when to look again. `None`: never, because
/// it was deleted, and no setting asks for it any more.
async fn look(
    context: &Arc<Context>,
    slot: u16,
    empty_since: &mut Option<Instant>,
    stop: &CancellationToken,
) -> Option<Duration> {
    if !(context.slots.are_read() && context.circuits.are_read()) {
        // What is held for an endpoint that is down would be sent to it.
        return Some(RETRY_INTERVAL);
    }
    let topology = context.broker.topology();
    let messages = match context.broker.depth(&topology.names().held(slot)).await {
        Ok(None) if slot >= topology.held_queues() => return None,
        Ok(depth) => {
            context.broker.conditions().held.recovered();
            depth.map_or(0, |depth| depth.messages)
        }
        Err(error) => {
            *empty_since = None;
            return Some(failed(context, slot, &error));
        }
    };
    Some(act(context, slot, (messages, empty_since), stop).await)
}

/// Acts by the number of messages in the queue; returns when to look again.
async fn act(
    context: &Arc<Context>,
    slot: u16,
    (messages, empty_since): (u32, &mut Option<Instant>),
    stop: &CancellationToken,
) -> Duration {
    let now = clock::now();
    let phase = phase(context, slot);
    if messages == 0 {
        let since = *empty_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= EMPTY
            && let Some(held) = context.slots.owned(slot)
        {
            context.slots.give_back(&held).await;
        }
        return match phase {
            Phase::Holding(_, Some(at)) if at <= now => PROBE_CHECK_INTERVAL,
            Phase::Holding(_, Some(at)) => at.since(now).min(CHECK_INTERVAL),
            Phase::Holding(_, None) | Phase::Emptying => CHECK_INTERVAL,
        };
    }
    *empty_since = None;
    match phase {
        Phase::Emptying => match empty(context, slot, stop).await {
            Ok(()) => MIN_INTERVAL,
            Err(error) => failed(context, slot, &error),
        },
        Phase::Holding(url, Some(at)) if at <= now => {
            match probe(context, slot, &url, stop).await {
                Ok(()) => MIN_INTERVAL,
                Err(error) => failed(context, slot, &error),
            }
        }
        Phase::Holding(_, Some(at)) => at.since(now).min(CHECK_INTERVAL),
        Phase::Holding(_, None) => CHECK_INTERVAL,
    }
}

/// Notes a failure of the broker; the lanes log it.
fn failed(context: &Context, slot: u16, error: &BrokerError) -> Duration {
    context.broker.conditions().held.failed(error.summary());
    debug!(slot, error = error.report(), "slot.failed");
    RETRY_INTERVAL
}

/// Makes attempts of what is in the queue, the oldest first, until its URL's circuit is not closed
/// any more, nothing came for a while, or `stop`.
async fn empty(
    context: &Arc<Context>,
    slot: u16,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let over = stop.child_token();
    context.slots.begin_session(slot, &over);
    let bounds = bounds(context);
    let work = lane::Work::new(usize::from(bounds.max_messages));
    let session = lane::session(context, Lane::Held(slot), bounds, &work, &over);
    let mut news = context.slots.news();
    let end = async {
        tokio::select! {
            () = until_holding(context, slot, &mut news) => {}
            () = until_quiet(&work) => {}
        }
    };
    lane::until_over(session, end, &over).await
}

/// The bounds of what one queue has in flight: as many deliveries as one URL, and its part of the
/// bytes of a lane.
fn bounds(context: &Context) -> Bounds {
    let queues = usize::from(context.broker.topology().held_queues()).max(1);
    Bounds {
        max_messages: u16::try_from(context.limits.max_concurrency()).unwrap_or(u16::MAX),
        max_bytes: context.settings.max_lane_in_flight_bytes() / queues,
        largest: context.settings.max_event_bytes,
    }
}

async fn until_holding(context: &Context, slot: u16, news: &mut watch::Receiver<()>) {
    while phase(context, slot) == Phase::Emptying {
        if news.changed().await.is_err() {
            return;
        }
    }
}

async fn until_quiet(work: &lane::Work) {
    loop {
        let taken = work.taken();
        tokio::time::sleep(QUIET).await;
        if work.taken() == taken && work.is_idle() {
            return;
        }
    }
}

/// Sends the oldest delivery of `url` in the queue as the probe of its circuit, if this worker wins
/// it. Deliveries of other URLs before it are attempted as any other.
async fn probe(
    context: &Arc<Context>,
    slot: u16,
    url: &EndpointUrl,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    if context.circuits.admission(url, clock::now(), true).await != Admission::Probe {
        return Ok(());
    }
    for _ in 0..MAX_STRAGGLERS {
        let grace = lane::grace_over(stop, context.settings.drain_grace);
        let is_probed = tokio::select! {
            is_probed = probe_with_oldest(context, slot, url) => is_probed?,
            () = grace => return Ok(()),
        };
        if is_probed || stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Attempts the oldest delivery in the queue; returns `false` if that was not the probe, which is
/// still to be made.
async fn probe_with_oldest(
    context: &Arc<Context>,
    slot: u16,
    url: &EndpointUrl,
) -> Result<bool, BrokerError> {
    let lane = Lane::Held(slot);
    let bounds = Bounds { max_messages: 1, ..bounds(context) };
    let mut consumer = context.broker.consume(lane, bounds).await?;
    let taken = timeout(QUIET, consumer.next()).await;
    // Before the message is acked: the broker would send another one.
    consumer.stop().await?;
    let Ok(taken) = taken else {
        // Nothing is there.
        return consumer.finish().await.map(|()| true);
    };
    let mut is_probed = false;
    if let Some(received) = taken?.and_then(|taken| taken.received) {
        for work in intake::take(context, lane, received) {
            is_probed |= attempt_as_probe(context, work, (slot, url)).await;
        }
    }
    consumer.finish().await.map(|()| is_probed)
}

/// Attempts a delivery as the probe of `url`, or as any other if it is not one to that; returns
/// true if it was the probe.
async fn attempt_as_probe(
    context: &Arc<Context>,
    work: Work,
    (slot, url): (u16, &EndpointUrl),
) -> bool {
    let Work::Attempt(pending) = work else {
        work.run(Arc::clone(context)).await;
        return false;
    };
    let subscription = match pending.message.subscription {
        Some(id) => context.subscriptions.find(id).await.ok().flatten(),
        None => None,
    };
    let is_own = subscription.is_some_and(|subscription| subscription.spec.url == *url);
    let turn = if is_own { Turn::Probe(slot, url.clone()) } else { Turn::Due };
    let is_attempted = attempt::attempt(context, PendingDelivery { turn, ..pending }).await;
    is_own && is_attempted
}
