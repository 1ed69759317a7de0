//! Limits what one endpoint takes of a worker: permits per URL, with a short wait for each.
//!
//! A delivery waits for a permit no longer than `endpoint.permit_wait`; without one it goes to a
//! throttle queue, which is no attempt but costs a publish. All deliveries in flight may wait for a
//! URL that keeps up. After a permit wait timed out, only as many may wait as the URL has recently
//! finished in that time. All slow URLs together hold at most half of each lane ([`super::pace`]).
//! After its circuit closes, a URL starts with one permit, so that a recovering endpoint is not
//! flooded; from then on, and while it is slow, its permits follow what it takes ([`concurrency`]).
//!
//! A subscription may have limits of its own ([`own`]), within those of its URL.

mod concurrency;
mod own;
mod permits;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    convert::Infallible,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use governor::clock::Clock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use self::{
    own::{Limiters, RateLimit, Semaphores},
    permits::{Permits, Taken},
};
use super::pace::{LanePlace, Obstacle, Pace, Shares};
use homing_broker::consume::Lane;
use homing_domain::{outcome::Outcome, url::EndpointUrl};
pub(super) use own::OwnLimits;
use parking_lot::Mutex;

/// A URL that was not used for this long is forgotten, with what is known of its concurrency.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// The gates of all URLs in use.
pub(super) struct Limits {
    max_concurrency: usize,
    /// Longer than the permit wait, so that a delivery always waits for the next free moment: a URL
    /// with a rate limit would otherwise idle while its deliveries are in the throttle queues.
    rate_wait: Duration,
    gates: Mutex<HashMap<EndpointUrl, Arc<Gate>, RandomState>>,
    shares: Arc<Shares>,
    workers: AtomicU32,
}

/// One URL's permits.
pub(super) struct Gate {
    /// Limiters of the starts of requests; subscriptions of one URL may have different limits.
    limiters: Limiters,
    /// Permits of the subscriptions that have a concurrency of their own.
    own_permits: Semaphores,
    permits: Arc<Permits>,
    waiting: AtomicUsize,
    /// Held by the one delivery from held queues that waits for a permit or a place.
    turn: tokio::sync::Mutex<()>,
    /// Held by the one that waits for its rate limit, so that others need not wait for it.
    limited_turn: tokio::sync::Mutex<()>,
    pace: Arc<Pace>,
}

/// Permission to have one request in flight; given back when dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    begun: Instant,
    _held: Held,
}

/// A permit and a place for one request; given back when dropped.
struct Held {
    _permit: Taken,
    _place: LanePlace,
    /// Its subscription's own; `None`: that has no concurrency of its own.
    _own: Option<OwnedSemaphorePermit>,
}

impl Gate {
    fn new(permits: Permits, shares: &Arc<Shares>) -> Self {
        Self {
            limiters: Limiters::default(),
            own_permits: Semaphores::default(),
            permits: Arc::new(permits),
            waiting: 0.into(),
            turn: tokio::sync::Mutex::default(),
            limited_turn: tokio::sync::Mutex::default(),
            pace: Arc::new(Pace::new(Arc::clone(shares))),
        }
    }

    /// True if a delivery leaves its lane: the URL takes less than what comes for it, or needs much
    /// of a lane for it; or the delivery `is_limited`, and more of those come than their own limits
    /// allow.
    pub(super) fn is_slow(&self, is_limited: bool) -> bool {
        self.pace.is_slow() || is_limited && self.pace.is_limited()
    }

    /// True once after it became slow.
    pub(super) fn has_slowed(&self) -> bool {
        self.pace.has_slowed()
    }

    /// Takes a permit and a place for what comes from the held queue of `slot`, after all who wait
    /// already. One waits at a time, so that a place or a permit that is given back wakes one.
    async fn next(&self, slot: u16) -> Option<Held> {
        let _turn = self.turn.lock().await;
        let permit = self.permits.take().await?;
        let place = self.pace.enter_in_turn(slot).await;
        Some(Held { _permit: permit, _place: place, _own: None })
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
        Self { max_concurrency, rate_wait, gates, shares, workers }
    }

    /// Measures how late this process gets its turns: on a machine that is busy, quick endpoints are
    /// not slow.
    pub(super) async fn measure_lag(&self) -> Infallible {
        self.shares.lag.measure().await
    }

    /// Sets the number of workers that share the rate limits.
    pub(super) fn share_with(&self, workers: u32) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// The number of workers that share the rate limits.
    pub(super) fn workers(&self) -> u32 {
        self.workers.load(Ordering::Relaxed)
    }

    /// Takes a permit for a delivery from `lane` to the URL of `gate`, whose subscription has the
    /// limits `own`; `None`: it may not be sent now.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the place in the queue is given up.
    pub(super) async fn enter(
        &self,
        gate: &Arc<Gate>,
        lane: Lane,
        own: OwnLimits,
    ) -> Option<Permit> {
        let entered = self.admitted(gate, lane, own).await;
        entered.inspect_err(|obstacle| gate.pace.not_admitted(*obstacle)).ok()
    }

    async fn admitted(
        &self,
        gate: &Arc<Gate>,
        lane: Lane,
        own: OwnLimits,
    ) -> Result<Permit, Obstacle> {
        // It has a place of its lane while it waits for its own limits, too.
        let (mut held, mut begun) = self.try_enter(gate, lane).await.ok_or(Obstacle::Endpoint)?;
        if let Some(permits) = gate.own_permits.of(own, self.workers()) {
            let own = self.own_permit(gate, permits).await.ok_or(Obstacle::OwnLimit)?;
            (held, begun) = (Held { _own: Some(own), ..held }, Instant::now());
        }
        if self.waits_for_rate(gate, own.rate).await {
            Ok(Permit::new(gate, held, begun))
        } else {
            Err(Obstacle::OwnLimit)
        }
    }

