//! Consuming: each message comes with the receipt that answers for it.

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

use tracing::info;

use super::{
    Broker, Message, Origin, Receipt, Unreadable,
    acks::{self, send_answers},
    channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, lost, within},
    message,
    prefetch::{Bounds, Prefetch},
    receipt::Answer,
    redeliveries::{self, Redelivery},
    topology::{Depth, Names},
};
use homing_domain::{clock, id::EventId};

/// A queue that workers consume. Primary, retry and all held queues have a connection each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// New events.
    Primary,
    /// Due deliveries.
    Retry,
    /// Deliveries that wait for their endpoint, in the held queue of this slot.
    Held(u16),
}

impl Lane {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Retry => "retry",
            Self::Held(_) => "held",
        }
    }

    fn queue(self, names: &Names) -> String {
        match self {
            Self::Primary => names.primary(),
            Self::Retry => names.retry(),
            Self::Held(slot) => names.held(slot),
        }
    }
}

/// A message from a queue.
#[derive(Debug)]
pub struct Received {
    /// The message, or what is wrong with it.
    pub content: Result<Message, Box<Unreadable>>,
    /// True if the broker sent it before, to any consumer, or homing republished it for that
    /// reason.
    pub redelivered: bool,
    /// Times it returned to the queue, because a worker died or gave it back.
    pub returned: u32,
    /// Answers for it.
    pub receipt: Receipt,
}

/// A message from a consumer's queue.
#[derive(Debug)]
pub struct Taken {
    /// The message; `None`: it is or was republished, and nothing else is to be done.
    pub received: Option<Received>,
}

/// Messages of one queue, on a channel of its own.
pub struct Consumer {
    broker: Broker,
    channel: Channel,
    queue: String,
    prefetch: Prefetch,
    messages: lapin::Consumer,
    /// The consumer that `messages` replaced; its messages come first.
    replaced: Option<lapin::Consumer>,
    answers: mpsc::Sender<Answer>,
    answering: JoinHandle<Result<(), BrokerError>>,
}

impl Broker {
    /// Starts to consume the queue of `lane`; what the broker sends ahead stays within `bounds`.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn consume(&self, lane: Lane, bounds: Bounds) -> Result<Consumer, BrokerError> {
        let link = match lane {
            Lane::Primary => &self.primary,
            Lane::Retry => &self.retry,
            Lane::Held(_) => &self.held,
        };
        let queue = lane.queue(self.topology.names());
        let connection = link.open().await?;
        let channel = channels::open(&connection).await?;
        let prefetch = Prefetch::new(bounds, Instant::now());
        let messages = start(&channel, &queue, prefetch.in_force()).await?;
        // Room for an answer to every message that can be unanswered: those at work, and those that
        // two consumers have prefetched while one replaces the other.
        let (answers, receiver) = mpsc::channel(3 * usize::from(bounds.max_messages.max(1)));
        let answering = self.tasks.spawn(send_answers(channel.clone(), receiver));
        Ok(Consumer {
            broker: self.clone(),
            channel,
            queue,
            prefetch,
            messages,
            replaced: None,
            answers,
            answering,
        })
    }

    /// Returns what waits in the queue of `lane`, and its consumers in all processes; zeros where
    /// it does not exist.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn lane_depth(&self, lane: Lane) -> Result<Depth, BrokerError> {
        let depth = self.depth(&lane.queue(self.topology.names())).await?;
        Ok(depth.unwrap_or(Depth { messages: 0, consumers: 0 }))
    }
}

/// Consumes `queue` on `channel`; the broker sends at most `prefetch` messages ahead.
pub(super) async fn start(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
) -> Result<lapin::Consumer, BrokerError> {
    let limited = channel.basic_qos(prefetch, BasicQosOptions { global: false });
    within(channel, ROUND_TRIP_DEADLINE, "setting the prefetch", limited).await?;
    let options = BasicConsumeOptions::default();
    let consumed = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    within(channel, ROUND_TRIP_DEADLINE, format!("consuming `{queue}`"), consumed).await
}

