//! One held queue: probes its URL while the circuit is open, and empties it once that is closed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::worker::{
    Context,
    attempt::{self, Tried},
    intake::{self, PendingDelivery, Turn, Work},
    lane,
    queues::Queues,
};
use homing_broker::{consume::Lane, error::BrokerError, prefetch::Bounds, topology::Depth};
use homing_domain::{
    circuit::{Admission, CircuitState},
    clock,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::HeldSlot;

/// A queue is looked at this often, or sooner, when its slot or a circuit changes.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// While a probe is due and nothing is held: what comes is then the probe.
const PROBE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A slot is given back when its queue was empty for this long.
const EMPTY: Duration = Duration::from_secs(30);
/// A session that got no message for this long ends, unless what comes is to be taken at once.
const QUIET: Duration = Duration::from_secs(5);
/// The shortest time from one look to the next, unless there is news.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// After a failure of the broker.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Consecutive failures of one queue after which they are logged, once.
const LOGGED_FAILURES: u32 = 3;
/// Deliveries of other URLs that one probe takes out of the queue before it gives up.
const MAX_STRAGGLERS: usize = 64;

/// The decision about a held queue, by the circuit of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// It is emptied: its URL is well, or it has no owner.
    Emptying,
    /// It is emptied, and what comes is taken at once: its URL is slow, or slow URLs share it.
    Serving,
    /// It is left alone until this instant, when a probe is due; `None`: until an operator acts.
    Holding(EndpointUrl, Option<UnixMillis>),
}

fn phase(context: &Context, slot: u16) -> Phase {
    let Some(url) = context.slots.owned(slot).and_then(|held| held.url) else {
        return if context.slots.shares(slot) { Phase::Serving } else { Phase::Emptying };
    };
    // The subscriptions that sent there send elsewhere by now: each delivery goes where its own
    // does.
    if !context.subscriptions.any_at(&url) {
        return Phase::Emptying;
    }
    match context.circuits.state(&url) {
        CircuitState::Closed if context.limits.is_slow(&url) => Phase::Serving,
        CircuitState::Closed => Phase::Emptying,
        CircuitState::Open { probe_at } => Phase::Holding(url, Some(probe_at)),
        CircuitState::Frozen => Phase::Holding(url, None),
    }
}

/// A held queue, as this worker sees it.
struct Queue {
    slot: u16,
    /// The work of all sessions: deliveries of a lost one are still in flight.
    work: Arc<lane::InFlight>,
    /// The slot's owner, and since when its queue has been empty.
    empty_since: Option<(Option<HeldSlot>, Instant)>,
}

impl Queue {
    /// The owner for whom the queue has been empty for long enough to be given back.
    fn unused(&mut self, owner: Option<HeldSlot>) -> Option<HeldSlot> {
        if self.empty_since.as_ref().is_none_or(|(of, _)| *of != owner) {
            self.empty_since = Some((owner, Instant::now()));
        }
        let (owner, since) = self.empty_since.as_ref()?;
        owner.clone().filter(|_| since.elapsed() >= EMPTY)
    }
}

