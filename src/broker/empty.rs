//! Emptying the queues in which nothing is to stay: the net, and what an earlier version left.
//!
//! Each message is published as a new one, confirmed, and acked: so nothing is lost on the way, and the
//! broker forgets how often it was redelivered and where it was dead-lettered. Any number of processes
//! may empty the same queue; the broker gives each message to one of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions},
};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    Broker, Outgoing, channels,
    consume::start,
    error::{BrokerError, ROUND_TRIP_DEADLINE, lost, within},
    fetch::Fetched,
    publish::{Address, Route},
    topology::{Names, depth, keeps_what_is_rejected, leave_net},
};

/// Messages that the broker sends ahead: those in flight are out of reach of a `message-ttl`.
const PREFETCH: u16 = 128;
/// Publishes under way at once; most places are left to deliveries.
const PUBLISHES_MAX: usize = 16;
/// How often the number of messages moved is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// What had no route finds one again when the topology was declared no longer ago than this.
const RESTORE_INTERVAL: Duration = Duration::from_secs(1);

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

/// One consumer and what it needs.
struct Emptying<'a> {
    broker: &'a Broker,
    what: Emptied,
    channel: Channel,
    /// Whether the broker moves on what is rejected; else it would delete that.
    may_reject: bool,
    /// When the topology was declared last.
    restored: Mutex<Option<Instant>>,
    moved: AtomicU64,
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
        let consumer = start(&channel, &queue, PREFETCH).await?;
        let tag = consumer.tag();
        let (restored, moved) = (Mutex::default(), AtomicU64::default());
        let emptying = Emptying { broker: self, what, channel, may_reject, restored, moved };
        let channel = &emptying.channel;
        let moving = consumer
            .map(|delivery| delivery.map_err(BrokerError::lost))
            .try_for_each_concurrent(PUBLISHES_MAX, |delivery| emptying.move_on(delivery));
        tokio::pin!(moving);
        let ended = tokio::select! {
            ended = &mut moving => ended,
            never = emptying.log(&queue) => match never {},
            () = lost(channel) => Err(BrokerError::Lost { step: format!("emptying `{queue}`") }),
            () = stop.cancelled() => {
                // What was sent ahead is moved too: what goes back counts as redelivered.
                let cancelled = channel.basic_cancel(tag, BasicCancelOptions::default());
                within(channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled).await?;
                let last = tokio::time::timeout(ROUND_TRIP_DEADLINE, &mut moving).await;
                last.unwrap_or(Ok(()))
            }
        };
        emptying.log_once(&queue);
        ended?;
        let closed = channel.close(200, "OK".into());
        within(channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await.map(|()| true)
    }
}

impl Emptying<'_> {
    async fn move_on(&self, delivery: Delivery) -> Result<(), BrokerError> {
        let tag = delivery.delivery_tag;
        let fetched = Fetched::new(self.broker.topology().names(), self.broker.rules, delivery);
        let (message, address) = self.onward(&fetched).await?;
        match self.broker.publish_at_until_confirmed(&message, address).await {
            Ok(()) => self.ack(tag).await,
            Err(refused @ BrokerError::TooLarge { .. }) => {
                error!(event.id = message.id, error = refused.told(), "topology.not_moved");
                self.reject(tag).await
            }
            Err(error) => Err(error),
        }
    }

    /// Where a message goes: on its way, or among what was given up.
    async fn onward(&self, fetched: &Fetched) -> Result<(Outgoing, Address), BrokerError> {
        let names = self.broker.topology().names();
        let was_parked = match self.what {
            Emptied::FormerParked => true,
            // The broker moves through the default exchange, and only what was parked.
            Emptied::Unrouted | Emptied::FormerUnrouted => fetched.exchange.is_empty(),
        };
        if was_parked {
            let parked = fetched.parked();
            let address = Route::Parked.address(names, &parked);
            return Ok((parked, address));
        }
        self.restore().await?;
        let (exchange, routing_key) = (fetched.exchange.clone(), fetched.routing_key.clone());
        let leads_somewhere = exchange == names.events()
            || exchange == names.route() && self.broker.topology().takes(&routing_key);
        let outgoing = fetched.outgoing();
        let address = if leads_somewhere {
            Address { exchange, routing_key }
        } else {
            Route::Retry.address(names, &outgoing)
        };
        Ok((outgoing, address))
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
                    debug!(error = error.told(), "topology.restore_failed");
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
            return Ok(());
        }
        let options = BasicNackOptions { multiple: false, requeue: false };
        let rejected = self.channel.basic_nack(tag, options);
        within(&self.channel, ROUND_TRIP_DEADLINE, "rejecting a message", rejected).await
    }

    async fn log(&self, queue: &str) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOG_INTERVAL).await;
            self.log_once(queue);
        }
    }

    fn log_once(&self, queue: &str) {
        let moved = self.moved.swap(0, Ordering::Relaxed);
        if moved > 0 {
            warn!(queue, moved, "topology.emptied: messages were sent on");
        }
    }
}
