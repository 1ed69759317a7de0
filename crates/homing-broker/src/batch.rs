//! Messages of a queue, none of which is answered: taken in batches, each by a consumer of its own.
//!
//! A quorum queue writes to its log for every message that is asked for one by one; a consumer that
//! is sent a hundred costs as much as one of those. Its prefetch is for its life, and nothing is
//! answered here, so the next hundred need another one.

use std::{collections::VecDeque, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicGetOptions},
};
use tokio::time::{Instant, timeout};

use super::{
    consume::start,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    topology::depth_on,
};

/// Messages of the first batch: most people look at the first page. Each has twice as many as the one
/// before it.
const FIRST: u16 = 16;
/// Messages of a batch, and bytes that it should have at most by the largest message of the one
/// before; behind messages that are much smaller it may be more.
const MAX_MESSAGES: u16 = 128;
const MAX_BYTES: usize = 8 * 1_024 * 1_024;
/// A batch of which nothing came for so long may have no more to come: others took what was there.
const SILENCE: Duration = Duration::from_millis(500);

/// Takes messages from the head of a queue.
pub(super) struct Batches {
    queue: String,
    /// Messages of the next batch.
    size: u16,
    taken: VecDeque<Delivery>,
}

impl Batches {
    pub(super) fn new(queue: String) -> Self {
        Self { queue, size: FIRST, taken: VecDeque::new() }
    }

    /// How many messages there are, where the broker counts none, perhaps because it cannot: takes one
    /// after the other, which is certain, until it counts more or none comes.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: unknown; the channel is of no use any more.
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

    fn taken(&self) -> u32 {
        u32::try_from(self.taken.len()).unwrap_or(u32::MAX)
    }

    /// The next message on `channel`, where at most `left` are still to come; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the channel is of no use any more.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped, messages may come that nobody takes before the channel ends.
    pub(super) async fn next(
        &mut self,
        channel: &Channel,
        left: u32,
    ) -> Result<Option<Delivery>, BrokerError> {
        if self.taken.is_empty() {
            self.take(channel, left).await?;
        }
        Ok(self.taken.pop_front())
    }

    /// Takes a batch as a whole, and ends its consumer before anything of it is answered: an ack would
    /// have the broker send one more, which nobody would take.
    async fn take(&mut self, channel: &Channel, left: u32) -> Result<(), BrokerError> {
        let wanted = self.size.min(u16::try_from(left).unwrap_or(u16::MAX)).max(1);
        let mut consumer = start(channel, &self.queue, wanted).await?;
        while self.taken.len() < usize::from(wanted) {
            let delivery = match timeout(SILENCE, next_of(&mut consumer)).await {
                Ok(delivery) => Some(delivery?),
                Err(_elapsed) => get(channel, &self.queue).await?,
            };
            match delivery {
                Some(delivery) => self.taken.push_back(delivery),
                None => break,
            }
        }
        // Where none was ready any more, the channel may have some in hand that were.
        while self.taken.len() < usize::from(wanted)
            && let Ok(delivery) = timeout(SILENCE, next_of(&mut consumer)).await
        {
            self.taken.push_back(delivery?);
        }
        let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        within(channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled).await?;
        let largest = self.taken.iter().map(|delivery| delivery.data.len()).max();
        let fit = u16::try_from(MAX_BYTES / largest.unwrap_or(0).max(1)).unwrap_or(u16::MAX);
        self.size = self.size.saturating_mul(2).min(MAX_MESSAGES).min(fit).max(1);
        Ok(())
    }
}

/// The next message that `consumer` is sent.
async fn next_of(consumer: &mut lapin::Consumer) -> Result<Delivery, BrokerError> {
    let lost = || BrokerError::Lost { step: "taking messages".to_owned() };
    consumer.next().await.ok_or_else(lost)?.map_err(BrokerError::lost)
}

/// One message, or the certainty that none is ready.
async fn get(channel: &Channel, queue: &str) -> Result<Option<Delivery>, BrokerError> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default());
    let step = format!("taking a message from `{queue}`");
    let got = within(channel, ROUND_TRIP_DEADLINE, step, got).await?;
    Ok(got.map(|message| message.delivery))
}
