//! Writes messages.

use std::sync::Arc;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};

use super::{Carried, Message, Parked, Recipients, Unreadable, header};
use crate::{headers, publish::Route, topology::MAX_TTL_MS};
use homing_domain::{time::UnixMillis, verdict::ParkReason};

/// A message in its published form.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// For logs.
    pub(crate) id: String,
    /// Routing key at the events exchange.
    pub(crate) topic: String,
    /// True if only homing is trusted to say this: it names subscriptions, or is about homing.
    pub(crate) is_privileged: bool,
    pub(crate) body: Bytes,
    pub(crate) properties: Arc<BasicProperties>,
}

impl Outgoing {
    /// The event's id, for logs; empty where there is none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Outgoing {
    /// Adds a count in a header.
    pub(crate) fn counting(mut self, name: &str, count: u32) -> Self {
        let mut table = self.properties.headers().clone().unwrap_or_default();
        headers::put_integer(&mut table, name, i64::from(count));
        self.properties = Arc::new(Arc::unwrap_or_clone(self.properties).with_headers(table));
        self
    }

    /// The message as `route` takes it: what is held ends with its time.
    #[must_use]
    pub fn over(mut self, route: Route) -> Self {
        if let Route::Held { at_most, .. } = route {
            // The broker takes whole milliseconds. Zero would end it where no consumer waits.
            let at_most = at_most.as_millis().clamp(1, u128::from(MAX_TTL_MS)).to_string();
            self = self.ending_after(Some(at_most.into()));
        }
        self
    }

    /// With the time after which the broker parks it, if it has one.
    pub(crate) fn ending_after(mut self, time: Option<ShortString>) -> Self {
        if let Some(time) = time {
            let properties = Arc::unwrap_or_clone(self.properties);
            self.properties = Arc::new(properties.with_expiration(time));
        }
        self
    }
}

pub(super) const PERSISTENT: u8 = 2;

impl Message {
    /// The message in its published form.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        let event = &self.event;
        let Carried(carried) = self.carried.as_ref();
        let mut table = carried.headers().clone().unwrap_or_default();
        self.write_headers(&mut table);
        let mut properties = carried
            .clone()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(event.id.as_str().into())
            .with_type(event.topic.as_str().into())
            .with_content_type(event.content_type.as_str().into())
            .with_headers(table);
        if let Some(encoding) = &event.content_encoding {
            properties = properties.with_content_encoding(encoding.as_str().into());
        }
        Outgoing {
            id: event.id.to_string(),
            topic: event.topic.to_string(),
            is_privileged: self.recipients != Recipients::Matching || event.topic.is_own(),
            body: event.body.clone(),
            properties: Arc::new(properties),
        }
    }

    fn write_headers(&self, table: &mut FieldTable) {
        let progress = &self.progress;
        match &self.recipients {
            Recipients::Matching => {}
            Recipients::One(id) => headers::put_text(table, header::SUBSCRIPTION, &id.to_string()),
            Recipients::Group(ids) => {
                let ids = ids.iter().map(|id| Some(id.to_string()));
                headers::put_texts(table, header::SUBSCRIPTIONS, ids);
            }
        }
        if let Some(trace) = &self.trace {
            headers::put_text(table, header::TRACE_PARENT, &trace.to_string());
            if let Some(state) = trace.state() {
                headers::put_text(table, header::TRACE_STATE, state);
            }
        }
        let counts = [
            (header::ATTEMPTS, progress.attempts),
            (header::STEP, progress.step.get()),
            (header::HOLDS, progress.holds),
            (header::THROTTLED, progress.throttled),
            (header::REPLAYS, progress.replays),
            (header::UNMATCHED, u32::from(progress.unmatched)),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            headers::put_integer(table, name, i64::from(count));
        }
        let instants = [
            (header::RECEIVED, progress.received),
            (header::FIRST_FAILURE, progress.first_failure),
            (header::NOT_BEFORE, progress.not_before),
            (header::TURN, progress.turn),
        ];
        for (name, instant) in instants {
            if let Some(instant) = instant {
                headers::put_integer(table, name, instant.get());
            }
        }
        if let Some(hold) = progress.hold {
            headers::put_integer(table, header::HELD, hold.since.get());
            headers::put_text(table, header::HELD_REASON, hold.reason.as_str());
        }
        if let Some(replay) = progress.replay {
            headers::put_text(table, header::REPLAY, &replay.to_string());
        }
        if let Some(version) = progress.version {
            headers::put_text(table, header::VERSION, &version.to_string());
        }
        if let Some(outcome) = &progress.last_outcome {
            headers::put_text(table, header::LAST_OUTCOME, outcome);
        }
        if let Some(error) = progress.error {
            headers::put_text(table, header::ERROR, &error.to_string());
        }
        if let Some(parked) = self.parked {
            write_parked(table, parked);
        }
    }
}

/// Bytes that are kept of a reason, which is shown whole.
const MAX_WHY_BYTES: usize = 16_384;

impl Unreadable {
    /// The message for the parking queue.
    #[must_use]
    pub fn parked(&self, now: UnixMillis) -> Outgoing {
        let parked = Parked { reason: ParkReason::Unreadable, since: Some(now) };
        let mut outgoing = self.replayed();
        let mut table = outgoing.properties.headers().clone().unwrap_or_default();
        write_parked(&mut table, parked);
        let mut why = self.why.to_string();
        why.truncate(why.floor_char_boundary(MAX_WHY_BYTES));
        headers::put_text(&mut table, header::LAST_OUTCOME, &why);
        outgoing.properties =
            Arc::new(Arc::unwrap_or_clone(outgoing.properties).with_headers(table));
        outgoing
    }

    /// The message for a replay.
    #[must_use]
    pub fn replayed(&self) -> Outgoing {
        Outgoing {
            id: self.id.clone().unwrap_or_default(),
            topic: String::new(),
            is_privileged: false,
            body: self.body.clone(),
            properties: Arc::new(self.properties.clone().with_delivery_mode(PERSISTENT)),
        }
    }
}

fn write_parked(table: &mut FieldTable, parked: Parked) {
    headers::put_text(table, header::PARKED_REASON, parked.reason.as_str());
    if let Some(since) = parked.since {
        headers::put_integer(table, header::PARKED, since.get());
    }
}
