//! The consumers of one channel, one for each queue, read in turn.

use std::task::{Context, Poll};

use futures_util::{StreamExt, future::try_join_all};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::error::{BrokerError, ROUND_TRIP_DEADLINE, within};

/// One queue's consumer, and the number of the queue in its list.
struct Feed {
    queue: usize,
    consumer: lapin::Consumer,
}

/// The consumers of several queues, on one channel.
pub(super) struct Feeds {
    current: Vec<Feed>,
    /// The consumers that `current` replaced; their messages come first.
    replaced: Vec<Feed>,
    /// The feed that is asked next: each queue gets its turn.
    turn: usize,
    has_lost: bool,
}

impl Feeds {
    /// Consumes `queues` on `channel`; the broker sends at most `prefetch` messages ahead, divided
    /// between them, but at least one from each.
    pub(super) async fn start(
        channel: &Channel,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let current = consume_all(channel, queues.iter().enumerate(), prefetch).await?;
        Ok(Self { current, replaced: Vec::new(), turn: 0, has_lost: false })
    }

    /// Replaces the consumers by others with this prefetch.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if dropped, messages may come that are not taken until the channel ends.
    pub(super) async fn replace(
        &mut self,
        channel: &Channel,
        queues: &[String],
        prefetch: u16,
    ) -> Result<(), BrokerError> {
        // The new ones start first: other processes count consumers to know how many workers there
        // are.
        let kept = queues.iter().enumerate().filter(|(number, _)| self.has(*number));
        let new = consume_all(channel, kept, prefetch).await?;
        self.stop(channel).await?;
        self.replaced = std::mem::replace(&mut self.current, new);
        Ok(())
    }

    /// Those of `queues` that are still consumed.
    pub(super) fn consumed<'a>(&self, queues: &'a [String]) -> impl Iterator<Item = &'a String> {
        let numbered = queues.iter().enumerate();
        numbered.filter(|(number, _)| self.has(*number)).map(|(_, queue)| queue)
    }

    fn has(&self, queue: usize) -> bool {
        self.current.iter().any(|feed| feed.queue == queue)
    }

    /// Returns true while messages of replaced consumers may come.
    pub(super) fn is_replacing(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// Returns true if the broker ended the consumer of one queue, and not all.
    pub(super) fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Cancels the consumers.
    pub(super) async fn stop(&self, channel: &Channel) -> Result<(), BrokerError> {
        let cancelled = self.current.iter().map(|feed| {
            let options = BasicCancelOptions::default();
            let cancelled = channel.basic_cancel(feed.consumer.tag(), options);
            within(channel, ROUND_TRIP_DEADLINE, "stopping a consumer", cancelled)
        });
        try_join_all(cancelled).await.map(drop)
    }

    /// The next message and the number of its queue; `None`: no consumer is left.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<lapin::Result<(usize, Delivery)>>> {
        if !self.replaced.is_empty() {
            let (message, _) = poll_feeds(&mut self.replaced, 0, cx);
            if let Some(message) = message {
                return Poll::Ready(Some(message));
            }
            if !self.replaced.is_empty() {
                return Poll::Pending;
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let before = self.current.len();
        let (message, has_ended) = poll_feeds(&mut self.current, self.turn, cx);
        self.has_lost |= has_ended && before > 1;
        match message {
            Some(message) => Poll::Ready(Some(message)),
            None if self.current.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// Asks each of `feeds` once, the one of this `turn` first, until one has a message. Removes those
/// that have ended; true: there was one.
fn poll_feeds(
    feeds: &mut Vec<Feed>,
    turn: usize,
    cx: &mut Context<'_>,
) -> (Option<lapin::Result<(usize, Delivery)>>, bool) {
    let mut has_ended = false;
    let mut index = turn.checked_rem(feeds.len()).unwrap_or(0);
    let mut left = feeds.len();
    while left > 0 {
        left -= 1;
        let Some(feed) = feeds.get_mut(index) else { break };
        match feed.consumer.poll_next_unpin(cx) {
            Poll::Ready(Some(message)) => {
                return (Some(message.map(|delivery| (feed.queue, delivery))), has_ended);
            }
            Poll::Ready(None) => {
                feeds.remove(index);
                has_ended = true;
            }
            Poll::Pending => index += 1,
        }
        if index >= feeds.len() {
            index = 0;
        }
    }
    (None, has_ended)
}

async fn consume_all(
    channel: &Channel,
    queues: impl Iterator<Item = (usize, &String)>,
    prefetch: u16,
) -> Result<Vec<Feed>, BrokerError> {
    let queues: Vec<_> = queues.collect();
    let each = prefetch / u16::try_from(queues.len()).unwrap_or(u16::MAX).max(1);
    limit(channel, each.max(1)).await?;
    let consumed = queues.into_iter().map(async |(queue, name)| {
        consume(channel, name).await.map(|consumer| Feed { queue, consumer })
    });
    try_join_all(consumed).await
}

/// Consumes `queue` on `channel`; the broker sends at most `prefetch` messages ahead.
pub(super) async fn start(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
) -> Result<lapin::Consumer, BrokerError> {
    limit(channel, prefetch).await?;
    consume(channel, queue).await
}

/// Sets the prefetch of each consumer that follows.
async fn limit(channel: &Channel, prefetch: u16) -> Result<(), BrokerError> {
    let limited = channel.basic_qos(prefetch, BasicQosOptions { global: false });
    within(channel, ROUND_TRIP_DEADLINE, "setting the prefetch", limited).await
}

async fn consume(channel: &Channel, queue: &str) -> Result<lapin::Consumer, BrokerError> {
    let options = BasicConsumeOptions::default();
    let consumed = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    within(channel, ROUND_TRIP_DEADLINE, format!("consuming `{queue}`"), consumed).await
}
