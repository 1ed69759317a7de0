//! Limits what one endpoint takes of a worker: permits per URL, with a short wait for each.
//!
//! A delivery waits for a permit no longer than `endpoint.permit_wait`; without one it goes to a
//! throttle queue, which is no attempt but costs a publish. All deliveries in flight may wait for a
//! URL that keeps up. After a permit wait timed out, only as many may wait as the URL has recently
//! finished in that time. All slow URLs together hold at most half of each lane ([`super::pace`]).
//! After its circuit closes, a URL starts with one permit, so that a recovering endpoint is not
//! flooded; from then on, and while it is slow, its permits follow what it takes ([`concurrency`]).

mod concurrency;
mod permits;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use self::permits::Permits;
use super::pace::{LanePlace, Pace, Shares};
use homing_broker::consume::Lane;
use homing_domain::{outcome::Outcome, url::EndpointUrl};
use parking_lot::Mutex;

/// A URL that was not used for this long is forgotten, with what is known of its concurrency.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// The gates of all URLs in use.
pub(super) struct Limits {
    max_concurrency: usize,
    permit_wait: Duration,
    /// Longer than `permit_wait`, so that a delivery always waits for the next free moment: a URL
    /// with a rate limit would otherwise idle while its deliveries are in the throttle queues.
    rate_wait: Duration,
    gates: Mutex<HashMap<EndpointUrl, Arc<Gate>>>,
    shares: Arc<Shares>,
    workers: AtomicU32,
}

/// One URL's permits.
pub(super) struct Gate {
    /// Limits the starts of requests, if a limit is set.
    rate: Mutex<Option<Rate>>,
    permits: Permits,
    waiting: AtomicUsize,
    pace: Arc<Pace>,
}

/// A rate limit, and the number of workers that share it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RateLimit {
    max_per_second: NonZeroU32,
    workers: u32,
}

/// A limiter, with the limit that it was made for.
struct Rate {
    limit: RateLimit,
    limiter: Arc<DefaultDirectRateLimiter>,
}

impl Rate {
    /// One worker's share, evenly spaced: endpoints with limits refuse bursts.
    fn new(limit: RateLimit) -> Self {
        let RateLimit { max_per_second, workers } = limit;
        let period = Duration::from_secs(1).saturating_mul(workers) / max_per_second.get();
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)))
            .unwrap_or(Quota::per_second(max_per_second));
        Self { limit, limiter: Arc::new(RateLimiter::direct(quota)) }
    }
}

/// Permission to have one request in flight; given back when dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    begun: Instant,
    _place: LanePlace,
    /// Until dropped.
    held: Option<OwnedSemaphorePermit>,
}

impl Gate {
    fn new(permits: Permits, shares: &Arc<Shares>) -> Self {
        Self {
            rate: Mutex::default(),
            permits,
            waiting: 0.into(),
            pace: Arc::new(Pace::new(Arc::clone(shares))),
        }
    }

    /// True if it takes less than what comes for it, or needs much of a lane for it.
    pub(super) fn is_slow(&self) -> bool {
        self.pace.is_slow()
    }

    /// True once after it became slow; from then on, its permits follow what it takes.
    pub(super) fn has_slowed(&self) -> bool {
        let has_slowed = self.pace.has_slowed();
        if has_slowed {
            self.permits.adapt();
        }
        has_slowed
    }
}

impl Gate {
    /// The limiter, replaced when the limit or the number of workers has changed.
    fn limiter(&self, limit: RateLimit) -> Arc<DefaultDirectRateLimiter> {
        let mut rate = self.rate.lock();
        let current = rate.take().filter(|rate| rate.limit == limit);
        let current = rate.insert(current.unwrap_or_else(|| Rate::new(limit)));
        Arc::clone(&current.limiter)
    }
}

impl Limits {
    /// Limits for lanes of `lane` places.
    pub(super) fn new(
        max_concurrency: usize,
        (permit_wait, rate_wait): (Duration, Duration),
        lane: usize,
    ) -> Self {
        let (gates, workers) = (Mutex::default(), AtomicU32::new(1));
        let shares = Arc::new(Shares::new(lane, permit_wait));
        Self { max_concurrency, permit_wait, rate_wait, gates, shares, workers }
    }

    /// Sets the number of workers that share the rate limits.
    pub(super) fn share_with(&self, workers: u32) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// Takes a permit for a delivery from `lane` to the URL of `gate`, which accepts at most
    /// `max_per_second` requests per second from the whole pool; `None`: it may not be sent now.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the place in the queue is given up.
    pub(super) async fn enter(
        &self,
        gate: &Arc<Gate>,
        lane: Lane,
        max_per_second: Option<NonZeroU32>,
    ) -> Option<Permit> {
        let permit = self.try_enter(gate, lane, max_per_second).await;
        if permit.is_none() {
            gate.pace.not_admitted();
        }
        permit
    }

    async fn try_enter(
        &self,
        gate: &Arc<Gate>,
        lane: Lane,
        max_per_second: Option<NonZeroU32>,
    ) -> Option<Permit> {
        let lane_place = gate.pace.enter(lane).await?;
        let permit = if let Some(permit) = gate.permits.try_take() {
            permit
        } else {
            let _place = Place::take(gate, gate.pace.max_waiting(self.max_concurrency))?;
            let waiting = gate.permits.take();
            let Ok(waited) = tokio::time::timeout(self.permit_wait, waiting).await else {
                gate.pace.fell_behind();
                return None;
            };
            waited?
        };
        let begun = Instant::now();
        if let Some(max_per_second) = max_per_second {
            let limiter = self.limiter(gate, max_per_second);
            let turn = Box::pin(limiter.until_ready());
            tokio::time::timeout(self.rate_wait, turn).await.ok()?;
        }
        Some(Permit::new(gate, permit, lane_place, begun))
    }

