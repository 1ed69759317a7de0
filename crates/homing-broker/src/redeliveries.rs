//! Messages that returned often without killing a process.
//!
//! A lost connection returns everything that was prefetched over it, and the broker counts that
//! against each message: at the limit it parks them, poison or not. So a message that has returned
//! often and that a process gets again is republished and the original acked: the broker then
//! counts from zero.
//!
//! Only a process that had the message before does that: it has survived the message. A message
//! that kills every process that attempts it is seen by none of them twice, and ends at the limit.
//!
//! Source: RabbitMQ documentation, *Quorum Queues*, poison message handling.

use std::{
    collections::{HashSet, VecDeque},
    hash::BuildHasher,
    sync::Arc,
};

use foldhash::quality::FixedState;
use lapin::{BasicProperties, message::Delivery, types::ShortString};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{error, info};

use super::{
    Broker, Outgoing, Receipt,
    headers::Headers,
    message::{MAX_NAMED, header},
    publish::Address,
    topology::DELIVERY_LIMIT,
};

/// The header in which quorum queues count the deliveries before the present one.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// Returns from which on a message is republished.
const RENEWED_FROM: u32 = DELIVERY_LIMIT / 2;
/// Returns from which on a message is remembered: early enough that many workers that share a queue
/// see it twice before the limit.
const REMEMBERED_FROM: u32 = DELIVERY_LIMIT / 5;
/// Messages that are republished at once.
const MAX_RENEWING: usize = 32;
/// The most times that a message is republished, whatever else may be wrong with it.
const MAX_RENEWALS: u32 = 100;
/// Several times what can be prefetched; beyond that the oldest are forgotten.
const MAX_REMEMBERED: usize = 16_384;

/// Times the message has returned to its queue.
pub(super) fn count(properties: &BasicProperties) -> u32 {
    Headers(properties.headers().as_ref()).count(DELIVERY_COUNT)
}

/// Times it was republished.
pub(super) fn renewals(properties: &BasicProperties) -> u32 {
    Headers(properties.headers().as_ref()).count(header::RENEWALS)
}

/// The messages that returned, as this process remembers them.
#[derive(Default)]
pub(super) struct Redeliveries {
    seen: Mutex<Latest>,
    /// Republished and confirmed: an original that comes once more was not acked in time.
    renewed: Mutex<Latest>,
    /// The broker takes no copy of them.
    refused: Mutex<Latest>,
    /// Bounds what is being republished: beyond it, messages are handled as any other.
    places: Places,
}

/// The places of messages that are being republished.
struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_RENEWING)))
    }
}

/// The handling of a message that returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redelivery {
    /// As any other message.
    Ordinary,
    /// Is to be republished and remembered by its key.
    Renew(Key),
    /// Was republished, and is to be acked.
    Renewed,
}

/// The identity of a message: a hash of 128 bits, so that no two are confused. A copy has another
/// one than its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

impl Key {
    fn of(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let headers = Headers(properties.headers().as_ref());
        let id = properties.message_id().as_ref().map(ShortString::as_str);
        let position =
            [header::RENEWALS, header::REPLAYS, header::ATTEMPTS, header::HOLDS, header::THROTTLED];
        let position = position.map(|name| headers.count(name));
        let subscription = headers.text(header::SUBSCRIPTION);
        let group = headers.texts(header::SUBSCRIPTIONS, MAX_NAMED + 1);
        // One id and one body may be those of several events, which differ in their topic.
        let [colon, underscore] = header::CLOUD_EVENT_TYPE;
        let topic = [header::ROUTING_KEY, colon, underscore];
        let topic = (
            properties.kind().as_ref().map(ShortString::as_str),
            topic.map(|name| headers.text(name)),
        );
        let way = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        Self([1, 2].map(|seed| {
            let content = (id, way, position, (&subscription, &group), &topic, &delivery.data);
            FixedState::with_seed(seed).hash_one(content)
        }))
    }
}

