//! A group of messages that are sent over one channel and confirmed before the next group is sent.
//!
//! A channel that carries many messages costs the broker less than many channels that carry one
//! each. It carries one group at a time for another reason. A message that finds no queue is
//! *returned* and then acked, and the client does not say which ack a returned message belongs to:
//! it keeps returned messages in a list, and every confirm that it completes takes the first of
//! them. An ack with `multiple` completes confirms in random order, and the ack of another message
//! may come between a return and its own ack. So the confirm of a message that was stored may carry
//! one that was not, and the confirm of that one nothing.
//!
//! Two things hold all the same, because the broker sends a return before the ack of the same
//! message:
//!
//! 1. When the confirms of all messages of a channel are complete, one of them carries each returned
//!    message, and the list is empty: every return was followed by at least one confirm. So while a
//!    group has the channel to itself and is awaited as a whole, no returned message of it is
//!    credited to another group, and none of another to it. Exchange, routing key and id of a
//!    returned message name the one of the group.
//! 2. A confirm that carries nothing was completed while the list was empty. If its own message was
//!    returned, a confirm that was completed before carries that. So where some confirms are
//!    missing, a message is stored if it is acked, every confirm was looked at once more after that
//!    was known, and none of them carries anything.
//!
//! A nack names its own message. So one message whose confirm is late holds up the callers of the
//! others of its group for a moment only, unless one was returned. What waits for the next group is
//! held up.
//!
//! Source: RabbitMQ documentation, *Consumer Acknowledgements and Publisher Confirms* (returns come
//! before acks); lapin 4.12, `acknowledgement.rs` (`complete_pending`), `returned_messages.rs`.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind, message::BasicReturnMessage,
    options::BasicPublishOptions, types::ShortString,
};
use tokio::{sync::oneshot, time::sleep};

use super::{
    error::{BrokerError, lost},
    publish::Address,
};

mod divide;
mod suspects;
mod take;
#[cfg(test)]
mod tests;
mod words;

pub(super) use divide::{Divided, divide};
pub(super) use suspects::Suspects;
pub(super) use take::take;

/// A message to publish.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    /// The queue that it is for.
    pub(super) queue: String,
    pub(super) address: Address,
    pub(super) properties: Arc<BasicProperties>,
    pub(super) body: Bytes,
    /// True if it is an error that no queue takes it.
    pub(super) mandatory: bool,
}

impl Publish {
    fn id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    pub(super) fn step(&self) -> String {
        match self.id() {
            Some(id) => format!("publishing event `{id}` to `{}`", self.address.exchange),
            None => format!("publishing to `{}`", self.address.exchange),
        }
    }

    fn nacked(&self) -> BrokerError {
        let Address { exchange, routing_key } = self.address.clone();
        BrokerError::Nacked { exchange, routing_key }
    }

    fn unroutable(&self) -> BrokerError {
        let Address { exchange, routing_key } = self.address.clone();
        BrokerError::Unroutable { exchange, routing_key }
    }
}

/// A message, and the caller that waits for the broker to own it.
pub(super) struct Job {
    pub(super) publish: Publish,
    pub(super) reply: oneshot::Sender<Result<(), BrokerError>>,
}

impl Job {
    /// Returns true if the caller still waits.
    pub(super) fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    pub(super) fn answer(self, answer: Result<(), BrokerError>) {
        // A caller that gave up needs none.
        let _unneeded = self.reply.send(answer);
    }
}

/// The reason for which messages of a group are neither confirmed nor refused.
#[derive(Clone, Debug)]
pub(super) enum Unanswered {
    /// The channel or the connection ended with this error.
    Ended(lapin::Error),
    /// The channel or the connection ended.
    Lost,
    /// The broker did not answer in time.
    TimedOut(Duration),
}

impl Unanswered {
    /// As [`Reply::is_of_the_client`](super::Reply::is_of_the_client).
    fn is_of_the_client(&self) -> bool {
        let Self::Ended(error) = self else { return false };
        super::Reply::of(error).is_some_and(|reply| reply.is_of_the_client())
    }

