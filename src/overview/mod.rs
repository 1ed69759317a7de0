//! The overview: activity of the pool now and in the last hour.
//!
//! Promises: it counts nothing itself; it combines the broker's queues with the figures that
//! workers wrote to the store, which are up to five seconds old. It reports what cannot be reached,
//! and shows the rest. Store and broker are queried once a second at most, however many clients
//! there are ([`StatusService`]).

mod broken;
mod certificates;
mod costly;
mod left_over;
mod queues;
mod scaling;
mod unreadable;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use homing_broker::{Broker, topology::Names};
use homing_domain::{
    activity::{COSTLY_FOR, CostlyFilters, Due, Figures, Minute, WorkerReport, minute_of},
    clock,
    scaling::WorkerPlan,
    time::UnixMillis,
};
use homing_livestream::settings::SourceSettings;
use homing_store::{Store, StoreError, UnsettledCounts};

pub use self::{
    broken::{Broken, BrokenEndpoint, BrokenEndpoints, MAX_PARKED, Trouble},
    certificates::ExpiringCertificateView,
    costly::CostlySubscription,
    left_over::{deletable, left_over_advice},
    queues::{Kind, Queue, queues},
    unreadable::{UnreadableSubscription, UnreadableSubscriptions},
};

/// For each part to answer.
const PART_DEADLINE: Duration = Duration::from_secs(5);
/// The age up to which an overview is shown again.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Minutes of the last hour, the present one included.
const MINUTES: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// The overview of a pool.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Status)]
pub struct Overview {
    /// The instant of the overview; RFC 3339.
    pub at: String,
    /// The state of the broker.
    pub broker: Health,
    /// The state of the store.
    pub store: Health,
    /// The number of subscriptions; absent: the store does not answer.
    pub subscriptions: Option<u64>,
    /// Subscriptions that cannot be read: their events wait.
    pub unreadable_subscriptions: Vec<UnreadableSubscription>,
    /// Subscriptions whose filters cost too much lately: events were parked for them.
    pub costly_subscriptions: Vec<CostlySubscription>,
    /// Subscriptions whose client certificate has expired, or will within two weeks; at most 100.
    pub expiring_certificates: Vec<ExpiringCertificateView>,
    /// Circuits that are not closed; absent: the store does not answer.
    pub circuits: Option<UnsettledCounts>,
    /// Parked deliveries in the store; absent: the store does not answer. What is on its way there is
    /// in the parking queue.
    pub parked: Option<u64>,
    /// Activity per second, over the last minute or two.
    pub rates: Rates,
    /// Activity in the last hour.
    pub last_hour: Figures,
    /// Activity by the minute, oldest first; the last one is not over. Empty: the store does not
    /// answer.
    pub minutes: Vec<Minute>,
    /// Workers that reported in the last two hours and did not sign off.
    pub workers: Vec<Worker>,
    /// Workers that the present backlog and rate need; absent: broker or store do not answer.
    pub workers_wanted: Option<u32>,
    /// Sources of the settings.
    pub sources: Vec<homing_livestream::View>,
    /// All queues, in the order in which a message passes through them. Empty: the broker does not
    /// answer.
    pub queues: Vec<Queue>,
}

/// The state of a dependency of the pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Reached)]
pub struct Health {
    /// Its location, without passwords; only on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// True if it answers.
    pub reachable: bool,
    /// The reason why it does not answer, or does not work fully.
    pub error: Option<String>,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rates {
    /// Events taken from the primary queue.
    pub events: f64,
    /// Attempts that the endpoint accepted.
    pub accepted: f64,
    /// Attempts that failed.
    pub failed: f64,
    /// Times that a delivery was put back without an attempt.
    pub held: f64,
    /// Messages that went to the parking queue.
    pub parked: f64,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Worker {
    /// Its last report.
    #[serde(flatten)]
    pub report: WorkerReport,
    /// True if it reported in the last 20 seconds.
    pub alive: bool,
}

/// The part of the overview from the store.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    subscriptions: u64,
    unreadable: Vec<UnreadableSubscription>,
    costly: Vec<CostlyFilters>,
    expiring: Vec<ExpiringCertificateView>,
    circuits: UnsettledCounts,
    parked: u64,
    minutes: Vec<Minute>,
    dues: Vec<Due>,
    workers: Vec<WorkerReport>,
    sources: Vec<homing_livestream::View>,
    owners: Vec<queues::Owner>,
}

impl Stored {
    /// Reads it; `names` are those of the installation's queues.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn read(
        (store, names): (&dyn Store, &Names),
        sources: &SourceSettings,
        unreadable: &UnreadableSubscriptions,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            subscriptions: store.count_subscriptions().await?,
            unreadable: unreadable.read(store).await?,
            costly: store.costly_filters(now.minus(COSTLY_FOR)).await?,
            expiring: certificates::expiring(store, now).await?,
            circuits: store.count_unsettled().await?,
            parked: store.parked_totals().await?.deliveries,
            minutes: store.minutes(first_minute(now)).await?,
            dues: store.next_dues(now).await?,
            workers: store.workers().await?,
            sources: homing_livestream::views(sources, store).await?,
            owners: queues::Owner::of(store.held_slots(names.prefix()).await?, names),
        })
    }
}

