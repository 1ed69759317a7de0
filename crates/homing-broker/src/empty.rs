//! Empties the queues in which nothing may stay: the unrouted queue, and those of an earlier
//! version.
//!
//! Each message is published as a new one, confirmed, and acked: nothing is lost, and the broker
//! forgets how often it was redelivered and where it was dead-lettered. Any number of processes may
//! empty the same queue; the broker gives each message to one of them.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions},
};
use tokio::{
    sync::{Mutex, Notify, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    Broker, Outgoing, acks, channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, lost, within},
    feeds::start,
    fetched::Fetched,
    headers::Headers,
    message::header,
    publish::{Address, Route},
    topology::{Names, dead_letters_rejected, depth, unbind_former_unrouted},
};

/// Messages that the broker sends ahead: those in flight are out of reach of a `message-ttl`.
const PREFETCH: u16 = 128;
/// Concurrent publishes, so that most of each group is left to deliveries.
const MAX_PUBLISHES: usize = 16;
/// Interval at which the number of moved messages is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// A message without a route is republished once the topology was declared within this time.
const RESTORE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause before a message that keeps finding no route is republished.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// A queue that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptiedQueue {
    /// The unrouted queue.
    Unrouted,
    /// The unrouted queue of the first version.
    FormerUnrouted,
    /// The parking queue of the first version.
    FormerParked,
}

impl EmptiedQueue {
    /// All queues that are emptied.
    pub const ALL: [Self; 3] = [Self::Unrouted, Self::FormerUnrouted, Self::FormerParked];

    fn queue(self, names: &Names) -> String {
        match self {
            Self::Unrouted => names.unrouted(),
            Self::FormerUnrouted => names.former_unrouted(),
            Self::FormerParked => names.former_parked(),
        }
    }
}

/// One run that empties a queue, with one consumer after the other.
struct Emptying<'a> {
    broker: &'a Broker,
    what: EmptiedQueue,
    queue: String,
    channel: Channel,
    stop: &'a CancellationToken,
    /// True if the broker dead-letters what is rejected; otherwise it would delete that.
    may_reject: bool,
    /// When the topology was declared last.
    restored: Mutex<Option<Instant>>,
    publishes: Semaphore,
    moved: AtomicU64,
    /// Unacked messages of which the broker takes no copy, and that it does not move: they stay.
    left: AtomicUsize,
    /// Notified when so many stay that others need a larger prefetch.
    is_crowded: Notify,
}

/// Completes some time after `stop`.
async fn grace_over(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(ROUND_TRIP_DEADLINE).await;
}

impl Broker {
    /// Empties a queue and keeps it empty until `stop` or until the queue is deleted. `false`:
    /// there is none, and none is expected; checking often would fill the broker's log.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: what was not moved is still in the queue.
    ///
    /// # Cancel safety
    ///
    /// If dropped between publish and ack, a message is moved and still in the queue.
    pub async fn empty(
        &self,
        what: EmptiedQueue,
        stop: &CancellationToken,
    ) -> Result<bool, BrokerError> {
        let queue = what.queue(self.topology().names());
        let connection = self.control.open().await?;
        if depth(&connection, &queue).await?.is_none() {
            return Ok(what == EmptiedQueue::Unrouted || self.topology().is_of_first_version());
        }
        let may_reject = dead_letters_rejected(&connection, self.topology(), &queue).await?;
        let channel = channels::open(&connection).await?;
        if what == EmptiedQueue::FormerUnrouted {
            unbind_former_unrouted(&channel, self.topology().names()).await?;
        }
        let emptying = Emptying {
            broker: self,
            what,
            queue,
            channel,
            stop,
            may_reject,
            restored: Mutex::default(),
            publishes: Semaphore::new(MAX_PUBLISHES),
            moved: AtomicU64::default(),
            left: AtomicUsize::default(),
            is_crowded: Notify::new(),
        };
        let ended = emptying.run().await;
        emptying.log_once();
        ended?;
        let channel = &emptying.channel;
        acks::flush(channel, &emptying.queue).await?;
        let closed = channel.close(200, "OK".into());
        within(channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await.map(|()| true)
    }
}

impl Emptying<'_> {
    /// Moves messages until `stop`. Messages that stay count against their consumer's prefetch, so
    /// when there are many, another consumer follows, with a prefetch of its own.
    async fn run(&self) -> Result<(), BrokerError> {
        let channel = &self.channel;
        while !self.stop.is_cancelled() {
            let consumer = start(channel, &self.queue, PREFETCH).await?;
            let tag = consumer.tag();
            let moving = consumer
                .map(|delivery| delivery.map_err(BrokerError::lost))
                .try_for_each_concurrent(usize::from(PREFETCH), |it| self.move_on(it));
            tokio::pin!(moving);
            tokio::select! {
                ended = &mut moving => return ended,
                never = self.log() => match never {},
                () = lost(channel) => {
                    return Err(BrokerError::Lost { step: format!("emptying `{}`", self.queue) });
                }
                () = self.stop.cancelled() => {}
                () = self.is_crowded.notified() => {}
            }
            // Prefetched messages are moved too: what is given back counts as redelivered.
            let cancelled = channel.basic_cancel(tag, BasicCancelOptions::default());
            within(channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled).await?;
            tokio::select! {
                ended = &mut moving => ended?,
                () = lost(channel) => {
                    return Err(BrokerError::Lost { step: format!("emptying `{}`", self.queue) });
                }
                // The end of the channel gives the rest back.
                () = grace_over(self.stop) => break,
            }
        }
        Ok(())
    }