    /// True if the messages came to a channel that had ended for another message, whose error has
    /// not come yet.
    fn is_of_another(&self) -> bool {
        let Self::Ended(error) = self else { return false };
        matches!(error.kind(), ErrorKind::InvalidChannelState(..))
    }

    /// True if the messages may be sent again as they are: none of them is known to be at fault.
    pub(super) fn is_of_none(&self) -> bool {
        self.is_of_the_client() || self.is_of_another()
    }

    /// The error for the caller of `publish`.
    pub(super) fn error(&self, publish: &Publish) -> BrokerError {
        match self {
            Self::Ended(error) => BrokerError::of_publish(publish.step(), error.clone()),
            Self::Lost => BrokerError::Lost { step: publish.step() },
            Self::TimedOut(deadline) => {
                BrokerError::TimedOut { step: publish.step(), deadline: *deadline }
            }
        }
    }
}

/// The result of a group.
pub(super) struct Committed {
    /// Messages that are not answered, and the reason; empty if all are.
    pub(super) left: Option<(Vec<Job>, Unanswered)>,
    /// True if every message was confirmed. Otherwise the channel is not to be used again: after a
    /// nack some brokers nack everything on it, and after a time-out its confirms are out of step.
    pub(super) is_whole: bool,
}

/// Interval at which a group checks if the broker takes messages, and answers what is certain.
const TICK: Duration = Duration::from_millis(100);

/// Sends `jobs` over `channel`, on which nothing else is under way, and answers those whose outcome
/// is certain. Returns within `deadline`, which begins anew while the broker takes no messages
/// (`is_blocked`).
///
/// # Cancel safety
///
/// Not cancel safe: the channel is not to be used again.
pub(super) async fn commit(
    jobs: Vec<Job>,
    channel: &Channel,
    properties_of: impl Fn(&Publish) -> BasicProperties,
    (deadline, is_blocked): (Duration, impl Fn() -> bool),
) -> Committed {
    let mut group = Group::send(jobs, channel, properties_of);
    let why = group.confirmed(lost(channel), (deadline, is_blocked)).await;
    group.end(why)
}

/// Messages under way on one channel.
struct Group<'a> {
    sent: Vec<Sent<'a>>,
    /// The messages that confirms carried.
    returned: Vec<BasicReturnMessage>,
    /// True as long as nothing was refused.
    is_whole: bool,
}

struct Sent<'a> {
    job: Job,
    confirm: Confirm<'a>,
}

enum Confirm<'a> {
    Pending(Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send + 'a>>),
    Acked,
    Nacked,
    Failed(lapin::Error),
}

impl<'a> Group<'a> {
    fn send(
        jobs: Vec<Job>,
        channel: &'a Channel,
        properties_of: impl Fn(&Publish) -> BasicProperties,
    ) -> Self {
        let sent = jobs.into_iter().map(|job| {
            let properties = properties_of(&job.publish);
            let sending = send(channel, job.publish.clone(), properties);
            Sent { job, confirm: Confirm::Pending(Box::pin(sending)) }
        });
        Self { sent: sent.collect(), returned: Vec::new(), is_whole: true }
    }

    /// Waits for all confirms, within `deadline`, and answers the messages whose outcome is certain.
    /// Returns the reason for which others are left.
    async fn confirmed(
        &mut self,
        lost: impl Future<Output = ()>,
        (deadline, is_blocked): (Duration, impl Fn() -> bool),
    ) -> Unanswered {
        let mut lost = pin!(lost);
        let mut left = deadline;
        let why = loop {
            tokio::select! {
                biased;
                () = poll_fn(|context| self.look(context)) => break Unanswered::Lost,
                () = &mut lost => break Unanswered::Lost,
                () = sleep(TICK.min(left)) => {
                    self.answer().await;
                    left = if is_blocked() { deadline } else { left.saturating_sub(TICK) };
                    if left.is_zero() {
                        break Unanswered::TimedOut(deadline);
                    }
                }
            }
        };
        self.answer().await;
        why
    }

