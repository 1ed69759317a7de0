//! The load: events, published at a requested rate or as fast as they are delivered.
//!
//! At a requested rate every event carries the instant at which it was due: a bench that is held up
//! does not make the latency look better. Without a rate, just enough events are under way that the
//! workers are never idle: the latency is then that of a queue that is kept full.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Ended, Wanted,
    figures::{Percentiles, micros},
    sandbox::PUBLISHES_AT_ONCE,
    stage::{self, Spent, Stage},
};
use crate::cli::{Output, failure::Failure, progress::Progress};
use homing_broker::{Message, Outgoing, Route, error::BrokerError};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    topic::Topic,
};

/// A body is `{"due_us":"<16 hexadecimal digits>","fill":"xxx…"}`.
const BEFORE_DUE: &str = "{\"due_us\":\"";
const DUE_DIGITS: usize = 16;
const AFTER_DUE: &str = "\",\"fill\":\"";
const END: &str = "\"}";

/// A body of `bytes` bytes of an event that is due at `due_us`; 0: one of the warm-up.
pub(super) fn body(due_us: i64, bytes: usize) -> Bytes {
    let mut body = format!("{BEFORE_DUE}{due_us:0DUE_DIGITS$x}{AFTER_DUE}").into_bytes();
    body.resize(bytes.saturating_sub(END.len()).max(body.len()), b'x');
    body.extend_from_slice(END.as_bytes());
    body.into()
}

/// The instant when the event of this body was due, in microseconds since 1970; `None` for one of
/// the warm-up.
pub(super) fn due(body: &Bytes) -> Option<i64> {
    let digits = body.strip_prefix(BEFORE_DUE.as_bytes())?.get(..DUE_DIGITS)?;
    let due = i64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (due > 0).then_some(due)
}

/// The topic of the events of one endpoint.
pub(super) fn topic(endpoint: u32) -> String {
    format!("bench.{endpoint}")
}

/// The event with this number.
pub(super) fn event(number: u32, endpoint: u32, body: Bytes) -> Result<Outgoing, Failure> {
    let unfit = |error: &dyn std::error::Error| Failure::Bench(error.to_string());
    let event = Event {
        id: EventId::new(&format!("bench-{number}")).map_err(|error| unfit(&error))?,
        topic: Topic::new(&topic(endpoint)).map_err(|error| unfit(&error))?,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body,
    };
    Ok(Message::of_event(event).outgoing())
}

/// The result of the load.
pub(super) struct Loaded {
    pub(super) ended: Ended,
    /// Events that the broker confirmed.
    pub(super) published: u32,
    /// From the publish to its confirm.
    pub(super) confirm: Percentiles,
    pub(super) spent: Spent,
}

struct Load<'a> {
    stage: &'a mut Stage,
    wanted: &'a Wanted,
    /// Undelivered events at most, if no rate is requested.
    window: u64,
    begun: (Instant, i64),
    unconfirmed: FuturesUnordered<BoxFuture<'static, Result<u32, BrokerError>>>,
    sent: u32,
    confirms: Vec<u32>,
    progress: Progress,
}

/// Publishes until everything is delivered, the deadline, or `stop`.
///
/// # Errors
///
/// The broker takes nothing or is lost, or a part of the bench has ended.
pub(super) async fn run(
    stage: &mut Stage,
    wanted: &Wanted,
    (deadline, stop): (Instant, &CancellationToken),
    output: &Output<'_>,
) -> Result<Loaded, Failure> {
    let before = stage.spent();
    let broker = stage.broker().clone();
    let mut load = Load {
        window: stage.window(),
        stage,
        wanted,
        begun: (Instant::now(), clock::micros()),
        unconfirmed: FuturesUnordered::new(),
        sent: 0,
        confirms: Vec::new(),
        progress: Progress::scanning(output, "deliveries"),
    };
    let ended = tokio::select! {
        published = load.publish_all() => published.map(|()| Ended::Complete),
        () = stop.cancelled() => Ok(Ended::Interrupted),
        () = sleep_until(deadline) => Ok(Ended::Duration),
        failure = stage::blocked(&broker) => Err(failure),
    };
    load.progress.end();
    let Load { stage, mut confirms, .. } = load;
    Ok(Loaded {
        ended: ended?,
        published: u32::try_from(confirms.len()).unwrap_or(u32::MAX),
        confirm: Percentiles::of(&mut confirms),
        spent: stage.spent().since(before),
    })
}

impl Load<'_> {
    async fn publish_all(&mut self) -> Result<(), Failure> {
        let bytes = usize::try_from(self.wanted.size).unwrap_or(usize::MAX);
        for number in 0..self.wanted.events() {
            let due_us = self.turn(number).await?;
            let message = event(number, number % self.wanted.endpoints, body(due_us, bytes))?;
            let broker = self.stage.broker().clone();
            self.unconfirmed.push(Box::pin(async move {
                let begun = clock::micros();
                broker.publish(&message, Route::Events).await?;
                Ok(micros(clock::micros().saturating_sub(begun)))
            }));
            self.sent = self.sent.saturating_add(1);
            // A publish begins with its first poll.
            if let Some(Some(confirmed)) = self.unconfirmed.next().now_or_never() {
                self.confirms.push(confirmed.map_err(Failure::Broker)?);
            }
        }
        while !self.unconfirmed.is_empty() || self.undelivered() > 0 {
            self.something().await?;
        }
        Ok(())
    }

    /// Events that were published and have not come.
    fn undelivered(&self) -> u64 {
        u64::from(self.sent).saturating_sub(self.stage.arrived())
    }

    /// Waits for the next event's time; returns when it was due, in microseconds since 1970.
    async fn turn(&mut self, number: u32) -> Result<i64, Failure> {
        let (begun, begun_us) = self.begun;
        let offset = self
            .wanted
            .rate
            .map(|rate| Duration::from_micros(u64::from(number) * 1_000_000 / u64::from(rate)));
        if let Some(offset) = offset {
            let due = begun + offset;
            while Instant::now() < due {
                tokio::select! {
                    () = sleep_until(due) => {}
                    happened = self.something() => happened?,
                }
            }
        }
        let is_full = |load: &Self| load.unconfirmed.len() >= PUBLISHES_AT_ONCE;
        let is_ahead = |load: &Self| offset.is_none() && load.undelivered() >= load.window;
        while is_full(self) || is_ahead(self) {
            self.something().await?;
        }
        let due_us = offset.map(|offset| i64::try_from(offset.as_micros()).unwrap_or(i64::MAX));
        Ok(due_us.map_or_else(clock::micros, |offset| begun_us.saturating_add(offset)))
    }

    /// Waits for a confirm or for a count from the sink.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn something(&mut self) -> Result<(), Failure> {
        tokio::select! {
            Some(confirmed) = self.unconfirmed.next() => {
                self.confirms.push(confirmed.map_err(Failure::Broker)?);
            }
            count = self.stage.next_count() => {
                count?;
                let arrived = u32::try_from(self.stage.arrived()).unwrap_or(u32::MAX);
                self.progress.at(arrived, self.wanted.events(), "");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_size_and_says_when_it_was_due() {
        let body = body(1_763_759_000_123_456, 1_000);
        assert_eq!(body.len(), 1_000);
        assert_eq!(due(&body), Some(1_763_759_000_123_456));
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        assert_eq!(due(&super::body(0, 64)), None);
        assert_eq!(due(&Bytes::from_static(b"{}")), None);
    }
}
