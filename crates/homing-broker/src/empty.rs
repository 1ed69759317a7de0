//! Emptying the queues in which nothing is to stay: the net, and what an earlier version left.
//!
//! Each message is published as a new one, confirmed, and acked: so nothing is lost on the way, and the
//! broker forgets how often it was redelivered and where it was dead-lettered. Any number of processes
//! may empty the same queue; the broker gives each message to one of them.

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
    Broker, Outgoing, channels,
    consume::start,
    error::{BrokerError, ROUND_TRIP_DEADLINE, lost, within},
    headers::Headers,
    message::header,
    publish::{Address, Route},
    queue_scan::Fetched,
    topology::{Names, depth, keeps_what_is_rejected, leave_net},
};

/// Messages that the broker sends ahead: those in flight are out of reach of a `message-ttl`.
const PREFETCH: u16 = 128;
/// Publishes under way at once; most places are left to deliveries.
const MAX_PUBLISHES: usize = 16;
/// How often the number of messages moved is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// What had no route finds one again when the topology was declared no longer ago than this.
const RESTORE_INTERVAL: Duration = Duration::from_secs(1);
/// What finds none again and again is sent on as often as this at least.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// A queue that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptied {
    /// The net.
    Unrouted,
    /// The net of the first version.
    FormerUnrouted,
    /// The parking queue of the first version.
    FormerParked,
}

impl Emptied {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unrouted, Self::FormerUnrouted, Self::FormerParked];

    fn queue(self, names: &Names) -> String {
        match self {
            Self::Unrouted => names.unrouted(),
            Self::FormerUnrouted => names.former_unrouted(),
            Self::FormerParked => names.former_parked(),
        }
    }
}

/// One consumer after the other, and what they need.
struct Emptying<'a> {
    broker: &'a Broker,
    what: Emptied,
    queue: String,
    channel: Channel,
    stop: &'a CancellationToken,
    /// Whether the broker moves on what is rejected; else it would delete that.
    may_reject: bool,
    /// When the topology was declared last.
    restored: Mutex<Option<Instant>>,
    publishes: Semaphore,
    moved: AtomicU64,
    /// Messages in hand of which the broker takes no copy, and that it does not move: they stay.
    left: AtomicUsize,
    /// So many are that others need more room.
    is_crowded: Notify,
}

impl Broker {
    /// Empties a queue, and keeps it empty until `stop` or until the queue is deleted. `false`: there
    /// is none, and none is expected; to look for it often would fill the broker's log.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: what was not moved is in the queue still.
    ///
    /// # Cancel safety
    ///
    /// Dropped between publish and ack, a message is moved and in the queue still.
    pub async fn empty(
        &self,
        what: Emptied,
        stop: &CancellationToken,
    ) -> Result<bool, BrokerError> {
        let queue = what.queue(self.topology().names());
        let connection = self.control.open().await?;
        if depth(&connection, &queue).await?.is_none() {
            return Ok(what == Emptied::Unrouted || self.topology().is_of_first_version());
        }
        let may_reject = keeps_what_is_rejected(&connection, self.topology(), &queue).await?;
        let channel = channels::open(&connection).await?;
        if what == Emptied::FormerUnrouted {
            leave_net(&channel, self.topology().names()).await?;
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
        let closed = channel.close(200, "OK".into());
        within(channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await.map(|()| true)
    }
}

impl Emptying<'_> {
    /// Moves messages until `stop`. What stays in hand counts as sent ahead, so another consumer follows
    /// where that is much, which is sent as much more.
    async fn run(&self) -> Result<(), BrokerError> {
        let channel = &self.channel;
        while !self.stop.is_cancelled() {
            let left = u16::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(u16::MAX);
            let consumer = start(channel, &self.queue, PREFETCH.saturating_add(left)).await?;
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
            // What was sent ahead is moved too: what goes back counts as redelivered.
            let cancelled = channel.basic_cancel(tag, BasicCancelOptions::default());
            within(channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled).await?;
            match tokio::time::timeout(ROUND_TRIP_DEADLINE, &mut moving).await {
                Ok(ended) => ended?,
                // The end of the channel gives it back.
                Err(_elapsed) => break,
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
            let (message, address) = self.onward(&fetched);
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

    /// A message that was sent on had no route once more: a binding is missing that this account may not
    /// make. It stays in hand for a while, the longer the more often that happened.
    async fn came_back(&self, fetched: &Fetched, times: u32) {
        let net = &self.broker.conditions.unrouted;
        if net.failing_for(Duration::ZERO).is_none() {
            let (exchange, routing_key) = (&fetched.exchange, &fetched.routing_key);
            warn!(
                exchange,
                routing_key,
                "topology.no_route: what is sent on comes back; a binding is missing, and the account \
                 may not make it. Let an administrator run `homing topology apply`"
            );
        }
        net.failed(
            "messages have no route, and come back when they are sent on: a binding is missing \
             that the broker account may not make (`homing topology apply` as an administrator)",
        );
        let pause = RESTORE_INTERVAL.saturating_mul(1 << times.saturating_sub(1).min(4));
        self.stop.run_until_cancelled(tokio::time::sleep(pause.min(MAX_PAUSE))).await;
    }

    /// Whether it was given up: the broker moves through the default exchange, and nothing else.
    fn was_parked(&self, fetched: &Fetched) -> bool {
        match self.what {
            Emptied::FormerParked => true,
            Emptied::Unrouted | Emptied::FormerUnrouted => fetched.exchange.is_empty(),
        }
    }

    /// A message on its way, and where that leads.
    fn onward(&self, fetched: &Fetched) -> (Outgoing, Address) {
        let names = self.broker.topology().names();
        let (exchange, routing_key) = (fetched.exchange.clone(), fetched.routing_key.clone());
        let leads_somewhere = exchange == names.events()
            || exchange == names.route() && self.broker.topology().takes(&routing_key);
        let outgoing = fetched.outgoing();
        let address = if leads_somewhere {
            Address { exchange, routing_key }
        } else {
            Route::Retry.address(names, &outgoing)
        };
        (outgoing, address)
    }

    /// Declares the topology, unless that was done just before: whatever is missing, a message must
    /// not come straight back. It stays in hand until that works.
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

    /// Has the broker move what cannot be published, where it does; else it stays in hand.
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
        let net = &self.broker.conditions.unrouted;
        if net.failing_recently(Duration::ZERO, 2 * MAX_PAUSE).is_none() {
            net.recovered();
        }
        let (queue, moved) = (&self.queue, self.moved.swap(0, Ordering::Relaxed));
        if moved > 0 {
            let left = self.left.load(Ordering::Relaxed);
            warn!(queue, moved, left, "topology.emptied: messages were sent on");
        }
    }
}
