//! Obstacles for a step of a replay: messages ahead of it, an endpoint that would get more than it
//! takes, or a worker that would not mark what was replayed.
//!
//! Deliveries that wait for an endpoint are in lanes, where they wait for a permit; in its held
//! queue, or taken from that; or, where it has none, in the shared one and in the throttle queues.
//! Of other workers, this one knows nothing but their number: they have as many as it has itself.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use super::{Fault, Running, Step};
use homing_broker::{
    consume::Lane,
    topology::{ShardPart, THROTTLE_WAITS},
};
use homing_domain::{circuit::Admission, clock, url::EndpointUrl};

/// Messages that may wait for workers while a step begins ...
const MAX_WAITING: u64 = 1_000;
/// ... and deliveries that may wait for one endpoint of the step.
const MAX_BEHIND: u64 = 16;
/// An open circuit whose probe is due for so long has nothing else to be probed with.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The reason why a step is not sent now.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A worker of an earlier version runs.
    FormerWorker,
    /// So many messages wait for workers.
    Messages(u64),
    /// Nothing consumes this queue, or the broker does not know it.
    Unknown(String),
    /// An endpoint, and why it gets nothing now.
    Endpoint(EndpointUrl, Refusal),
}

/// The reason why an endpoint gets nothing now.
#[derive(Debug)]
pub(super) enum Refusal {
    CircuitOpen,
    CircuitFrozen,
    /// So many deliveries wait for it.
    Behind(u64),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FormerWorker => f.write_str(
                "waits until no worker of an earlier version runs, which would send without \
                 `x-homing-replay`; one that was killed is forgotten after 15 minutes",
            ),
            Self::Messages(waiting) => {
                write!(f, "waits for {waiting} messages that are ahead of it")
            }
            Self::Unknown(queue) => {
                write!(f, "waits until `{queue}` is consumed, and the broker says what is in it")
            }
            Self::Endpoint(url, Refusal::CircuitOpen) => {
                write!(f, "waits for {url}: its circuit is open")
            }
            Self::Endpoint(url, Refusal::CircuitFrozen) => {
                write!(f, "waits for {url}: its circuit is frozen; `homing endpoints enable` it")
            }
            Self::Endpoint(url, Refusal::Behind(waiting)) => {
                write!(f, "waits for {url}, for which {waiting} deliveries wait already")
            }
        }
    }
}

