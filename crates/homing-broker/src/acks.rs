//! Acks to the broker, coalesced: one `multiple` ack answers many messages.
//!
//! Settled tags are acked with `multiple` up to the lowest tag that is not settled, at most
//! [`COALESCE`] late. A tag that sits above an unsettled one for [`LAGGARD`] is acked alone, so
//! that one slow endpoint does not hold up the acks of others.

use std::{collections::BTreeMap, time::Duration};

use lapin::{
    Channel,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    receipt::Answer,
};

/// The longest that an answer waits for others to be sent with it.
const COALESCE: Duration = Duration::from_millis(5);
/// The longest that a settled tag waits for an unsettled one below it.
const LAGGARD: Duration = Duration::from_millis(50);

/// The tags that are answered. Tags of a channel count from 1 without gaps.
#[derive(Debug, Default)]
struct Ledger {
    /// Every tag up to this one is answered.
    answered_up_to: u64,
    /// Tags above that which are settled or answered already.
    above: BTreeMap<u64, Above>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Above {
    /// Settled, not acked yet.
    Settled(Instant),
    /// Acked alone, given back, or rejected.
    Answered,
}

/// One ack to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ack {
    tag: u64,
    multiple: bool,
}

impl Ledger {
    fn settled(&mut self, tag: u64, now: Instant) {
        self.above.insert(tag, Above::Settled(now));
    }

    fn given_back(&mut self, tag: u64) {
        self.above.insert(tag, Above::Answered);
    }

    /// The acks that are due at `now`; they count as sent.
    fn due(&mut self, now: Instant) -> Vec<Ack> {
        let mut acks: Vec<_> = self.contiguous().into_iter().collect();
        for (tag, above) in &mut self.above {
            match above {
                Above::Settled(since) if now.duration_since(*since) >= LAGGARD => {
                    *above = Above::Answered;
                    acks.push(Ack { tag: *tag, multiple: false });
                }
                Above::Settled(_) | Above::Answered => {}
            }
        }
        acks
    }

    /// One ack for the unbroken run of tags at the bottom. It must name a tag that is not answered
    /// yet: the broker refuses an ack of a tag that it has forgotten.
    fn contiguous(&mut self) -> Option<Ack> {
        let mut last_settled = None;
        while let Some(above) = self.above.remove(&self.answered_up_to.saturating_add(1)) {
            self.answered_up_to = self.answered_up_to.saturating_add(1);
            match above {
                Above::Settled(_) => last_settled = Some(self.answered_up_to),
                Above::Answered => {}
            }
        }
        last_settled.map(|tag| Ack { tag, multiple: true })
    }

    /// When the next tag has waited long enough to be acked alone.
    fn next_due(&self) -> Option<Instant> {
        self.above
            .values()
            .filter_map(|above| match above {
                Above::Settled(since) => Some(*since + LAGGARD),
                Above::Answered => None,
            })
            .min()
    }
}

/// Sends answers until every receipt is dropped or the channel fails.
///
/// # Errors
///
/// [`BrokerError`]: the channel is unusable; the broker redelivers what was not answered.
pub(super) async fn send_answers(
    channel: Channel,
    mut answers: mpsc::Receiver<Answer>,
) -> Result<(), BrokerError> {
    let mut ledger = Ledger::default();
    let mut batch = Vec::new();
    loop {
        let open = match ledger.next_due() {
            None => answers.recv_many(&mut batch, usize::MAX).await > 0,
            Some(due) => {
                let next = answers.recv_many(&mut batch, usize::MAX);
                tokio::time::timeout_at(due, next).await.map_or(true, |received| received > 0)
            }
        };
        if open && !batch.is_empty() {
            tokio::time::sleep(COALESCE).await;
            while let Ok(answer) = answers.try_recv() {
                batch.push(answer);
            }
        }
        let now = Instant::now();
        for answer in batch.drain(..) {
            match answer {
                Answer::Ack(tag) => ledger.settled(tag, now),
                Answer::GiveBack(tag) => {
                    give_back(&channel, tag, true).await?;
                    ledger.given_back(tag);
                }
                Answer::Reject(tag) => {
                    give_back(&channel, tag, false).await?;
                    ledger.given_back(tag);
                }
            }
        }
        let until = if open { now } else { now + LAGGARD };
        for ack in ledger.due(until) {
            send(&channel, ack).await?;
        }
        if !open {
            return Ok(());
        }
    }
}

/// Waits until the queue has every ack that was sent on `channel` before, so that none is lost when
/// the channel is closed.
///
/// A quorum queue takes 32 commands of a channel at a time, by default. The broker keeps further
/// acks of a channel until the queue has answered, merged into one command, and forgets them when
/// the channel is closed. A `basic.get` is answered after the commands before it, and with them the
/// rest is sent. If it takes a message, that is not answered: it returns with the end of the channel,
/// or with a `multiple` nack.
///
/// Source: RabbitMQ 3.10, `rabbit_fifo_client.erl` (`soft_limit`, `unsent_commands`).
///
/// # Errors
///
/// [`BrokerError`]: the channel is unusable; the broker may redeliver what was acked.
pub(super) async fn flush(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default());
    let step = format!("waiting until `{queue}` has all acks");
    within(channel, ROUND_TRIP_DEADLINE, step, got).await.map(drop)
}

async fn send(channel: &Channel, ack: Ack) -> Result<(), BrokerError> {
    let sent = channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple });
    within(channel, ROUND_TRIP_DEADLINE, format!("acking up to tag {}", ack.tag), sent).await
}

async fn give_back(channel: &Channel, tag: u64, requeue: bool) -> Result<(), BrokerError> {
    let sent = channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue });
    within(channel, ROUND_TRIP_DEADLINE, format!("giving back tag {tag}"), sent).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The broker's rules: an ack must name an outstanding tag; `multiple` takes all below it.
    struct Broker(BTreeSet<u64>);

    impl Broker {
        fn take(&mut self, ack: Ack) -> Vec<u64> {
            assert!(self.0.contains(&ack.tag), "unknown delivery tag {}", ack.tag);
            let acked: Vec<_> = self
                .0
                .iter()
                .copied()
                .filter(|tag| *tag == ack.tag || (ack.multiple && *tag < ack.tag))
                .collect();
            for tag in &acked {
                self.0.remove(tag);
            }
            acked
        }
    }

    proptest! {
        /// Goal: exactly the settled tags are acked, whatever the order and the pauses.
        #[test]
        fn only_settled_tags_are_acked_and_each_once(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            settled in 0_usize..=40,
            given_back in proptest::collection::btree_set(1..=40_u64, 0..5),
            pauses in proptest::collection::vec(0_u64..60, 40),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut broker = Broker((1..=40).collect());
            let mut ledger = Ledger::default();
            let mut allowed = BTreeSet::new();
            for (tag, pause) in order.into_iter().zip(pauses).take(settled) {
                now += Duration::from_millis(pause);
                if given_back.contains(&tag) {
                    broker.0.remove(&tag);
                    ledger.given_back(tag);
                } else {
                    allowed.insert(tag);
                    ledger.settled(tag, now);
                }
                for ack in ledger.due(now) {
                    for tag in broker.take(ack) {
                        prop_assert!(allowed.remove(&tag), "{tag} was not settled");
                    }
                }
            }
            for ack in ledger.due(now + LAGGARD) {
                for tag in broker.take(ack) {
                    prop_assert!(allowed.remove(&tag), "{tag} was not settled");
                }
            }
            prop_assert!(allowed.is_empty(), "not acked: {allowed:?}");
        }
    }
}
