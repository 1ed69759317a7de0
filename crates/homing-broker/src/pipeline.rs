//! Publishing in a pipeline: every message is confirmed, none waits for the one before.
//!
//! A [`Pipeline`] bounds what is unconfirmed, by number and by bytes; callers wait for room. A
//! message that the broker refuses or does not confirm in time, or whose connection is lost, is
//! published again, so it may be there twice and is never lost, unless the process ends first.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use lapin::{Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tracing::{error, warn};

use super::{
    Broker,
    error::BrokerError,
    message::Outgoing,
    publish::{Address, DropUnlessConfirmed},
};

/// Takes messages; all of them are confirmed when [`finish`](Self::finish) returns.
pub struct Pipeline {
    queue: mpsc::Sender<Queued>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_bytes: usize,
    publishing: JoinHandle<()>,
}

/// A message with its permits, which are free again when it is confirmed.
struct Queued {
    message: Outgoing,
    _places: [OwnedSemaphorePermit; 2],
}

impl Broker {
    /// A pipeline to the events exchange, with at most `max_messages` messages and `max_bytes`
    /// bytes unconfirmed.
    #[must_use]
    pub fn pipeline(&self, max_messages: usize, max_bytes: usize) -> Pipeline {
        let (queue, queued) = mpsc::channel(max_messages.max(1));
        let publishing = self.tasks.spawn(publish_all(self.clone(), queued));
        Pipeline {
            queue,
            messages: Arc::new(Semaphore::new(max_messages.max(1))),
            bytes: Arc::new(Semaphore::new(max_bytes.max(1))),
            max_bytes: max_bytes.max(1),
            publishing,
        }
    }
}

impl Pipeline {
    /// Queues a message; waits for room.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Closed`]: homing has stopped; the message is not published.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the message is not taken.
    pub async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        let closed = |_| BrokerError::Closed;
        // A message that is larger than the bound takes all of it.
        let bytes = message.body.len().clamp(1, self.max_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let one = Arc::clone(&self.messages).acquire_owned().await.map_err(closed)?;
        let room = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.map_err(closed)?;
        let queued = Queued { message, _places: [one, room] };
        self.queue.send(queued).await.map_err(|_| BrokerError::Closed)
    }

    /// Waits until everything is confirmed, however long that takes.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the rest is still published as long as the broker connection lives.
    pub async fn finish(self) {
        drop(self.queue);
        // A panic is logged by the task itself.
        drop(self.publishing.await);
    }
}

/// Publishes what is queued, on one channel after another, until the queue is closed and all of it
/// is confirmed.
async fn publish_all(broker: Broker, mut queued: mpsc::Receiver<Queued>) {
    let mut pauses = pauses();
    let mut unconfirmed = VecDeque::new();
    let mut logged = None;
    loop {
        let before = unconfirmed.len();
        let Err(error) = session(&broker, &mut queued, &mut unconfirmed).await else { return };
        if broker.closing.is_cancelled() {
            let messages = unconfirmed.len();
            if messages > 0 {
                warn!(messages, "broker.unconfirmed: given up at the end of the process");
            }
            return;
        }
        if error.is_final() {
            one_by_one(&broker, &mut unconfirmed).await;
            continue;
        }
        if unconfirmed.len() < before {
            (pauses, logged) = (self::pauses(), None);
        }
        broker.conditions.publishing.failed(error.summary());
        let error = Some(error.report());
        if error != logged {
            warn!(error, unconfirmed = unconfirmed.len(), "broker.publish_failed: trying again");
            logged = error;
        }
        tokio::time::sleep(pauses.next().unwrap_or(MAX_PAUSE)).await;
    }
}

/// Publishes what is `unconfirmed` one by one: with many in flight, the broker does not say which
/// of them it will never take. What it does not take is dropped and logged. Ends at the first other
/// failure.
async fn one_by_one(broker: &Broker, unconfirmed: &mut VecDeque<Queued>) {
    let exchange = broker.topology().names().events();
    while let Some(Queued { message, .. }) = unconfirmed.front() {
        let (exchange, routing_key) = (exchange.clone(), message.topic.clone());
        match broker.publish_to(message, Address { exchange, routing_key }, true).await {
            Err(refused) if refused.is_final() => {
                error!(
                    event.id = message.id,
                    error = refused.report(),
                    "broker.never_takes: the message is dropped"
                );
            }
            Err(_again) => return,
            Ok(()) => {}
        }
        unconfirmed.pop_front();
    }
}

