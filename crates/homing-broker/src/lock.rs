//! Locks: at most one process of the installation holds one.
//!
//! A lock is a quorum queue with a single active consumer and one message, the baton: the broker
//! gives it to one consumer only, and to another when that one ends. The holder rejects the baton
//! again and again and gets it back, because the queue dead-letters to itself. The queue does that
//! only with a majority of its members: a holder that is cut off notices that it cannot. It must
//! then let go within [`Broker::lock_fence`], whatever the other side believes.
//!
//! The baton is rejected and never requeued: each requeue counts, and a policy may set a
//! `delivery-limit` that deletes the baton; what is rejected comes as a new message. Where a policy
//! deletes the baton of a free lock, the next holder publishes another one. Nothing is published
//! while a lock is held: a broker that takes no messages (memory or disk alarm) takes no lock away.
//!
//! Processes of the first version use a queue of their own. Where it exists, the holder of the lock
//! consumes that queue too, which keeps them out, and leaves its baton alone.
//!
//! Source: RabbitMQ documentation, *Consumers*, single active consumer; *Quorum Queues*; *Dead
//! Letter Exchanges*: what a consumer rejects may go round a cycle.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{BasicProperties, Channel, Consumer, message::Delivery, options::BasicNackOptions};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Broker, channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    feeds::start,
    group::Publish,
    publish::Address,
    topology::{depth, depth_on},
};

/// The longest that an existing baton takes to arrive.
const ARRIVAL: Duration = Duration::from_secs(2);

/// A held lock; dropping it frees it.
pub struct Lock {
    lost: CancellationToken,
    let_go: CancellationToken,
    holding: JoinHandle<()>,
}

impl Broker {
    /// Tries to get the lock of a slot of a source; `None`: another process holds it.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the holder is unknown.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the lock is not held.
    pub async fn try_lock(&self, source: &str, slot: u8) -> Result<Option<Lock>, BrokerError> {
        let names = self.topology.names();
        let (queue, former) = (names.lock(source, slot), names.former_lock(source, slot));
        let connection = self.locks.open().await?;
        if depth(&connection, &queue).await?.is_none() {
            self.restore_topology().await?;
        }
        // Only then can processes of the first version run. Checked over another connection: a
        // missing queue costs a connection a channel.
        let has_former =
            self.topology.is_of_first_version() && self.depth(&former).await?.is_some();
        let channel = channels::open(&connection).await?;
        let mut held = Vec::new();
        for queue in has_former.then_some(former).into_iter().chain([queue]) {
            let Some(one) = self.take_baton(&channel, &queue).await? else {
                // Closing the channel cancels every consumer on it.
                let closed = channel.close(200, "OK".into());
                within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await?;
                return Ok(None);
            };
            held.push(one);
        }
        let Some((batons, baton)) = held.pop() else { return Ok(None) };
        let (lost, let_go) = (CancellationToken::new(), CancellationToken::new());
        let proofs = Proofs { broker: self.clone(), channel, batons, _former: held };
        let holding = self.tasks.spawn(hold(proofs, baton, lost.clone(), let_go.clone()));
        Ok(Some(Lock { lost, let_go, holding }))
    }

    /// Consumes the queue of a lock and gets its baton; `None`: another process holds it.
    async fn take_baton(
        &self,
        channel: &Channel,
        queue: &str,
    ) -> Result<Option<(Consumer, Delivery)>, BrokerError> {
        let depth = depth_on(channel, queue).await?;
        if depth.consumers > 0 {
            return Ok(None);
        }
        if depth.messages == 0 {
            self.publish_baton(queue).await?;
        }
        let mut batons = start(channel, queue, 1).await?;
        let Ok(Some(baton)) = timeout(ARRIVAL, batons.next()).await else {
            // Not the active consumer.
            return Ok(None);
        };
        Ok(Some((batons, baton.map_err(BrokerError::lost)?)))
    }

    /// The longest time until a holder knows that it has lost its lock.
    #[must_use]
    pub fn lock_fence(&self) -> Duration {
        self.heartbeat.saturating_mul(2)
    }

    async fn publish_baton(&self, queue: &str) -> Result<(), BrokerError> {
        let publish = Publish {
            queue: queue.to_owned(),
            address: Address { exchange: String::new(), routing_key: queue.to_owned() },
            properties: Arc::new(BasicProperties::default().with_delivery_mode(2)),
            body: Bytes::from_static(b"baton"),
            mandatory: true,
        };
        self.publishers.publish(publish, false).await
    }
}

impl Lock {
    /// Waits until the lock is lost, or cannot be proved any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Releases the lock; another process may hold it when this returns.
    pub async fn release(mut self) {
        self.let_go.cancel();
        // If that fails, the end of the connection frees the lock.
        drop(timeout(ROUND_TRIP_DEADLINE, &mut self.holding).await);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.let_go.cancel();
    }
}

/// Proves again and again that the lock is held.
struct Proofs {
    broker: Broker,
    channel: Channel,
    batons: Consumer,
    /// Keeps processes of the first version out.
    _former: Vec<(Consumer, Delivery)>,
}

/// Holds the lock until it is released, or until the last proof is too old.
async fn hold(
    mut proofs: Proofs,
    mut baton: Delivery,
    lost: CancellationToken,
    let_go: CancellationToken,
) {
    let fence = proofs.broker.lock_fence();
    loop {
        // Taken before the proof: what it proves was true then.
        let proved = Instant::now();
        let pause = proofs.broker.heartbeat / 2;
        if let_go.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
        match timeout_at(proved + fence, proofs.next(&baton)).await {
            Ok(Some(again)) => baton = again,
            Ok(None) | Err(_) => break,
        }
    }
    lost.cancel();
    // Closing the channel cancels the consumer and requeues the baton.
    let closed = proofs.channel.close(200, "OK".into());
    drop(within(&proofs.channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await);
}

impl Proofs {
    /// Rejects the baton and waits for it to come again. `None`: the channel has ended.
    async fn next(&mut self, baton: &Delivery) -> Option<Delivery> {
        let again = BasicNackOptions { multiple: false, requeue: false };
        self.channel.basic_nack(baton.delivery_tag, again).await.ok()?;
        self.batons.next().await?.ok()
    }
}
