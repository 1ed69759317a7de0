//! Queues records for the attempt log, without ever waiting.
//!
//! A record goes into a bounded channel. When that is full, the record is dropped and counted, so
//! that a slow or unavailable store costs records and never delays a delivery. The number of
//! missing records, and since when, is written as soon as the store takes it.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::worker::{
    attempt::{Attempt, Task},
    disposition::{SkipReason, Skipped},
    handler::AttemptResult,
};
use homing_broker::{Message, Route};
use homing_domain::{
    clock,
    delivery::Delivery,
    error_group::Kind,
    id::SubscriptionId,
    payload::{Payload, PayloadState},
    record::{AttemptEvent, Attempted, Class, Gap, NextState, Record, RecordId},
    time::UnixMillis,
    url::EndpointUrl,
    verdict::Verdict,
};
use homing_telemetry::metrics;
use parking_lot::Mutex;

/// Queues records; does nothing if no log is kept.
pub(in crate::worker) struct Sender(Option<Log>);

/// A record, and the payload to be kept with it.
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) payload: Option<WaitingPayload>,
}

/// A payload, and its part of the memory for all that wait.
pub(super) struct WaitingPayload {
    pub(super) payload: Arc<Payload>,
    _room: OwnedSemaphorePermit,
}

struct Log {
    records: mpsc::Sender<Entry>,
    response_bytes: usize,
    /// A batch: as many records as are worth writing at once.
    batch: usize,
    backlog: Arc<Backlog>,
}

/// Shared by the two ends of the channel.
pub(super) struct Backlog {
    /// A batch is ready to be written.
    pub(super) enough: Notify,
    missed: Mutex<Missed>,
    /// Bytes for payloads that wait.
    room: Arc<Semaphore>,
}

/// Bytes of payloads that may wait, beside their records.
pub(super) const MAX_WAITING_BYTES: usize = 16 * 1_024 * 1_024;

impl Default for Backlog {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Self { enough: Notify::default(), missed: Mutex::default(), room }
    }
}

/// Records that were dropped.
#[derive(Default)]
struct Missed {
    /// Since the start.
    total: u64,
    /// Those not reported to the store yet.
    open: Option<Gap>,
    /// Those being reported: once begun, always as the same gap.
    reporting: Option<Gap>,
}

impl Backlog {
    /// Counts a dropped record of what began at `started`.
    pub(super) fn missed(&self, started: UnixMillis) {
        metrics::records_missed(1);
        let mut missed = self.missed.lock();
        missed.total = missed.total.saturating_add(1);
        let new = || Gap { id: clock::new_id(), from: started, until: started, missed: 0 };
        let gap = missed.open.get_or_insert_with(new);
        gap.missed = gap.missed.saturating_add(1);
        gap.from = gap.from.min(started);
        gap.until = gap.until.max(started);
    }

    /// Takes a payload into memory, if there is room.
    fn admitted(&self, payload: &Arc<Payload>) -> Option<WaitingPayload> {
        let bytes = u32::try_from(payload.bytes()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else {
            metrics::payloads_missed(1);
            return None;
        };
        Some(WaitingPayload { payload: Arc::clone(payload), _room: room })
    }

    /// The number of records dropped since the start.
    pub(super) fn total(&self) -> u64 {
        self.missed.lock().total
    }

    /// The gap to report to the store, if there is one.
    pub(super) fn gap(&self) -> Option<Gap> {
        let mut missed = self.missed.lock();
        if missed.reporting.is_none() {
            missed.reporting = missed.open.take();
        }
        missed.reporting
    }

    /// The store has taken the [`gap`](Self::gap).
    pub(super) fn gap_written(&self) {
        self.missed.lock().reporting = None;
    }
}

impl Sender {
    /// A sender that drops everything.
    pub(super) fn off() -> Self {
        Self(None)
    }

    /// A sender that puts records into `records`, and signals when there are `batch` of them.
    pub(super) fn new(
        records: mpsc::Sender<Entry>,
        batch: usize,
        response_bytes: usize,
        backlog: Arc<Backlog>,
    ) -> Self {
        Self(Some(Log { records, response_bytes, batch, backlog }))
    }

