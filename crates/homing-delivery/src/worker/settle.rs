//! Publishes copies of a message and settles it: an ack never precedes a confirm.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Context, disposition::Disposition};
use homing_broker::{Broker, Message, Outgoing, Receipt, Route, error::BrokerError};
use homing_domain::delivery::Delivery;
use homing_telemetry::log_events;

/// Concurrent publishes for one message with many copies, which share its body: with groups of 64,
/// for 4,096 subscriptions.
const COPIES_AT_ONCE: usize = 64;

/// Publishes of one copy before the other one is published.
const HELD_TRIES: usize = 3;
/// Between two of them.
const HELD_PAUSE: Duration = Duration::from_millis(200);

/// As [`settle`] with one copy, or with `otherwise` if the queue of `copy` refuses it or does not
/// answer: the queue of one URL may be full, and deliveries to others need the place in the lane.
/// Returns true if the broker has taken `copy`.
async fn settle_or_else(
    broker: &Broker,
    copy: (Outgoing, Route),
    otherwise: (Outgoing, Route),
    receipt: Receipt,
) -> bool {
    let (message, route) = &copy;
    for _ in 0..HELD_TRIES {
        match broker.publish_patiently(message, *route).await {
            Ok(()) => {
                receipt.settle();
                return true;
            }
            Err(BrokerError::Nacked { .. }) => break,
            Err(error) if error.is_final() => {
                log_events::refused_by_broker(message.id(), &error);
                receipt.reject();
                return false;
            }
            Err(_connection) => tokio::time::sleep(HELD_PAUSE).await,
        }
    }
    settle(broker, [otherwise], receipt).await;
    false
}

/// Publishes and waits for the confirms, then acks. Never the other way round.
///
/// | crash after   | original      | copy      | effect                                       |
/// |---------------|---------------|-----------|----------------------------------------------|
/// | nothing       | redelivered   | none      | the attempt is repeated                      |
/// | confirm       | redelivered   | in place  | repeated, and once more when the copy is due |
/// | ack           | deleted       | in place  | as intended                                  |
///
/// Copies are taken from `copies` one by one: an event may have thousands.
///
/// Returns when the broker owns every copy, however long that takes: giving the original back
/// instead would repeat the attempt at once, for as long as the broker takes no messages. The
/// original goes back only if homing stops meanwhile. If the broker will never take a copy, the
/// original is rejected: the broker itself moves it to the parking queue, as `too_large`. It is there
/// as a whole: replayed, it repeats what other copies carry.
///
/// # Cancel safety
///
/// Dropped before the end, the original is given back; copies may have been taken.
pub(super) async fn settle(
    broker: &Broker,
    copies: impl IntoIterator<Item = (Outgoing, Route)>,
    receipt: Receipt,
) {
    let handed_on = stream::iter(copies)
        .map(Ok)
        .try_for_each_concurrent(COPIES_AT_ONCE, |(message, route)| async move {
            let published = broker.publish_until_confirmed(&message, route).await;
            published.inspect_err(|error| {
                if error.is_final() {
                    log_events::refused_by_broker(message.id(), error);
                }
            })
        })
        .await;
    match handed_on {
        Ok(()) => receipt.settle(),
        Err(error) if error.is_final() => receipt.reject(),
        // Dropped, the receipt gives the original back.
        Err(_stopping) => {}
    }
}

/// Publishes what follows, then settles the message.
pub(super) async fn dispatch(
    context: &Context,
    delivery: &Delivery,
    disposition: Disposition,
    receipt: Receipt,
) {
    let is_slow = disposition.is_slow();
    let skipped = disposition.skipped.as_ref();
    let url = skipped.and_then(|skipped| skipped.url.clone()).filter(|_| is_slow);
    let over = |(message, route): (Message, Route)| (message.outgoing().over(route), route);
    let Disposition { next, otherwise, .. } = disposition;
    match (next.map(over), otherwise.map(|otherwise| over(*otherwise))) {
        (Some(next), Some(otherwise)) => {
            let settling = Box::pin(settle_or_else(&context.broker, next, otherwise, receipt));
            let is_held = settling.await;
            if is_slow {
                let why = if is_held { "the endpoint is slow" } else { "throttled" };
                context.observers.put_back(url.as_ref(), why, None);
            }
            match (is_held, is_slow) {
                (true, true) => log_events::held_as_slow(delivery),
                (false, true) => log_events::throttled(),
                (_, false) => {}
            }
        }
        (Some(next), None) => Box::pin(settle(&context.broker, [next], receipt)).await,
        (None, _) => receipt.settle(),
    }
}
