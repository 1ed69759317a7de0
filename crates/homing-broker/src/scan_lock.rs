//! The right to go through what is parked: one at a time, in all processes. Two hide messages from
//! each other, so that each would find a part of them, or none, and say that this was all.
//!
//! It is an exclusive queue, to which no message ever comes: the broker lets no other connection near
//! it, and deletes it with its consumer, its channel or its connection, whichever ends first.
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

/// Ends when it is dropped. Processes of one connection share it.
pub struct ScanLock {
    _held: Option<(Consumer, Held)>,
}

/// Ends with its channel at whatever point it is dropped: the client keeps a channel open on which it
/// waits for the answer to the start of a consumer, and the queue stays with the connection where no
/// consumer was started.
struct Held {
    channel: Channel,
    queue: String,
    /// With its consumer the queue ends by itself.
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
            within(&channel, ROUND_TRIP_DEADLINE, format!("letting `{queue}` go"), closed).await
        });
    }
}

impl Broker {
    /// Takes the turn; `None`: another process has it. Where the account may make no queues, there is
    /// nothing to wait for, and everybody has a turn.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the turn ends.
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
            // The last turn of this same connection ended meanwhile, and the queue went with it.
            Err(error) if error.has_code(&AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
