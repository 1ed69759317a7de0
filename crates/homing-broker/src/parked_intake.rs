//! Takes messages out of the parking queue for a place that keeps them.
//!
//! Nothing is acked before it is kept elsewhere; what is not acked returns to the queue when the
//! intake ends. One intake at a time runs in all processes, held apart by the lock of the queue.

use std::sync::Arc;

use lapin::{
    Channel,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    Broker, acks,
    batch::Batches,
    channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    fetched::Fetched,
    kept::{self, Kept},
    scan_lock::ScanLock,
    topology::{Topology, depth_on},
};
use crate::settings::EventsSettings;
use homing_domain::{clock, id::EventId};

pub use super::batch::Ahead;

/// Messages of the parking queue, batch by batch.
pub struct ParkedIntake {
    topology: Arc<Topology>,
    rules: EventsSettings,
    channel: Channel,
    batches: Batches,
    queue: String,
    id: Uuid,
    /// The number of the batch that was taken last.
    batch: u64,
    /// Every tag up to this one is acked.
    acked_up_to: u64,
    tasks: TaskTracker,
    /// Held until what was taken is back in the queue.
    lock: Option<ScanLock>,
}

/// One message of the parking queue.
#[derive(Debug)]
pub struct TakenParked {
    /// The message, or what is wrong with it.
    pub fetched: Fetched,
    /// Everything of it; the same whenever it comes again. [`Broker::restored`] reads it.
    pub payload: Vec<u8>,
    /// SHA-256 of the payload.
    pub digest: [u8; 32],
    /// True if its publisher gave it an id: an equal one is the same event.
    pub is_named: bool,
    /// Random; others that are parked at the same instant have another one.
    pub unique: u64,
    /// True if it was taken before and has returned to the queue.
    pub is_redelivered: bool,
    tag: u64,
}

impl Drop for ParkedIntake {
    /// Ends an intake that was given up at any point; what is not acked returns to the queue.
    fn drop(&mut self) {
        let lock = self.lock.take();
        if self.channel.status().connected() {
            let (channel, queue) = (self.channel.clone(), self.queue.clone());
            self.tasks.spawn(async move {
                // If it fails, the channel is unusable.
                let _flushed = acks::flush(&channel, &queue).await;
                let closed = channel.close(200, "OK".into());
                let step = "ending the intake of parked messages";
                let closed = within(&channel, ROUND_TRIP_DEADLINE, step, closed).await;
                drop(lock);
                closed
            });
        }
    }
}

impl Broker {
    /// Begins to take messages out of the parking queue, with so many `ahead`; `None`: another
    /// process does so, or scans the queue.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn parked_intake(&self, ahead: Ahead) -> Result<Option<ParkedIntake>, BrokerError> {
        let Some(lock) = self.scan_lock().await? else { return Ok(None) };
        let connection = self.control.open().await?;
        let channel = channels::open(&connection).await?;
        let queue = self.topology().names().parked();
        Ok(Some(ParkedIntake {
            topology: Arc::clone(&self.topology),
            rules: self.rules,
            channel,
            batches: Batches::new(queue.clone(), ahead),
            queue,
            id: clock::new_id(),
            batch: 0,
            tasks: self.tasks.clone(),
            lock: Some(lock),
            acked_up_to: 0,
        }))
    }

    /// The message of which an intake made these bytes with this [number](TakenParked::unique);
    /// `None`: none did.
    #[must_use]
    pub fn restored(&self, payload: &[u8], unique: u64) -> Option<Fetched> {
        let kept = Kept::read(payload)?;
        let new_id = || derived_id(unique);
        Some(Fetched::read(self.topology().names(), self.rules, kept, new_id))
    }
}

/// The id of an event whose publisher gave none: the same whenever the message is read.
fn derived_id(unique: u64) -> EventId {
    EventId::derived(&unique.to_string())
}

impl ParkedIntake {
    /// The next messages, up to 128 and some megabytes. Empty: the broker reports none, or, if
    /// `for_certain`, there are none.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the intake is over, and what was not acked is back in the queue.
    pub async fn take(&mut self, for_certain: bool) -> Result<Vec<TakenParked>, BrokerError> {
        self.batches.stop_consuming(&self.channel).await?;
        self.batch = self.batch.saturating_add(1);
        // The answer also means that the acks of the last batch have arrived.
        let mut left = depth_on(&self.channel, &self.queue).await?.messages;
        left = left.saturating_add(self.batches.taken());
        if left == 0 && for_certain {
            left = self.batches.count(&self.channel).await?;
        }
        if left == 0 {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        for delivery in self.batches.next_batch(&self.channel, left).await? {
            let tag = delivery.delivery_tag;
            let is_redelivered = delivery.redelivered;
            let kept = Kept::from(delivery);
            let unwritten = || BrokerError::Lost { step: "reading a parked message".to_owned() };
            let payload = kept.written().ok_or_else(unwritten)?;
            let (_, unique) = clock::new_id().as_u64_pair();
            let mut is_named = true;
            let new_id = || {
                is_named = false;
                derived_id(unique)
            };
            let fetched = Fetched::read(self.topology.names(), self.rules, kept, new_id);
            is_named &= fetched.content.as_ref().map_or_else(|it| it.id.is_some(), |_| true);
            let digest = kept::digest(&payload);
            let named =
                TakenParked { fetched, payload, digest, is_named, unique, is_redelivered, tag };
            taken.push(named);
        }
        Ok(taken)
    }

    /// The name of the queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Its random id, which no other intake has.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The number of the batch that was taken last. Those before are acked, as far as they were kept.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// Removes these messages, which are kept elsewhere: by one ack if nothing before them was left.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: they may come again.
    pub async fn ack(&mut self, kept: &[TakenParked]) -> Result<(), BrokerError> {
        self.batches.stop_consuming(&self.channel).await?;
        let mut in_a_row = (self.acked_up_to.saturating_add(1)..).zip(kept);
        if let Some(last) = kept.last()
            && in_a_row.all(|(tag, one)| tag == one.tag)
        {
            self.acked_up_to = last.tag;
            return self.send_ack(last.tag, true).await;
        }
        for one in kept {
            self.send_ack(one.tag, false).await?;
        }
        Ok(())
    }

    async fn send_ack(&self, tag: u64, multiple: bool) -> Result<(), BrokerError> {
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple });
        let step = format!("removing what is kept from `{}`", self.queue);
        within(&self.channel, ROUND_TRIP_DEADLINE, step, acked).await
    }

    /// Returns to the queue all that was not acked.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the intake is over, which has the same effect.
    pub async fn give_back(&self) -> Result<(), BrokerError> {
        const EVERYTHING: u64 = 0;
        acks::flush(&self.channel, &self.queue).await?;
        let options = BasicNackOptions { multiple: true, requeue: true };
        let returned = self.channel.basic_nack(EVERYTHING, options);
        let step = format!("requeueing what was taken from `{}`", self.queue);
        within(&self.channel, ROUND_TRIP_DEADLINE, step, returned).await.map(drop)
    }
}
