//! Reading the archive: a stream, of which a position and the messages from there on are read.
//!
//! - A message stays where it is: an ack only asks for the next ones.
//! - Positions (*offsets*) are whole numbers that rise with each message, and now and then with an
//!   entry of the broker's own: once for each segment, measured on 3.10. The broker finds the first
//!   message that was archived at or after an instant, by its own clock and in whole seconds. It
//!   reports no message's time, and counts no messages of a stream.
//! - Of a position that the broker has removed, it begins with the first one that it still has.
//! - The oldest messages go by whole segments.
//!
//! Source: RabbitMQ documentation, *Streams*, `x-stream-offset`; osiris, `osiris_log`, which finds
//! the first chunk whose timestamp is not before an instant.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    Broker, Message, Origin, Unreadable,
    channels::open,
    denial::Reply,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    headers::Headers,
};
use homing_domain::{id::EventId, time::UnixMillis};

/// Messages that the broker sends ahead: at most as many megabytes as an event may have.
const PREFETCH: u16 = 64;
/// Messages that are acked together.
const ACKED_AT_ONCE: u64 = 16;
/// After this time without a message, there is none behind a position ...
const SILENCE: Duration = Duration::from_secs(3);
/// ... and where only a note depends on it.
const SHORT_SILENCE: Duration = Duration::from_millis(300);
/// The broker's header with a message's position.
const OFFSET: &str = "x-stream-offset";

/// A message of the archive.
#[derive(Debug)]
pub struct Archived {
    /// Its position.
    pub offset: u64,
    /// The event, or what is wrong with it.
    pub content: Result<Message, Box<Unreadable>>,
}

/// The positions of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first message of the window, or the first one behind it.
    pub first: u64,
    /// The first message that is not in the window any more.
    pub end: u64,
    /// Where the window begins with the archive's oldest message, so that earlier ones may be
    /// missing: the instant of that, in whole seconds.
    pub archive_begins: Option<UnixMillis>,
}

impl BrokerError {
    /// Returns true if there is no archive to read.
    #[must_use]
    pub fn is_no_archive(&self) -> bool {
        self.reply().is_some_and(Reply::is_unknown_queue)
    }
}

/// Reads the archive from a position on.
pub struct ArchiveReader {
    broker: Broker,
    channel: Channel,
    consumer: Consumer,
    unacked: u64,
}

/// A position as the broker takes it.
#[derive(Clone, Copy, Debug)]
enum Start {
    First,
    Last,
    Offset(u64),
    At(UnixMillis),
}

impl Start {
    fn argument(self) -> AMQPValue {
        match self {
            Self::First => AMQPValue::LongString("first".into()),
            Self::Last => AMQPValue::LongString("last".into()),
            Self::Offset(offset) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
            Self::At(at) => AMQPValue::Timestamp(u64::try_from(at.seconds()).unwrap_or(0)),
        }
    }
}