impl Running<'_> {
    /// Finds what keeps a step from being sent. A replay to all that match leaves out endpoints that
    /// are frozen, and once it has waited for long, those whose circuit is open.
    pub(super) async fn obstacle(
        &mut self,
        step: &mut Step,
        has_waited: bool,
    ) -> Result<Option<Obstacle>, Fault> {
        self.leave_out(step, has_waited);
        if step.deliveries == 0 {
            return Ok(None);
        }
        if !self.context.may_replay.load(Ordering::Relaxed) {
            return Ok(Some(Obstacle::FormerWorker));
        }
        let mut waiting = 0_u64;
        for lane in [Lane::Primary, Lane::Retry] {
            for queue in self.context.broker.topology().lane_queues(lane, ShardPart::ALL) {
                match self.context.broker.depth(&queue).await? {
                    Some(depth) if depth.consumers > 0 => {
                        waiting = waiting.saturating_add(depth.messages.into());
                    }
                    // The broker reports zeros, too, where a queue's leader does not answer.
                    Some(_) | None => return Ok(Some(Obstacle::Unknown(queue))),
                }
            }
        }
        if waiting > MAX_WAITING {
            return Ok(Some(Obstacle::Messages(waiting)));
        }
        let mut others = None;
        for url in step.urls() {
            let refusal = match self.circuit(url) {
                Some(refusal) => Some(refusal),
                None => self.behind(url, &mut others).await?,
            };
            if let Some(refusal) = refusal {
                return Ok(Some(Obstacle::Endpoint(url.clone(), refusal)));
            }
        }
        Ok(None)
    }

    fn leave_out(&mut self, step: &mut Step, has_waited: bool) {
        if self.replay.selection.is_for_some() {
            return;
        }
        let is_left_out = |url: &&EndpointUrl| match self.circuit(url) {
            Some(Refusal::CircuitFrozen) => true,
            Some(_) => has_waited || self.left_out.contains(*url),
            None => false,
        };
        let urls: Vec<_> = step.urls().into_iter().filter(is_left_out).cloned().collect();
        for url in urls {
            step.leave_out(&url);
            self.left_out.insert(url);
        }
    }

    /// The reason why the circuit of an endpoint lets nothing pass.
    fn circuit(&self, url: &EndpointUrl) -> Option<Refusal> {
        let state = self.context.circuits.state(url);
        match state.admission(clock::now().minus(PROBE_PATIENCE)) {
            Admission::Refuse(Some(_)) => Some(Refusal::CircuitOpen),
            Admission::Refuse(None) => Some(Refusal::CircuitFrozen),
            // The step has its probe, as nothing else does.
            Admission::Probe | Admission::Pass => None,
        }
    }

    /// Counts what waits for an endpoint; `others` is what waits for all that have no held queue,
    /// once that is known.
    async fn behind(
        &mut self,
        url: &EndpointUrl,
        others: &mut Option<u64>,
    ) -> Result<Option<Refusal>, Fault> {
        let (limits, slots) = (&self.context.limits, &self.context.slots);
        let (taken, in_lanes) = limits.pending(url);
        let mut behind = self.of_all_workers(in_lanes);
        if let Some(slot) = slots.of(url) {
            let waiting = slots.in_flight(slot).saturating_sub(taken);
            behind = behind.saturating_add(self.of_all_workers(waiting));
            let queue = self.context.broker.topology().names().held(slot);
            behind = behind.saturating_add(self.depth(queue).await?);
        } else if limits.is_slow(url) {
            let waiting = match *others {
                Some(waiting) => waiting,
                None => *others.insert(self.without_slot().await?),
            };
            behind = behind.saturating_add(waiting);
        }
        Ok((behind > MAX_BEHIND).then_some(Refusal::Behind(behind)))
    }

    /// Counts what waits for slow endpoints that have no held queue.
    async fn without_slot(&mut self) -> Result<u64, Fault> {
        let names = self.context.broker.topology().names();
        let slots = &self.context.slots;
        let in_flight = slots.shared().map_or(0, |slot| slots.in_flight(slot));
        let shared = slots.shared().map(|slot| names.held(slot));
        let of_schedules = self.context.schedules.waits();
        let throttle = THROTTLE_WAITS.into_iter().filter(|wait| !of_schedules.contains(wait));
        let queues: Vec<_> = throttle.map(|wait| names.wait(wait)).chain(shared).collect();
        let mut waiting = self.of_all_workers(in_flight);
        for queue in queues {
            waiting = waiting.saturating_add(self.depth(queue).await?);
        }
        Ok(waiting)
    }

    /// Deliveries in all workers, of which this one has `count`.
    fn of_all_workers(&self, count: usize) -> u64 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        count.saturating_mul(self.context.limits.workers().into())
    }

    /// Messages in `queue`, which may have no consumer. The broker reports zeros, too, where the
    /// queue's leader does not answer: after a greater number, only the second one counts.
    async fn depth(&mut self, queue: String) -> Result<u64, Fault> {
        let depth = self.context.broker.depth(&queue).await?;
        let is_certain = depth.is_none_or(|depth| depth.messages > 0 || depth.consumers > 0);
        let found = depth.map_or(0, |depth| u64::from(depth.messages));
        let before = self.depths.insert(queue, found).unwrap_or(0);
        Ok(if is_certain || before <= MAX_BEHIND { found } else { before })
    }
}
