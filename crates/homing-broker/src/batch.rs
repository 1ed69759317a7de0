//! Batches of messages of a queue; each batch has its own consumers, which stay until the batch is
//! about to be answered, so that others see from the number of consumers that one is in work.
//!
//! A quorum queue writes to its log for every `basic.get`; a consumer that gets sixteen messages costs
//! as much as one of those. A consumer's prefetch is fixed and nothing is answered here, so the next
//! ones need another consumer. Small messages say nothing about those behind them, which may be the
//! largest that the broker takes: a consumer has few ahead, and there is no further one once the batch
//! has its bytes.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, future::try_join_all};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicCancelOptions, BasicGetOptions},
};
use tokio::time::{Instant, timeout};

use super::{
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    feeds::start,
    topology::depth_on,
};

/// Messages of the first batch: most requests are for the first page. Each batch is twice as large
/// as the one before.
const FIRST: u16 = 16;
/// Bounds of a batch; one message may be larger. Those that do not fit into it are in the next ones.
const MAX_MESSAGES: u16 = 128;
const MAX_BYTES: usize = 8 * 1_024 * 1_024;
/// Messages that the broker sends to one consumer at most: of the largest, 256 MiB from RabbitMQ 4.0
/// on. Fewer after large ones: as many as fit into a batch.
const MAX_AHEAD: u16 = 16;

/// The messages that the broker may send ahead of the one that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// As many as make a batch.
    Batch,
    /// None: a message at which the connection ends takes no other with it.
    None,
}
/// After this long without a message the queue may be empty: others took what was there.
const SILENCE: Duration = Duration::from_millis(500);

/// Takes messages from the head of a queue.
pub(super) struct Batches {
    queue: String,
    ahead: Ahead,
    /// Size of the next batch.
    size: u16,
    taken: VecDeque<Delivery>,
    /// Messages as large as the largest of the last batch that fit into one.
    fit: u16,
    /// The consumers of the batch that was taken last.
    consumers: Vec<Consumer>,
}

impl Batches {
    pub(super) fn new(queue: String, ahead: Ahead) -> Self {
        let size = if ahead == Ahead::None { 1 } else { FIRST };
        let (taken, consumers) = (VecDeque::new(), Vec::new());
        Self { queue, ahead, size, taken, fit: MAX_AHEAD, consumers }
    }

    /// Counts the messages where the broker reports none, perhaps because it cannot count: takes
    /// one after the other, which is certain, until the broker reports more or none comes.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the number is unknown; the channel is unusable.
    pub(super) async fn count(&mut self, channel: &Channel) -> Result<u32, BrokerError> {
        let until = Instant::now() + ROUND_TRIP_DEADLINE;
        while let Some(delivery) = get(channel, &self.queue).await? {
            self.taken.push_back(delivery);
            let more = depth_on(channel, &self.queue).await?.messages;
            if more > 0 {
                return Ok(self.taken().saturating_add(more));
            }
            if Instant::now() >= until {
                let step = format!("counting the messages of `{}`", self.queue);
                return Err(BrokerError::TimedOut { step, deadline: ROUND_TRIP_DEADLINE });
            }
        }
        Ok(self.taken())
    }

    /// Messages that have come, and go into the next batch.
    pub(super) fn taken(&self) -> u32 {
        u32::try_from(self.taken.len()).unwrap_or(u32::MAX)
    }

    /// Returns the messages of the next batch on `channel`, of at most `left` that are there.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the channel is unusable.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if dropped, messages may come that are not taken until the channel ends.
    pub(super) async fn next_batch(
        &mut self,
        channel: &Channel,
        left: u32,
    ) -> Result<Vec<Delivery>, BrokerError> {
        self.take(channel, left).await?;
        let mut bytes = 0_usize;
        let fit = self.taken.iter().take_while(|delivery| {
            bytes = bytes.saturating_add(delivery.data.len());
            bytes <= MAX_BYTES
        });
        let fit = fit.count().max(1).min(self.taken.len());
        Ok(self.taken.drain(..fit).collect())
    }

