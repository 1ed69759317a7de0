//! A record of the attempt log as a row, and a row as a record.

use std::time::Duration;

use uuid::Uuid;

use homing_domain::{
    delivery::Hold,
    id::{DeliveryId, SubscriptionId},
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, Gap, NextState, Record, RecordId},
    time::UnixMillis,
};

/// The columns of one record, in the order in which they are inserted. A statement names its columns:
/// one that a newer homing adds would fail each `SELECT *` that PostgreSQL has prepared.
pub(super) const COLUMNS: &str = "\
    id, event, topic, subscription, delivery, url, step, replays, class, attempt, duration_ms, \
    outcome, status, response, cut, cause, sequel, due_ms, reason, held, \
    hold_since_ms, hold_reason, payload, state, turn_since_ms, as_of_ms, progress";

/// Calls a macro with the fields of an [`AttemptRow`], in the order of [`COLUMNS`].
macro_rules! with_fields {
    ($call:ident) => {
        $call!(
            id,
            event,
            topic,
            subscription,
            delivery,
            url,
            step,
            replays,
            class,
            attempt,
            duration_ms,
            outcome,
            status,
            response,
            cut,
            cause,
            next_state,
            due_ms,
            reason,
            held,
            hold_since_ms,
            hold_reason,
            payload,
            state,
            turn_since_ms,
            as_of_ms,
            order
        )
    };
}
pub(super) use with_fields;

/// One record.
#[derive(sqlx_macros::FromRow)]
pub(super) struct AttemptRow {
    pub(super) id: Vec<u8>,
    pub(super) event: String,
    pub(super) topic: String,
    pub(super) subscription: Option<Vec<u8>>,
    pub(super) delivery: Option<Vec<u8>>,
    pub(super) url: Option<String>,
    pub(super) step: i64,
    pub(super) replays: i64,
    pub(super) class: String,
    pub(super) attempt: Option<i64>,
    pub(super) duration_ms: Option<i64>,
    pub(super) outcome: Option<String>,
    pub(super) status: Option<i64>,
    pub(super) response: Option<Vec<u8>>,
    pub(super) cut: i64,
    pub(super) cause: Option<String>,
    #[sqlx(rename = "sequel")]
    pub(super) next_state: String,
    pub(super) due_ms: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) held: i64,
    pub(super) hold_since_ms: Option<i64>,
    pub(super) hold_reason: Option<String>,
    pub(super) payload: i64,
    pub(super) state: Option<String>,
    pub(super) turn_since_ms: Option<i64>,
    pub(super) as_of_ms: Option<i64>,
    #[sqlx(rename = "progress")]
    pub(super) order: Option<i64>,
}

/// A UUID as it is stored.
pub(super) fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

impl From<&Record> for AttemptRow {
    fn from(record: &Record) -> Self {
        let attempted = match &record.happened {
            AttemptEvent::Attempted(attempted) => Some(attempted),
            AttemptEvent::NotAttempted(_) => None,
        };
        let cause = match &record.happened {
            AttemptEvent::Attempted(attempted) => attempted.cause.clone(),
            AttemptEvent::NotAttempted(why) => Some(why.clone()),
        };
        let response = attempted.filter(|attempted| !attempted.response.is_empty());
        Self {
            id: bytes(record.id.uuid()),
            event: text(&record.event),
            topic: text(&record.topic),
            subscription: record.recipient.map(|(subscription, _)| bytes(subscription.uuid())),
            delivery: record.recipient.map(|(_, delivery)| bytes(delivery.uuid())),
            url: record.url.as_deref().map(text),
            step: record.step.into(),
            replays: record.replays.into(),
            class: record.class().as_str().to_owned(),
            attempt: attempted.map(|attempted| attempted.attempt.into()),
            duration_ms: attempted.map(|attempted| millis(attempted.duration)),
            outcome: attempted.map(|attempted| attempted.outcome.clone()),
            status: attempted.and_then(|attempted| attempted.status).map(i64::from),
            response: response.map(|attempted| attempted.response.clone()),
            cut: attempted.is_some_and(|attempted| attempted.cut).into(),
            cause: cause.as_deref().map(text),
            next_state: stored(record.next_state).to_owned(),
            due_ms: due(record.next_state).map(UnixMillis::get),
            reason: record.next_state.reason().map(|reason| reason.as_str().to_owned()),
            held: matches!(record.next_state, NextState::Held(_)).into(),
            hold_since_ms: record.hold.map(|hold| hold.since.get()),
            hold_reason: record.hold.map(|hold| hold.reason.as_str().to_owned()),
            payload: match record.payload {
                PayloadState::Unwanted => 0,
                PayloadState::Kept => 1,
                PayloadState::Missed => 2,
            },
            state: Some(record.state().as_str().to_owned()),
            turn_since_ms: record.turn.map(UnixMillis::get),
            as_of_ms: record.as_of.map(UnixMillis::get),
            order: record.order,
        }
    }
}