    /// Looks at every confirm once. Ready if all are complete, or one failed.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (mut is_pending, mut has_failed) = (false, false);
        for Sent { confirm, .. } in &mut self.sent {
            if let Confirm::Pending(sending) = confirm
                && let Poll::Ready(confirmed) = sending.as_mut().poll(context)
            {
                let returned;
                (*confirm, returned) = match confirmed {
                    Ok(Confirmation::Ack(returned)) => (Confirm::Acked, returned),
                    Ok(Confirmation::Nack(returned)) => (Confirm::Nacked, returned),
                    Ok(Confirmation::NotRequested) => (Confirm::Nacked, None),
                    Err(error) => (Confirm::Failed(error), None),
                };
                self.returned.extend(returned);
            }
            is_pending |= matches!(confirm, Confirm::Pending(_));
            // That its channel is being closed only follows from the broker's words to another.
            has_failed |= matches!(confirm, Confirm::Failed(error)
                if !matches!(error.kind(), ErrorKind::InvalidChannelState(..)));
        }
        if is_pending && !has_failed { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Answers the messages whose outcome is certain and removes them.
    async fn answer(&mut self) {
        let was_acked: Vec<_> =
            self.sent.iter().map(|sent| matches!(sent.confirm, Confirm::Acked)).collect();
        poll_fn(|context| {
            let _ready = self.look(context);
            Poll::Ready(())
        })
        .await;
        let is_known = |sent: &Sent<'_>| matches!(sent.confirm, Confirm::Acked | Confirm::Nacked);
        let all_are_known = self.sent.iter().all(is_known);
        // Cannot be; if it is, none of them counts as stored.
        let is_unclear = self
            .returned
            .iter()
            .any(|returned| !self.sent.iter().any(|sent| is_same(returned, &sent.job.publish)));
        for (sent, was_acked) in std::mem::take(&mut self.sent).into_iter().zip(was_acked) {
            let publish = &sent.job.publish;
            let is_returned =
                is_unclear || self.returned.iter().any(|returned| is_same(returned, publish));
            let answer = match sent.confirm {
                Confirm::Nacked => Err(publish.nacked()),
                Confirm::Acked if all_are_known && is_returned => Err(publish.unroutable()),
                Confirm::Acked if all_are_known || was_acked && self.returned.is_empty() => Ok(()),
                Confirm::Pending(_) | Confirm::Acked | Confirm::Failed(_) => {
                    self.sent.push(sent);
                    continue;
                }
            };
            self.is_whole &= answer.is_ok();
            sent.job.answer(answer);
        }
    }

    /// The messages that are left, with the most telling reason.
    fn end(self, why: Unanswered) -> Committed {
        let errors = self.sent.iter().filter_map(|sent| match &sent.confirm {
            Confirm::Failed(error) => Some(error),
            Confirm::Pending(_) | Confirm::Acked | Confirm::Nacked => None,
        });
        let telling = errors.max_by_key(|error| super::Reply::of(error).is_some()).cloned();
        let why = telling.map_or(why, Unanswered::Ended);
        let left: Vec<_> = self.sent.into_iter().map(|sent| sent.job).collect();
        let is_whole = self.is_whole && left.is_empty();
        Committed { left: (!left.is_empty()).then_some((left, why)), is_whole }
    }
}

/// Returns true if `returned` is this message, or one that nothing distinguishes from it: then both
/// count as returned.
fn is_same(returned: &BasicReturnMessage, publish: &Publish) -> bool {
    returned.exchange.as_str() == publish.address.exchange
        && returned.routing_key.as_str() == publish.address.routing_key
        && returned.properties.message_id().as_ref().map(ShortString::as_str) == publish.id()
}

/// Sends one message; completes with its confirm.
async fn send(
    channel: &Channel,
    Publish { address, body, mandatory, .. }: Publish,
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory, immediate: false };
    let (exchange, routing_key) = (address.exchange.into(), address.routing_key.into());
    channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
}