/// The latest keys.
#[derive(Default)]
struct Latest {
    keys: HashSet<Key>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Latest {
    /// Inserts a key; returns true if it is new.
    fn insert(&mut self, key: Key) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

impl Redeliveries {
    /// Decides how to handle `delivery`, and remembers it.
    pub(super) fn of(&self, delivery: &Delivery) -> Redelivery {
        let returned = count(&delivery.properties);
        // Without an id, messages cannot be distinguished.
        let has_id = delivery.properties.message_id().is_some();
        if returned < REMEMBERED_FROM || !delivery.redelivered || !has_id {
            return Redelivery::Ordinary;
        }
        let key = Key::of(delivery);
        if self.renewed.lock().keys.contains(&key) {
            return Redelivery::Renewed;
        }
        let is_new = self.seen.lock().insert(key);
        let renewals = renewals(&delivery.properties);
        let is_refused = self.refused.lock().keys.contains(&key);
        if is_new || is_refused || returned < RENEWED_FROM || renewals >= MAX_RENEWALS {
            return Redelivery::Ordinary;
        }
        Redelivery::Renew(key)
    }
}

impl Broker {
    /// A place for republishing a message; `None`: enough are under way, or the broker takes none.
    pub(super) fn place_to_renew(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_blocked() {
            return None;
        }
        Arc::clone(&self.redeliveries.places.0).try_acquire_owned().ok()
    }

    /// Publishes `renewed` to the end of `queue`, and answers for the original; gives that up when
    /// the channel of the original has ended.
    pub(super) fn renew(
        &self,
        (key, queue): (Key, &str),
        renewed: Outgoing,
        (receipt, place): (Receipt, OwnedSemaphorePermit),
    ) {
        let exchange = self.topology().names().route();
        let address = Address { exchange, routing_key: queue.to_owned() };
        let broker = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let published = tokio::select! {
                biased;
                () = receipt.void() => return,
                published = broker.publish_at_until_confirmed(&renewed, address) => published,
            };
            match published {
                Ok(()) => {
                    broker.redeliveries.renewed.lock().insert(key);
                    info!(event.id = renewed.id, "message.renewed: it returned often");
                    receipt.settle();
                }
                Err(refused) if refused.is_final() => {
                    error!(event.id = renewed.id, error = refused.report(), "message.not_renewed");
                    // It can be delivered still.
                    broker.redeliveries.refused.lock().insert(key);
                }
                // When dropped, the receipt gives the original back.
                Err(_stopping) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    fn delivery(id: &str, returned: u32, renewals: u32) -> Delivery {
        let mut table = FieldTable::default();
        for (name, count) in [(DELIVERY_COUNT, returned), (header::RENEWALS, renewals)] {
            table.insert(name.into(), AMQPValue::LongLongInt(count.into()));
        }
        let mut delivery = Delivery::mock(1, "e".into(), "k".into(), true, b"{}".to_vec());
        delivery.properties =
            BasicProperties::default().with_message_id(id.into()).with_headers(table);
        delivery
    }

    #[test]
    fn what_returned_often_to_a_process_that_survived_it_is_republished() {
        let redeliveries = Redeliveries::default();
        assert_eq!(redeliveries.of(&delivery("a", RENEWED_FROM - 1, 0)), Redelivery::Ordinary);
        assert!(matches!(redeliveries.of(&delivery("a", RENEWED_FROM, 0)), Redelivery::Renew(_)));
        assert_eq!(
            redeliveries.of(&delivery("b", RENEWED_FROM, 0)),
            Redelivery::Ordinary,
            "not seen yet"
        );
        assert!(matches!(
            redeliveries.of(&delivery("b", RENEWED_FROM + 1, 0)),
            Redelivery::Renew(_)
        ));
    }

    #[test]
    fn what_returned_seldom_costs_no_memory() {
        let redeliveries = Redeliveries::default();
        assert_eq!(redeliveries.of(&delivery("a", REMEMBERED_FROM - 1, 0)), Redelivery::Ordinary);
        assert!(redeliveries.seen.lock().keys.is_empty());
    }

    /// Goal: nothing circulates for ever, not even what no process dies of.
    #[test]
    fn a_message_is_republished_a_hundred_times_at_most() {
        let redeliveries = Redeliveries::default();
        for _ in 0..2 {
            let last = redeliveries.of(&delivery("a", RENEWED_FROM, MAX_RENEWALS));
            assert_eq!(last, Redelivery::Ordinary);
        }
    }

    #[test]
    fn an_original_that_was_republished_is_acked_and_its_copy_is_not() {
        let redeliveries = Redeliveries::default();
        redeliveries.of(&delivery("a", RENEWED_FROM, 0));
        let again = redeliveries.of(&delivery("a", RENEWED_FROM, 0));
        let Redelivery::Renew(key) = again else { panic!("{again:?}") };
        redeliveries.renewed.lock().insert(key);
        assert_eq!(redeliveries.of(&delivery("a", RENEWED_FROM + 1, 0)), Redelivery::Renewed);
        assert_eq!(redeliveries.of(&delivery("a", RENEWED_FROM + 1, 1)), Redelivery::Ordinary);
    }

    /// Goal: a publisher that uses one id and one body for several events loses none of them.
    #[test]
    fn events_that_differ_in_their_topic_only_are_distinguished() {
        let redeliveries = Redeliveries::default();
        let of = |topic: &str| {
            let mut delivery = delivery("a", RENEWED_FROM, 0);
            delivery.properties = delivery.properties.with_type(topic.into());
            delivery
        };
        redeliveries.of(&of("order.created"));
        let Redelivery::Renew(key) = redeliveries.of(&of("order.created")) else { panic!() };
        redeliveries.renewed.lock().insert(key);
        assert_eq!(redeliveries.of(&of("order.created")), Redelivery::Renewed);
        assert_eq!(redeliveries.of(&of("order.paid")), Redelivery::Ordinary);
    }

    #[test]
    fn a_count_that_a_publisher_wrote_is_not_believed() {
        let redeliveries = Redeliveries::default();
        let mut first = delivery("a", RENEWED_FROM, 0);
        first.redelivered = false;
        for _ in 0..3 {
            assert_eq!(redeliveries.of(&first), Redelivery::Ordinary);
        }
    }
}
