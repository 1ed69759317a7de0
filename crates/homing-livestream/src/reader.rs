//! One slot's connection: made, read for ever, and made again by the rule.

use std::{pin::pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{Connector, NotOpened},
    gunzip::Gunzip,
    http::Body,
    rule::{Disconnect, Next, Streak, Waits},
    split::{Piece, Splitter},
};
use homing_domain::source::{Phase, Reset};

/// Silence that is worth a word; it means nothing by itself.
const SILENCE_SUSPICIOUS: Duration = Duration::from_secs(60);

/// Where records go, and who is told how it goes.
#[async_trait]
pub(super) trait RecordSink: Send + Sync {
    /// Takes a record over; waits while no more can be taken.
    async fn take(&self, record: Bytes);
    /// A record was too large.
    fn skipped(&self, bytes: u64);
    /// So many bytes came, packed.
    fn received(&self, bytes: usize);
    /// The connection is in another phase.
    async fn tell(&self, events: ConnectionEvent);
    /// What the next connect is to ask for. Whoever is answered must see to it.
    async fn take_reset(&self) -> Option<Reset>;
    /// It was not asked for after all.
    async fn keep_reset(&self, reset: Reset);
}

/// What is new about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEvent {
    /// No connect for this time, and why.
    Waiting(Duration, Option<Disconnect>, Streak),
    /// About to connect.
    Connecting,
    /// Connected; what was asked for.
    Connected(Option<Reset>),
    /// Nothing came for a while.
    Silent,
    /// A new token is needed.
    Renewing,
}

impl ConnectionEvent {
    /// What it means for the slot.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Waiting(..) => Phase::Waiting,
            Self::Connecting | Self::Renewing => Phase::Connecting,
            Self::Connected(_) | Self::Silent => Phase::Connected,
        }
    }
}

/// How one source is read.
pub(super) struct Reader {
    pub(super) connector: Connector,
    pub(super) waits: Waits,
    pub(super) max_record_bytes: usize,
    /// Zero: never.
    pub(super) max_idle: Duration,
}

impl Reader {
    /// Reads until `stop`, or until the service refuses for good: then why.
    ///
    /// After `stop` nothing is read; what has been read is still given to `sink`.
    pub(super) async fn run(
        &self,
        first_wait: Duration,
        sink: &dyn RecordSink,
        stop: &CancellationToken,
    ) -> Option<String> {
        let mut streak = Streak::default();
        let mut next = Next::Wait(first_wait);
        let mut last = None;
        loop {
            match next {
                Next::Stop(reason) => return Some(reason),
                Next::Renew => sink.tell(ConnectionEvent::Renewing).await,
                Next::Wait(wait) => {
                    if !wait.is_zero() {
                        sink.tell(ConnectionEvent::Waiting(wait, last.take(), streak)).await;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                    sink.tell(ConnectionEvent::Connecting).await;
                }
            }
            let ended = self.once(sink, stop).await?;
            (streak, next) = streak.after(&ended, self.waits, fastrand::f64());
            last = Some(ended);
        }
    }

    /// One connection. `None`: `stop`.
    async fn once(&self, sink: &dyn RecordSink, stop: &CancellationToken) -> Option<Disconnect> {
        let reset = sink.take_reset().await;
        let opened = stop.run_until_cancelled(self.connector.open(reset)).await?;
        match opened {
            Ok(body) => {
                sink.tell(ConnectionEvent::Connected(reset)).await;
                self.read(body, sink, stop).await.map(Disconnect::Lost)
            }
            Err(NotOpened { ended, token, heard }) => {
                if let Some(reset) = reset.filter(|_| !heard) {
                    sink.keep_reset(reset).await;
                }
                if let Some(token) = token
                    && matches!(&ended, Disconnect::Refused(refusal) if refusal.status == 401)
                {
                    self.connector.forget(&token).await;
                }
                Some(ended)
            }
        }
    }

    /// Reads until the connection is lost: then why. `None`: `stop`.
    async fn read(
        &self,
        body: Body,
        sink: &dyn RecordSink,
        stop: &CancellationToken,
    ) -> Option<String> {
        let mut gunzip = Gunzip::default();
        let mut splitter = Splitter::new(self.max_record_bytes);
        let mut pieces = Vec::new();
        let mut body = Some(body);
        let lost = loop {
            let chunk = match body.as_mut() {
                Some(body) => stop.run_until_cancelled(self.chunk(body, sink)).await?,
                None => return None,
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break "the service ended it".to_owned(),
                Err(why) => break why,
            };
            sink.received(chunk.len());
            let mut packed = &chunk[..];
            let damaged = loop {
                match gunzip.next(&mut packed) {
                    Ok(Some(bytes)) => splitter.push(bytes, &mut pieces),
                    Ok(None) => break None,
                    Err(damaged) => break Some(damaged.to_string()),
                }
                for piece in pieces.drain(..) {
                    give(piece, &mut body, sink, stop).await;
                }
            };
            if let Some(why) = damaged {
                break why;
            }
        };
        let unfinished = splitter.finish();
        if unfinished == 0 {
            return Some(lost);
        }
        Some(format!("{lost}, {unfinished} bytes into a record"))
    }

    /// The next bytes, however long they take.
    async fn chunk(&self, body: &mut Body, sink: &dyn RecordSink) -> Result<Option<Bytes>, String> {
        let begun = Instant::now();
        let given_up = (!self.max_idle.is_zero()).then(|| begun + self.max_idle);
        let mut suspicious = Some(begun + SILENCE_SUSPICIOUS);
        while let Some(until) = [suspicious, given_up].into_iter().flatten().min() {
            if let Ok(chunk) = timeout_at(until, body.next()).await {
                return chunk;
            }
            if given_up == Some(until) {
                return Err(format!("no byte for {} s", self.max_idle.as_secs()));
            }
            suspicious = None;
            sink.tell(ConnectionEvent::Silent).await;
        }
        body.next().await
    }
}

/// Gives a piece to `sink`. At `stop` the connection is closed at once, however long that takes.
async fn give(
    piece: Piece,
    body: &mut Option<Body>,
    sink: &dyn RecordSink,
    stop: &CancellationToken,
) {
    match piece {
        Piece::Oversized { bytes } => sink.skipped(bytes),
        Piece::Record(record) => {
            let mut taking = pin!(sink.take(record));
            if stop.run_until_cancelled(&mut taking).await.is_none() {
                drop(body.take());
                taking.await;
            }
        }
    }
}
