//! The history as it is shown: records and gaps of the attempt log, and the explanation of an event.
//! Instants are RFC 3339.

use serde::{Deserialize, Serialize};

use super::{PartView, PayloadView, words};
use homing_delivery::{
    circuits,
    parking::{Arriving, Entry, ParkingError},
};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    payload::PayloadState,
    record::{AttemptEvent, Class, Gap, Record, RecordId},
    report::Chain,
    subscription::Version,
    text::Word,
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::ParkedId;

/// A record of the attempt log. Instants are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// The verdict: `delivered`, `not_wanted`, `waits`, `not_before`, `throttled`, `held` or
    /// `parked`.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub verdict: Word,
    /// The next due time.
    pub due: Option<String>,
    /// The reason why it was parked.
    pub reason: Option<ParkReason>,
    /// The time since which the delivery waited for its endpoint, until this.
    pub held_since: Option<String>,
    /// The reason why it waited.
    pub held_because: Option<ParkReason>,
    /// The time since which the delivery waited for its turn, until this.
    pub waited_since: Option<String>,
    /// True if what it sent and received was kept; it may be too old by now.
    pub has_payload: bool,
    /// Its request and its answer, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<PayloadView>>,
    /// The reason why there is no payload, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_note: Option<String>,
    #[serde(skip)]
    pub(super) payload_state: PayloadState,
}

impl From<&Record> for RecordView {
    fn from(record: &Record) -> Self {
        let (attempted, why) = match &record.happened {
            AttemptEvent::Attempted(attempted) => (Some(attempted), attempted.cause.clone()),
            AttemptEvent::NotAttempted(why) => (None, Some(why.clone())),
        };
        let response = attempted.map(|attempted| &attempted.response);
        let response = response.filter(|response| !response.is_empty());
        let ended = record.hold.filter(|_| record.ended_hold().is_some());
        let waited = record.turn.filter(|_| !record.is_wait());
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
            held_since: ended.map(|hold| hold.since.to_string()),
            held_because: ended.map(|hold| hold.reason),
            waited_since: waited.map(|since| since.to_string()),
            has_payload: record.payload == PayloadState::Kept,
            payload: None,
            payload_note: None,
            payload_state: record.payload,
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

    /// The answer, if it was kept.
    #[must_use]
    pub fn received(&self) -> Option<&PartView> {
        self.payload.as_ref()?.response.as_ref()
    }

    /// The wait without an attempt that this ended: `held since …: circuit open`.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        if let (Some(since), Some(because)) = (&self.held_since, self.held_because) {
            return Some(format!("held since {since}: {}", because.as_str().replace('_', " ")));
        }
        Some(format!("waiting since {}", self.waited_since.as_ref()?))
    }
}

/// Records that are missing from the log. Instants are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AttemptsPage)]
pub struct PageView {
    /// The newest first.
    pub attempts: Vec<RecordView>,
    /// The value of `after` for the next page.
    pub next: Option<RecordId>,
    /// Gaps of the log in the time of this page, regardless of filters.
    pub gaps: Vec<GapView>,
    /// The reasons why something may be missing.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The explanation of an event.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// Its id.
    pub event: String,
    /// Its topic, if known.
    pub topic: Option<String>,
    /// The timelines of its deliveries, one for each subscription.
    pub deliveries: Vec<DeliveryTimeline>,
    /// The first subscriptions that want the topic, without a known delivery.
    pub unsent: Vec<Unsent>,
    /// The look among what is parked; absent: it was not necessary.
    pub parking: Option<Lookup>,
    /// The newest gaps of the attempt log since the event.
    pub gaps: Vec<GapView>,
    /// Further facts, and the reasons why others are not known.
    pub notes: Vec<String>,
}

/// The timeline of the event's delivery to one subscription.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryTimeline {
    /// The event's id.
    pub event: String,
    /// The event's topic, if known.
    pub topic: Option<String>,
    /// The subscription; absent: the event was parked before its fan-out.
    pub subscription: Option<SubscriptionId>,
    /// The id sent as `webhook-id`.
    pub delivery: Option<DeliveryId>,
    /// The former version of Workfront's form in which it is sent, beside another delivery in the
    /// present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_version: Option<Version>,
    /// The URL of the endpoint.
    pub url: Option<String>,
    /// Its present state, as far as known: `delivered`, `waits`, `not_before`, `throttled`, `held`,
    /// `parked`, `was_parked` (replayed or dropped since) or `not_wanted`.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub state: Word,
    /// The beginning of that; RFC 3339.
    pub since: Option<String>,
    /// The last time that a wait without an attempt was seen to go on; RFC 3339.
    pub as_of: Option<String>,
    /// Its state in a sentence.
    pub summary: String,
    /// The next step, or a remedy, in a sentence.
    pub next: Option<String>,
    /// The due time; RFC 3339.
    pub due: Option<String>,
    /// A command that sends it again.
    pub command: Option<String>,
    /// The circuit of its endpoint, unless the delivery is done.
    pub circuit: Option<circuits::View>,
    /// Its entry in the parking queue, if it was found.
    pub parked: Option<Parked>,
    /// Attempts, and holds without one, oldest first.
    pub attempts: Vec<RecordView>,
}

impl DeliveryTimeline {
    /// The outcome of its last attempt, if that failed.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        let last = self.attempts.iter().rev().find(|attempt| attempt.attempt.is_some())?;
        (last.class != Class::Accepted).then(|| last.report())
    }

    /// The number of its attempts that are known.
    #[must_use]
    pub fn attempts_made(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.attempt.is_some()).count()
    }
}

/// A parked delivery.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedState)]
pub struct Parked {
    /// Its id while it is parked.
    #[serde(skip, default = "not_shown")]
    pub id: ParkedId,
    /// The reason.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub reason: Word,
    /// The time of parking; RFC 3339. Absent if the broker parked it.
    pub since: Option<String>,
    /// Attempts made until then.
    pub attempts: u32,
    /// The last outcome.
    pub last_outcome: Option<String>,
}

/// In place of an id that is not in the JSON.
fn not_shown() -> ParkedId {
    ParkedId::floor(UnixMillis::new(0))
}

impl From<&Entry> for Parked {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            reason: entry.reason.as_str(),
            since: entry.parked_ms.map(|since| since.to_string()),
            attempts: entry.attempts,
            last_outcome: entry.last_outcome.clone(),
        }
    }
}

/// A subscription that wants the topic, without a known delivery.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Unsent {
    /// Its id.
    pub subscription: SubscriptionId,
    /// The URL of the endpoint.
    pub url: String,
    /// The possible reason.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub why: Word,
}

/// A look among what is parked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Lookup {
    /// Messages that could not be looked at, because they are not in the store yet.
    pub arriving: Arriving,
    /// The reason why nothing could be looked at.
    pub error: Option<String>,
}

impl Lookup {
    pub(super) fn failed(error: &ParkingError) -> Self {
        Self { error: Some(Chain(error).to_string()), ..Self::default() }
    }

    /// True if everything that is parked was looked at.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.error.is_none() && self.arriving.is_nothing()
    }
}
