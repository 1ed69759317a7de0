//! The consumers of one channel, one for each queue, read in the order in which the broker sent.
//!
//! Acks are coalesced up to the lowest tag that is not settled: read in turn, the last message of
//! the first queue would hold up the acks of all queues, and with them what the broker sends next.

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
    /// Its oldest message, if that has come.
    next: Option<lapin::Result<Delivery>>,
}

impl Feed {
    /// Looks for its oldest message; false: none will come.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        if self.next.is_none() {
            match self.consumer.poll_next_unpin(cx) {
                Poll::Ready(None) => return false,
                Poll::Ready(next) => self.next = next,
                Poll::Pending => {}
            }
        }
        true
    }

    /// The tag of its oldest message; `None`: there is none. A failure comes before all messages.
    fn tag(&self) -> Option<u64> {
        let next = self.next.as_ref()?;
        Some(next.as_ref().map_or(0, |delivery| delivery.delivery_tag))
    }

    fn take(&mut self) -> Option<lapin::Result<(usize, Delivery)>> {
        let queue = self.queue;
        self.next.take().map(|next| next.map(|delivery| (queue, delivery)))
    }
}

/// Messages that the broker sends ahead from each left-over queue: those in force need the room.
const LEFT_OVER_PREFETCH: u16 = 8;

/// The consumers of several queues, on one channel.
pub(super) struct Feeds {
    /// The first so many queues are in force; those after them are left over.
    in_force: usize,
    current: Vec<Feed>,
    /// The consumers that `current` replaced; their messages come first.
    replaced: Vec<Feed>,
    has_lost: bool,
}

impl Feeds {
    /// Consumes `queues` on `channel`, of which the first `in_force` are not left over; the broker
    /// sends at most `prefetch` messages ahead, divided between them, but at least one from each.
    pub(super) async fn start(
        channel: &Channel,
        queues: &[String],
        in_force: usize,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let numbered = queues.iter().enumerate();
        let current = consume_all(channel, numbered, in_force, prefetch).await?;
        Ok(Self { in_force, current, replaced: Vec::new(), has_lost: false })
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
        let new = consume_all(channel, kept, self.in_force, prefetch).await?;
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
            let (message, _) = poll_feeds(&mut self.replaced, cx);
            if let Some(message) = message {
                return Poll::Ready(Some(message));
            }
            if !self.replaced.is_empty() {
                return Poll::Pending;
            }
        }
        let before = self.current.len();
        let (message, has_ended) = poll_feeds(&mut self.current, cx);
        self.has_lost |= has_ended && before > 1;
        match message {
            Some(message) => Poll::Ready(Some(message)),
            None if self.current.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The message of `feeds` that the broker sent first, of those that have come. Removes feeds that
/// have ended; true: there was one.
fn poll_feeds(
    feeds: &mut Vec<Feed>,
    cx: &mut Context<'_>,
) -> (Option<lapin::Result<(usize, Delivery)>>, bool) {
    let before = feeds.len();
    feeds.retain_mut(|feed| feed.look(cx));
    let first = feeds.iter_mut().filter_map(|feed| Some((feed.tag()?, feed)));
    let first = first.min_by_key(|(tag, _)| *tag);
    (first.and_then(|(_, feed)| feed.take()), feeds.len() < before)
}

/// Consumes the numbered `queues`, of which those below `in_force` are not left over.
async fn consume_all(
    channel: &Channel,
    queues: impl Iterator<Item = (usize, &String)>,
    in_force: usize,
    prefetch: u16,
) -> Result<Vec<Feed>, BrokerError> {
    let (in_force, left_over): (Vec<_>, Vec<_>) =
        queues.partition(|(number, _)| *number < in_force);
    let [each, each_left_over] = divided(prefetch, in_force.len(), left_over.len());
    let mut feeds = Vec::new();
    for (each, queues) in [(each, in_force), (each_left_over, left_over)] {
        if queues.is_empty() {
            continue;
        }
        limit(channel, each).await?;
        let consumed = queues.into_iter().map(async |(queue, name)| {
            consume(channel, name).await.map(|consumer| Feed { queue, consumer, next: None })
        });
        feeds.extend(try_join_all(consumed).await?);
    }
    Ok(feeds)
}

/// The part of `prefetch` for each queue in force, and for each that is left over.
fn divided(prefetch: u16, in_force: usize, left_over: usize) -> [u16; 2] {
    let count = |queues| u16::try_from(queues).unwrap_or(u16::MAX);
    let (in_force, left_over) = (count(in_force).max(1), count(left_over));
    let equal = prefetch / in_force.saturating_add(left_over);
    let each_left_over = equal.clamp(1, LEFT_OVER_PREFETCH);
    let rest = prefetch.saturating_sub(each_left_over.saturating_mul(left_over));
    [(rest / in_force).max(1), each_left_over]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_over_queues_take_little_from_those_in_force() {
        for (prefetch, in_force, left_over, expected) in [
            (512, 1, 0, [512, 8]),
            (512, 4, 0, [128, 8]),
            (512, 1, 7, [456, 8]),
            (512, 3, 5, [157, 8]),
            (16, 1, 7, [2, 2]),
            (1, 2, 3, [1, 1]),
            (1, 0, 1, [1, 1]),
        ] {
            let case = (prefetch, in_force, left_over);
            assert_eq!(divided(prefetch, in_force, left_over), expected, "{case:?}");
        }
    }
}
