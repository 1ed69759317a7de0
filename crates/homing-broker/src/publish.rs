//! Publishing: done when the broker owns the message, and not before.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::{
    BasicProperties, Channel, Confirmation, options::BasicPublishOptions, protocol::AMQPSoftError,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Broker,
    channels::PooledChannel,
    error::{BrokerError, lost},
    frame,
    message::Outgoing,
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
            Self::Parked => by_name(names.parked()),
        }
    }
}

/// Exchange and routing key of a publish.
#[derive(Clone, Debug)]
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
    /// Not cancel safe: dropped between send and confirm, the message may have been taken.
    ///
    /// Source: RabbitMQ documentation, *Consumer Acknowledgements and Publisher Confirms*.
    pub async fn publish(&self, message: &Outgoing, route: Route) -> Result<(), BrokerError> {
        self.publish_to(message, self.address(message, route), false).await
    }

    fn address(&self, message: &Outgoing, route: Route) -> Address {
        route.address(self.topology().names(), message)
    }

    /// Publishes with one deadline for a channel, which may have to connect first, and one for the
    /// confirm. A `patient` caller keeps waiting for the confirm while the broker takes no
    /// messages: repeated, the message would be there twice.
    pub(super) async fn publish_to(
        &self,
        message: &Outgoing,
        address: Address,
        patient: bool,
    ) -> Result<(), BrokerError> {
        // At the events exchange, the routing key is a topic and no queue.
        let names = self.topology().names();
        let is_event = address.exchange == names.events();
        let key = if is_event { names.primary() } else { address.routing_key.clone() };
        let published = self.publish_in_time(message, address, patient).await;
        self.refusals.note(key, published.as_ref().err());
        match &published {
            Ok(()) => self.conditions.publishing.recovered(),
            // This is about one message only.
            Err(error) if error.is_final() => {}
            Err(error) => self.conditions.publishing.failed(error.summary()),
        }
        published
    }

    async fn publish_in_time(
        &self,
        message: &Outgoing,
        address: Address,
        patient: bool,
    ) -> Result<(), BrokerError> {
        let deadline = self.confirm_deadline;
        let timed_out = |step| BrokerError::TimedOut { step, deadline };
        let channel = tokio::time::timeout(deadline, self.channels.get())
            .await
            .map_err(|_elapsed| timed_out("waiting for a channel to publish on".to_owned()))??;
        let publishing = self.publish_once(message, address, channel);
        tokio::pin!(publishing);
        loop {
            match tokio::time::timeout(deadline, &mut publishing).await {
                Ok(published) => return published,
                Err(_elapsed) if patient && self.is_blocked() => {}
                Err(_elapsed) => {
                    return Err(timed_out(format!("publishing event `{}`", message.id)));
                }
            }
        }
    }

    /// The queues that refuse messages of this process, each with the reason; empty if none does.
    #[must_use]
    pub fn refusing(&self) -> Vec<String> {
        let mut queues = self.refusals.queues.lock();
        queues.retain(|_, (at, _)| at.elapsed() <= MAX_REFUSAL_AGE);
        queues.values().map(|(_, why)| why.clone()).collect()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.publishing.state().blocked.is_some() && !self.closing.is_cancelled()
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
    /// | 403, other 4xx | a permission is missing, something is locked | again; readiness shows it |
    /// | 5xx, no reply | the connection is lost | again, on another one |
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
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        loop {
            self.unblocked().await;
            let published = self.publish_to(message, address.clone(), true).await;
            let Err(error) = published else { return Ok(()) };
            if error.is_final() {
                return Err(error);
            }
            if self.closing.is_cancelled() {
                return Err(BrokerError::Closed);
            }
            warn!(event.id = message.id, error = error.report(), "broker.publish_failed");
            if error.has_code(&AMQPSoftError::NOTFOUND) {
                self.restore_exchange().await;
            }
            tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(5))).await;
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

    /// Waits while the broker takes no messages. A publish that it does not read would only time
    /// out, and its channel could not even be closed.
    async fn unblocked(&self) {
        const POLL_INTERVAL: Duration = Duration::from_millis(100);
        while self.is_blocked() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn publish_once(
        &self,
        message: &Outgoing,
        Address { exchange, routing_key }: Address,
        channel: PooledChannel,
    ) -> Result<(), BrokerError> {
        let guard = DropUnlessConfirmed(Some(channel));
        let Some(channel) = guard.0.as_deref() else { return Err(BrokerError::Closed) };
        let confirm = tokio::select! {
            biased;
            sent = self.send(channel, message, (&exchange, &routing_key)) => sent?,
            () = lost(channel) => {
                return Err(BrokerError::Lost { step: format!("publishing to `{exchange}`") });
            }
        };
        match confirm {
            Confirmation::Ack(None) => {
                guard.keep();
                Ok(())
            }
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                Err(BrokerError::Unroutable { exchange, routing_key })
            }
            Confirmation::Nack(None) | Confirmation::NotRequested => {
                Err(BrokerError::Nacked { exchange, routing_key })
            }
        }
    }

    async fn send(
        &self,
        channel: &Channel,
        message: &Outgoing,
        (exchange, routing_key): (&str, &str),
    ) -> Result<Confirmation, BrokerError> {
        let step = |error| BrokerError::of_publish(format!("publishing to `{exchange}`"), error);
        channel
            .basic_publish(
                exchange.into(),
                routing_key.into(),
                // An alternate exchange takes what has no route; `mandatory` reports if that is
                // missing.
                BasicPublishOptions { mandatory: true, immediate: false },
                &message.body,
                self.properties_of(message),
            )
            .await
            .map_err(step)?
            .await
            .map_err(step)
    }

    /// The properties of `message`, trimmed to a frame of the publishing connection.
    pub(super) fn properties_of(&self, message: &Outgoing) -> BasicProperties {
        let max_bytes = self.publishing.max_frame_bytes();
        let (properties, left_out) = frame::fit(message.properties.clone(), max_bytes);
        if left_out > 0 {
            warn!(event.id = message.id, bytes = left_out, "broker.headers_left_out: too large");
        }
        properties
    }
}