/// The schema knows three words: a delivery that is done without an attempt was not wanted, and one
/// that waits for its endpoint or for its turn waits.
fn stored(next_state: NextState) -> &'static str {
    match next_state {
        NextState::Done | NextState::NotWanted => "delivered",
        NextState::Waits(_)
        | NextState::NotBefore(_)
        | NextState::Throttled(_)
        | NextState::Held(_) => "waits",
        NextState::Parked(_) => "parked",
    }
}

fn due(next_state: NextState) -> Option<UnixMillis> {
    if let NextState::Held(until) = next_state { Some(until) } else { next_state.due() }
}

/// A text without zero bytes, which PostgreSQL refuses.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One gap.
#[derive(sqlx_macros::FromRow)]
pub(super) struct GapRow {
    id: Vec<u8>,
    from_ms: i64,
    until_ms: i64,
    missed: i64,
}

impl GapRow {
    pub(super) fn build(self) -> sqlx::Result<Gap> {
        Ok(Gap {
            id: uuid(&self.id)?,
            from: UnixMillis::new(self.from_ms),
            until: UnixMillis::new(self.until_ms),
            missed: self.missed.unsigned_abs(),
        })
    }
}

/// Reads the id of a record.
pub(super) fn record_id(bytes: &[u8]) -> sqlx::Result<RecordId> {
    uuid(bytes).map(RecordId::of)
}

fn uuid(bytes: &[u8]) -> sqlx::Result<Uuid> {
    Uuid::from_slice(bytes).map_err(sqlx::Error::decode)
}

fn number<N: TryFrom<i64, Error = std::num::TryFromIntError>>(number: i64) -> sqlx::Result<N> {
    N::try_from(number).map_err(sqlx::Error::decode)
}

impl AttemptRow {
    /// The record. The schema accepts nothing that is not one.
    pub(super) fn build(self) -> sqlx::Result<Record> {
        let id = record_id(&self.id)?;
        let recipient = match (&self.subscription, &self.delivery) {
            (Some(subscription), Some(delivery)) => {
                Some((SubscriptionId::new(uuid(subscription)?), DeliveryId::new(uuid(delivery)?)))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        let next_state = match self.due_ms {
            Some(until) if self.held != 0 => NextState::Held(UnixMillis::new(until)),
            Some(due) => match self.state.as_deref() {
                Some("not_before") => NextState::NotBefore(UnixMillis::new(due)),
                Some("throttled") => NextState::Throttled(UnixMillis::new(due)),
                Some(_) | None => NextState::Waits(UnixMillis::new(due)),
            },
            None => match &self.reason {
                Some(reason) => NextState::Parked(reason.parse().map_err(sqlx::Error::decode)?),
                None if self.attempt.is_none() => NextState::NotWanted,
                None => NextState::Done,
            },
        };
        let hold = match (self.hold_since_ms, &self.hold_reason) {
            (Some(since), Some(reason)) => Some(Hold {
                since: UnixMillis::new(since),
                reason: reason.parse().map_err(sqlx::Error::decode)?,
            }),
            (Some(_) | None, Some(_) | None) => None,
        };
        let (step, replays) = (number(self.step)?, number(self.replays)?);
        let (event, topic, url) = (self.event.clone(), self.topic.clone(), self.url.clone());
        let payload = match self.payload {
            1 => PayloadState::Kept,
            2 => PayloadState::Missed,
            _ => PayloadState::Unwanted,
        };
        let turn = self.turn_since_ms.map(UnixMillis::new);
        let as_of = self.as_of_ms.map(UnixMillis::new);
        let order = self.order;
        let happened = self.happened()?;
        Ok(Record {
            id,
            event,
            topic,
            recipient,
            url,
            step,
            replays,
            order,
            happened,
            next_state,
            hold,
            turn,
            as_of,
            payload,
        })
    }

    fn happened(self) -> sqlx::Result<AttemptEvent> {
        let Some(attempt) = self.attempt else {
            return Ok(AttemptEvent::NotAttempted(self.cause.unwrap_or_default()));
        };
        let class = Class::ALL.into_iter().find(|class| class.as_str() == self.class);
        Ok(AttemptEvent::Attempted(Attempted {
            attempt: number(attempt)?,
            duration: Duration::from_millis(self.duration_ms.unwrap_or_default().unsigned_abs()),
            class: class.ok_or_else(|| sqlx::Error::decode("not a class".to_owned()))?,
            outcome: self.outcome.unwrap_or_default(),
            status: self.status.map(number).transpose()?,
            response: self.response.unwrap_or_default(),
            cut: self.cut != 0,
            cause: self.cause,
        }))
    }
}
