//! A parked delivery as a row, and a row as a parked delivery.

use uuid::Uuid;

use super::{ParkedDelivery, ParkedId};
use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, SubscriptionId},
    time::UnixMillis,
};

/// The columns of one delivery, in the order in which they are inserted.
pub(super) const COLUMNS: &str = "\
    id, event, topic, subscription, delivery, url, reason, status, attempts, replays, parked_ms, \
    received_ms, first_failure_ms, last_outcome, content_type, content_encoding, body_bytes, \
    error";

/// Bytes that are kept of an outcome: an index takes no more than 2,700 in all. Source: PostgreSQL,
/// *B-Tree Indexes*, a third of a page.
const MAX_OUTCOME_BYTES: usize = 1_000;

/// One delivery.
#[derive(sqlx_macros::FromRow)]
pub(super) struct ParkedRow {
    pub(super) id: Vec<u8>,
    pub(super) event: String,
    pub(super) topic: Option<String>,
    pub(super) subscription: Option<Vec<u8>>,
    pub(super) delivery: Option<Vec<u8>>,
    pub(super) url: Option<String>,
    pub(super) reason: String,
    pub(super) status: Option<i64>,
    pub(super) attempts: i64,
    pub(super) replays: i64,
    pub(super) parked_ms: Option<i64>,
    pub(super) received_ms: Option<i64>,
    pub(super) first_failure_ms: Option<i64>,
    pub(super) last_outcome: Option<String>,
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) body_bytes: i64,
    pub(super) error: Option<Vec<u8>>,
}

/// A UUID as it is stored.
pub(super) fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// A text without zero bytes, which PostgreSQL refuses.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl ParkedRow {
    /// The row of a delivery that is for a subscription with this URL.
    pub(super) fn new(delivery: &ParkedDelivery, url: Option<&String>) -> Self {
        let ms = |at: Option<UnixMillis>| at.map(UnixMillis::get);
        let outcome = delivery.last_outcome.as_deref().map(text);
        let last_outcome = outcome.map(|mut outcome| {
            outcome.truncate(outcome.floor_char_boundary(MAX_OUTCOME_BYTES));
            outcome
        });
        Self {
            id: delivery.id.bytes(),
            event: text(&delivery.event),
            topic: delivery.topic.as_deref().map(text),
            subscription: delivery.recipient.map(|(subscription, _)| bytes(subscription.uuid())),
            delivery: delivery.recipient.map(|(_, delivery)| bytes(delivery.uuid())),
            url: url.cloned(),
            reason: delivery.reason.as_str().to_owned(),
            status: delivery.status.map(i64::from),
            attempts: delivery.attempts.into(),
            replays: delivery.replays.into(),
            parked_ms: ms(delivery.parked),
            received_ms: ms(delivery.received),
            first_failure_ms: ms(delivery.first_failure),
            last_outcome,
            content_type: text(&delivery.content_type),
            content_encoding: delivery.content_encoding.as_deref().map(text),
            body_bytes: i64::try_from(delivery.body_bytes).unwrap_or(i64::MAX),
            error: delivery.error.map(|error| error.as_bytes().to_vec()),
        }
    }

    /// The delivery.
    pub(super) fn build(self) -> sqlx::Result<ParkedDelivery> {
        let instant = |ms: Option<i64>| ms.map(UnixMillis::new);
        let recipient = match (&self.subscription, &self.delivery) {
            (Some(subscription), Some(delivery)) => {
                Some((SubscriptionId::new(uuid(subscription)?), DeliveryId::new(uuid(delivery)?)))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        Ok(ParkedDelivery {
            id: ParkedId::from_bytes(&self.id)?,
            recipient,
            event: self.event,
            topic: self.topic,
            url: self.url,
            reason: self.reason.parse().map_err(sqlx::Error::decode)?,
            status: self.status.map(number).transpose()?,
            attempts: number(self.attempts)?,
            replays: number(self.replays)?,
            parked: instant(self.parked_ms),
            received: instant(self.received_ms),
            first_failure: instant(self.first_failure_ms),
            last_outcome: self.last_outcome,
            content_type: self.content_type,
            content_encoding: self.content_encoding,
            body_bytes: self.body_bytes.unsigned_abs(),
            error: self.error.as_deref().map(error).transpose()?,
        })
    }
}

fn uuid(bytes: &[u8]) -> sqlx::Result<Uuid> {
    Uuid::from_slice(bytes).map_err(sqlx::Error::decode)
}

fn error(bytes: &[u8]) -> sqlx::Result<ErrorId> {
    bytes.try_into().map(ErrorId::new).map_err(sqlx::Error::decode)
}

fn number<N: TryFrom<i64, Error = std::num::TryFromIntError>>(number: i64) -> sqlx::Result<N> {
    N::try_from(number).map_err(sqlx::Error::decode)
}
