//! One slot's connection: opened, read endlessly, and reopened by the rule.

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

/// Silence that is reported; it means nothing by itself.
const SILENCE_SUSPICIOUS: Duration = Duration::from_secs(60);

/// The destination of records and of reports about their connection.
#[async_trait]
pub(super) trait RecordSink: Send + Sync {
    /// Takes a record; waits while no more can be taken.
    async fn take(&self, record: Bytes);
    /// Reports a record that was too large.
    fn skipped(&self, bytes: u64);
    /// Reports received bytes, compressed.
    fn received(&self, bytes: usize);
    /// Reports an event of the connection.
    async fn on_event(&self, event: ConnectionEvent);
    /// Takes the reset for the next connect; the caller must request it.
    async fn take_reset(&self) -> Option<Reset>;
    /// Puts back a reset that was not requested after all.
    async fn keep_reset(&self, reset: Reset);
}

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEvent {
    /// Waits for this time before the next connect, with the reason.
    Waiting(Duration, Option<Disconnect>, Streak),
    /// About to connect.
    Connecting,
    /// Connected, with the reset that was requested.
    Connected(Option<Reset>),
    /// No data came for a while.
    Silent,
    /// A new token is needed.
    Renewing,
}

impl ConnectionEvent {
    /// The slot's phase after it.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Waiting(..) => Phase::Waiting,
            Self::Connecting | Self::Renewing => Phase::Connecting,
            Self::Connected(_) | Self::Silent => Phase::Connected,
        }
    }
}

/// Reads one source.
pub(super) struct Reader {
    pub(super) connector: Connector,
    pub(super) waits: Waits,
    pub(super) max_record_bytes: usize,
    /// Zero: never.
    pub(super) max_idle: Duration,
}

impl Reader {
    /// Reads until `stop`, or until the service refuses permanently: then returns the reason.
    ///
    /// After `stop` nothing is read; data read before is still passed to `sink`.
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
                Next::Renew => sink.on_event(ConnectionEvent::Renewing).await,
                Next::Wait(wait) => {
                    if !wait.is_zero() {
                        sink.on_event(ConnectionEvent::Waiting(wait, last.take(), streak)).await;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                    sink.on_event(ConnectionEvent::Connecting).await;
                }
            }
            let ended = self.once(sink, stop).await?;
            (streak, next) = streak.after(&ended, self.waits, fastrand::f64());
            last = Some(ended);
        }
    }

    /// Makes one connection. `None`: `stop`.
    async fn once(&self, sink: &dyn RecordSink, stop: &CancellationToken) -> Option<Disconnect> {
        let reset = sink.take_reset().await;
        let opened = stop.run_until_cancelled(self.connector.open(reset)).await?;
        match opened {
            Ok(body) => {
                sink.on_event(ConnectionEvent::Connected(reset)).await;
                self.read(body, sink, stop).await.map(Disconnect::Lost)
            }
            Err(NotOpened { ended, token, may_be_received }) => {
                if let Some(reset) = reset.filter(|_| !may_be_received) {
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

    /// Reads until the connection is lost: then returns the reason. `None`: `stop`.
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
                Ok(None) => {
                    break match gunzip.finish() {
                        Ok(()) => "the service ended it".to_owned(),
                        Err(error) => format!("the service ended it: {error}"),
                    };
                }
                Err(why) => break why,
            };
            sink.received(chunk.len());
            let mut packed = &chunk[..];
            let damaged = loop {
                match gunzip.next(&mut packed) {
                    Ok(Some(bytes)) => splitter.push(bytes, &mut pieces),
                    Ok(None) => break None,
                    Err(error) => break Some(format!("the stream is not sound gzip: {error}")),
                }
                for piece in pieces.drain(..) {
                    pass_on(piece, &mut body, sink, stop).await;
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
            sink.on_event(ConnectionEvent::Silent).await;
        }
        body.next().await
    }
}

/// Passes a piece to `sink`. At `stop`, closes the connection at once, however long that takes.
async fn pass_on(
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
