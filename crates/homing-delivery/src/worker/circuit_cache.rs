//! This worker's view of the circuits, and its reports to the store.
//!
//! Outcomes are counted here and merged into the store: soon when they may open a circuit, every
//! few seconds otherwise. The store applies the rules and returns the new states. Changes of state
//! are announced to all workers; a worker that misses one notices it by the store's version. While
//! the store is unavailable, the last known states apply and counting continues.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{held::Slots, limits::Limits};
use crate::circuits::CircuitBreakers;
use homing_domain::{
    circuit::{Admission, Circuit, CircuitRules, CircuitState, CircuitTransition, EndedProbe},
    clock,
    outcome::Outcome,
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{Intervention, ProbeClaim, Store, StoreError, UnsettledCircuits};
use homing_telemetry::{log_events, metrics};
use parking_lot::Mutex;

/// Counts that may change a state are merged into the store this often.
const MERGE_INTERVAL: Duration = Duration::from_millis(250);
/// Other counts wait at most this long.
const HEALTHY_MERGE_INTERVAL: Duration = Duration::from_secs(5);
/// Minimum pause between two merges, however many failures there are.
const MERGE_PAUSE: Duration = Duration::from_millis(20);
/// URLs in one transaction.
const BATCH: usize = 1_000;
/// A healthy URL that is not used is remembered for this long.
const IDLE: Duration = Duration::from_secs(600);
/// The store remembers an unused healthy URL for this long: 30 days.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A probe whose claim the store did not answer is tried again after this long.
const CLAIM_RETRY: Duration = Duration::from_secs(1);

/// A probe that was due for this long is whichever delivery comes first: something is wrong with
/// the held queue.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// The circuits as this worker knows them.
pub(super) struct Circuits {
    store: Arc<dyn Store>,
    breakers: CircuitBreakers,
    rules: CircuitRules,
    limits: Arc<Limits>,
    slots: Arc<Slots>,
    urls: Mutex<HashMap<EndpointUrl, Local, RandomState>>,
    version: Mutex<Option<i64>>,
    due: Notify,
}

/// One URL: the store's last answer, and what was counted since the last merge.
struct Local {
    state: CircuitState,
    /// Start of the state, by the store's clock; an older state does not replace it.
    since: UnixMillis,
    /// Start of the state in which this process claimed its last probe.
    claimed_in: UnixMillis,
    tally: Tally,
    merged: Instant,
    used: Instant,
}

impl Local {
    fn new(state: CircuitState, since: UnixMillis) -> Self {
        let now = Instant::now();
        let (tally, claimed_in) = (Tally::default(), UnixMillis::default());
        Self { state, since, claimed_in, tally, merged: now, used: now }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new(CircuitState::Closed, UnixMillis::default())
    }
}

impl Circuits {
    pub(super) fn new(
        store: Arc<dyn Store>,
        breakers: CircuitBreakers,
        rules: CircuitRules,
        (limits, slots): (Arc<Limits>, Arc<Slots>),
    ) -> Self {
        let (urls, version, due) = (Mutex::default(), Mutex::default(), Notify::new());
        Self { store, breakers, rules, limits, slots, urls, version, due }
    }

    /// Decides if a delivery to `url` may go. Only one delivery of the whole pool gets
    /// [`Admission::Probe`]: the oldest that is held, and any other only if that does not happen.
    pub(super) async fn admission(
        &self,
        url: &EndpointUrl,
        now: UnixMillis,
        is_held: bool,
    ) -> Admission {
        let state = self.state(url);
        match state.admission(now) {
            Admission::Probe if !is_held && self.is_left_to_held(url, state, now) => {
                Admission::Refuse(Some(now))
            }
            // Boxed, as are the others below: rare, and large inside every delivery in flight.
            Admission::Probe => Box::pin(self.claim(url, now)).await,
            admission @ (Admission::Pass | Admission::Refuse(_)) => admission,
        }
    }

    /// True while a due probe is to be one of the deliveries that are held.
    fn is_left_to_held(&self, url: &EndpointUrl, state: CircuitState, now: UnixMillis) -> bool {
        self.slots.of(url).is_some()
            && state.admission(now.minus(PROBE_PATIENCE)) != Admission::Probe
    }

    /// True if the circuits that are not closed have been read once.
    pub(super) fn are_read(&self) -> bool {
        self.version.lock().is_some()
    }

    /// The state of the circuit of `url`, as far as known.
    pub(super) fn state(&self, url: &EndpointUrl) -> CircuitState {
        self.urls.lock().get(url).map_or(CircuitState::Closed, |local| local.state)
    }

    async fn claim(&self, url: &EndpointUrl, now: UnixMillis) -> Admission {
        // One claim at a time from this process; other deliveries are refused meanwhile.
        let probe_at = now.plus(CLAIM_RETRY);
        self.refuse_until(url, probe_at);
        match self.store.claim_probe(url, &self.rules, now).await {
            Ok(ProbeClaim::Won(circuit)) => {
                self.learn(url, &circuit);
                if let Some(local) = self.urls.lock().get_mut(url) {
                    local.claimed_in = circuit.since;
                }
                Admission::Probe
            }
            Ok(ProbeClaim::Lost(circuit)) => {
                self.learn(url, &circuit);
                match circuit.state.admission(now) {
                    Admission::Probe => Admission::Refuse(Some(probe_at)),
                    admission @ (Admission::Pass | Admission::Refuse(_)) => admission,
                }
            }
            Err(error) => {
                log_events::store_unavailable("claiming a probe", &error);
                Admission::Refuse(Some(probe_at))
            }
        }
    }

    /// Makes a probe due again that was claimed and not made.
    pub(super) async fn probe_again(&self, url: &EndpointUrl) {
        match self.store.set_circuit(url, Intervention::Probe, clock::now()).await {
            Ok((circuit, change)) => self.turned(url, &circuit, change).await,
            Err(error) => log_events::store_unavailable("making a probe due again", &error),
        }
    }

    /// Counts an attempt that was not a probe.
    pub(super) fn attempted(&self, url: &EndpointUrl, outcome: &Outcome, ended: UnixMillis) {
        let mut urls = self.urls.lock();
        let local = urls.entry(url.clone()).or_default();
        local.tally = mem::take(&mut local.tally).merge(Tally::of(outcome, ended));
        local.used = Instant::now();
        let tally = &local.tally;
        if tally.failures >= self.rules.failures_at_once() && self.rules.points_to_opening(tally) {
            self.due.notify_one();
        }
    }

    /// Reports the outcome of a probe to the store.
    pub(super) async fn probed(&self, url: &EndpointUrl, outcome: &Outcome, ended: UnixMillis) {
        let claimed_in = self.urls.lock().get(url).map(|local| local.claimed_in);
        let claimed_in = claimed_in.unwrap_or_default();
        let probe = EndedProbe { outcome, ended, claimed_in };
        match self.store.probe_ended(url, &probe, &self.rules).await {
            Ok((circuit, change)) => self.turned(url, &circuit, change).await,
            Err(error) => log_events::store_unavailable("recording a probe", &error),
        }
    }

    /// Freezes a URL whose answer demands it, by `demand`. Merges its counts first: a frozen circuit
    /// counts no further failures.
    pub(super) async fn freeze(&self, url: &EndpointUrl, demand: Intervention) {
        let tally = self.urls.lock().get_mut(url).map(|local| mem::take(&mut local.tally));
        if let Some(tally) = tally.filter(|tally| !tally.is_empty()) {
            self.merge_batch(&[(url.clone(), tally)]).await;
        }
        match self.store.set_circuit(url, demand, clock::now()).await {
            Ok((circuit, change)) => self.turned(url, &circuit, change).await,
            Err(error) => log_events::store_unavailable("freezing a URL", &error),
        }
    }

    /// Merges counts into the store until `stop`, and once more at the end.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let waiting = tokio::time::timeout(MERGE_INTERVAL, self.due.notified());
            stop.run_until_cancelled(waiting).await;
            self.merge(HEALTHY_MERGE_INTERVAL).await;
            tokio::time::sleep(MERGE_PAUSE).await;
        }
        self.merge(Duration::ZERO).await;
    }

    async fn merge(&self, healthy_interval: Duration) {
        let due = self.take_due(healthy_interval);
        for batch in due.chunks(BATCH) {
            self.merge_batch(batch).await;
        }
    }

    async fn merge_batch(&self, batch: &[(EndpointUrl, Tally)]) {
        match self.store.merge_tallies(batch, &self.rules, clock::now()).await {
            Ok(merged) => {
                for (url, circuit, change) in merged.circuits {
                    self.turned(&url, &circuit, change).await;
                }
                for corrupt in merged.corrupt {
                    log_events::circuit_corrupt(&corrupt);
                }
            }
            Err(error) => {
                log_events::store_unavailable("merging counts", &error);
                self.put_back(batch);
            }
        }
    }

    fn take_due(&self, healthy_interval: Duration) -> Vec<(EndpointUrl, Tally)> {
        let now = Instant::now();
        let mut urls = self.urls.lock();
        let due = urls.iter_mut().filter(|(_, local)| {
            !local.tally.is_empty()
                && (self.rules.points_to_opening(&local.tally)
                    || now.duration_since(local.merged) >= healthy_interval)
        });
        due.map(|(url, local)| {
            local.merged = now;
            (url.clone(), mem::take(&mut local.tally))
        })
        .collect()
    }

    /// Keeps counts that the store did not take for the next merge.
    fn put_back(&self, batch: &[(EndpointUrl, Tally)]) {
        let mut urls = self.urls.lock();
        for (url, tally) in batch {
            let local = urls.entry(url.clone()).or_default();
            local.tally = tally.clone().merge(mem::take(&mut local.tally));
        }
    }

    fn forget_idle(&self) {
        self.urls.lock().retain(|_, local| {
            local.state != CircuitState::Closed
                || !local.tally.is_empty()
                || local.used.elapsed() < IDLE
        });
        self.limits.forget_idle();
    }

    /// Forgets closed circuits that were not used for long, here and in the store. Scans all URLs,
    /// so it does not run with every merge.
    pub(super) async fn prune(&self) {
        self.forget_idle();
        let before = clock::now().minus(FORGOTTEN_AFTER);
        match self.store.prune_circuits(before).await {
            Ok(pruned) => log_events::circuits_pruned(pruned),
            Err(error) => log_events::store_unavailable("forgetting circuits", &error),
        }
    }

    /// Reads the circuit of `url` again, after another process announced a change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last known state stays in force.
    pub(super) async fn refresh(&self, url: &EndpointUrl) -> Result<(), StoreError> {
        if let Some(circuit) = self.store.circuit(url).await? {
            self.learn(url, &circuit);
        } else {
            // Any circuit created later is newer than this.
            let never = UnixMillis::default();
            self.take_over(&mut self.urls.lock(), url, CircuitState::Closed, never);
        }
        Ok(())
    }

    /// Reads all circuits that are not closed, if any changed since the last reading.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the last known states stay in force.
    pub(super) async fn refresh_all(&self) -> Result<(), StoreError> {
        let version = self.store.circuits_version().await?;
        if *self.version.lock() == Some(version) {
            return Ok(());
        }
        let UnsettledCircuits { version, circuits, corrupt } =
            self.store.unsettled_circuits().await?;
        for corrupt in corrupt {
            log_events::circuit_corrupt(&corrupt);
        }
        let states = circuits.iter().map(|(_, circuit)| circuit.state.name());
        metrics::unsettled_circuits(states);
        let unsettled: HashSet<_> = circuits.iter().map(|(url, _)| url.clone()).collect();
        let closed: Vec<_> = {
            let urls = self.urls.lock();
            let known = urls.iter().filter(|(_, local)| local.state != CircuitState::Closed);
            known.map(|(url, _)| url).filter(|url| !unsettled.contains(*url)).cloned().collect()
        };
        for url in closed {
            self.refresh(&url).await?;
        }
        for (url, circuit) in circuits {
            self.learn(&url, &circuit);
        }
        *self.version.lock() = Some(version);
        Ok(())
    }

    async fn turned(
        &self,
        url: &EndpointUrl,
        circuit: &Circuit,
        change: Option<CircuitTransition>,
    ) {
        self.learn(url, circuit);
        if let Some(change) = change {
            self.breakers.announce(url, change).await;
        }
    }

    /// Takes over the store's state, unless a later one is known.
    fn learn(&self, url: &EndpointUrl, circuit: &Circuit) {
        let mut urls = self.urls.lock();
        if urls.get(url).is_none_or(|local| local.since <= circuit.since) {
            self.take_over(&mut urls, url, circuit.state, circuit.since);
        }
    }

    /// Sets the state; a URL whose circuit closes starts slowly.
    fn take_over(
        &self,
        urls: &mut HashMap<EndpointUrl, Local, RandomState>,
        url: &EndpointUrl,
        state: CircuitState,
        since: UnixMillis,
    ) {
        let Some(local) = urls.get_mut(url) else {
            if state != CircuitState::Closed {
                urls.insert(url.clone(), Local::new(state, since));
                self.slots.wake();
            }
            return;
        };
        let before = mem::replace(&mut local.state, state);
        local.since = since;
        if before != CircuitState::Closed && state == CircuitState::Closed {
            self.limits.start_slowly(url);
        }
        if before != state {
            self.slots.wake();
        }
    }

    /// Refuses further probes from this process before `probe_at`.
    fn refuse_until(&self, url: &EndpointUrl, probe_at: UnixMillis) {
        if let Some(local) = self.urls.lock().get_mut(url) {
            local.state = CircuitState::Open { probe_at };
        }
    }
}
