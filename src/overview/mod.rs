//! What the pool does at this moment and did in the last hour, on one page.
//!
//! Promises: nothing is counted for it; it is put together from what the broker says of its queues
//! and from the figures that workers told the store, which are up to five seconds old. What cannot
//! be reached is said to be so, and the rest is shown all the same. However many look, store and
//! broker are asked once a second at most ([`StatusService`]).

mod costly;
mod queues;
mod unreadable;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use homing_broker::Broker;
use homing_domain::{
    activity::{COSTLY_FOR, CostlyFilters, Due, Figures, Minute, WorkerReport, minute_of},
    clock,
    time::UnixMillis,
};
use homing_livestream::settings::SourceSettings;
use homing_store::{Store, StoreError, UnsettledCounts};

pub use self::{
    costly::CostlySubscription,
    queues::{Kind, Queue, queues},
    unreadable::{UnreadableSubscription, UnreadableSubscriptions},
};

/// For each part to say how it is.
const PART_DEADLINE: Duration = Duration::from_secs(5);
/// How old an overview may be that is shown again.
const FRESH: Duration = Duration::from_secs(1);
/// Minutes of the last hour, the present one included.
const MINUTES: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// All of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Status)]
pub struct Overview {
    /// When it was put together; RFC 3339.
    pub at: String,
    /// Whether the broker answers.
    pub broker: Health,
    /// Whether the store answers.
    pub store: Health,
    /// How many subscriptions there are; absent: the store does not say.
    pub subscriptions: Option<u64>,
    /// Those of them that cannot be read: their events wait.
    pub unreadable_subscriptions: Vec<UnreadableSubscription>,
    /// Those of them whose filters cost too much lately: events were parked for them.
    pub costly_subscriptions: Vec<CostlySubscription>,
    /// Circuits that are not closed; absent: the store does not say.
    pub circuits: Option<UnsettledCounts>,
    /// What the pool does per second, over the last minute or two.
    pub rates: Rates,
    /// What it did in the last hour.
    pub last_hour: Figures,
    /// The same by the minute, the oldest first; the last one is not over. Empty: the store does
    /// not say.
    pub minutes: Vec<Minute>,
    /// Workers that told of themselves in the last two hours and did not say goodbye.
    pub workers: Vec<Worker>,
    /// Sources of the settings.
    pub sources: Vec<homing_livestream::View>,
    /// All queues, in the order in which a message comes through them. Empty: the broker does not
    /// say.
    pub queues: Vec<Queue>,
}

/// How something is that the pool needs.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = Reached)]
pub struct Health {
    /// Where it is, without passwords; only where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether it answers.
    pub reachable: bool,
    /// Why not, or why it does not do all of its part.
    pub error: Option<String>,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
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

/// A worker as it is shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Worker {
    /// What it told.
    #[serde(flatten)]
    pub report: WorkerReport,
    /// Whether it was heard of in the last 20 seconds.
    pub alive: bool,
}

/// What the store knows.
#[derive(Clone, Debug)]
pub struct Stored {
    subscriptions: u64,
    unreadable: Vec<UnreadableSubscription>,
    costly: Vec<CostlyFilters>,
    circuits: UnsettledCounts,
    minutes: Vec<Minute>,
    dues: Vec<Due>,
    workers: Vec<WorkerReport>,
    sources: Vec<homing_livestream::View>,
}

impl Stored {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn read(
        store: &dyn Store,
        sources: &SourceSettings,
        unreadable: &UnreadableSubscriptions,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            subscriptions: store.count_subscriptions().await?,
            unreadable: unreadable.look(store).await?,
            costly: store.costly_filters(now.minus(COSTLY_FOR)).await?,
            circuits: store.count_unsettled().await?,
            minutes: store.minutes(first_minute(now)).await?,
            dues: store.next_dues(now).await?,
            workers: store.workers().await?,
            sources: homing_livestream::views(sources, store).await?,
        })
    }
}

fn first_minute(now: UnixMillis) -> UnixMillis {
    let minutes = i64::try_from(MINUTES).unwrap_or(0).saturating_sub(1);
    let before = minutes.saturating_mul(MINUTE_MS);
    UnixMillis::new(minute_of(now).get().saturating_sub(before))
}

impl Health {
    /// Of what answered, or told why not.
    pub fn of<T, E>(answer: &Result<T, E>, told: impl FnOnce(&E) -> String) -> Self {
        let error = answer.as_ref().err().map(told);
        Self { location: None, reachable: error.is_none(), error }
    }
}

