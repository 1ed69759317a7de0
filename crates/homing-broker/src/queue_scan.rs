//! Taking messages out of a queue, for people: the parking queue and the net.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio_util::task::TaskTracker;

use super::{
    Broker, Message, Origin, Unreadable,
    batch::Batches,
    channels,
    connection::PassiveConnection,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    headers::{Headers, Moved},
    message::Outgoing,
    scan_lock::ScanLock,
    topology::{Depth, Finding, Names, Topology, depth, depth_on},
};
use crate::settings::EventsSettings;
use homing_domain::{clock, id::EventId, verdict::ParkReason};

/// A walk through a queue. Messages that were fetched and not removed stay where they were: they
/// go back when the walk ends.
pub struct QueueScan {
    topology: Arc<Topology>,
    rules: EventsSettings,
    channel: Channel,
    batches: Batches,
    queue: String,
    /// Messages in the queue at the start.
    total: u32,
    left: u32,
    removed: AtomicU32,
    tasks: TaskTracker,
    /// Ends when what was seen is back.
    lock: Option<ScanLock>,
}

impl Drop for QueueScan {
    /// Ends a walk that was given up at any point: the client keeps a channel open on which it waits for
    /// the answer to the start of a consumer, and what that is sent would stay with it.
    fn drop(&mut self) {
        let lock = self.lock.take();
        if self.channel.status().connected() {
            let channel = self.channel.clone();
            self.tasks.spawn(async move {
                let closed = channel.close(200, "OK".into());
                let closed = within(&channel, ROUND_TRIP_DEADLINE, "ending a walk", closed).await;
                drop(lock);
                closed
            });
        }
    }
}

/// One message of a walk.
#[derive(Debug)]
pub struct Fetched {
    /// What it says.
    pub content: Result<Message, Box<Unreadable>>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// Its routing key there.
    pub routing_key: String,
    /// What the broker did with it, where that and nobody else put it into the queue.
    pub moved: Option<Moved>,
    /// The walk's key for removing it.
    tag: u64,
}

impl Broker {
    /// A walk through the messages that are in `queue` now, from its head. Nobody else sees a
    /// message between its fetching and the end of the walk.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn scan(&self, queue: &str) -> Result<QueueScan, BrokerError> {
        let depth = self.depth(queue).await?;
        let connection = self.control.open().await?;
        let channel = channels::open(&connection).await?;
        let removed = AtomicU32::new(0);
        let topology = Arc::clone(&self.topology);
        let (mut batches, queue) = (Batches::new(queue.to_owned()), queue.to_owned());
        let total = match depth {
            None => 0,
            Some(Depth { messages: total @ 1.., .. }) => total,
            Some(_) => batches.count(&channel).await?,
        };
        let rules = self.rules;
        let tasks = self.tasks.clone();
        Ok(QueueScan {
            topology,
            rules,
            channel,
            batches,
            queue,
            total,
            left: total,
            removed,
            tasks,
            lock: None,
        })
    }

    /// How many messages and consumers `queue` has; `None` where there is no such queue.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        depth(self.control.open().await?.as_ref(), queue).await
    }

    /// Compares what is at the broker with what should be; see [`Finding`].
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn inspect(&self, declared_before: &[String]) -> Result<Vec<Finding>, BrokerError> {
        let mut passive = PassiveConnection::over(&self.control).await?;
        self.topology().inspect(&mut passive, declared_before).await
    }

    /// The queues of earlier versions that are at the broker still. To be called after
    /// [`inspect`](Self::inspect), which finds out whether the installation is one of those.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn inspect_superseded(&self) -> Result<Vec<Finding>, BrokerError> {
        let mut passive = PassiveConnection::over(&self.control).await?;
        self.topology().inspect_superseded(&mut passive).await
    }
}

impl QueueScan {
    /// The same, for as long as it takes with nobody else beside it.
    #[must_use]
    pub fn holding(mut self, lock: ScanLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// How many messages are still ahead, at most.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the walk is over, and what was not removed is back in the queue.
    pub async fn next(&mut self) -> Result<Option<Fetched>, BrokerError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(delivery) = self.batches.next(&self.channel, self.left).await? else {
            self.left = 0;
            return Ok(None);
        };
        self.left = self.left.saturating_sub(1);
        Ok(Some(Fetched::new(self.topology.names(), self.rules, delivery)))
    }

    /// Removes a message that was dealt with.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: it may be in the queue still.
    pub async fn remove(&self, fetched: &Fetched) -> Result<(), BrokerError> {
        let acked = self.channel.basic_ack(fetched.tag, BasicAckOptions { multiple: false });
        within(
            &self.channel,
            ROUND_TRIP_DEADLINE,
            format!("removing from `{}`", self.queue),
            acked,
        )
        .await?;
        self.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the walk; what was not removed is in the queue again.
    ///
    /// The broker puts it back a moment later than it answers, so this looks until everything is
    /// there: the next walk would not see it otherwise. Not for long, because others may have
    /// taken messages meanwhile.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the channel is gone, which has the same effect.
    pub async fn finish(self) -> Result<(), BrokerError> {
        const EVERYTHING: u64 = 0;
        const POLLS: u32 = 50;
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        let put_back = BasicNackOptions { multiple: true, requeue: true };
        let step = format!("putting back what was seen of `{}`", self.queue);
        let returned = self.channel.basic_nack(EVERYTHING, put_back);
        within(&self.channel, ROUND_TRIP_DEADLINE, step, returned).await?;
        let expected = self.total.saturating_sub(self.removed.load(Ordering::Relaxed));
        for _ in 0..POLLS {
            if depth_on(&self.channel, &self.queue).await?.messages >= expected {
                break;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let closed = self.channel.close(200, "OK".into());
        within(&self.channel, ROUND_TRIP_DEADLINE, "ending a walk", closed).await
    }
}

impl Fetched {
    pub(super) fn new(names: &Names, rules: EventsSettings, delivery: Delivery) -> Self {
        let exchange = delivery.exchange.to_string();
        let routing_key = delivery.routing_key.to_string();
        let way = (exchange.as_str(), routing_key.as_str());
        let origin = Origin::of(names, rules, way, &delivery.properties);
        let body = Bytes::from(delivery.data);
        let new_id = || EventId::from(clock::new_id());
        let moved = Headers(delivery.properties.headers().as_ref()).moved();
        let moved = moved.filter(|_| exchange.is_empty());
        Self {
            content: Message::read(&delivery.properties, &origin, body, new_id),
            exchange,
            routing_key,
            moved,
            tag: delivery.delivery_tag,
        }
    }

    /// The message as it is parked again, for the same reason and since the same instant.
    pub(super) fn parked(&self) -> Outgoing {
        let moved = self.moved.as_ref().and_then(|moved| moved.at);
        let now = moved.unwrap_or_else(clock::now);
        match &self.content {
            Ok(message) => {
                let parked = message.parked;
                let reason = parked.map_or(ParkReason::RejectedByBroker, |parked| parked.reason);
                let since = parked.and_then(|parked| parked.since).unwrap_or(now);
                message.parked(reason, since).outgoing()
            }
            Err(unreadable) => {
                unreadable.parked(unreadable.parked.and_then(|parked| parked.since).unwrap_or(now))
            }
        }
    }

    /// The message as it is published again.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        match &self.content {
            Ok(message) => message.outgoing(),
            Err(unreadable) => unreadable.replayed(),
        }
    }
}