impl Consumer {
    /// Adapts the prefetch to the sizes of messages. To be called before [`next`](Self::next).
    ///
    /// A consumer's prefetch is fixed, so a new consumer replaces it. Quorum queues have no
    /// prefetch per channel. Source: RabbitMQ documentation, *Consumer Prefetch*.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the consumer is unusable.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if dropped, messages may come that are not taken until the channel ends.
    pub async fn adapt(&mut self) -> Result<(), BrokerError> {
        if self.replaced.is_some() {
            return Ok(());
        }
        let Some(prefetch) = self.prefetch.change(Instant::now()) else { return Ok(()) };
        // The new one starts first: other processes count consumers to know how many workers there
        // are.
        let new = start(&self.channel, &self.queue, prefetch).await?;
        self.stop().await?;
        self.replaced = Some(std::mem::replace(&mut self.messages, new));
        Ok(())
    }

    /// Returns the next message; `None` when the broker sends no more: the channel is closed or the
    /// consumer cancelled.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Taken>, BrokerError> {
        loop {
            let replaced = self.replaced.is_some();
            let messages = self.replaced.as_mut().unwrap_or(&mut self.messages);
            return tokio::select! {
                biased;
                // Without acks the broker soon stops sending: consume again.
                () = self.answers.closed() => Ok(None),
                message = messages.next() => match message {
                    Some(Ok(delivery)) => Ok(Some(self.received(delivery))),
                    Some(Err(error)) => Err(BrokerError::lost(error)),
                    None if replaced => {
                        self.replaced = None;
                        continue;
                    }
                    None => Ok(None),
                },
                () = lost(&self.channel) => Ok(None),
            };
        }
    }

    /// Reads a delivery.
    fn received(&mut self, delivery: lapin::message::Delivery) -> Taken {
        let broker = &self.broker;
        let state = broker.redeliveries.of(&delivery);
        let way = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        let names = broker.topology.names();
        let origin = Origin::of(names, broker.rules, way, &delivery.properties);
        let new_id = || EventId::from(clock::new_id());
        let body = Bytes::from(delivery.data);
        self.prefetch.observe(body.len());
        let receipt = Receipt::new(delivery.delivery_tag, self.answers.clone());
        match state {
            Redelivery::Ordinary => {}
            Redelivery::Renew(key) => {
                if let Some(place) = broker.place_to_renew() {
                    let renewed = message::renewed(&delivery.properties, &origin, body);
                    broker.renew((key, &self.queue), renewed, (receipt, place));
                    return Taken { received: None };
                }
            }
            Redelivery::Renewed => {
                let id = delivery.properties.message_id().as_ref().map(ShortString::as_str);
                info!(event.id = id, "message.renewed: its original was not acked in time");
                receipt.settle();
                return Taken { received: None };
            }
        }
        let is_renewed = redeliveries::renewals(&delivery.properties) > 0;
        let received = Received {
            content: Message::read(&delivery.properties, &origin, body, new_id),
            redelivered: delivery.redelivered || is_renewed,
            returned: redeliveries::count(&delivery.properties),
            receipt,
        };
        Taken { received: Some(received) }
    }

    /// Cancels the consumer. Messages that were sent and not taken return to the queue when the
    /// channel ends.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the connection is lost, so it sends no more either.
    pub async fn stop(&self) -> Result<(), BrokerError> {
        let cancelled =
            self.channel.basic_cancel(self.messages.tag(), BasicCancelOptions::default());
        within(&self.channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled).await
    }

    /// Sends the answers that are still due and closes the channel. Waits until its deadline for
    /// receipts that are not dropped yet.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: some answers may not have arrived; the broker redelivers those messages.
    pub async fn finish(self) -> Result<(), BrokerError> {
        let Self { channel, queue, messages, replaced, answers, answering, .. } = self;
        drop((messages, replaced, answers));
        match timeout(ROUND_TRIP_DEADLINE, answering).await {
            Ok(Ok(answered)) => answered?,
            Ok(Err(_panicked)) => return Err(BrokerError::Closed),
            Err(_elapsed) => {
                let step = "sending the last acks".to_owned();
                return Err(BrokerError::TimedOut { step, deadline: ROUND_TRIP_DEADLINE });
            }
        }
        acks::flush(&channel, &queue).await?;
        let closed = channel.close(200, "OK".into());
        within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await
    }
}