    async fn take(&mut self, channel: &Channel, left: u32) -> Result<(), BrokerError> {
        let size = self.size.min(u16::try_from(left).unwrap_or(u16::MAX)).max(1);
        if self.ahead == Ahead::None && self.missing(size) == 0 {
            return Ok(());
        }
        // Also where nothing is missing: others see by a consumer that a batch is in work.
        let mut is_more = true;
        while is_more {
            let wanted = self.missing(size).min(self.fit.clamp(1, MAX_AHEAD));
            is_more = self.consume(channel, wanted).await? && self.missing(size) > 0;
        }
        self.sort();
        let largest = self.taken.iter().map(|delivery| delivery.data.len()).max();
        self.fit = u16::try_from(MAX_BYTES / largest.unwrap_or(0).max(1)).unwrap_or(u16::MAX);
        if self.ahead == Ahead::Batch {
            self.size = self.size.saturating_mul(2).min(MAX_MESSAGES);
        }
        Ok(())
    }

    /// Has what several consumers got in the order in which the broker sent it: then one ack is for
    /// all of a batch.
    fn sort(&mut self) {
        self.taken.make_contiguous().sort_unstable_by_key(|delivery| delivery.delivery_tag);
    }

    /// Messages that a batch of `size` lacks; none if it has its bytes.
    fn missing(&self, size: u16) -> u16 {
        let bytes = self.taken.iter().map(|delivery| delivery.data.len());
        if bytes.fold(0, usize::saturating_add) >= MAX_BYTES {
            return 0;
        }
        size.saturating_sub(u16::try_from(self.taken.len()).unwrap_or(u16::MAX))
    }

    /// Takes `wanted` messages by a new consumer; returns false if there were not so many.
    async fn consume(&mut self, channel: &Channel, wanted: u16) -> Result<bool, BrokerError> {
        let mut consumer = start(channel, &self.queue, wanted.max(1)).await?;
        let (mut missing, mut is_empty) = (wanted, false);
        while missing > 0 {
            let delivery = match timeout(SILENCE, next_of(&mut consumer)).await {
                Ok(delivery) => Some(delivery?),
                // No message is ready any more, but some may already be buffered on the channel.
                Err(_elapsed) if is_empty => break,
                Err(_elapsed) => get(channel, &self.queue).await?,
            };
            is_empty |= delivery.is_none();
            if let Some(delivery) = delivery {
                self.taken.push_back(delivery);
                missing = missing.saturating_sub(1);
            }
        }
        self.consumers.push(consumer);
        Ok(missing == 0)
    }

    /// Ends the consumers of the last batch, before anything of it is answered: after an ack the broker
    /// would send one more. What has come late goes into the next batch.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the channel is unusable.
    pub(super) async fn stop_consuming(&mut self, channel: &Channel) -> Result<(), BrokerError> {
        let consumers = std::mem::take(&mut self.consumers);
        let cancel =
            |one: &Consumer| channel.basic_cancel(one.tag(), BasicCancelOptions::default());
        // At once: the queue writes each to its log.
        let cancelled = try_join_all(consumers.iter().map(cancel));
        within(channel, ROUND_TRIP_DEADLINE, "stopping consumers", cancelled).await?;
        for mut consumer in consumers {
            // It ends behind the last one.
            while let Ok(Some(delivery)) = timeout(SILENCE, consumer.next()).await {
                self.taken.push_back(delivery.map_err(BrokerError::lost)?);
            }
        }
        self.sort();
        Ok(())
    }
}

/// Receives the next message of `consumer`.
async fn next_of(consumer: &mut lapin::Consumer) -> Result<Delivery, BrokerError> {
    let lost = || BrokerError::Lost { step: "taking messages".to_owned() };
    consumer.next().await.ok_or_else(lost)?.map_err(BrokerError::lost)
}

/// Gets one message; `None` means for certain that none is ready.
async fn get(channel: &Channel, queue: &str) -> Result<Option<Delivery>, BrokerError> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default());
    let step = format!("taking a message from `{queue}`");
    let got = within(channel, ROUND_TRIP_DEADLINE, step, got).await?;
    Ok(got.map(|message| message.delivery))
}