fn first_minute(now: UnixMillis) -> UnixMillis {
    let minutes = i64::try_from(MINUTES).unwrap_or(0).saturating_sub(1);
    let before = minutes.saturating_mul(MINUTE_MS);
    UnixMillis::new(minute_of(now).get().saturating_sub(before))
}

impl Health {
    /// From an answer, or an error and its text.
    pub fn of<T, E>(answer: &Result<T, E>, report: impl FnOnce(&E) -> String) -> Self {
        let error = answer.as_ref().err().map(report);
        Self { location: None, reachable: error.is_none(), error }
    }
}

impl Overview {
    /// Combines the parts from broker and store; missing ones are left out.
    #[must_use]
    pub fn new(
        (broker, queues): (Health, Option<Vec<Queue>>),
        (store, stored): (Health, Option<Stored>),
        now: UnixMillis,
    ) -> Self {
        let mut queues = queues.unwrap_or_default();
        let is_known = stored.is_some();
        let counted = stored.as_ref().map(|stored| (stored.subscriptions, stored.circuits));
        let (subscriptions, circuits) = counted.unzip();
        let parked = stored.as_ref().map(|stored| stored.parked);
        let stored = stored.unwrap_or_default();
        for queue in &mut queues {
            queue.learn_due(&stored.dues);
            queue.learn_owner(&stored.owners);
        }
        let recorded = stored.minutes;
        let mut last_hour = Figures::default();
        for minute in &recorded {
            last_hour += minute.figures;
        }
        let minutes = if is_known { hour(&recorded, now) } else { Vec::new() };
        let alive = |report: WorkerReport| Worker { alive: report.is_alive(now), report };
        Self {
            at: now.to_string(),
            broker,
            store,
            subscriptions,
            unreadable_subscriptions: stored.unreadable,
            costly_subscriptions: stored.costly.into_iter().map(CostlySubscription::from).collect(),
            expiring_certificates: stored.expiring,
            circuits,
            parked,
            rates: rates(&minutes, now),
            last_hour,
            minutes,
            workers: stored.workers.into_iter().map(alive).collect(),
            workers_wanted: None,
            sources: stored.sources,
            queues,
        }
    }

    /// True if broker and store answer.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.broker.reachable && self.store.reachable
    }
}

/// Every minute of the last hour, also those without a record.
fn hour(recorded: &[Minute], now: UnixMillis) -> Vec<Minute> {
    let mut minutes = Vec::with_capacity(MINUTES);
    let mut start_ms = first_minute(now);
    while start_ms <= now {
        let found = recorded.iter().find(|minute| minute.start_ms == start_ms);
        let figures = found.map(|minute| minute.figures).unwrap_or_default();
        minutes.push(Minute { start_ms, figures });
        start_ms = start_ms.plus(Duration::from_millis(MINUTE_MS.unsigned_abs()));
    }
    minutes
}

/// Over the last full minute and the present one so far.
fn rates(minutes: &[Minute], now: UnixMillis) -> Rates {
    let [.., before, present] = minutes else { return Rates::default() };
    let seconds = now.since(before.start_ms).as_secs_f64();
    let mut figures = before.figures;
    figures += present.figures;
    let rate = |count: u64| {
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        (count / seconds.max(1.0) * 100.0).round() / 100.0
    };
    Rates {
        events: rate(figures.events),
        accepted: rate(figures.accepted),
        failed: rate(figures.failed()),
        held: rate(figures.held),
        parked: rate(figures.parked),
    }
}

/// An overview and its time.
type Seen = (Instant, Arc<Overview>);