    async fn move_on(&self, delivery: Delivery) -> Result<(), BrokerError> {
        let tag = delivery.delivery_tag;
        let times = Headers(delivery.properties.headers().as_ref()).count(header::UNROUTED);
        let fetched = Fetched::new(self.broker.topology().names(), self.broker.rules, delivery);
        let published = if self.was_parked(&fetched) {
            let parked = fetched.parked();
            let address = Route::Parked.address(self.broker.topology().names(), &parked);
            self.publish(parked, address).await
        } else {
            if times > 0 {
                self.came_back(&fetched, times).await;
            }
            self.restore().await?;
            let (message, address) = self.republished(&fetched);
            self.publish(message.counting(header::UNROUTED, times.saturating_add(1)), address).await
        };
        match published {
            Ok(()) => self.ack(tag).await,
            Err((id, refused @ BrokerError::TooLarge { .. })) => {
                error!(event.id = id, error = refused.report(), "topology.not_moved");
                self.reject(tag).await
            }
            Err((_, error)) => Err(error),
        }
    }

    async fn publish(
        &self,
        message: Outgoing,
        address: Address,
    ) -> Result<(), (String, BrokerError)> {
        let _place = self.publishes.acquire().await;
        let published = self.broker.publish_at_until_confirmed(&message, address).await;
        published.map_err(|error| (message.id, error))
    }

    /// Handles a message that was republished and had no route again: a binding is missing that
    /// this account may not create. Keeps it unacked for a while, longer each time.
    async fn came_back(&self, fetched: &Fetched, times: u32) {
        let condition = &self.broker.conditions.unrouted;
        if condition.failing_for(Duration::ZERO).is_none() {
            let (exchange, routing_key) = (&fetched.exchange, &fetched.routing_key);
            warn!(
                exchange,
                routing_key,
                "topology.no_route: republished messages come back; a binding is missing, and the account \
                 may not create it. Let an administrator run `homing topology apply`"
            );
        }
        condition.failed(
            "messages have no route, and come back when republished: a binding is missing \
             that the broker account may not create (`homing topology apply` as an administrator)",
        );
        let pause = RESTORE_INTERVAL.saturating_mul(1 << times.saturating_sub(1).min(4));
        self.stop.run_until_cancelled(tokio::time::sleep(pause.min(MAX_PAUSE))).await;
    }

    /// Returns true if it was parked: only the broker moves messages through the default exchange.
    fn was_parked(&self, fetched: &Fetched) -> bool {
        match self.what {
            EmptiedQueue::FormerParked => true,
            EmptiedQueue::Unrouted | EmptiedQueue::FormerUnrouted => fetched.exchange.is_empty(),
        }
    }

    /// The message to republish, and its address.
    fn republished(&self, fetched: &Fetched) -> (Outgoing, Address) {
        let names = self.broker.topology().names();
        let (exchange, routing_key) = (fetched.exchange.clone(), fetched.routing_key.clone());
        let leads_somewhere = exchange == names.events()
            || exchange == names.route() && self.broker.topology().takes(&routing_key);
        if leads_somewhere {
            (fetched.outgoing(), Address { exchange, routing_key })
        } else {
            let due = fetched.due();
            let address = Route::Retry.address(names, &due);
            (due, address)
        }
    }

    /// Declares the topology, unless that was done just before: a message must not come straight
    /// back, whatever is missing. Retries until that works; the message stays unacked.
    async fn restore(&self) -> Result<(), BrokerError> {
        let mut restored = self.restored.lock().await;
        while restored.is_none_or(|at| at.elapsed() >= RESTORE_INTERVAL) {
            match self.broker.restore_topology().await {
                Ok(()) => *restored = Some(Instant::now()),
                Err(_) if self.broker.closing.is_cancelled() => return Err(BrokerError::Closed),
                Err(error) => {
                    debug!(error = error.report(), "topology.restore_failed");
                    tokio::time::sleep(RESTORE_INTERVAL).await;
                }
            }
        }
        Ok(())
    }

    async fn ack(&self, tag: u64) -> Result<(), BrokerError> {
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple: false });
        within(&self.channel, ROUND_TRIP_DEADLINE, "acking what was moved", acked).await?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Rejects what cannot be published, if the broker then moves it; otherwise it stays unacked.
    async fn reject(&self, tag: u64) -> Result<(), BrokerError> {
        if !self.may_reject {
            let left = self.left.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if left.is_multiple_of(usize::from(PREFETCH / 2)) {
                self.is_crowded.notify_one();
            }
            return Ok(());
        }
        let options = BasicNackOptions { multiple: false, requeue: false };
        let rejected = self.channel.basic_nack(tag, options);
        within(&self.channel, ROUND_TRIP_DEADLINE, "rejecting a message", rejected).await
    }

    async fn log(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOG_INTERVAL).await;
            self.log_once();
        }
    }

    fn log_once(&self) {
        let condition = &self.broker.conditions.unrouted;
        if condition.failing_recently(Duration::ZERO, 2 * MAX_PAUSE).is_none() {
            condition.recovered();
        }
        let (queue, moved) = (&self.queue, self.moved.swap(0, Ordering::Relaxed));
        if moved > 0 {
            let left = self.left.load(Ordering::Relaxed);
            warn!(queue, moved, left, "topology.emptied: messages were republished");
        }
    }
}
