//! Circuits as they are shown to operators.

use serde::{Deserialize, Serialize};

use super::{CircuitBreakers, held::Held};
use homing_domain::{
    activity::{Requests, SILENT_AFTER},
    circuit::{Circuit, CircuitState},
    clock,
    text::Word,
    url::EndpointUrl,
};
use homing_store::{CircuitListing, CircuitPage, CorruptCircuit, StoreError};

/// A circuit, with the requests in flight and what is held for its URL.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Endpoint)]
pub struct View {
    /// The normalised URL.
    pub url: String,
    /// `closed`, `open` or `frozen`.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub state: Word,
    /// The start of the state; RFC 3339.
    pub since: String,
    /// The reason for the state.
    pub reason: Option<String>,
    /// Accepted attempts in total.
    pub successes: u64,
    /// Failed attempts in total.
    pub failures: u64,
    /// Failures since the last success.
    pub consecutive_failures: u64,
    /// RFC 3339.
    pub last_success: Option<String>,
    /// The last outcome of an attempt, for example `refused 503`.
    pub last_outcome: Option<String>,
    /// While open: when the next probe may go; RFC 3339.
    pub next_probe: Option<String>,
    /// Requests in flight, including those that wait for their turn by a rate limit, without
    /// probes; as reported by workers in the last five seconds. Absent if unknown: it was not
    /// requested, or a worker is busy with more than 100 URLs and this one is not among those with
    /// the most requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Deliveries in the held queue of the URL, without those in flight. Absent if it has none, or
    /// if the broker does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    /// The time since when the URL has a held queue; RFC 3339. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
}

impl View {
    /// Shows `circuit` of `url`.
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
            reason: circuit.reason.map(|reason| reason.of(circuit.state.name())),
            successes: circuit.successes,
            failures: circuit.failures,
            consecutive_failures: circuit.consecutive_failures,
            last_success: circuit.last_success.map(|instant| instant.to_string()),
            last_outcome: circuit.last_outcome.as_ref().map(|last| last.outcome.clone()),
            next_probe,
            in_flight: None,
            held: None,
            held_since: None,
        }
    }

    /// Adds the requests in flight.
    fn with(self, requests: &Requests) -> Self {
        let in_flight = requests.at(&self.url);
        Self { in_flight, ..self }
    }

    /// Adds what is held for it.
    fn with_held(self, held: &[Held]) -> Self {
        let Some(held) = held.iter().find(|held| held.url.as_str() == self.url) else {
            return self;
        };
        Self { held: held.messages, held_since: Some(held.since.to_string()), ..self }
    }
}

/// A page of circuits.
#[derive(Clone, Debug)]
pub struct Views {
    /// Those that can be read.
    pub views: Vec<View>,
    /// The others.
    pub corrupt: Vec<CorruptCircuit>,
    /// The URL after which the next page begins.
    pub next: Option<String>,
}

impl CircuitBreakers {
    /// The circuit of `url`; one that was never attempted is closed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A broker that does not answer is none.
    pub async fn view(&self, url: &EndpointUrl) -> Result<View, StoreError> {
        let view = View::of(url, &self.get(url).await?).with(&self.requests().await?);
        Ok(view.with_held(self.held_for(url).await?.as_slice()))
    }

    /// The same without what workers and the broker know: requests in flight, and what is held.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub async fn glance(&self, url: &EndpointUrl) -> Result<View, StoreError> {
        Ok(View::of(url, &self.get(url).await?))
    }

    /// A page of the circuits of all URLs that were ever attempted.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub async fn views(&self, page: &CircuitPage) -> Result<Views, StoreError> {
        let held = self.held().await?;
        let requests = self.requests().await?;
        let CircuitListing { circuits, corrupt, next } = self.store.circuits(page).await?;
        let views = circuits
            .iter()
            .map(|(url, circuit)| View::of(url, circuit).with(&requests).with_held(&held));
        Ok(Views { views: views.collect(), corrupt, next })
    }

    /// Requests in flight by URL, of all workers that reported recently.
    async fn requests(&self) -> Result<Requests, StoreError> {
        self.store.requests(clock::now().minus(SILENT_AFTER)).await
    }
}
