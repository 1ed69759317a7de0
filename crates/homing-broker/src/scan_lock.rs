//! The lock of the parking queue: one intake at a time, in all processes. Processes of earlier
//! versions take the same lock for their scans, which would hide messages from each other.
//!
//! It is an exclusive queue, to which no message ever comes: no other connection may use it, and
//! the broker deletes it with its consumer, its channel or its connection, whichever ends first.
//!
//! Source: RabbitMQ documentation, *Queues*, exclusive queues and auto-delete queues.

use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use tokio_util::task::TaskTracker;

use super::{
    Broker, channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// Released when dropped. It excludes other connections, not users of the same one.
pub struct ScanLock {
    _held: Option<(Consumer, Held)>,
}

/// Closes its channel when dropped at any point: the client keeps a channel open on which a
/// `basic.consume` is pending, and the queue stays with the connection if no consumer was started.
struct Held {
    channel: Channel,
    queue: String,
    /// True if the queue ends with its consumer.
    has_consumer: bool,
    tasks: TaskTracker,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.channel.status().connected() {
            return;
        }
        let (channel, queue) = (self.channel.clone(), std::mem::take(&mut self.queue));
        let has_consumer = self.has_consumer;
        self.tasks.spawn(async move {
            if !has_consumer {
                let options = QueueDeleteOptions { if_unused: true, ..Default::default() };
                let deleted = channel.queue_delete(queue.as_str().into(), options);
                within(&channel, ROUND_TRIP_DEADLINE, format!("deleting `{queue}`"), deleted)
                    .await?;
            }
            let closed = channel.close(200, "OK".into());
            within(&channel, ROUND_TRIP_DEADLINE, format!("releasing `{queue}`"), closed).await
        });
    }
}

impl Broker {
    /// Takes the lock; `None`: another process holds it. Where the account may not declare queues,
    /// there is no lock, and every intake may run.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the lock is released.
    pub async fn scan_lock(&self) -> Result<Option<ScanLock>, BrokerError> {
        let connection = self.control.open().await?;
        let channel = channels::open(&connection).await?;
        let queue = self.topology().names().scan_lock();
        let tasks = self.tasks.clone();
        let mut held = Held { channel, queue: queue.clone(), has_consumer: false, tasks };
        let channel = &held.channel;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        let step = format!("declaring queue `{queue}`");
        match within(channel, ROUND_TRIP_DEADLINE, step, declared).await {
            Ok(_queue) => {}
            Err(error) if error.has_code(&AMQPSoftError::RESOURCELOCKED) => return Ok(None),
            Err(error) if error.is_denied() => return Ok(Some(ScanLock { _held: None })),
            Err(error) => return Err(error),
        }
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(queue.as_str().into(), "".into(), options, arguments);
        let step = format!("consuming `{queue}`");
        match within(channel, ROUND_TRIP_DEADLINE, step, consuming).await {
            Ok(consumer) => {
                held.has_consumer = true;
                Ok(Some(ScanLock { _held: Some((consumer, held)) }))
            }
            // The last lock of this same connection was released meanwhile, and its queue was
            // deleted.
            Err(error) if error.has_code(&AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
