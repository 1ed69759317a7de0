//! Consuming: each message comes with the receipt that answers for it.

use std::future::poll_fn;

use bytes::Bytes;
use lapin::{Channel, types::ShortString};
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
    feeds::Feeds,
    message,
    prefetch::{Bounds, Prefetch},
    receipt::Answer,
    redeliveries::{self, Redelivery},
    topology::ShardPart,
};
use homing_domain::{clock, id::EventId};

/// A part of what workers consume: the shards of one purpose, or a held queue. Primary,
/// retry and all held queues have a connection each.
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
    /// The number of the queue from which it came, in the order in which they were named.
    pub queue: usize,
    /// The message; `None`: it is or was republished, and nothing else is to be done.
    pub received: Option<Received>,
}

/// Messages of the queues of one lane, on a channel of its own.
pub struct Consumer {
    broker: Broker,
    channel: Channel,
    queues: Vec<String>,
    prefetch: Prefetch,
    feeds: Feeds,
    answers: mpsc::Sender<Answer>,
    answering: JoinHandle<Result<(), BrokerError>>,
}

impl Broker {
    /// Starts to consume `queues`, those of `lane`, the left-over ones last; what the broker sends
    /// ahead over all of them stays within `bounds`, but is at least one message from each.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn consume(
        &self,
        lane: Lane,
        queues: Vec<String>,
        bounds: Bounds,
    ) -> Result<Consumer, BrokerError> {
        let link = match lane {
            Lane::Primary => &self.primary,
            Lane::Retry => &self.retry,
            Lane::Held(_) => &self.held,
        };
        let connection = link.open().await?;
        let channel = channels::open(&connection).await?;
        let prefetch = Prefetch::new(bounds, Instant::now());
        let left_over = self.topology.left_over_shards(lane);
        let in_force = queues.iter().take_while(|queue| !left_over.contains(queue)).count();
        let feeds = Feeds::start(&channel, &queues, in_force, prefetch.in_force()).await?;
        // Room for an answer to every message that can be unanswered: those at work, and those that
        // two consumers have prefetched while one replaces the other.
        let max_messages = usize::from(bounds.max_messages).max(queues.len()).max(1);
        let (answers, receiver) = mpsc::channel(3 * max_messages);
        let answering = self.tasks.spawn(send_answers(channel.clone(), receiver));
        Ok(Consumer { broker: self.clone(), channel, queues, prefetch, feeds, answers, answering })
    }

    /// The shards in force that no worker consumes, where there are several.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn shards_without_consumer(&self) -> Result<Vec<String>, BrokerError> {
        let mut without = Vec::new();
        if self.topology.names().shards() == 1 {
            return Ok(without);
        }
        for lane in [Lane::Primary, Lane::Retry] {
            for queue in self.topology.lane_queues(lane, ShardPart::ALL) {
                if self.depth(&queue).await?.is_none_or(|depth| depth.consumers == 0) {
                    without.push(queue);
                }
            }
        }
        Ok(without)
    }

    /// The number of workers that consume new events, by the broker's count; 0 where it does not
    /// know. `parts` is the number of parts into which workers divide the shards.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn workers(&self, parts: u16) -> Result<u32, BrokerError> {
        let mut workers = 0_u32;
        for part in 0..parts {
            let depth = self.depth(&self.topology.names().primary_shard(part)).await?;
            workers = workers.saturating_add(depth.map_or(0, |depth| depth.consumers));
        }
        Ok(workers)
    }
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
        if self.feeds.is_replacing() {
            return Ok(());
        }
        let Some(prefetch) = self.prefetch.change(Instant::now()) else { return Ok(()) };
        self.feeds.replace(&self.channel, &self.queues, prefetch).await
    }

    /// Returns true if the broker ended the consumer of one queue, and not all.
    #[must_use]
    pub fn has_lost_a_queue(&self) -> bool {
        self.feeds.has_lost()
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
        let message = poll_fn(|cx| self.feeds.poll_next(cx));
        tokio::select! {
            biased;
            // Without acks the broker soon stops sending: consume again.
            () = self.answers.closed() => Ok(None),
            message = message => match message {
                Some(Ok((queue, delivery))) => Ok(Some(self.received(queue, delivery))),
                Some(Err(error)) => Err(BrokerError::lost(error)),
                None => Ok(None),
            },
            () = lost(&self.channel) => Ok(None),
        }
    }

    /// Reads a delivery.
    fn received(&mut self, queue: usize, delivery: lapin::message::Delivery) -> Taken {
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
                    let name = self.queues.get(queue).map_or("", String::as_str);
                    broker.renew((key, name), renewed, (receipt, place));
                    return Taken { queue, received: None };
                }
            }
            Redelivery::Renewed => {
                let id = delivery.properties.message_id().as_ref().map(ShortString::as_str);
                info!(event.id = id, "message.renewed: its original was not acked in time");
                receipt.settle();
                return Taken { queue, received: None };
            }
        }
        let is_renewed = redeliveries::renewals(&delivery.properties) > 0;
        let received = Received {
            content: Message::read(&delivery.properties, &origin, body, new_id),
            redelivered: delivery.redelivered || is_renewed,
            returned: redeliveries::count(&delivery.properties),
            receipt,
        };
        Taken { queue, received: Some(received) }
    }

    /// Cancels the consumers. Messages that were sent and not taken return to the queue when the
    /// channel ends.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the connection is lost, so it sends no more either.
    pub async fn stop(&self) -> Result<(), BrokerError> {
        self.feeds.stop(&self.channel).await
    }

    /// Sends the answers that are still due and closes the channel. Waits until its deadline for
    /// receipts that are not dropped yet.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: some answers may not have arrived; the broker redelivers those messages.
    pub async fn finish(self) -> Result<(), BrokerError> {
        let Self { channel, queues, feeds, answers, answering, .. } = self;
        let queues: Vec<_> = feeds.consumed(&queues).cloned().collect();
        drop((feeds, answers));
        match timeout(ROUND_TRIP_DEADLINE, answering).await {
            Ok(Ok(answered)) => answered?,
            Ok(Err(_panicked)) => return Err(BrokerError::Closed),
            Err(_elapsed) => {
                let step = "sending the last acks".to_owned();
                return Err(BrokerError::TimedOut { step, deadline: ROUND_TRIP_DEADLINE });
            }
        }
        for queue in queues {
            acks::flush(&channel, &queue).await?;
        }
        let closed = channel.close(200, "OK".into());
        within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await
    }
}
