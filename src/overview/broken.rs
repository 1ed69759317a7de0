//! Endpoints that do not work as they should, each with what an operator asks first: what it
//! answers, since when, what waits for it, what happens next, and whose it is.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::Overview;
use crate::history::{ErrorView, History};
use homing_delivery::circuits::View;
use homing_domain::{circuit::StateName, id::SubscriptionId, url::EndpointUrl};
use homing_store::{CircuitOrder, CircuitPage, ErrorFilter, Page, Selection, Store, StoreError};

/// Endpoints of each kind that are read at most, and those that are shown.
const MAX_OF_KIND: u32 = 20;
const MAX_SHOWN: usize = 20;
/// The latest errors of an endpoint, of which the most frequent one is shown.
const ERRORS: u32 = 50;
/// Parked deliveries of an endpoint are counted up to this number.
pub const MAX_PARKED: u32 = 10_000;
/// The age up to which they are shown again.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Deadline for reading them.
const DEADLINE: Duration = Duration::from_secs(2);

/// The kind of trouble, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing is sent to it until it is enabled.
    Frozen,
    /// Nothing but probes is sent to it.
    Open,
    /// Its last attempts failed.
    Failing,
    /// It answers, but slowly, so that its deliveries wait in a queue of their own.
    Slow,
}

/// An endpoint in trouble.
#[derive(Clone, Debug)]
pub struct BrokenEndpoint {
    /// Its circuit, and what is held for it.
    pub circuit: View,
    /// The kind of trouble.
    pub trouble: Trouble,
    /// The beginning of the trouble, as far as it is known; RFC 3339.
    pub since: Option<String>,
    /// The most frequent of its latest errors.
    pub error: Option<ErrorView>,
    /// Deliveries parked for it, up to [`MAX_PARKED`].
    pub parked: u32,
    /// The first subscription that sends to it, and its owner, or description; `None`: none does.
    pub owner: Option<(SubscriptionId, Option<String>)>,
    /// True if other subscriptions send to it as well.
    pub has_more_owners: bool,
}

/// The endpoints in trouble, the worst first.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    /// Those that are shown.
    pub endpoints: Vec<BrokenEndpoint>,
    /// True if there are more.
    pub more: bool,
}

/// The endpoints in trouble, and when they were read; `None`: the store did not answer.
type Seen = (Instant, Option<Arc<Broken>>);

/// Reads the endpoints in trouble; cheap to clone.
#[derive(Clone)]
pub struct BrokenEndpoints {
    store: Arc<dyn Store>,
    history: History,
    last: Arc<Mutex<Option<Seen>>>,
}

