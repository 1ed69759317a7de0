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
    rule::{Ended, Next, Streak, Waits},
    split::{Piece, Splitter},
};
use crate::domain::source::{Phase, Reset};

/// Silence that is worth a word; it means nothing by itself.
const SILENCE_SUSPICIOUS: Duration = Duration::from_secs(60);

/// Where records go, and who is told how it goes.
#[async_trait]
pub(super) trait Outlet: Send + Sync {
    /// Takes a record over; waits while no more can be taken.
    async fn take(&self, record: Bytes);
    /// A record was too large.
    fn skipped(&self, bytes: u64);
    /// So many bytes came, packed.
    fn received(&self, bytes: usize);
    /// The connection is in another phase.
    async fn tell(&self, news: News);
    /// What the next connect is to ask for. Whoever is answered must see to it.
    async fn take_reset(&self) -> Option<Reset>;
    /// It was not asked for after all.
    async fn keep_reset(&self, reset: Reset);
}

/// What is new about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// No connect for this time, and why.
    Waiting(Duration, Option<Ended>, Streak),
    /// About to connect.
    Connecting,
    /// Connected; what was asked for.
    Connected(Option<Reset>),
    /// Nothing came for a while.
    Silent,
    /// A new token is needed.
    Renewing,
}

impl News {
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
    pub(super) record_bytes_max: usize,
    /// Zero: never.
    pub(super) idle_max: Duration,
}

impl Reader {
    /// Reads until `stop`, or until the service refuses for good: then why.
    ///
    /// After `stop` nothing is read; what has been read is still given to `outlet`.
    pub(super) async fn run(
        &self,
        first_wait: Duration,
        outlet: &dyn Outlet,
        stop: &CancellationToken,
    ) -> Option<String> {
        let mut streak = Streak::default();
        let mut next = Next::Wait(first_wait);
        let mut last = None;
        loop {
            match next {
                Next::Stop(reason) => return Some(reason),
                Next::Renew => outlet.tell(News::Renewing).await,
                Next::Wait(wait) => {
                    if !wait.is_zero() {
                        outlet.tell(News::Waiting(wait, last.take(), streak)).await;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                    outlet.tell(News::Connecting).await;
                }
            }
            let ended = self.once(outlet, stop).await?;
            (streak, next) = streak.after(&ended, self.waits, fastrand::f64());
            last = Some(ended);
        }
    }

    /// One connection. `None`: `stop`.
    async fn once(&self, outlet: &dyn Outlet, stop: &CancellationToken) -> Option<Ended> {
        let reset = outlet.take_reset().await;
        let opened = stop.run_until_cancelled(self.connector.open(reset)).await?;
        match opened {
            Ok(body) => {
                outlet.tell(News::Connected(reset)).await;
                self.read(body, outlet, stop).await.map(Ended::Lost)
            }
            Err(NotOpened { ended, token, heard }) => {
                if let Some(reset) = reset.filter(|_| !heard) {
                    outlet.keep_reset(reset).await;
                }
                if let Some(token) = token
                    && matches!(&ended, Ended::Refused(refusal) if refusal.status == 401)
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
        outlet: &dyn Outlet,
        stop: &CancellationToken,
    ) -> Option<String> {
        let mut gunzip = Gunzip::default();
        let mut splitter = Splitter::new(self.record_bytes_max);
        let mut pieces = Vec::new();
        let mut body = Some(body);
        let lost = loop {
            let chunk = match body.as_mut() {
                Some(body) => stop.run_until_cancelled(self.chunk(body, outlet)).await?,
                None => return None,
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break "the service ended it".to_owned(),
                Err(why) => break why,
            };
            outlet.received(chunk.len());
            let mut packed = &chunk[..];
            let damaged = loop {
                match gunzip.next(&mut packed) {
                    Ok(Some(bytes)) => splitter.push(bytes, &mut pieces),
                    Ok(None) => break None,
                    Err(damaged) => break Some(damaged.to_string()),
                }
                for piece in pieces.drain(..) {
                    give(piece, &mut body, outlet, stop).await;
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
    async fn chunk(&self, body: &mut Body, outlet: &dyn Outlet) -> Result<Option<Bytes>, String> {
        let begun = Instant::now();
        let given_up = (!self.idle_max.is_zero()).then(|| begun + self.idle_max);
        let mut suspicious = Some(begun + SILENCE_SUSPICIOUS);
        while let Some(until) = [suspicious, given_up].into_iter().flatten().min() {
            if let Ok(chunk) = timeout_at(until, body.next()).await {
                return chunk;
            }
            if given_up == Some(until) {
                return Err(format!("no byte for {} s", self.idle_max.as_secs()));
            }
            suspicious = None;
            outlet.tell(News::Silent).await;
        }
        body.next().await
    }
}

/// Gives a piece to `outlet`. At `stop` the connection is closed at once, however long that takes.
async fn give(
    piece: Piece,
    body: &mut Option<Body>,
    outlet: &dyn Outlet,
    stop: &CancellationToken,
) {
    match piece {
        Piece::Oversized { bytes } => outlet.skipped(bytes),
        Piece::Record(record) => {
            let mut taking = pin!(outlet.take(record));
            if stop.run_until_cancelled(&mut taking).await.is_none() {
                drop(body.take());
                taking.await;
            }
        }
    }
}
