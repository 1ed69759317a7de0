//! Scans queues for operators: the parking queue and the unrouted queue.

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
    types::ShortString,
};
use tokio_util::task::TaskTracker;

use super::{
    Broker, Message, Origin, Recipients, Unreadable, acks,
    batch::Batches,
    channels,
    connection::PassiveConnection,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    headers::{DeadLettered, Headers},
    message::{self, Outgoing, Parked},
    scan_lock::ScanLock,
    topology::{Depth, Finding, Names, Topology, depth, depth_on},
};
use crate::settings::EventsSettings;
use homing_domain::{
    clock,
    id::{EventId, SubscriptionId},
    time::UnixMillis,
    verdict::ParkReason,
};

/// A scan of a queue. Messages that were fetched and not removed return to the queue when the scan
/// ends.
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
    /// Held until what was fetched is back in the queue.
    lock: Option<ScanLock>,
}

impl Drop for QueueScan {
    /// Ends a scan that was given up at any point: the client keeps a channel open on which a
    /// `basic.consume` is pending, and messages that come on it would stay there.
    fn drop(&mut self) {
        let lock = self.lock.take();
        if self.channel.status().connected() {
            let (channel, queue) = (self.channel.clone(), self.queue.clone());
            self.tasks.spawn(async move {
                // If it fails, the channel is unusable.
                let _flushed = acks::flush(&channel, &queue).await;
                let closed = channel.close(200, "OK".into());
                let closed =
                    within(&channel, ROUND_TRIP_DEADLINE, "ending a queue scan", closed).await;
                drop(lock);
                closed
            });
        }
    }
}

/// One message of a scan.
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
    /// The delivery tag, for removing it.
    tag: u64,
}

impl Broker {
    /// Starts a scan of the messages that are in `queue` now, from its head. No other consumer sees
    /// a message between its fetch and the end of the scan.
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

impl QueueScan {
    /// Holds `lock` until the scan ends.
    #[must_use]
    pub fn holding(mut self, lock: ScanLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// The most messages that are still to come.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the scan is over, and what was not removed is back in the queue.
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

    /// Removes a message that was processed; part of it may be in the queue again already, as a
    /// message of its own.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: it may still be in the queue.
    pub async fn remove(&self, fetched: &Fetched, is_partly_back: bool) -> Result<(), BrokerError> {
        let acked = self.channel.basic_ack(fetched.tag, BasicAckOptions { multiple: false });
        within(
            &self.channel,
            ROUND_TRIP_DEADLINE,
            format!("removing from `{}`", self.queue),
            acked,
        )
        .await?;
        if !is_partly_back {
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Ends the scan; what was not removed is in the queue again.
    ///
    /// The broker requeues a moment later than it answers, so this polls until everything is there:
    /// the next scan would miss it otherwise. Not for long, because others may have taken messages
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the channel has ended, which has the same effect.
    pub async fn finish(self) -> Result<(), BrokerError> {
        const EVERYTHING: u64 = 0;
        const POLLS: u32 = 50;
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        let put_back = BasicNackOptions { multiple: true, requeue: true };
        acks::flush(&self.channel, &self.queue).await?;
        let step = format!("requeueing what was fetched from `{}`", self.queue);
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
        within(&self.channel, ROUND_TRIP_DEADLINE, "ending a queue scan", closed).await
    }
}

impl Fetched {
    pub(super) fn new(names: &Names, rules: EventsSettings, delivery: Delivery) -> Self {
        let exchange = delivery.exchange.to_string();
        let routing_key = delivery.routing_key.to_string();
        let way = (exchange.as_str(), routing_key.as_str());
        let origin = Origin::of(names, rules, way, &delivery.properties);
        let hold_time = message::hold_time(&delivery.properties, &origin);
        let body = Bytes::from(delivery.data);
        let new_id = || EventId::from(clock::new_id());
        let moved = Headers(delivery.properties.headers().as_ref()).moved();
        let moved = moved.filter(|_| exchange.is_empty());
        Self {
            content: Message::read(&delivery.properties, &origin, body, new_id),
            exchange,
            routing_key,
            moved,
            hold_time,
            tag: delivery.delivery_tag,
        }
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

    /// The deliveries of the message that are not to one of `taken`, in the form in which they are
    /// parked again; `None` if there are no others, or if it is an event.
    #[must_use]
    pub fn parked_without(&self, taken: &[SubscriptionId]) -> Option<Outgoing> {
        let mut parked = self.parked_again(self.content.as_ref().ok()?);
        let ids = parked.recipients.ids().iter().copied();
        let left = Recipients::named(ids.filter(|id| !taken.contains(id)));
        (left != Recipients::Matching).then(|| {
            parked.recipients = left;
            parked.outgoing()
        })
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
