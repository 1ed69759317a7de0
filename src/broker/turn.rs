//! The right to go through what is parked: one at a time, in all processes. Two hide messages from
//! each other, so that each would find a part of them, or none, and say that this was all.
//!
//! It is an exclusive queue, to which no message ever comes: the broker lets no other connection near
//! it, and deletes it with its consumer, its channel or its connection, whichever ends first.
//!
//! Source: RabbitMQ documentation, *Queues*, exclusive queues and auto-delete queues.

use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};

use super::{
    Broker,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// Ends when it is dropped. Processes of one connection share it.
pub struct Turn {
    _held: Option<(Consumer, Channel)>,
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
    pub async fn turn(&self) -> Result<Option<Turn>, BrokerError> {
        let connection = self.control.open().await?;
        let opened = connection.create_channel();
        let channel =
            within(connection.as_ref(), ROUND_TRIP_DEADLINE, "opening a channel", opened).await?;
        let queue = self.topology().names().turn();
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        let step = format!("declaring queue `{queue}`");
        match within(&channel, ROUND_TRIP_DEADLINE, step, declared).await {
            Ok(_queue) => {}
            Err(error) if error.says(&AMQPSoftError::RESOURCELOCKED) => return Ok(None),
            Err(error) if error.is_denied() => return Ok(Some(Turn { _held: None })),
            Err(error) => return Err(error),
        }
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(queue.as_str().into(), "".into(), options, arguments);
        let step = format!("consuming `{queue}`");
        match within(&channel, ROUND_TRIP_DEADLINE, step, consuming).await {
            Ok(consumer) => Ok(Some(Turn { _held: Some((consumer, channel)) })),
            // The last turn of this same connection ended meanwhile, and the queue went with it.
            Err(error) if error.says(&AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