impl Broker {
    /// The positions of the messages that were archived from `since` on and before `until`, both
    /// whole seconds.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; [`is_no_archive`](BrokerError::is_no_archive): there is none.
    pub async fn archive_window(
        &self,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Window, BrokerError> {
        let mut behind = self.archive_from(Start::At(until)).await?;
        let end = if let Some(end) = behind.offset(SILENCE).await? {
            end
        } else {
            // Nothing came since then: everything is before it.
            let tail = self.archive_tail().await?;
            behind.offset(SHORT_SILENCE).await?.map_or(tail, |end| end.min(tail))
        };
        let first = self.archive_offset(Start::At(since), SILENCE).await?;
        let first = first.map_or(end, |first| first.min(end));
        let oldest = self.archive_oldest().await?;
        let archive_begins = match oldest {
            Some(oldest) if oldest == first && first < end => {
                Some(self.archive_begins(oldest, since, until).await?)
            }
            Some(_) => None,
            // It is empty.
            None => Some(until),
        };
        behind.finish().await?;
        Ok(Window { first, end, archive_begins })
    }

    /// The position of the oldest message; `None`: there is none.
    ///
    /// # Errors
    ///
    /// As [`archive_window`](Self::archive_window).
    pub async fn archive_oldest(&self) -> Result<Option<u64>, BrokerError> {
        self.archive_offset(Start::First, SILENCE).await
    }

    /// Reads the archive from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`archive_window`](Self::archive_window).
    pub async fn read_archive(&self, offset: u64) -> Result<ArchiveReader, BrokerError> {
        self.archive_from(Start::Offset(offset)).await
    }

    async fn archive_from(&self, start: Start) -> Result<ArchiveReader, BrokerError> {
        let connection = self.archive.open().await?;
        let channel = open(&connection).await?;
        let limited = channel.basic_qos(PREFETCH, BasicQosOptions { global: false });
        within(&channel, ROUND_TRIP_DEADLINE, "setting the prefetch", limited).await?;
        let name = self.topology.names().archive();
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), start.argument());
        let options = BasicConsumeOptions::default();
        let begun = channel.basic_consume(name.as_str().into(), "".into(), options, arguments);
        let step = format!("reading the archive `{name}`");
        let consumer = within(&channel, ROUND_TRIP_DEADLINE, step, begun).await?;
        Ok(ArchiveReader { broker: self.clone(), channel, consumer, unacked: 0 })
    }

    /// The position of the first message from there on; `None`: there is none yet.
    async fn archive_offset(
        &self,
        start: Start,
        silence: Duration,
    ) -> Result<Option<u64>, BrokerError> {
        let mut reader = self.archive_from(start).await?;
        let offset = reader.offset(silence).await?;
        reader.finish().await?;
        Ok(offset)
    }

    /// The position behind the last message; 0: there is none.
    async fn archive_tail(&self) -> Result<u64, BrokerError> {
        let mut reader = self.archive_from(Start::Last).await?;
        let mut tail = 0;
        while let Some(offset) = reader.offset(SILENCE).await? {
            tail = offset.saturating_add(1);
        }
        reader.finish().await?;
        Ok(tail)
    }

    /// Finds the second at which the archive begins, from `since` on: the last one from which the
    /// broker begins with its `oldest` message.
    async fn archive_begins(
        &self,
        oldest: u64,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<UnixMillis, BrokerError> {
        let (mut has_all, mut beyond) = (since.seconds(), until.seconds());
        while beyond.saturating_sub(has_all) > 1 {
            let middle = has_all.midpoint(beyond);
            let at = UnixMillis::new(middle.saturating_mul(1_000));
            if self.archive_offset(Start::At(at), SHORT_SILENCE).await? == Some(oldest) {
                has_all = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(UnixMillis::new(has_all.saturating_mul(1_000)))
    }
}

impl ArchiveReader {
    /// The next message; `None`: none came in time.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the reader is unusable.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if dropped, a message may be missing.
    pub async fn next(&mut self) -> Result<Option<Archived>, BrokerError> {
        let Some((offset, delivery)) = self.take(SILENCE).await? else { return Ok(None) };
        let broker = &self.broker;
        let way = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        let names = broker.topology.names();
        let properties = &delivery.properties;
        let origin = Origin::of(names, broker.rules, way, properties);
        // Where the publisher gave none, the same each time that it is read.
        let new_id = || EventId::derived(&format!("{} {offset}", names.archive()));
        let body = Bytes::from(delivery.data);
        Ok(Some(Archived { offset, content: Message::read(properties, &origin, body, new_id) }))
    }

    /// The position of the next message, which is dropped.
    async fn offset(&mut self, silence: Duration) -> Result<Option<u64>, BrokerError> {
        Ok(self.take(silence).await?.map(|(offset, _)| offset))
    }

    async fn take(&mut self, silence: Duration) -> Result<Option<(u64, Delivery)>, BrokerError> {
        let lost = || BrokerError::Lost { step: "reading the archive".to_owned() };
        let Ok(delivery) = timeout(silence, self.consumer.next()).await else { return Ok(None) };
        let delivery = delivery.ok_or_else(lost)?.map_err(BrokerError::lost)?;
        self.unacked = self.unacked.saturating_add(1);
        if self.unacked >= ACKED_AT_ONCE {
            self.unacked = 0;
            let acked =
                self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true });
            within(&self.channel, ROUND_TRIP_DEADLINE, "asking for more of the archive", acked)
                .await?;
        }
        let offset = Headers(delivery.properties.headers().as_ref()).integer(OFFSET);
        let offset = offset.and_then(|offset| u64::try_from(offset).ok()).ok_or_else(lost)?;
        Ok(Some((offset, delivery)))
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the connection is lost, so it sends no more either.
    pub async fn finish(self) -> Result<(), BrokerError> {
        let closed = self.channel.close(200, "OK".into());
        within(&self.channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await
    }
}

impl Drop for ArchiveReader {
    /// Ends a reading that was given up: the client keeps a channel open that is only dropped.
    fn drop(&mut self) {
        if self.channel.status().connected() {
            let channel = self.channel.clone();
            self.broker.tasks.spawn(async move {
                let closed = channel.close(200, "OK".into());
                within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await
            });
        }
    }
}
