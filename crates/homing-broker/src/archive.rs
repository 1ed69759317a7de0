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
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout};

use super::{
    Broker, Message, Origin, Unreadable,
    channels::open,
    denial::Reply,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    headers::Headers,
    message::header,
};
use crate::settings::SubscriptionHeader;
use homing_domain::{id::EventId, time::UnixMillis};

/// Messages that the broker sends ahead to a reader. It sends all of the chunk that it has begun,
/// which are as many as were published at one moment.
const PREFETCH: u16 = 16;
/// Messages that are acked together.
const ACKED_AT_ONCE: u64 = 4;
/// After this time without a message, there may be none behind a position ...
const SILENCE: Duration = Duration::from_secs(3);
/// ... and where other positions answered, after this time there is none.
const LONG_SILENCE: Duration = Duration::from_secs(10);
/// Where only a note depends on it.
const SHORT_SILENCE: Duration = Duration::from_millis(300);
/// For finding the end of the archive.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// The broker's header with a message's position.
const OFFSET: &str = "x-stream-offset";

/// A message of the archive.
#[derive(Debug)]
pub struct Archived {
    /// Its position.
    pub offset: u64,
    /// True if it is a copy that homing published because the first one had no route: the first one
    /// is in the archive, too.
    pub is_copy: bool,
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

    /// Returns true if the broker will not let this account, or this connection, read the archive:
    /// a permission is missing, or the node has no copy of it.
    #[must_use]
    pub fn is_final_for_archive(&self) -> bool {
        // With this code, the broker also ends what has not asked for more for half an hour.
        let has_no_copy = self.reply().is_some_and(|reply| reply.text.contains("replica"));
        self.is_denied() || self.has_code(&AMQPSoftError::PRECONDITIONFAILED) && has_no_copy
    }
}

/// Reads the archive from a position on.
pub struct ArchiveReader {
    broker: Broker,
    channel: Channel,
    consumer: Consumer,
    acked_at_once: u64,
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
    /// Returns true if publishers may name the recipients of their events. RabbitMQ before 3.13
    /// keeps no lists in the headers of a stream, so the archive does not know whom they meant.
    #[must_use]
    pub fn accepts_recipients(&self) -> bool {
        self.rules.subscription_header == SubscriptionHeader::Accept
    }

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
        let Some(oldest) = self.archive_proven(Start::First).await? else {
            behind.finish().await?;
            return Ok(Window { first: 0, end: 0, archive_begins: Some(until) });
        };
        let end = match behind.offset(SILENCE).await? {
            Some(end) => end,
            None => self.archive_end(&mut behind).await?,
        };
        let first = self.archive_proven(Start::At(since)).await?;
        let first = first.map_or(end, |first| first.min(end));
        let archive_begins = if oldest == first && first < end {
            Some(self.archive_begins(oldest, since, until).await?)
        } else {
            None
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
        self.archive_proven(Start::First).await
    }

    /// Reads the archive from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`archive_window`](Self::archive_window).
    pub async fn read_archive(&self, offset: u64) -> Result<ArchiveReader, BrokerError> {
        self.archive_reader(Start::Offset(offset), PREFETCH).await
    }

    /// A reader of one message.
    async fn archive_from(&self, start: Start) -> Result<ArchiveReader, BrokerError> {
        self.archive_reader(start, 1).await
    }

    async fn archive_reader(
        &self,
        start: Start,
        prefetch: u16,
    ) -> Result<ArchiveReader, BrokerError> {
        let connection = self.archive.open().await?;
        let channel = open(&connection).await?;
        let limited = channel.basic_qos(prefetch, BasicQosOptions { global: false });
        within(&channel, ROUND_TRIP_DEADLINE, "setting the prefetch", limited).await?;
        let name = self.topology.names().archive();
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), start.argument());
        let options = BasicConsumeOptions::default();
        let begun = channel.basic_consume(name.as_str().into(), "".into(), options, arguments);
        let step = format!("reading the archive `{name}`");
        let consumer = within(&channel, ROUND_TRIP_DEADLINE, step, begun).await?;
        let acked_at_once = if prefetch == 1 { 1 } else { ACKED_AT_ONCE };
        let broker = self.clone();
        Ok(ArchiveReader { broker, channel, consumer, acked_at_once, unacked: 0 })
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

    /// The same, asked again with more patience before there is none.
    async fn archive_proven(&self, start: Start) -> Result<Option<u64>, BrokerError> {
        match self.archive_offset(start, SILENCE).await? {
            Some(offset) => Ok(Some(offset)),
            None => self.archive_offset(start, LONG_SILENCE).await,
        }
    }

    /// The position behind the last message, or of the first one that `behind` gets meanwhile. There
    /// are messages, so one that does not come is a failure.
    async fn archive_end(&self, behind: &mut ArchiveReader) -> Result<u64, BrokerError> {
        let failed = || {
            let step = "looking for the end of the archive".to_owned();
            BrokerError::TimedOut { step, deadline: END_DEADLINE }
        };
        let deadline = Instant::now() + END_DEADLINE;
        let mut last = self.archive_from(Start::Last).await?;
        let mut silence = LONG_SILENCE;
        let mut end = None;
        while Instant::now() < deadline {
            let next = last.offset(silence).await?;
            if let Some(beyond) = behind.offset(SHORT_SILENCE).await? {
                last.finish().await?;
                return Ok(beyond);
            }
            let Some(offset) = next else {
                last.finish().await?;
                return end.ok_or_else(failed);
            };
            end = Some(offset.saturating_add(1));
            silence = SILENCE;
        }
        Err(failed())
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
        let is_copy = Headers(properties.headers().as_ref()).contains(header::UNROUTED);
        let body = Bytes::from(delivery.data);
        // Where the publisher gave none, the same each time that it is read. Positions begin anew in
        // an archive that was deleted, so the content is in it, too.
        let (topic, content) = (delivery.routing_key.as_str(), body.clone());
        let new_id = || {
            let mut derived = format!("{} {offset} {topic} ", names.archive()).into_bytes();
            derived.extend_from_slice(&content);
            EventId::derived(&String::from_utf8_lossy(&derived))
        };
        Ok(Some(Archived {
            offset,
            is_copy,
            content: Message::read(properties, &origin, body, new_id),
        }))
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
        if self.unacked >= self.acked_at_once {
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