const MAX_PAUSE: Duration = Duration::from_secs(5);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(MAX_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Publishes on one channel: first again what is `unconfirmed`, then what is given.
///
/// # Errors
///
/// The channel is unusable; what is `unconfirmed` has to be published again.
async fn session(
    broker: &Broker,
    queued: &mut mpsc::Receiver<Queued>,
    unconfirmed: &mut VecDeque<Queued>,
) -> Result<(), BrokerError> {
    let deadline = broker.confirm_deadline;
    let step = || BrokerError::TimedOut { step: "waiting for a channel".to_owned(), deadline };
    let channel = timeout(deadline, broker.channels.get()).await.map_err(|_elapsed| step())??;
    let guard = DropUnlessConfirmed(Some(channel));
    let Some(channel) = guard.0.as_deref() else { return Err(BrokerError::Closed) };
    let mut confirms = VecDeque::new();
    for Queued { message, .. } in unconfirmed.iter() {
        confirms.push_back(send(broker, channel, message).await?);
    }
    let mut progress = Instant::now();
    let mut open = true;
    while open || !confirms.is_empty() {
        tokio::select! {
            biased;
            confirmed = first(&mut confirms, progress + deadline) => match confirmed {
                Ok(confirmed) => {
                    check(confirmed?)?;
                    broker.conditions.publishing.recovered();
                    confirms.pop_front();
                    unconfirmed.pop_front();
                    progress = Instant::now();
                }
                Err(_elapsed) if broker.is_blocked() => progress = Instant::now(),
                Err(_elapsed) => {
                    let step = "confirming events".to_owned();
                    return Err(BrokerError::TimedOut { step, deadline });
                }
            },
            next = queued.recv(), if open => match next {
                None => open = false,
                Some(next) => {
                    if confirms.is_empty() {
                        progress = Instant::now();
                    }
                    unconfirmed.push_back(next);
                    let Some(Queued { message, .. }) = unconfirmed.back() else { continue };
                    confirms.push_back(send(broker, channel, message).await?);
                }
            },
        }
    }
    guard.keep();
    Ok(())
}

/// Waits for the oldest confirm; for ever if none is due.
async fn first(
    confirms: &mut VecDeque<PublisherConfirm>,
    until: Instant,
) -> Result<Result<Confirmation, BrokerError>, Elapsed> {
    match confirms.front_mut() {
        None => std::future::pending().await,
        Some(confirm) => {
            let confirmed = timeout_at(until, confirm).await?;
            Ok(confirmed.map_err(|error| BrokerError::of_publish("confirming an event", error)))
        }
    }
}

fn check(confirmed: Confirmation) -> Result<(), BrokerError> {
    match confirmed {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            let (exchange, routing_key) = (returned.exchange.clone(), returned.routing_key.clone());
            let (exchange, routing_key) = (exchange.to_string(), routing_key.to_string());
            Err(BrokerError::Unroutable { exchange, routing_key })
        }
        Confirmation::Nack(None) | Confirmation::NotRequested => {
            Err(BrokerError::Nacked { exchange: String::new(), routing_key: String::new() })
        }
    }
}

/// Sends one message. Waits while the broker takes none: sent again, the message would be there
/// twice.
async fn send(
    broker: &Broker,
    channel: &Channel,
    message: &Outgoing,
) -> Result<PublisherConfirm, BrokerError> {
    let deadline = broker.confirm_deadline;
    let exchange = broker.topology().names().events();
    let mut sending = pin!(channel.basic_publish(
        exchange.into(),
        message.topic.as_str().into(),
        // An alternate exchange takes what has no route; `mandatory` reports if that is missing.
        BasicPublishOptions { mandatory: true, immediate: false },
        &message.body,
        broker.properties_of(message),
    ));
    loop {
        match timeout(deadline, &mut sending).await {
            Ok(sent) => {
                return sent.map_err(|error| BrokerError::of_publish("publishing events", error));
            }
            Err(_elapsed) if broker.is_blocked() => {}
            Err(_elapsed) => {
                let step = format!("publishing event `{}`", message.id);
                return Err(BrokerError::TimedOut { step, deadline });
            }
        }
    }
}
