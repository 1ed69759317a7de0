//! Locks: at most one process of the installation holds one.
//!
//! A lock is a quorum queue with a single active consumer and one message, the baton: the broker
//! gives it to one consumer only, and to another one when that is gone. The holder puts it back and
//! gets it again, time after time, which the queue does only with the consent of a majority of its
//! members: a holder that is cut off notices that it cannot. It must then let go within
//! [`Broker::lock_fence`], whatever the other side believes.
//!
//! Nothing is published while a lock is held, but to renew the baton: a broker that takes no
//! messages (memory or disk alarm) takes no lock away.
//!
//! Source: RabbitMQ documentation, *Consumers*, single active consumer; *Quorum Queues*.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions,
    },
    types::FieldTable,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Broker,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    publish::DropUnlessConfirmed,
    topology::depth_on,
};

/// How long a baton that is there takes to arrive, at most.
const ARRIVAL: Duration = Duration::from_secs(2);
/// How often a baton is put back before a fresh one takes its place, so that no queue has to keep
/// what it did with the old one.
const PUT_BACK_MAX: u32 = 1_000;

/// A lock that is held. Dropped, it is free.
pub struct Lock {
    lost: CancellationToken,
    let_go: CancellationToken,
    holding: JoinHandle<()>,
}

impl Broker {
    /// Tries to get the lock of a slot of a source; `None`: somebody else has it.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: who has it is unknown.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is not held.
    pub async fn try_lock(&self, source: &str, slot: u8) -> Result<Option<Lock>, BrokerError> {
        let queue = self.topology.names().lock(source, slot);
        let connection = self.locks.open().await?;
        let opened = connection.create_channel();
        let channel =
            within(connection.as_ref(), ROUND_TRIP_DEADLINE, "opening a channel", opened).await?;
        let limited = channel.basic_qos(1, BasicQosOptions { global: false });
        within(&channel, ROUND_TRIP_DEADLINE, "setting the prefetch", limited).await?;
        let depth = depth_on(&channel, &queue).await?;
        if depth.consumers > 0 {
            return Ok(None);
        }
        if depth.messages == 0 {
            self.publish_baton(&queue).await?;
        }
        let options = BasicConsumeOptions::default();
        let consumed =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let step = format!("consuming `{queue}`");
        let mut batons = within(&channel, ROUND_TRIP_DEADLINE, step, consumed).await?;
        let Ok(Some(baton)) = timeout(ARRIVAL, batons.next()).await else {
            // Not the active consumer: the end of the channel takes this one away.
            let closed = channel.close(200, "OK".into());
            within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await?;
            return Ok(None);
        };
        let baton = baton.map_err(BrokerError::lost)?;
        let (lost, let_go) = (CancellationToken::new(), CancellationToken::new());
        let proofs = Proofs { broker: self.clone(), queue, channel, batons };
        let holding = self.tasks.spawn(hold(proofs, baton, lost.clone(), let_go.clone()));
        Ok(Some(Lock { lost, let_go, holding }))
    }

    /// A holder that has lost its lock knows it after this time at most.
    #[must_use]
    pub fn lock_fence(&self) -> Duration {
        self.heartbeat.saturating_mul(2)
    }

    async fn publish_baton(&self, queue: &str) -> Result<(), BrokerError> {
        let deadline = self.confirm_deadline;
        let step = "waiting for a channel".to_owned();
        let channel = timeout(deadline, self.channels.get())
            .await
            .map_err(|_elapsed| BrokerError::TimedOut { step, deadline })??;
        let guard = DropUnlessConfirmed(Some(channel));
        let Some(channel) = guard.0.as_deref() else { return Err(BrokerError::Closed) };
        let published = channel.basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            b"baton",
            BasicProperties::default().with_delivery_mode(2),
        );
        let step = format!("publishing to `{queue}`");
        let confirm = within(channel, ROUND_TRIP_DEADLINE, step.clone(), published).await?;
        if within(channel, ROUND_TRIP_DEADLINE, step, confirm).await?.is_ack() {
            guard.keep();
        }
        Ok(())
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

    /// Lets go; somebody else may have it when this returns.
    pub async fn release(mut self) {
        self.let_go.cancel();
        // Where it cannot be given back, the end of the connection does so.
        drop(timeout(ROUND_TRIP_DEADLINE, &mut self.holding).await);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.let_go.cancel();
    }
}

/// What proves a lock, time after time.
struct Proofs {
    broker: Broker,
    queue: String,
    channel: Channel,
    batons: Consumer,
}

/// Holds until told to let go, or until the last proof is too old.
async fn hold(
    mut proofs: Proofs,
    mut baton: Delivery,
    lost: CancellationToken,
    let_go: CancellationToken,
) {
    let fence = proofs.broker.lock_fence();
    let mut put_back = 0;
    loop {
        // From before the proof: what it proves was true then.
        let proved = Instant::now();
        let pause = proofs.broker.heartbeat / 2;
        if let_go.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
        let renewed = put_back >= PUT_BACK_MAX && proofs.renew().await;
        put_back = if renewed { 0_u32 } else { put_back.saturating_add(1) };
        match timeout_at(proved + fence, proofs.next(&baton, renewed)).await {
            Ok(Some(again)) => baton = again,
            Ok(None) | Err(_) => break,
        }
    }
    lost.cancel();
    // With the channel go the consumer and its baton: back into the queue.
    let closed = proofs.channel.close(200, "OK".into());
    drop(within(&proofs.channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await);
}

impl Proofs {
    /// Puts the baton back, unless it is used up, and waits for the next one. `None`: the channel
    /// has ended.
    async fn next(&mut self, baton: &Delivery, used_up: bool) -> Option<Delivery> {
        let tag = baton.delivery_tag;
        if used_up {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: false }).await.ok()?;
        } else {
            let back = BasicNackOptions { multiple: false, requeue: true };
            self.channel.basic_nack(tag, back).await.ok()?;
        }
        self.batons.next().await?.ok()
    }

    /// Whether there is a fresh baton to take the place of the present one.
    async fn renew(&self) -> bool {
        !self.broker.is_blocked() && self.broker.publish_baton(&self.queue).await.is_ok()
    }
}
