//! Circuits as people see and set them, and how a change is told to everybody.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;

use crate::parking::{Action, Entry, Parking, Selection, Tally};
use homing_broker::{Broker, Message, Route, control, error::BrokerError};
use homing_domain::{
    activity::{Requests, SILENT_AFTER},
    circuit::{Change, Circuit, CircuitState, StateName},
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{EventId, SubscriptionId},
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::{CircuitListing, CircuitPage, Intervention, Page, Store, StoreError};
use homing_telemetry::events;

mod near;

pub use near::SetError;

/// An endpoint to which nothing is sent now.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// The normalised URL.
    pub url: String,
    /// Open or frozen.
    pub state: StateName,
    /// Those that send there.
    pub subscriptions: BTreeSet<SubscriptionId>,
}

/// Shows and sets circuits; cheap to clone.
#[derive(Clone)]
pub struct CircuitBreakers {
    store: Arc<dyn Store>,
    broker: Broker,
}

/// A circuit as it is shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Endpoint)]
pub struct View {
    /// The normalised URL.
    pub url: String,
    /// `closed`, `open` or `frozen`.
    pub state: &'static str,
    /// Since when; RFC 3339.
    pub since: String,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// Accepted attempts in all.
    pub successes: u64,
    /// Failed attempts in all.
    pub failures: u64,
    /// Failures since the last success.
    pub consecutive_failures: u64,
    /// RFC 3339.
    pub last_success: Option<String>,
    /// What the endpoint did last, e.g. `refused 503`.
    pub last_outcome: Option<String>,
    /// When the next delivery is let through, while open; RFC 3339.
    pub next_probe: Option<String>,
    /// Requests in flight there, those included that wait for their turn by a rate limit, without
    /// probes; as workers told at most five seconds ago. Absent: not known, because it was not asked
    /// for, or because a worker is busy with more than 100 URLs and this one is not among those with
    /// the most requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}

impl View {
    /// How `circuit` of `url` is shown.
    #[must_use]
    pub fn of(url: &EndpointUrl, circuit: &Circuit) -> Self {
        let next_probe = match circuit.state {
            CircuitState::Open { probe_at } => Some(probe_at.to_string()),
            CircuitState::Closed | CircuitState::Frozen => None,
        };
        Self {
            url: url.as_str().to_owned(),
            state: circuit.state.name().as_str(),
            since: circuit.since.to_string(),
            reason: circuit.reason.map(|reason| reason.to_string()),
            successes: circuit.successes,
            failures: circuit.failures,
            consecutive_failures: circuit.consecutive_failures,
            last_success: circuit.last_success.map(|instant| instant.to_string()),
            last_outcome: circuit.last_outcome.as_ref().map(|last| last.outcome.clone()),
            next_probe,
            in_flight: None,
        }
    }

    /// The same with its requests in flight.
    #[must_use]
    pub fn with(self, requests: &Requests) -> Self {
        let in_flight = requests.at(&self.url);
        Self { in_flight, ..self }
    }
}

impl CircuitBreakers {
    /// A switchboard that writes to `store` and tells over `broker`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Broker) -> Self {
        Self { store, broker }
    }

