//! Circuits as operators see and set them, and the announcement of their changes.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc, time::Duration};

use serde_json::json;

use crate::parking::{Action, HeldFor, Parking, ParkingError, Selection, Tally};
use homing_broker::{Broker, Message, Route, control};
use homing_domain::{
    audit::Actor,
    circuit::{Circuit, CircuitTransition, StateName, Turn},
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{EventId, SubscriptionId},
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::{Intervention, Page, Store, StoreError};
use homing_telemetry::log_events;

mod held;
mod suggestions;
mod view;

pub use suggestions::SetError;
pub use view::{View, Views};

/// An endpoint to which nothing is sent now.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// The normalised URL.
    pub url: String,
    /// Open or frozen.
    pub state: StateName,
    /// The subscriptions that send to it.
    pub subscriptions: BTreeSet<SubscriptionId>,
}

/// Shows and sets circuits; cheap to clone.
#[derive(Clone)]
pub struct CircuitBreakers {
    store: Arc<dyn Store>,
    broker: Broker,
}

impl CircuitBreakers {
    /// Circuits that are written to `store` and announced over `broker`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Broker) -> Self {
        Self { store, broker }
    }

    /// The same for the changes of `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), broker: self.broker.clone() }
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

    /// Sets the circuit of `url` for an operator and announces the change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing is changed.
    pub async fn set(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
    ) -> Result<Circuit, StoreError> {
        Ok(self.turn(url, intervention).await?.0)
    }

    /// As [`set`](Self::set), with the change of state that this made.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub async fn turn(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
    ) -> Result<Turn, StoreError> {
        let (circuit, change) = self.store.set_circuit(url, intervention, clock::now()).await?;
        match change {
            Some(change) => self.announce(url, change).await,
            // It may be due sooner, which is no change of state.
            None if intervention == Intervention::Probe => self.renew(url).await,
            None => {}
        }
        Ok((circuit, change))
    }

    /// The messages parked because of the circuit of `url`: deliveries to it that were due while it
    /// was frozen, or open until the end of the schedule, or that were held because the URL was slow
    /// when they came.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn parked_by_circuit(&self, url: &EndpointUrl) -> Result<Selection, StoreError> {
        let subscriptions = self.subscriptions_at(url).await?;
        let held_for = Some(HeldFor { url: url.clone(), subscriptions });
        Ok(Selection { held_for, ..Selection::default() })
    }

    /// The endpoints to which nothing is sent now, with the subscriptions that send to them; those
    /// to which no subscription sends are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stopped(&self) -> Result<Vec<Stopped>, StoreError> {
        self.some_stopped(usize::MAX).await
    }

    /// The endpoints to which nothing is sent now and some subscription sends, at most `most`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn some_stopped(&self, most: usize) -> Result<Vec<Stopped>, StoreError> {
        let mut stopped = Vec::new();
        for (url, circuit) in self.store.unsettled_circuits().await?.circuits {
            if stopped.len() >= most {
                break;
            }
            let subscriptions = self.subscriptions_at(&url).await?;
            if !subscriptions.is_empty() {
                let (url, state) = (url.as_str().to_owned(), circuit.state.name());
                stopped.push(Stopped { url, state, subscriptions });
            }
        }
        Ok(stopped)
    }

    /// The endpoint of a subscription, if nothing is sent to it now.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stopped_for(&self, id: SubscriptionId) -> Result<Option<Stopped>, StoreError> {
        let Some(subscription) = self.store.subscription(id).await? else { return Ok(None) };
        let url = subscription.spec.url;
        let state = self.get(&url).await?.state.name();
        let (url, subscriptions) = (url.as_str().to_owned(), BTreeSet::from([id]));
        let is_stopped = state != StateName::Closed;
        Ok(is_stopped.then_some(Stopped { url, state, subscriptions }))
    }

    /// Counts how many of the selected parked messages go to endpoints to which nothing is sent
    /// now; endpoints without any are left out.
    ///
    /// # Errors
    ///
    /// [`ParkingError`].
    pub async fn stopped_among(
        stopped: Vec<Stopped>,
        parking: &Parking,
        selection: &Selection,
        limit: Option<u32>,
    ) -> Result<Vec<(Stopped, u32)>, ParkingError> {
        let endpoint_of = |id| stopped.iter().position(|one| one.subscriptions.contains(&id));
        if stopped.is_empty() || selection.subscription.is_some_and(|id| endpoint_of(id).is_none())
        {
            return Ok(Vec::new());
        }
        let groups: Vec<_> = stopped.iter().map(|one| &one.subscriptions).collect();
        let counts = parking.count_each(selection, limit, &groups).await?;
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

    /// Counts the deliveries [parked because of the circuit](Self::parked_by_circuit) of `url`.
    ///
    /// # Errors
    ///
    /// [`CircuitReplayError`].
    pub async fn count_parked_by_circuit(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
    ) -> Result<Tally, CircuitReplayError> {
        let parked_by_circuit =
            self.parked_by_circuit(url).await.map_err(CircuitReplayError::Store)?;
        if selects_nothing(&parked_by_circuit) {
            return Ok(Tally::default());
        }
        let counted = parking.act(Action::Count, &parked_by_circuit, None, |_| ()).await;
        counted.map_err(CircuitReplayError::Parking)
    }

    /// Replays the deliveries parked because of the circuit of `url`, at most
    /// [`REPLAYS_PER_SECOND`], so that an endpoint that has just recovered is not flooded. If its
    /// circuit has just changed, this first waits until the workers know: a worker that does not
    /// would park the replayed deliveries again.
    ///
    /// # Errors
    ///
    /// [`CircuitReplayError`]: deliveries replayed until then stay replayed.
    pub async fn replay_parked_by_circuit(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
        mut on_progress: impl FnMut(Tally) + Send,
    ) -> Result<Tally, CircuitReplayError> {
        let continuing = |tally| {
            on_progress(tally);
            ControlFlow::Continue(())
        };
        self.replay_parked_by_circuit_while(parking, url, continuing).await
    }

    /// As [`replay_parked_by_circuit`](Self::replay_parked_by_circuit), until `on_progress` stops
    /// it.
    ///
    /// # Errors
    ///
    /// As [`replay_parked_by_circuit`](Self::replay_parked_by_circuit).
    pub async fn replay_parked_by_circuit_while(
        &self,
        parking: &Parking,
        url: &EndpointUrl,
        on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, CircuitReplayError> {
        let parked_by_circuit =
            self.parked_by_circuit(url).await.map_err(CircuitReplayError::Store)?;
        if selects_nothing(&parked_by_circuit) {
            return Ok(Tally::default());
        }
        let changed = self.get(url).await.map_err(CircuitReplayError::Store)?.since;
        let known = clock::now().since(changed);
        tokio::time::sleep(KNOWN_TO_ALL.saturating_sub(known)).await;
        let parking = parking.paced(REPLAYS_PER_SECOND);
        let replayed =
            parking.act_while(Action::Replay, &parked_by_circuit, None, on_progress).await;
        replayed.map_err(CircuitReplayError::Parking)
    }

    /// Has all workers read the circuit of `url` again.
    async fn renew(&self, url: &EndpointUrl) {
        let announced = self.broker.announce(&control::Announcement::Circuit(url.clone())).await;
        if let Err(error) = announced {
            log_events::not_announced(&error.report());
        }
    }

    /// Announces a change: a log event, an announcement to all workers, and an event for
    /// subscriptions (`homing.endpoint.opened`, `.frozen`, `.closed`).
    pub async fn announce(&self, url: &EndpointUrl, change: CircuitTransition) {
        log_events::circuit_changed(url, &change);
        self.renew(url).await;
        let Ok(topic) = Topic::new(change.topic()) else { return };
        let message = Message::of_event(event(url, &change, topic, clock::now()));
        if let Err(error) = self.broker.publish(&message.outgoing(), Route::Events).await {
            log_events::not_announced(&error.report());
        }
    }
}

/// True if nothing can be selected, because no subscription has the URL.
fn selects_nothing(parked_by_circuit: &Selection) -> bool {
    parked_by_circuit.held_for.as_ref().is_some_and(|held| held.subscriptions.is_empty())
}

fn event(url: &EndpointUrl, change: &CircuitTransition, topic: Topic, now: UnixMillis) -> Event {
    let body = json!({
        "url": url.as_str(),
        "from": change.from.name(),
        "to": change.to.name(),
        "reason": change.reason.of(change.to.name()),
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

/// A change of state reaches every reachable worker within this time.
const KNOWN_TO_ALL: Duration = Duration::from_secs(1);

/// Errors of counting and replaying deliveries parked because of a circuit.
#[derive(Debug, thiserror::Error)]
pub enum CircuitReplayError {
    /// The subscriptions of the URL are unknown.
    #[error("the subscriptions of the URL cannot be read")]
    Store(#[source] StoreError),
    /// The parked deliveries cannot be counted or replayed.
    #[error("the parked deliveries cannot be replayed")]
    Parking(#[source] ParkingError),
}
