//! The history of deliveries: the attempt log in pages, and the timeline of one event.
//!
//! Promises: reading changes nothing, at the broker least of all; what is not known is reported,
//! with the reason. The log is no queue: an event without records may still be delivered.

mod explain;
mod timeline;
mod words;

use std::sync::Arc;

use serde::Serialize;

pub use self::explain::{DeliveryTimeline, Explanation, Lookup, Parked, Unsent};

use homing_broker::Broker;
use homing_delivery::{circuits::CircuitBreakers, parking::Parking};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    record::{AttemptEvent, Class, Gap, Record, RecordId},
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::{RecordPage, Store, StoreError};

/// Reads the history; cheap to clone.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Store>,
    broker: Broker,
    parking: Parking,
    circuits: CircuitBreakers,
}

/// A record of the attempt log. Instants are RFC 3339.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Attempt)]
pub struct RecordView {
    /// Its id; ids sort by time.
    pub id: RecordId,
    /// The start of the attempt.
    pub started: String,
    /// The event's id.
    pub event: String,
    /// The event's topic.
    pub topic: String,
    /// The subscription of the delivery.
    pub subscription: Option<SubscriptionId>,
    /// The id sent as `webhook-id`.
    pub delivery: Option<DeliveryId>,
    /// The URL of the request.
    pub url: Option<String>,
    /// Counted from one; absent if no attempt was made.
    pub attempt: Option<u32>,
    /// Position in the schedule before it.
    pub step: u32,
    /// The number of replays before it.
    pub replays: u32,
    /// From the start to the end of the exchange.
    pub duration_ms: Option<u64>,
    /// The class of its outcome, as in filters.
    pub class: Class,
    /// The outcome, e.g. `refused 503`.
    pub outcome: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The beginning of the response's body, with invalid UTF-8 replaced.
    pub response: Option<String>,
    /// True if the response was longer.
    pub response_cut: bool,
    /// The reason why there was no attempt, or no complete answer.
    pub cause: Option<String>,
    /// The verdict: `delivered`, `not_wanted`, `waits` or `parked`.
    pub verdict: &'static str,
    /// The next due time.
    pub due: Option<String>,
    /// The reason why it was parked.
    pub reason: Option<ParkReason>,
}

impl From<&Record> for RecordView {
    fn from(record: &Record) -> Self {
        let (attempted, why) = match &record.happened {
            AttemptEvent::Attempted(attempted) => (Some(attempted), attempted.cause.clone()),
            AttemptEvent::NotAttempted(why) => (None, Some(why.clone())),
        };
        let response = attempted.map(|attempted| &attempted.response);
        let response = response.filter(|response| !response.is_empty());
        Self {
            id: record.id,
            started: record.started().to_string(),
            event: record.event.clone(),
            topic: record.topic.clone(),
            subscription: record.recipient.map(|(subscription, _)| subscription),
            delivery: record.recipient.map(|(_, delivery)| delivery),
            url: record.url.clone(),
            attempt: attempted.map(|attempted| attempted.attempt),
            step: record.step,
            replays: record.replays,
            duration_ms: attempted
                .map(|attempted| u64::try_from(attempted.duration.as_millis()).unwrap_or(u64::MAX)),
            class: record.class(),
            outcome: attempted.map(|attempted| attempted.outcome.clone()),
            status: attempted.and_then(|attempted| attempted.status),
            response: response.map(|response| String::from_utf8_lossy(response).into_owned()),
            response_cut: attempted.is_some_and(|attempted| attempted.cut),
            cause: why,
            verdict: record.next_state.as_str(),
            due: record.next_state.due().map(|due| due.to_string()),
            reason: record.next_state.reason(),
        }
    }
}

impl RecordView {
    /// The outcome in words: `503 from the endpoint`, `not attempted: …`.
    #[must_use]
    pub fn report(&self) -> String {
        let cause = self.cause.as_deref();
        match &self.outcome {
            Some(outcome) => words::outcome(outcome, cause),
            None => format!("not attempted: {}", cause.unwrap_or("no reason is known")),
        }
    }
}

/// Records that are missing from the log. Instants are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Gap)]
pub struct GapView {
    /// The start of the first.
    pub from: String,
    /// The start of the last.
    pub until: String,
    /// Their number.
    pub missed: u64,
}

impl From<&Gap> for GapView {
    fn from(gap: &Gap) -> Self {
        Self { from: gap.from.to_string(), until: gap.until.to_string(), missed: gap.missed }
    }
}

/// `12 attempts between … and … were not recorded`
impl std::fmt::Display for GapView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, until, missed } = self;
        let attempts = if *missed == 1 { "attempt" } else { "attempts" };
        let were = if *missed == 1 { "was" } else { "were" };
        write!(f, "{missed} {attempts} between {from} and {until} {were} not recorded")
    }
}

/// A page of the log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AttemptsPage)]
pub struct PageView {
    /// The newest first.
    pub attempts: Vec<RecordView>,
    /// The value of `after` for the next page.
    pub next: Option<RecordId>,
    /// Gaps of the log in the time of this page, regardless of filters.
    pub gaps: Vec<GapView>,
}

const BEGINNING: UnixMillis = UnixMillis::new(0);
const END: UnixMillis = UnixMillis::new(i64::MAX);

impl History {
    /// The history in `store`, and in the parking queue at `broker`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Broker) -> Self {
        let parking = Parking::new(broker.clone());
        let circuits = CircuitBreakers::new(Arc::clone(&store), broker.clone());
        Self { store, broker, parking, circuits }
    }

    /// A page of the attempt log, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn page(&self, page: &RecordPage) -> Result<PageView, StoreError> {
        let listing = self.store.attempts(page).await?;
        let oldest = listing.next.map(RecordId::started);
        let since = oldest.or(page.filter.since).unwrap_or(BEGINNING);
        let after = page.after.map(RecordId::started);
        let until = after.or(page.filter.until).unwrap_or(END);
        let gaps = self.store.attempt_gaps(since, until).await?;
        Ok(PageView {
            attempts: listing.records.iter().map(RecordView::from).collect(),
            next: listing.next,
            gaps: gaps.iter().map(GapView::from).collect(),
        })
    }
}