impl Overview {
    /// Puts together what broker and store said; what of them is not there is left out.
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
        let (told, dues, workers, (sources, unreadable_subscriptions, costly)) = match stored {
            Some(Stored { minutes, dues, workers, sources, unreadable, costly, .. }) => {
                (minutes, dues, workers, (sources, unreadable, costly))
            }
            None => Default::default(),
        };
        for queue in &mut queues {
            queue.learn(&dues);
        }
        let mut last_hour = Figures::default();
        for minute in &told {
            last_hour += minute.figures;
        }
        let minutes = if is_known { hour(&told, now) } else { Vec::new() };
        let alive = |report: WorkerReport| Worker { alive: report.is_alive(now), report };
        Self {
            at: now.to_string(),
            broker,
            store,
            subscriptions,
            unreadable_subscriptions,
            costly_subscriptions: costly.into_iter().map(CostlySubscription::from).collect(),
            circuits,
            rates: rates(&minutes, now),
            last_hour,
            minutes,
            workers: workers.into_iter().map(alive).collect(),
            sources,
            queues,
        }
    }

    /// Whether broker and store answer.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.broker.reachable && self.store.reachable
    }
}

/// Every minute of the last hour, also those in which nothing was told.
fn hour(told: &[Minute], now: UnixMillis) -> Vec<Minute> {
    let mut minutes = Vec::with_capacity(MINUTES);
    let mut start_ms = first_minute(now);
    while start_ms <= now {
        let found = told.iter().find(|minute| minute.start_ms == start_ms);
        let figures = found.map(|minute| minute.figures).unwrap_or_default();
        minutes.push(Minute { start_ms, figures });
        start_ms = start_ms.plus(Duration::from_millis(MINUTE_MS.unsigned_abs()));
    }
    minutes
}

/// Over the minute before and as much as there is of the present one.
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

/// An overview, and when it was put together.
type Seen = (Instant, Arc<Overview>);

/// Looks for whoever asks, at most once a second; cheap to clone.
#[derive(Clone)]
pub struct StatusService {
    broker: Broker,
    store: Arc<dyn Store>,
    sources: Arc<SourceSettings>,
    unreadable: Arc<UnreadableSubscriptions>,
    last: Arc<Mutex<Option<Seen>>>,
}

impl StatusService {
    /// A lookout over one installation.
    #[must_use]
    pub fn new(broker: Broker, store: Arc<dyn Store>, sources: SourceSettings) -> Self {
        let sources = Arc::new(sources);
        Self { broker, store, sources, unreadable: Arc::default(), last: Arc::default() }
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
        self.unreadable.look(self.store.as_ref()).await
    }

    /// How things are, as they were a second ago at most. Errors are told without addresses.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn overview(&self) -> Arc<Overview> {
        let mut last = self.last.lock().await;
        if let Some((at, overview)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(overview);
        }
        let overview = Arc::new(self.look().await);
        *last = Some((Instant::now(), Arc::clone(&overview)));
        overview
    }

    async fn look(&self) -> Overview {
        let now = clock::now();
        let stored = Stored::read(self.store.as_ref(), &self.sources, &self.unreadable, now);
        let (queues, stored) = tokio::join!(
            timeout(PART_DEADLINE, queues(&self.broker)),
            timeout(PART_DEADLINE, stored)
        );
        let queues = queues.map_err(|_elapsed| "the broker does not answer".to_owned());
        let queues = queues.and_then(|queues| queues.map_err(|error| error.summary().to_owned()));
        let stored = stored.map_err(|_elapsed| "the store does not answer".to_owned());
        let stored = stored.and_then(|stored| stored.map_err(|error| not_done(&error)));
        let mut broker = Health::of(&queues, String::clone);
        if let Some(why) = self.broker.states().into_iter().find_map(|state| state.blocked) {
            broker.error = Some(format!("the broker takes no messages now ({why})"));
        }
        let store = Health::of(&stored, String::clone);
        Overview::new((broker, queues.ok()), (store, stored.ok()), now)
    }
}

/// What failed is told to operators, not to who asked.
fn not_done(error: &StoreError) -> String {
    tracing::error!(error = error.report(), "overview.store_failed");
    "the store does not do its part".to_owned()
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
            unreadable: Vec::new(),
            costly: Vec::new(),
            circuits: UnsettledCounts { open: 1, frozen: 0 },
            minutes,
            dues: Vec::new(),
            workers: Vec::new(),
            sources: Vec::new(),
        }
    }

    fn of(stored: Option<Stored>, now: i64) -> Overview {
        let health = |reachable| Health { reachable, ..Health::default() };
        let store = (health(stored.is_some()), stored);
        Overview::new((health(true), Some(Vec::new())), store, UnixMillis::new(now))
    }

    #[test]
    fn an_hour_has_sixty_minutes_whatever_was_told() {
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
    fn what_a_store_that_is_away_would_know_is_not_made_up() {
        let overview = of(None, 1_000_000);
        assert_eq!((overview.subscriptions, overview.minutes.len()), (None, 0));
        assert!(overview.circuits.is_none() && !overview.is_sound());
    }
}
