//! One message of a queue, outside of a lane.

use lapin::{message::Delivery, types::ShortString};

use super::{
    Broker, Message, Origin, Unreadable,
    connection::PassiveConnection,
    error::BrokerError,
    headers::{DeadLettered, Headers},
    kept::Kept,
    message::{self, Outgoing, Parked},
    topology::{Depth, Finding, Names, depth},
};
use crate::settings::EventsSettings;
use homing_domain::{clock, id::EventId, time::UnixMillis, verdict::ParkReason};

/// One message of a queue.
#[derive(Debug)]
pub struct Fetched {
    /// The message, or what is wrong with it.
    pub content: Result<Message, Box<Unreadable>>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// Its routing key there.
    pub routing_key: String,
    /// The last dead-lettering, if the broker put the message into the queue.
    pub moved: Option<DeadLettered>,
    /// The time after which the broker parks it, if it is to be held.
    hold_time: Option<ShortString>,
}

impl Broker {
    /// Counts the messages and consumers of `queue`; `None`: there is no such queue.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        depth(self.control.open().await?.as_ref(), queue).await
    }

    /// Compares the broker with the expected topology; see [`Finding`].
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn inspect(&self, declared_before: &[String]) -> Result<Vec<Finding>, BrokerError> {
        let mut passive = PassiveConnection::over(&self.control).await?;
        self.topology().inspect(&mut passive, declared_before).await
    }

    /// Finds the queues of earlier versions that still exist. To be called after
    /// [`inspect`](Self::inspect), which finds out if the installation is one of those.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn inspect_superseded(&self) -> Result<Vec<Finding>, BrokerError> {
        let mut passive = PassiveConnection::over(&self.control).await?;
        self.topology().inspect_superseded(&mut passive).await
    }
}

impl Fetched {
    pub(super) fn new(names: &Names, rules: EventsSettings, delivery: Delivery) -> Self {
        Self::read(names, rules, delivery.into(), || EventId::from(clock::new_id()))
    }

    /// `new_id` is used where the publisher gave no usable id.
    pub(super) fn read(
        names: &Names,
        rules: EventsSettings,
        kept: Kept,
        new_id: impl FnOnce() -> EventId,
    ) -> Self {
        let Kept { exchange, routing_key, properties, body } = kept;
        let way = (exchange.as_str(), routing_key.as_str());
        let origin = Origin::of(names, rules, way, &properties);
        let hold_time = message::hold_time(&properties, &origin);
        let moved = Headers(properties.headers().as_ref()).moved();
        let moved = moved.filter(|_| exchange.is_empty());
        let content = Message::read(&properties, &origin, body, new_id);
        Self { content, exchange, routing_key, moved, hold_time }
    }

    /// The message in the form in which it is parked again, with the same reason and time.
    pub(super) fn parked(&self) -> Outgoing {
        let now = self.parked_at();
        match &self.content {
            Ok(message) => self.parked_again(message).outgoing(),
            Err(unreadable) => {
                unreadable.parked(unreadable.parked.and_then(|parked| parked.since).unwrap_or(now))
            }
        }
    }

    fn parked_at(&self) -> UnixMillis {
        self.moved.as_ref().and_then(|moved| moved.at).unwrap_or_else(clock::now)
    }

    fn parked_again(&self, message: &Message) -> Message {
        let Parked { reason, since } =
            message.parked.unwrap_or(Parked { reason: ParkReason::RejectedByBroker, since: None });
        message.parked(reason, since.unwrap_or_else(|| self.parked_at()))
    }

    /// The message in the form in which it is published to the same queue again.
    pub(super) fn outgoing(&self) -> Outgoing {
        self.due().ending_after(self.hold_time.clone())
    }

    /// The message in the form in which it is published as due.
    pub(super) fn due(&self) -> Outgoing {
        match &self.content {
            Ok(message) => message.outgoing(),
            Err(unreadable) => unreadable.replayed(),
        }
    }
}