/// Serves the overview, updated at most once a second; cheap to clone.
#[derive(Clone)]
pub struct StatusService {
    broker: Broker,
    store: Arc<dyn Store>,
    sources: Arc<SourceSettings>,
    plan: WorkerPlan,
    unreadable: Arc<UnreadableSubscriptions>,
    last: Arc<Mutex<Option<Seen>>>,
}

impl StatusService {
    /// The status of one installation.
    #[must_use]
    pub fn new(
        (broker, store): (Broker, Arc<dyn Store>),
        sources: SourceSettings,
        plan: WorkerPlan,
    ) -> Self {
        let sources = Arc::new(sources);
        Self { broker, store, sources, plan, unreadable: Arc::default(), last: Arc::default() }
    }

    /// The subscriptions that cannot be read.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn unreadable_subscriptions(
        &self,
    ) -> Result<Vec<UnreadableSubscription>, StoreError> {
        self.unreadable.read(self.store.as_ref()).await
    }

    /// The overview, a second old at most. Errors are without addresses.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn overview(&self) -> Arc<Overview> {
        let mut last = self.last.lock().await;
        if let Some((at, overview)) = &*last
            && at.elapsed() < MAX_AGE
        {
            return Arc::clone(overview);
        }
        let overview = Arc::new(self.read().await);
        *last = Some((Instant::now(), Arc::clone(&overview)));
        overview
    }

    async fn read(&self) -> Overview {
        let now = clock::now();
        let of = (self.store.as_ref(), self.broker.topology().names());
        let stored = Stored::read(of, &self.sources, &self.unreadable, now);
        let (queues, stored) = tokio::join!(
            timeout(PART_DEADLINE, queues(&self.broker, Some(self.store.as_ref()))),
            timeout(PART_DEADLINE, stored)
        );
        let queues = queues.map_err(|_elapsed| "the broker does not answer".to_owned());
        let queues = queues.and_then(|queues| queues.map_err(|error| error.summary().to_owned()));
        let stored = stored.map_err(|_elapsed| "the store does not answer".to_owned());
        let stored = stored.and_then(|stored| stored.map_err(|error| logged(&error)));
        let mut broker = Health::of(&queues, String::clone);
        if let Some(why) = self.broker.states().into_iter().find_map(|state| state.blocked) {
            broker.error = Some(format!("the broker takes no messages now ({why})"));
        }
        let store = Health::of(&stored, String::clone);
        Overview::new((broker, queues.ok()), (store, stored.ok()), now).with_plan(&self.plan)
    }
}

/// Logs the error; the client gets a summary.
fn logged(error: &StoreError) -> String {
    tracing::error!(error = error.report(), "overview.store_failed");
    "the store is unavailable".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(start: i64, accepted: u64) -> Minute {
        let figures = Figures { accepted, refused: 1, ..Figures::default() };
        Minute { start_ms: UnixMillis::new(start), figures }
    }

    fn stored(minutes: Vec<Minute>) -> Stored {
        Stored {
            subscriptions: 3,
            circuits: UnsettledCounts { open: 1, frozen: 0 },
            minutes,
            ..Stored::default()
        }
    }

    fn of(stored: Option<Stored>, now: i64) -> Overview {
        let health = |reachable| Health { reachable, ..Health::default() };
        let store = (health(stored.is_some()), stored);
        Overview::new((health(true), Some(Vec::new())), store, UnixMillis::new(now))
    }

    #[test]
    fn an_hour_has_sixty_minutes_with_or_without_records() {
        let now = 100 * 60_000 + 30_000;
        let overview = of(Some(stored(vec![minute(99 * 60_000, 80), minute(6_000_000, 9)])), now);
        assert_eq!(overview.minutes.len(), 60);
        assert_eq!(overview.minutes[0].start_ms, UnixMillis::new(41 * 60_000));
        assert_eq!(overview.minutes[58], minute(99 * 60_000, 80));
        assert_eq!(overview.last_hour.accepted, 89);
        // 89 in the 90 seconds of the minute before and half of the present one.
        let rates = Rates { accepted: 0.99, failed: 0.02, ..Rates::default() };
        assert_eq!(overview.rates, rates);
    }

    #[test]
    fn figures_of_an_unavailable_store_are_absent() {
        let overview = of(None, 1_000_000);
        assert_eq!((overview.subscriptions, overview.minutes.len()), (None, 0));
        assert!(overview.circuits.is_none() && !overview.is_sound());
    }
}
