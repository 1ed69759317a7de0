//! The broker's words about a publish that it denies.

use lapin::protocol::AMQPSoftError;

use crate::{error::BrokerError, publish::Address};

/// Longer words are cut off, and end with `...`. What they name is then not certain.
///
/// Source: RabbitMQ's `rabbit_binary_generator`, `amqp_exception_explanation`.
const MAX_BYTES: usize = 255;

/// The addresses that a denial concerns: an exchange, or one routing key of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    exchange: String,
    routing_key: Option<String>,
}

impl Reach {
    /// The reach of `error`, with which a publish to `address` was denied.
    pub(super) fn of(error: &BrokerError, address: &Address) -> Self {
        let Address { exchange, routing_key } = address.clone();
        let routing_key = (!names_exchange(error, &exchange)).then_some(routing_key);
        Self { exchange, routing_key }
    }

    pub(super) fn covers(&self, address: &Address) -> bool {
        self.exchange == address.exchange
            && self.routing_key.as_ref().is_none_or(|key| *key == address.routing_key)
    }
}

/// Returns true if the broker's words may mean this topic. Topics can be such that the words about
/// one of them may mean two.
///
/// Source: RabbitMQ's `rabbit_access_control`, `check_topic_access`: "access to topic 'key' in
/// exchange 'name' in vhost …".
pub(super) fn may_name(error: &BrokerError, Address { exchange, routing_key }: &Address) -> bool {
    denied(error)
        .and_then(|it| it.strip_prefix("topic '")?.strip_prefix(routing_key.as_str()))
        .is_some_and(|it| it.starts_with(&format!("' in exchange '{exchange}' in ")))
}

/// Returns true if the broker's words name this exchange.
///
/// Source: RabbitMQ's `rabbit_access_control`, `check_resource_access`: "access to exchange 'name'
/// in vhost …".
pub(super) fn names_exchange(error: &BrokerError, exchange: &str) -> bool {
    denied(error).is_some_and(|it| it.starts_with(&format!("exchange '{exchange}' in ")))
}

/// The object of a denial, in the broker's words.
fn denied(error: &BrokerError) -> Option<&str> {
    let reply = error.reply().filter(|reply| reply.has_code(&AMQPSoftError::ACCESSREFUSED))?;
    let (_, denied) = reply.text.split_once("access to ")?;
    (reply.text.len() < MAX_BYTES).then_some(denied)
}