    /// As [`enter`](Self::enter) for a delivery from the held queue of `slot`, for as long as that
    /// takes. `None`: never; if the queue `is_shared`, not within the permit wait.
    ///
    /// # Cancel safety
    ///
    /// As [`enter`](Self::enter).
    pub(super) async fn enter_in_turn(
        &self,
        gate: &Arc<Gate>,
        slot: u16,
        max_per_second: Option<NonZeroU32>,
        is_shared: bool,
    ) -> Option<Permit> {
        let turn = self.turn(gate, max_per_second);
        let permit = if is_shared {
            tokio::time::timeout(self.permit_wait, turn).await.ok()??
        } else {
            turn.await?
        };
        let place = gate.pace.enter_in_turn(slot).await?;
        Some(Permit::new(gate, permit, place, Instant::now()))
    }

    /// Takes a permit in the order of those who wait.
    async fn turn(
        &self,
        gate: &Gate,
        max_per_second: Option<NonZeroU32>,
    ) -> Option<OwnedSemaphorePermit> {
        // Before the permit, which others need that have no rate limit.
        if let Some(max_per_second) = max_per_second {
            let limiter = self.limiter(gate, max_per_second);
            if limiter.check().is_err() {
                gate.pace.waits();
                limiter.until_ready().await;
            }
        }
        if let Some(permit) = gate.permits.try_take() {
            return Some(permit);
        }
        gate.pace.waits();
        gate.permits.take().await
    }

    /// Requests in flight at one URL at most.
    pub(super) fn max_concurrency(&self) -> usize {
        self.max_concurrency
    }

    fn limiter(&self, gate: &Gate, max_per_second: NonZeroU32) -> Arc<DefaultDirectRateLimiter> {
        let workers = self.workers.load(Ordering::Relaxed);
        gate.limiter(RateLimit { max_per_second, workers })
    }

    /// Starts again with one permit, because the circuit of `url` has just closed.
    pub(super) fn start_slowly(&self, url: &EndpointUrl) {
        let permits = Permits::ramp(self.max_concurrency);
        self.gates.lock().insert(url.clone(), Arc::new(Gate::new(permits, &self.shares)));
    }

    /// URLs with permits taken, and how many.
    pub(super) fn in_flight(&self) -> Vec<(String, u32)> {
        let gates = self.gates.lock();
        let taken = gates.iter().map(|(url, gate)| (url, gate.permits.taken()));
        let taken = taken.filter(|(_, taken)| *taken > 0);
        taken
            .map(|(url, taken)| (url.as_str().to_owned(), u32::try_from(taken).unwrap_or(u32::MAX)))
            .collect()
    }

    /// Forgets URLs that are not in use and have all their permits, or were not used for long.
    pub(super) fn forget_idle(&self) {
        self.gates.lock().retain(|_, gate| {
            let is_idle = gate.permits.taken() == 0 && Arc::strong_count(gate) == 1;
            let is_known = gate.permits.is_whole() || gate.pace.idle_for() >= FORGOTTEN_AFTER;
            !(is_idle && is_known)
        });
    }

    /// The number of slow URLs.
    pub(super) fn slow_urls(&self) -> usize {
        self.gates.lock().values().filter(|gate| gate.is_slow()).count()
    }

    /// True if deliveries to `url` leave the lanes for its held queue.
    pub(super) fn is_slow(&self, url: &EndpointUrl) -> bool {
        let gate = self.gates.lock().get(url).map(Arc::clone);
        gate.is_some_and(|gate| gate.is_slow())
    }

    /// The gate of `url`.
    pub(super) fn gate(&self, url: &EndpointUrl) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(url) {
            return Arc::clone(gate);
        }
        let gate = Arc::new(Gate::new(Permits::all(self.max_concurrency), &self.shares));
        gates.insert(url.clone(), Arc::clone(&gate));
        gate
    }
}

impl Permit {
    fn new(gate: &Arc<Gate>, held: OwnedSemaphorePermit, place: LanePlace, begun: Instant) -> Self {
        Self { gate: Arc::clone(gate), begun, _place: place, held: Some(held) }
    }

    /// Notes the outcome of its attempt, which took `took`, and gives it back.
    pub(super) fn ended(self, outcome: &Outcome, took: Duration) {
        let Gate { permits, pace, .. } = self.gate.as_ref();
        if outcome.status() == Some(429) {
            pace.not_admitted();
        }
        if !permits.is_whole() {
            permits.ended(outcome.into(), took, pace.is_slow());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.pace.ended(self.begun.elapsed());
        if let Some(held) = self.held.take() {
            self.gate.permits.give_back(held);
        }
    }
}

/// A place to wait for a permit; given up when dropped.
struct Place<'a>(&'a Gate);

impl<'a> Place<'a> {
    fn take(gate: &'a Gate, places: usize) -> Option<Self> {
        let free = |taken: usize| (taken < places).then(|| taken.saturating_add(1));
        gate.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(gate))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