impl BrokenEndpoints {
    /// Those in `store`, with their errors from `history`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, history: History) -> Self {
        Self { store, history, last: Arc::default() }
    }

    /// The endpoints in trouble, with what is held for them by `overview`; `None`: the store does
    /// not answer in time. The store is asked every two seconds at most, however many ask.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn read(&self, overview: &Overview) -> Option<Arc<Broken>> {
        let mut last = self.last.lock().await;
        if let Some((at, broken)) = &*last
            && at.elapsed() < MAX_AGE
        {
            return broken.clone();
        }
        let read = timeout(DEADLINE, self.find(overview)).await;
        // The overview says why the store does not answer.
        let broken = read.ok().and_then(Result::ok).map(Arc::new);
        *last = Some((Instant::now(), broken.clone()));
        broken
    }

    async fn find(&self, overview: &Overview) -> Result<Broken, StoreError> {
        let mut found = Broken::default();
        for (trouble, state) in [
            (Trouble::Frozen, StateName::Frozen),
            (Trouble::Open, StateName::Open),
            (Trouble::Failing, StateName::Closed),
        ] {
            let failing = trouble == Trouble::Failing;
            let order = if failing { CircuitOrder::Failures } else { CircuitOrder::Url };
            let (state, limit) = (Some(state), MAX_OF_KIND);
            let page = CircuitPage { state, failing, order, limit, ..CircuitPage::default() };
            let listing = self.store.circuits(&page).await?;
            found.more |= listing.next.is_some();
            for (url, circuit) in &listing.circuits {
                self.add(url, View::of(url, circuit), trouble, &mut found).await?;
            }
        }
        self.add_slow(overview, &mut found).await?;
        for one in &mut found.endpoints {
            one.learn_held(overview);
        }
        found.endpoints.sort_by_key(BrokenEndpoint::rank);
        found.more |= found.endpoints.len() > MAX_SHOWN;
        found.endpoints.truncate(MAX_SHOWN);
        Ok(found)
    }

    /// Adds those that have a held queue although their circuits are closed.
    async fn add_slow(&self, overview: &Overview, found: &mut Broken) -> Result<(), StoreError> {
        let most = usize::try_from(MAX_OF_KIND).unwrap_or(usize::MAX);
        let held =
            overview.queues.iter().filter(|queue| queue.messages.is_some_and(|held| held > 0));
        for url in held.filter_map(|queue| queue.url.as_deref()).take(most) {
            let is_known = found.endpoints.iter().any(|one| one.circuit.url == url);
            let Ok(url) = url.parse::<EndpointUrl>() else { continue };
            if is_known {
                continue;
            }
            if let Ok(Some(circuit)) = self.store.circuit(&url).await {
                let trouble = match circuit.state.name() {
                    StateName::Closed => Trouble::Slow,
                    StateName::Open => Trouble::Open,
                    StateName::Frozen => Trouble::Frozen,
                };
                self.add(&url, View::of(&url, &circuit), trouble, found).await?;
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        url: &EndpointUrl,
        circuit: View,
        trouble: Trouble,
        found: &mut Broken,
    ) -> Result<(), StoreError> {
        let at = self.store.subscriptions_at(url, Page { after: None, limit: 1 }).await?;
        let first = at.subscriptions.first();
        // What fails and gets nothing any more is no trouble; what was stopped stays stopped.
        if trouble == Trouble::Failing && first.is_none() && at.corrupt.is_empty() {
            return Ok(());
        }
        let wanted = ErrorFilter { url: Some(circuit.url.clone()), since: None, limit: ERRORS };
        let errors = self.history.errors(&wanted).await?.errors;
        let selection = Selection { url: Some(circuit.url.clone()), ..Selection::default() };
        let parked = self.store.count_parked(&selection, MAX_PARKED).await?;
        let since = match trouble {
            Trouble::Frozen | Trouble::Open => Some(circuit.since.clone()),
            Trouble::Failing => circuit.last_success.clone(),
            Trouble::Slow => None,
        };
        found.endpoints.push(BrokenEndpoint {
            circuit,
            trouble,
            since,
            error: errors.into_iter().max_by_key(|error| error.count),
            parked,
            owner: first.map(|one| (one.id, one.spec.shown_owner().map(str::to_owned))),
            has_more_owners: at.next.is_some(),
        });
        Ok(())
    }
}

impl BrokenEndpoint {
    /// Adds what is held for it.
    fn learn_held(&mut self, overview: &Overview) {
        let is_own = |url: &Option<String>| url.as_ref() == Some(&self.circuit.url);
        let Some(queue) = overview.queues.iter().find(|queue| is_own(&queue.url)) else { return };
        self.circuit.held = queue.messages;
        self.circuit.held_since = queue.since_ms.map(|since| since.to_string());
        if self.trouble == Trouble::Slow {
            self.since = self.circuit.held_since.clone();
        }
    }

    /// Sorts the worst first: by trouble, then by what waits for it.
    fn rank(&self) -> (Trouble, std::cmp::Reverse<u64>) {
        let held = u64::from(self.circuit.held.unwrap_or(0));
        (self.trouble, std::cmp::Reverse(held.saturating_add(self.parked.into())))
    }
}