/// Looks after the held queue of `slot` until `stop`.
pub(super) async fn run(context: Arc<Context>, slot: u16, stop: CancellationToken) {
    let mut news = context.slots.news();
    let work = Arc::new(lane::InFlight::new(usize::from(bounds(&context, slot).max_messages)));
    context.slots.begin_work(slot, &work);
    let mut queue = Queue { slot, work, empty_since: None };
    while !stop.is_cancelled() {
        news.mark_unchanged();
        let before = phase(&context, slot);
        let Some(pause) = look(&context, &mut queue, &stop).await else { return };
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
    queue: &mut Queue,
    stop: &CancellationToken,
) -> Option<Duration> {
    let slot = queue.slot;
    let are_read = context.slots.are_read() && context.circuits.are_read();
    if !(are_read && context.subscriptions.are_loaded()) {
        // What is held for an endpoint that is down would be sent to it.
        return Some(RETRY_INTERVAL);
    }
    let topology = context.broker.topology();
    let acted = match context.broker.depth(&topology.names().held(slot)).await {
        // While it has an owner, it is an empty queue, whose slot is given back.
        Ok(None) if slot >= topology.held_queues() && context.slots.owned(slot).is_none() => {
            return None;
        }
        Ok(depth) => act(context, queue, depth, stop).await,
        Err(error) => {
            queue.empty_since = None;
            Err(error)
        }
    };
    Some(match acted {
        Ok(pause) => {
            if context.slots.recovered(slot) {
                context.broker.conditions().held.recovered();
            }
            pause
        }
        Err(error) => failed(context, slot, &error),
    })
}

/// Acts by what is in the queue; returns when to look again.
async fn act(
    context: &Arc<Context>,
    queue: &mut Queue,
    depth: Option<Depth>,
    stop: &CancellationToken,
) -> Result<Duration, BrokerError> {
    let (now, slot) = (clock::now(), queue.slot);
    let phase = phase(context, slot);
    // What comes for a queue that was deleted would come back from the unrouted queue, again and
    // again: it is no use to its URL.
    let is_served = depth.is_some() && phase == Phase::Serving;
    let depth = depth.unwrap_or(Depth { messages: 0, consumers: 0 });
    // A consumer may have messages in flight, which are not counted.
    if depth.messages > 0 || depth.consumers > 0 || is_served {
        queue.empty_since = None;
    } else if let Some(held) = queue.unused(context.slots.owned(slot)) {
        context.slots.give_back(&held).await;
    }
    match phase {
        Phase::Serving => empty(context, queue, stop).await?,
        Phase::Emptying if depth.messages > 0 => empty(context, queue, stop).await?,
        Phase::Holding(url, Some(at)) if at <= now && depth.messages > 0 => {
            probe(context, slot, &url, stop).await?;
        }
        Phase::Holding(_, Some(at)) if at <= now => return Ok(PROBE_CHECK_INTERVAL),
        Phase::Holding(_, Some(at)) => return Ok(at.since(now).min(CHECK_INTERVAL)),
        Phase::Holding(_, None) | Phase::Emptying => return Ok(CHECK_INTERVAL),
    }
    Ok(MIN_INTERVAL)
}

/// Notes a failure of the broker, and logs it once it has lasted: then it may concern one queue
/// only.
fn failed(context: &Context, slot: u16, error: &BrokerError) -> Duration {
    context.broker.conditions().held.failed(error.summary());
    if context.slots.failed(slot) == LOGGED_FAILURES {
        warn!(slot, error = error.report(), "slot.failed: its queue cannot be used now");
    }
    RETRY_INTERVAL
}

/// Makes attempts of what is in the queue, the oldest first, until its URL's circuit is not closed
/// any more, nothing came for a while, or `stop`.
async fn empty(
    context: &Arc<Context>,
    Queue { slot, work, .. }: &Queue,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let over = stop.child_token();
    context.slots.begin_session(*slot, &over);
    let bounds = bounds(context, *slot);
    let queues = Queues::of(context, Lane::Held(*slot)).await?;
    let session = lane::session(context, &queues, bounds, work, &over);
    let mut news = context.slots.news();
    let end = async {
        tokio::select! {
            () = until_holding(context, *slot, &mut news) => {}
            () = until_quiet(context, *slot, work) => {}
        }
    };
    let ended = lane::until_over(session, end, &over).await;
    // After a lost connection, what still waits for its turn is not attempted: it comes again.
    over.cancel();
    ended
}

/// The bounds of what one queue has in flight: twice as many deliveries as one URL, so that others
/// are at hand while acks are under way, a lane at most (for a shared queue always), and its part of
/// the bytes of a lane.
fn bounds(context: &Context, slot: u16) -> Bounds {
    let queues = context.slots.all().len().max(1);
    let of_one = context.limits.max_concurrency().saturating_mul(2);
    let of_one = u16::try_from(of_one).unwrap_or(u16::MAX);
    let of_lane = context.settings.max_lane_in_flight();
    let max_messages = if context.slots.is_shared(slot) { of_lane } else { of_one.min(of_lane) };
    Bounds {
        max_messages,
        max_bytes: context.settings.max_lane_in_flight_bytes() / queues,
        largest: context.settings.max_event_bytes,
    }
}

async fn until_holding(context: &Context, slot: u16, news: &mut watch::Receiver<()>) {
    while matches!(phase(context, slot), Phase::Emptying | Phase::Serving) {
        if news.changed().await.is_err() {
            return;
        }
    }
}

async fn until_quiet(context: &Context, slot: u16, work: &lane::InFlight) {
    loop {
        let taken = work.taken();
        tokio::time::sleep(QUIET).await;
        let is_quiet = work.taken() == taken && work.is_idle();
        if is_quiet && phase(context, slot) != Phase::Serving {
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
    let probed = probe_claimed(context, slot, url, stop).await;
    if matches!(probed, Ok(Oldest::Prevented)) {
        // What is held stays there meanwhile: the next one would be prevented, too.
        stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await;
    }
    if !matches!(probed, Ok(Oldest::Probe)) {
        // It was claimed, and no attempt was made.
        context.circuits.probe_again(url).await;
    }
    probed.map(drop)
}

/// Makes the probe that this worker has claimed, if there is a delivery for it; returns the last one
/// that it took.
async fn probe_claimed(
    context: &Arc<Context>,
    slot: u16,
    url: &EndpointUrl,
    stop: &CancellationToken,
) -> Result<Oldest, BrokerError> {
    for _ in 0..MAX_STRAGGLERS {
        let grace = lane::grace_over(stop, context.settings.drain_grace);
        let oldest = tokio::select! {
            oldest = attempt_oldest(context, slot, url) => oldest?,
            () = grace => return Ok(Oldest::Nothing),
        };
        if oldest != Oldest::Other || stop.is_cancelled() {
            return Ok(oldest);
        }
    }
    Ok(Oldest::Other)
}

/// The oldest delivery in a queue.
#[derive(PartialEq, Eq)]
enum Oldest {
    /// It was the probe.
    Probe,
    /// It was to be the probe, and a failure of our own prevented that.
    Prevented,
    /// It belonged to another URL, or no attempt of it was to be made.
    Other,
    /// There was none.
    Nothing,
}

/// Attempts the oldest delivery in the queue, as the probe of `url` if it belongs to that.
async fn attempt_oldest(
    context: &Arc<Context>,
    slot: u16,
    url: &EndpointUrl,
) -> Result<Oldest, BrokerError> {
    let lane = Lane::Held(slot);
    let bounds = Bounds { max_messages: 1, ..bounds(context, slot) };
    let queues = Queues::of(context, lane).await?;
    let mut consumer = context.broker.consume(lane, queues.names(), bounds).await?;
    let taken = timeout(QUIET, consumer.next()).await;
    // Before the message is acked: the broker would send another one.
    consumer.stop().await?;
    let Ok(taken) = taken else {
        return consumer.finish().await.map(|()| Oldest::Nothing);
    };
    let mut oldest = Oldest::Other;
    if let Some(received) = taken?.and_then(|taken| taken.received) {
        for work in intake::take(context, lane, received) {
            match attempt_as_probe(context, work, (slot, url)).await {
                Tried::Attempted => oldest = Oldest::Probe,
                Tried::Prevented if oldest == Oldest::Other => oldest = Oldest::Prevented,
                Tried::Prevented | Tried::Skipped => {}
            }
        }
    }
    let finished = consumer.finish().await;
    if oldest == Oldest::Probe {
        // If its ack was lost, it comes again as any other.
        return Ok(oldest);
    }
    finished.map(|()| oldest)
}

/// Attempts a delivery as the probe of `url`, or as any other if it is not one to that; returns
/// what became of the probe.
async fn attempt_as_probe(
    context: &Arc<Context>,
    work: Work,
    (slot, url): (u16, &EndpointUrl),
) -> Tried {
    let Work::Attempt(pending) = work else {
        work.run(Arc::clone(context)).await;
        return Tried::Skipped;
    };
    let subscription = match pending.message.subscription() {
        Some(id) => context.subscriptions.find(id).await.ok().flatten(),
        None => None,
    };
    let is_own = subscription.is_some_and(|subscription| subscription.spec.url == *url);
    let turn = if is_own { Turn::Probe(slot, url.clone()) } else { Turn::Due };
    let tried = attempt::attempt(context, PendingDelivery { turn, ..pending }).await;
    if is_own { tried } else { Tried::Skipped }
}