    /// Records an attempt that has just ended; returns its error if the delivery is parked for it.
    pub(in crate::worker) fn attempted(
        &self,
        task: &Task<'_>,
        attempt: &Attempt,
        verdict: &Verdict,
    ) -> Option<Kind> {
        let log = self.0.as_ref()?;
        let Task { delivery, subscription, .. } = *task;
        let AttemptResult { outcome, status, response, cause, payload, .. } = &attempt.result;
        let kept = response.get(..log.response_bytes).unwrap_or(response);
        let happened = AttemptEvent::Attempted(Attempted {
            attempt: delivery.next_attempt().get(),
            duration: attempt.duration,
            class: Class::from(outcome),
            outcome: outcome.to_string(),
            status: *status,
            response: kept.to_vec(),
            cut: kept.len() < response.len(),
            cause: cause.clone(),
        });
        let url = Some(subscription.spec.url.as_str().to_owned());
        let next_state = after(verdict, attempt.ended);
        let record = of_delivery(delivery, attempt.started, url, happened, next_state);
        let error = if next_state.reason().is_some() { Kind::of(&record) } else { None };
        let kept = payload.as_ref().map(|payload| log.backlog.admitted(payload));
        let state = match &kept {
            None => PayloadState::Unwanted,
            Some(Some(_)) => PayloadState::Kept,
            Some(None) => PayloadState::Missed,
        };
        log.put(Record { payload: state, ..record }, kept.flatten());
        error
    }

    /// Records a delivery that was not attempted, if the reason is worth a record; `next` follows.
    /// A wait for its endpoint, or for its turn, has one record for as long as it lasts.
    pub(in crate::worker) fn skipped(
        &self,
        delivery: &Delivery,
        Skipped { reason, url }: &Skipped,
        (message, route): &(Message, Route),
    ) {
        let (Some(log), Some(why)) = (&self.0, reason.summary()) else { return };
        let now = clock::now();
        let Some(next_state) = next_state(message, *route, now) else { return };
        let next_state = match (reason, next_state.due(), message.progress.not_before) {
            (SkipReason::Throttled(_) | SkipReason::NotNow(_), Some(due), _) => {
                NextState::Throttled(due)
            }
            (SkipReason::RetryAfter(_), Some(_), Some(not_before)) => {
                NextState::NotBefore(not_before)
            }
            _ => next_state,
        };
        let url = url.as_ref().map(|url| url.as_str().to_owned());
        let happened = AttemptEvent::NotAttempted(why);
        let progress = &message.progress;
        let record = of_delivery(delivery, now, url, happened, next_state);
        let mut record = Record { hold: progress.hold, ..record };
        if progress.turn.is_some() && !matches!(next_state, NextState::Parked(_)) {
            // It goes on.
            record.turn = None;
        }
        match next_state {
            NextState::Throttled(_) | NextState::NotBefore(_) => {
                record.turn = progress.turn;
                let since = progress.turn.unwrap_or(now);
                record.id = RecordId::of_turn(since, delivery.id());
            }
            NextState::Done
            | NextState::NotWanted
            | NextState::Waits(_)
            | NextState::Held(_)
            | NextState::Parked(_) => {
                if let Some(hold) = record.hold.filter(|_| reason.is_hold())
                    && record.ended_hold().is_none()
                {
                    record.id = RecordId::of_hold(hold.since, delivery.id());
                }
            }
        }
        record.as_of = record.is_wait().then_some(now);
        log.put(record, None);
    }

    /// Records a delivery whose subscription became readable and does not match it.
    pub(in crate::worker) fn not_wanted(&self, delivery: &Delivery, url: Option<&EndpointUrl>) {
        let Some(log) = &self.0 else { return };
        let happened = AttemptEvent::NotAttempted("its subscription does not want it".to_owned());
        let url = url.map(|url| url.as_str().to_owned());
        let record = of_delivery(delivery, clock::now(), url, happened, NextState::NotWanted);
        log.put(record, None);
    }