    /// Takes a place and a permit, and the time when it had both.
    async fn try_enter(&self, gate: &Arc<Gate>, lane: Lane) -> Option<(Held, Instant)> {
        let place = gate.pace.enter(lane).await?;
        let permit = if let Some(permit) = gate.permits.try_take() {
            permit
        } else {
            let _place = Place::take(gate, gate.pace.max_waiting(self.max_concurrency))?;
            let Ok(waited) = timeout(self.shares.window(), gate.permits.take()).await else {
                gate.pace.fell_behind();
                return None;
            };
            waited?
        };
        Some((Held { _permit: permit, _place: place, _own: None }, Instant::now()))
    }

    /// Takes a permit of a subscription's own; `None`: there is none in time.
    async fn own_permit(
        &self,
        gate: &Gate,
        permits: Arc<Semaphore>,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Some(permit);
        }
        let _limited = gate.pace.limited();
        timeout(self.shares.window(), permits.acquire_owned()).await.ok()?.ok()
    }

    /// Waits until a rate limit allows a request; false: it does not in time.
    async fn waits_for_rate(&self, gate: &Gate, max_per_minute: Option<NonZeroU32>) -> bool {
        let Some(max_per_minute) = max_per_minute else { return true };
        let limiter = gate.limiters.of(self.rate_limit(max_per_minute));
        if limiter.check().is_ok() {
            return true;
        }
        let _limited = gate.pace.limited();
        timeout(self.rate_wait, Box::pin(limiter.until_ready())).await.is_ok()
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
        own: OwnLimits,
        is_shared: bool,
    ) -> Option<Permit> {
        let entering = self.in_turn(gate, slot, own);
        tokio::pin!(entering);
        let patience = match own.rate {
            Some(max_per_minute) if !is_shared => self.patience(max_per_minute),
            Some(_) | None => self.shares.window(),
        };
        let held = if let Ok(held) = timeout(patience, &mut entering).await {
            held?
        } else {
            let is_limited = own.are_any() && !gate.permits.are_taken();
            let obstacle = if is_limited { Obstacle::OwnLimit } else { Obstacle::Endpoint };
            let _late = gate.pace.late(obstacle);
            if is_shared {
                return None;
            }
            entering.await?
        };
        Some(Permit::new(gate, held, Instant::now()))
    }

    /// Waits for a permit of its subscription, a place, a permit, and last for the rate limit: what
    /// waited for that is sent at once, or the requests would be closer to each other than it allows.
    async fn in_turn(&self, gate: &Gate, slot: u16, own: OwnLimits) -> Option<Held> {
        let permit = match gate.own_permits.of(own, self.workers()) {
            Some(permits) => Some(permits.acquire_owned().await.ok()?),
            None => None,
        };
        let held = self.by_rate(gate, slot, own.rate).await?;
        Some(Held { _own: permit, ..held })
    }

    async fn by_rate(
        &self,
        gate: &Gate,
        slot: u16,
        max_per_minute: Option<NonZeroU32>,
    ) -> Option<Held> {
        let Some(max_per_minute) = max_per_minute else { return gate.next(slot).await };
        let _turn = gate.limited_turn.lock().await;
        loop {
            let held = gate.next(slot).await?;
            let limiter = gate.limiters.of(self.rate_limit(max_per_minute));
            let Err(not_until) = limiter.check() else { return Some(held) };
            // Others, which have no rate limit, need the permit.
            drop(held);
            sleep(not_until.wait_time_from(limiter.clock().now())).await;
        }
    }

    /// Requests in flight at one URL at most.
    pub(super) fn max_concurrency(&self) -> usize {
        self.max_concurrency
    }

    fn rate_limit(&self, max_per_minute: NonZeroU32) -> RateLimit {
        RateLimit { max_per_minute, workers: self.workers() }
    }

    /// The time for which deliveries may wait for a rate limit in a lane before they hold much of
    /// it.
    fn patience(&self, max_per_minute: NonZeroU32) -> Duration {
        let places = u32::try_from(self.shares.free_of_concern()).unwrap_or(u32::MAX);
        let patience = self.rate_limit(max_per_minute).period().saturating_mul(places);
        patience.min(self.rate_wait).max(self.shares.window())
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

    /// Deliveries to `url` that have a permit, and those in lanes that wait for one.
    pub(super) fn pending(&self, url: &EndpointUrl) -> (usize, usize) {
        let gate = self.gates.lock().get(url).map(Arc::clone);
        gate.map_or((0, 0), |gate| (gate.permits.taken(), gate.waiting.load(Ordering::Relaxed)))
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
        self.gates.lock().values().filter(|gate| gate.is_slow(true)).count()
    }

    /// True if deliveries to `url` leave the lanes for its held queue, or some of them.
    pub(super) fn is_slow(&self, url: &EndpointUrl) -> bool {
        let gate = self.gates.lock().get(url).map(Arc::clone);
        gate.is_some_and(|gate| gate.is_slow(true))
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
    fn new(gate: &Arc<Gate>, held: Held, begun: Instant) -> Self {
        Self { gate: Arc::clone(gate), begun, _held: held }
    }

    /// Notes the outcome of its attempt, which took `took`, and gives it back.
    pub(super) fn ended(self, outcome: &Outcome, took: Duration) {
        let Gate { permits, pace, .. } = self.gate.as_ref();
        if outcome.status() == Some(429) {
            pace.not_admitted(Obstacle::Endpoint);
        }
        if pace.is_slow() || !permits.is_whole() {
            permits.ended(outcome.into(), took, || pace.is_slow());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.pace.ended(self.begun.elapsed());
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