    /// A page of the circuits of all URLs that were ever attempted.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn page(&self, page: &CircuitPage) -> Result<CircuitListing, StoreError> {
        self.store.circuits(page).await
    }

    /// The circuit of `url`; one that was never attempted is closed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn get(&self, url: &EndpointUrl) -> Result<Circuit, StoreError> {
        let circuit = self.store.circuit(url).await?;
        Ok(circuit.unwrap_or_else(|| Circuit::new(clock::now())))
    }

    /// Requests in flight by URL, of all workers that were heard of lately.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn requests(&self) -> Result<Requests, StoreError> {
        self.store.requests(clock::now().minus(SILENT_AFTER)).await
    }

    /// Sets the circuit of `url` by the will of a person and tells everybody.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing is changed.
    pub async fn set(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
    ) -> Result<Circuit, StoreError> {
        let (circuit, change) = self.store.set_circuit(url, intervention, clock::now()).await?;
        if let Some(change) = change {
            self.tell(url, change).await;
        }
        Ok(circuit)
    }

    /// What was parked because of the circuit of `url`: everything that was owed to it while it
    /// was frozen or open until the end of the schedule.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn parked_by_circuit(&self, url: &EndpointUrl) -> Result<Selection, StoreError> {
        let spared_for = Some(self.subscriptions_at(url).await?);
        Ok(Selection { spared_for, ..Selection::default() })
    }

    /// The endpoints to which nothing is sent now, with those that send there.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stopped(&self) -> Result<Vec<Stopped>, StoreError> {
        let mut stopped = Vec::new();
        for (url, circuit) in self.store.unsettled_circuits().await?.circuits {
            let subscriptions = self.subscriptions_at(&url).await?;
            let (url, state) = (url.as_str().to_owned(), circuit.state.name());
            stopped.push(Stopped { url, state, subscriptions });
        }
        Ok(stopped)
    }

    /// The endpoints to which nothing is sent now, with how many of the selected parked messages go
    /// there; only those with some.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn stopped_among(
        stopped: Vec<Stopped>,
        parking: &Parking,
        (selection, limit): (&Selection, Option<u32>),
    ) -> Result<Vec<(Stopped, u32)>, BrokerError> {
        let goes_to = |id| stopped.iter().position(|one| one.subscriptions.contains(&id));
        if stopped.is_empty() || selection.subscription.is_some_and(|id| goes_to(id).is_none()) {
            return Ok(Vec::new());
        }
        let mut counts = vec![0_u32; stopped.len()];
        let count = |entry: Entry| {
            let at = entry.subscription_id.and_then(goes_to);
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                *count = count.saturating_add(1);
            }
            ControlFlow::Continue(())
        };
        parking.visit(selection, limit, None, count).await?;
        Ok(stopped.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    async fn subscriptions_at(
        &self,
        url: &EndpointUrl,
    ) -> Result<BTreeSet<SubscriptionId>, StoreError> {
        let mut found = BTreeSet::new();
        let mut after = None;
        loop {
            let listing = self.store.subscriptions_at(url, Page { after, limit: 1_000 }).await?;
            found.extend(listing.subscriptions.iter().map(|subscription| subscription.id));
            after = listing.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// How many deliveries were [spared](Self::parked_by_circuit) at `url`; walks through the parking queue.
    ///
    /// # Errors
    ///
    /// [`CircuitReplayError`].
    pub async fn count_parked_by_circuit(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
    ) -> Result<u32, CircuitReplayError> {
        let parked_by_circuit =
            self.parked_by_circuit(url).await.map_err(CircuitReplayError::Store)?;
        if is_nobody(&parked_by_circuit) {
            return Ok(0);
        }
        let counted = parking.act(Action::Count, &parked_by_circuit, None, |_| ()).await;
        Ok(counted.map_err(CircuitReplayError::Broker)?.matched)
    }

    /// Replays what was spared at `url`, at most [`REPLAYS_PER_SECOND`], so that an endpoint that
    /// has just recovered is not stampeded. Where its circuit has just changed, this waits until
    /// the workers know of it: one that does not would spare the replayed deliveries once more.
    ///
    /// # Errors
    ///
    /// [`CircuitReplayError`]: what was replayed until then stays so.
    pub async fn replay_parked_by_circuit(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
        mut told: impl FnMut(Tally) + Send,
    ) -> Result<Tally, CircuitReplayError> {
        let goes_on = |tally| {
            told(tally);
            ControlFlow::Continue(())
        };
        self.replay_parked_by_circuit_while(parking, url, goes_on).await
    }

    /// The same until `told` breaks it off.
    ///
    /// # Errors
    ///
    /// As [`replay_parked_by_circuit`](Self::replay_parked_by_circuit).
    pub async fn replay_parked_by_circuit_while(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
        told: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, CircuitReplayError> {
        let parked_by_circuit =
            self.parked_by_circuit(url).await.map_err(CircuitReplayError::Store)?;
        if is_nobody(&parked_by_circuit) {
            return Ok(Tally::default());
        }
        let changed = self.get(url).await.map_err(CircuitReplayError::Store)?.since;
        let known = clock::now().since(changed);
        tokio::time::sleep(KNOWN_TO_ALL.saturating_sub(known)).await;
        let parking = parking.paced(REPLAYS_PER_SECOND);
        let replayed = parking.act_while(Action::Replay, &parked_by_circuit, None, told).await;
        replayed.map_err(CircuitReplayError::Broker)
    }

    /// Tells of a change: a log event, an announcement to all workers, and an event that
    /// subscriptions can ask for (`homing.endpoint.opened`, `.frozen`, `.closed`).
    pub async fn tell(&self, url: &EndpointUrl, change: Change) {
        events::circuit_changed(url, &change);
        let announced = self.broker.announce(&control::Change::Circuit(url.clone())).await;
        if let Err(error) = announced {
            events::not_announced(&error.report());
        }
        let Ok(topic) = Topic::new(change.topic()) else { return };
        let message = Message::of_event(event(url, &change, topic, clock::now()));
        if let Err(error) = self.broker.publish(&message.outgoing(), Route::Events).await {
            events::not_announced(&error.report());
        }
    }
}

/// Whether nothing can be owed: no subscription has the URL.
fn is_nobody(parked_by_circuit: &Selection) -> bool {
    parked_by_circuit.spared_for.as_ref().is_some_and(BTreeSet::is_empty)
}

fn event(url: &EndpointUrl, change: &Change, topic: Topic, now: UnixMillis) -> Event {
    let body = json!({
        "url": url.as_str(),
        "from": change.from.name(),
        "to": change.to.name(),
        "reason": change.reason.to_string(),
        "at": now.to_string(),
    });
    Event {
        id: EventId::from(clock::new_id()),
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: body.to_string().into(),
    }
}

/// Far below what a worker can do and what most endpoints take.
pub const REPLAYS_PER_SECOND: u32 = 100;

/// How long a change of state takes at most to reach every worker that can be reached.
const KNOWN_TO_ALL: Duration = Duration::from_secs(1);

/// Why what was spared is not counted, or not all of it replayed.
#[derive(Debug, thiserror::Error)]
pub enum CircuitReplayError {
    /// The subscriptions of the URL are unknown.
    #[error("the subscriptions of the URL cannot be read")]
    Store(#[source] StoreError),
    /// The parking queue cannot be walked.
    #[error("the parked deliveries cannot be gone through")]
    Broker(#[source] BrokerError),
}
