//! Bindings of queues and exchanges.

use lapin::{
    Channel,
    options::{ExchangeBindOptions, QueueBindOptions},
    types::FieldTable,
};

use super::Names;
use crate::error::{BrokerError, ROUND_TRIP_DEADLINE, within};

/// Unbinds the queue of the first version from the alternate exchange: two would each get a copy.
pub(crate) async fn unbind_former_unrouted(
    channel: &Channel,
    names: &Names,
) -> Result<(), BrokerError> {
    unbind(channel, &names.former_unrouted(), &names.alternate(), "").await
}

/// Removes a binding, if there is one.
pub(super) async fn unbind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    routing_key: &str,
) -> Result<(), BrokerError> {
    let step = format!("unbinding `{queue}` from `{exchange}`");
    let unbound = channel.queue_unbind(
        queue.into(),
        exchange.into(),
        routing_key.into(),
        FieldTable::default(),
    );
    within(channel, ROUND_TRIP_DEADLINE, step, unbound).await
}

pub(super) async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: String,
    routing_key: &str,
) -> Result<(), BrokerError> {
    let step = format!("binding `{queue}` to `{exchange}`");
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        routing_key.into(),
        options,
        FieldTable::default(),
    );
    within(channel, ROUND_TRIP_DEADLINE, step, bound).await
}

/// Binds the exchange `to`.
pub(super) async fn bind_exchange(
    channel: &Channel,
    to: &str,
    exchange: &str,
    routing_key: &str,
) -> Result<(), BrokerError> {
    let step = format!("binding exchange `{to}` to `{exchange}`");
    let options = ExchangeBindOptions::default();
    let bound = channel.exchange_bind(
        to.into(),
        exchange.into(),
        routing_key.into(),
        options,
        FieldTable::default(),
    );
    within(channel, ROUND_TRIP_DEADLINE, step, bound).await
}