/// A refusal is reported for this long: a message that is published again is so within seconds.
const MAX_REFUSAL_AGE: Duration = Duration::from_secs(60);

/// Queues that refuse what is published to them, until they take something again.
#[derive(Default)]
pub(super) struct Refusals {
    queues: Mutex<BTreeMap<String, (Instant, String)>>,
    /// True if there are any, so that a publish need not take the lock.
    any: AtomicBool,
}

impl Refusals {
    /// Notes the result of a publish with this routing key.
    fn note(&self, key: String, error: Option<&BrokerError>) {
        match error {
            None if !self.any.load(Ordering::Relaxed) => {}
            None => {
                let mut queues = self.queues.lock();
                queues.remove(&key);
                self.any.store(!queues.is_empty(), Ordering::Relaxed);
            }
            Some(BrokerError::Nacked { .. }) => {
                let why = format!(
                    "`{key}` takes no messages: it is full (a `max-length`, of a policy?), or its \
                     leader is away"
                );
                self.queues.lock().insert(key, (Instant::now(), why));
                self.any.store(true, Ordering::Relaxed);
            }
            Some(_) => {}
        }
    }
}

/// Closes a channel on which a publish was not confirmed: after a nack some brokers nack everything
/// on it, and after a time-out its confirms are out of step.
pub(super) struct DropUnlessConfirmed(pub(super) Option<PooledChannel>);

impl DropUnlessConfirmed {
    pub(super) fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Drop for DropUnlessConfirmed {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_refuses_is_named_until_it_takes_something() {
        let refusals = Refusals::default();
        let named = || refusals.queues.lock().keys().cloned().collect::<Vec<_>>();
        let nack = |key: &str| BrokerError::Nacked {
            exchange: "e".to_owned(),
            routing_key: key.to_owned(),
        };
        refusals.note("parked".to_owned(), Some(&nack("parked")));
        refusals.note("retry".to_owned(), Some(&nack("retry")));
        refusals.note("wait".to_owned(), Some(&BrokerError::Closed));
        assert_eq!(named(), ["parked", "retry"]);
        refusals.note("retry".to_owned(), None);
        refusals.note("other".to_owned(), None);
        assert_eq!(named(), ["parked"]);
        refusals.note("parked".to_owned(), None);
        assert_eq!(named(), [""; 0]);
    }
}