    /// Records an event, or its delivery to `subscription`, that is parked unchanged, because of
    /// `why`.
    pub(in crate::worker) fn parked(
        &self,
        parked: &Message,
        subscription: Option<SubscriptionId>,
        why: &str,
    ) {
        let Some(log) = &self.0 else { return };
        let now = clock::now();
        let Some(next_state) = next_state(parked, Route::Parked, now) else { return };
        let record = Record {
            id: clock::new_record_id(now),
            event: parked.event.id.to_string(),
            topic: parked.event.topic.to_string(),
            recipient: subscription
                .map(|id| (id, parked.progress.delivery_id(&parked.event.id, id))),
            url: None,
            step: parked.progress.step.get(),
            replays: parked.progress.replays,
            order: Some(parked.progress.position().order()),
            happened: AttemptEvent::NotAttempted(why.to_owned()),
            next_state,
            hold: parked.progress.hold,
            turn: parked.progress.turn,
            as_of: None,
            payload: PayloadState::Unwanted,
        };
        log.put(record, None);
    }
}

impl Log {
    fn put(&self, record: Record, payload: Option<WaitingPayload>) {
        let started = record.started();
        if self.records.try_send(Entry { record, payload }).is_err() {
            self.backlog.missed(started);
        }
        let waiting = self.records.max_capacity().saturating_sub(self.records.capacity());
        if waiting >= self.batch {
            self.backlog.enough.notify_one();
        }
    }
}

fn of_delivery(
    delivery: &Delivery,
    began: UnixMillis,
    url: Option<String>,
    happened: AttemptEvent,
    next_state: NextState,
) -> Record {
    Record {
        id: clock::new_record_id(began),
        event: delivery.event.id.to_string(),
        topic: delivery.event.topic.to_string(),
        recipient: Some((delivery.subscription, delivery.id())),
        url,
        step: delivery.progress.step.get(),
        replays: delivery.progress.replays,
        order: Some(delivery.progress.position().order()),
        happened,
        next_state,
        hold: delivery.progress.hold,
        turn: delivery.progress.turn,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

fn after(verdict: &Verdict, now: UnixMillis) -> NextState {
    match verdict {
        Verdict::Done => NextState::Done,
        Verdict::Wait { wait, not_before: None, .. } => NextState::Waits(now.plus(*wait)),
        Verdict::Wait { wait, not_before: Some(requested), .. } => {
            NextState::NotBefore(now.plus(*requested.max(wait)))
        }
        Verdict::Park(reason) => NextState::Parked(*reason),
    }
}

/// The next state of a published message; `None` for a route that a delivery never takes.
fn next_state(message: &Message, route: Route, now: UnixMillis) -> Option<NextState> {
    match route {
        Route::Wait(wait) => Some(NextState::Waits(now.plus(wait))),
        Route::Held { at_most, .. } => Some(NextState::Held(now.plus(at_most))),
        Route::Parked => message.parked.map(|parked| NextState::Parked(parked.reason)),
        Route::Events | Route::Retry => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::{
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::EventId,
        topic::Topic,
    };

    fn large(id: &str) -> Message {
        let event = Event {
            id: EventId::new(id).unwrap(),
            topic: Topic::new("t").unwrap(),
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            content_encoding: None,
            body: "{}".into(),
        };
        Message::of_event(event)
            .parked(homing_domain::verdict::ParkReason::TooLarge, UnixMillis::new(1))
    }

    #[test]
    fn records_without_room_are_counted_and_delay_no_delivery() {
        let (sender, mut records) = mpsc::channel(2);
        let backlog = Arc::new(Backlog::default());
        let attempt_log = Sender::new(sender, 2, 1_024, Arc::clone(&backlog));
        let before = clock::now();
        for id in ["a", "b", "c", "d", "e"] {
            attempt_log.parked(&large(id), None, "it is larger than `worker.max_event_bytes`");
        }
        let after = clock::now();
        let kept: Vec<_> =
            std::iter::from_fn(|| records.try_recv().ok()).map(|one| one.record.event).collect();
        assert_eq!((kept, backlog.total()), (vec!["a".to_owned(), "b".to_owned()], 3));
        let gap = backlog.gap().unwrap();
        assert_eq!(gap.missed, 3);
        assert!(before <= gap.from && gap.from <= gap.until && gap.until <= after);
    }

    /// Goal: payloads take no more memory than they may, and leave it when they are written.
    #[test]
    fn a_payload_without_room_is_counted_as_missed() {
        let backlog = Backlog::default();
        let body = vec![b'x'; MAX_WAITING_BYTES / 2 - 100].into();
        let request = homing_domain::payload::Part { body, ..Default::default() };
        let payload = Arc::new(Payload { request, response: None });
        let kept = [backlog.admitted(&payload), backlog.admitted(&payload)];
        assert!(kept.iter().all(Option::is_some));
        assert!(backlog.admitted(&payload).is_none());
        drop(kept);
        assert!(backlog.admitted(&payload).is_some());
    }

    #[test]
    fn a_gap_being_reported_stays_unchanged_until_it_is_written() {
        let backlog = Backlog::default();
        assert_eq!(backlog.gap(), None);
        for millis in [30, 10, 20] {
            backlog.missed(UnixMillis::new(millis));
        }
        let first = backlog.gap().unwrap();
        assert_eq!((first.from.get(), first.until.get(), first.missed), (10, 30, 3));
        backlog.missed(UnixMillis::new(40));
        assert_eq!(backlog.gap(), Some(first));
        backlog.gap_written();
        let second = backlog.gap().unwrap();
        assert_eq!((second.from.get(), second.missed), (40, 1));
        assert_ne!(second.id, first.id);
        backlog.gap_written();
        assert_eq!((backlog.gap(), backlog.total()), (None, 4));
    }
}
