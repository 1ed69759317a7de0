//! Publishing: done when the broker owns the message, and not before.

use std::{sync::Arc, time::Duration};

use lapin::protocol::AMQPSoftError;
use tracing::{debug, info, warn};

use super::{
    Broker, backoff::Backoff, error::BrokerError, frame, group::Publish, message::Outgoing,
    topology::Names,
};

/// The destination of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To every subscription that matches, as a publisher would send it. What is for one
    /// subscription, or about homing itself, goes through the route exchange, because it would not
    /// be trusted otherwise.
    Events,
    /// Due now.
    Retry,
    /// Due after this wait, which must be one of the topology's.
    Wait(Duration),
    /// Waits in the held queue of this slot until its endpoint can take it.
    Held {
        /// The number of the queue.
        slot: u16,
        /// The broker parks it after this time.
        at_most: Duration,
    },
    /// Given up, and kept for an operator.
    Parked,
}

impl Route {
    /// The exchange and the routing key.
    pub(super) fn address(self, names: &Names, message: &Outgoing) -> Address {
        let by_name = |queue| Address { exchange: names.route(), routing_key: queue };
        match self {
            Self::Events if message.is_privileged => by_name(names.primary()),
            Self::Events => {
                Address { exchange: names.events(), routing_key: message.topic.clone() }
            }
            Self::Retry => by_name(names.retry()),
            Self::Wait(wait) => by_name(names.wait(wait)),
            Self::Held { slot, .. } => by_name(names.held(slot)),
            Self::Parked => by_name(names.parked()),
        }
    }
}

/// Exchange and routing key of a publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Broker {
    /// Publishes one persistent message and waits for the broker to own it.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; after any of them the caller still holds the original and must not ack it.
    /// The broker may have the message all the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe for others: a group is published without its callers. The message of a caller that
    /// is dropped may be taken or not, as after an error.
    ///
    /// Source: RabbitMQ documentation, *Consumer Acknowledgements and Publisher Confirms*.
    pub async fn publish(&self, message: &Outgoing, route: Route) -> Result<(), BrokerError> {
        self.publish_to(message, &self.address(message, route), false).await
    }

    /// As [`publish`](Self::publish), but waits while the broker takes no messages from anyone.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_patiently(
        &self,
        message: &Outgoing,
        route: Route,
    ) -> Result<(), BrokerError> {
        self.publish_to(message, &self.address(message, route), true).await
    }

    /// The most subscriptions that one message may name: their list has to fit into a frame.
    #[must_use]
    pub fn max_named(&self) -> usize {
        frame::max_named(self.publishers.max_frame_bytes())
    }

    fn address(&self, message: &Outgoing, route: Route) -> Address {
        route.address(self.topology().names(), message)
    }

    /// Publishes as [`Publishers::publish`](super::publishers::Publishers::publish) does, and notes
    /// how that went. Logs a failure once for each cause: for a queue or an address until that
    /// works again, else until publishing does.
    pub(super) async fn publish_to(
        &self,
        message: &Outgoing,
        address: &Address,
        patient: bool,
    ) -> Result<(), BrokerError> {
        // At the events exchange, the routing key is a topic and no queue.
        let names = self.topology().names();
        let is_event = address.exchange == names.events();
        let queue = if is_event { names.primary() } else { address.routing_key.clone() };
        let publish = Publish {
            queue: queue.clone(),
            address: address.clone(),
            properties: Arc::clone(&message.properties),
            body: message.body.clone(),
            // An alternate exchange takes what has no route; this reports if that is missing.
            mandatory: true,
        };
        let published = self.publishers.publish(publish, patient).await;
        match &published {
            Ok(()) => {
                self.failures.worked(&queue, address);
                self.conditions.publishing.recovered();
            }
            // This is about one message only.
            Err(error) if error.is_final() => {}
            Err(error) => {
                let condition = &self.conditions.publishing;
                let is_first = condition.failing_for(Duration::ZERO) != Some(error.summary());
                condition.failed(error.summary());
                if self.failures.failed(&queue, address, error).unwrap_or(is_first) {
                    warn!(event.id = message.id, error = error.report(), "broker.publish_failed");
                }
            }
        }
        published
    }

    /// The queues that refuse messages of this process, each with the reason; empty if none does.
    #[must_use]
    pub fn refusing(&self) -> Vec<String> {
        self.failures.refusing()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.publishers.is_blocked()
    }

    /// Publishes until the broker owns the message, however long that takes. A copy whose confirm
    /// was lost becomes a duplicate.
    ///
    /// The broker's reply decides what follows:
    ///
    /// | reply | meaning | what follows |
    /// |---|---|---|
    /// | 406 about the message's size, 311 | it takes no message of this size | final |
    /// | nack | a queue is full, or its leader is away | again; readiness names the queue |
    /// | 404 | the exchange is missing | again, once the topology is declared |
    /// | 403, other 4xx | a permission is missing, something is locked | again |
    /// | 5xx, no reply | the connection is lost | again, on another one |
    ///
    /// What is published again is logged as `broker.publish_failed`, every ten minutes if it goes
    /// on. Readiness shows it if nothing else can be published.
    ///
    /// # Errors
    ///
    /// [`BrokerError::TooLarge`]: the broker will never take it; the original is to be refused.
    /// [`BrokerError::Closed`]: homing is stopping. The original must not be acked.
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_until_confirmed(
        &self,
        message: &Outgoing,
        route: Route,
    ) -> Result<(), BrokerError> {
        self.publish_at_until_confirmed(message, self.address(message, route)).await
    }

    /// Publishes to any address until the broker owns the message.
    pub(super) async fn publish_at_until_confirmed(
        &self,
        message: &Outgoing,
        address: Address,
    ) -> Result<(), BrokerError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let published = self.publish_to(message, &address, true).await;
            let Err(error) = published else { return Ok(()) };
            if error.is_final() {
                return Err(error);
            }
            if self.closing.is_cancelled() {
                return Err(BrokerError::Closed);
            }
            debug!(event.id = message.id, error = error.report(), "broker.publish_again");
            if error.has_code(&AMQPSoftError::NOTFOUND) {
                self.restore_exchange().await;
            }
            let pause = tokio::time::sleep(backoff.pause());
            self.closing.run_until_cancelled(pause).await;
        }
    }

    /// Declares the topology again, because an exchange is missing and nothing can be published.
    /// One caller does so; the others retry meanwhile.
    async fn restore_exchange(&self) {
        let Ok(_restoring) = self.restoring.try_lock() else { return };
        match self.restore_topology().await {
            Ok(()) => info!("topology.restored: an exchange was missing"),
            Err(error) => warn!(error = error.report(), "topology.restore_failed"),
        }
    }
}
