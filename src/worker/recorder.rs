//! What happens to deliveries, put down for the attempt log: at once, or not at all.
//!
//! A record goes into a bounded channel; where that is full it is given up and counted, so that a
//! store that is slow or away costs records and never a delivery. How many are missing, and from
//! when, is written as soon as the store takes it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::{
    handler::Account,
    hold::{Onward, Unattempted},
};
use crate::{
    broker::{Message, Route},
    clock,
    domain::{
        delivery::Delivery,
        id::DeliveryId,
        record::{Attempted, Class, Gap, Record, Sequel, Trial},
        subscription::Subscription,
        time::UnixMillis,
        verdict::Verdict,
    },
    telemetry::{events, metrics},
};

/// Takes down what happens; does nothing where no log is kept.
pub(super) struct Recorder(Option<Log>);

struct Log {
    records: mpsc::Sender<Record>,
    response_bytes: usize,
    /// So many records are worth writing at once.
    batch: usize,
    backlog: Arc<Backlog>,
}

/// What the two ends of the channel have in common.
#[derive(Default)]
pub(super) struct Backlog {
    /// There is a batch to be written.
    pub(super) enough: Notify,
    missed: Mutex<Missed>,
}

/// Records that were given up.
#[derive(Default)]
struct Missed {
    /// Since the start.
    total: u64,
    /// Those that the store was not yet told of.
    open: Option<Gap>,
    /// Those that it is being told of: once begun, always as the same gap.
    telling: Option<Gap>,
}

impl Backlog {
    /// A record of what began at `started` was given up.
    pub(super) fn missed(&self, started: UnixMillis) {
        metrics::records_missed(1);
        let mut missed = self.lock();
        missed.total = missed.total.saturating_add(1);
        let new = || Gap { id: clock::new_id(), from: started, until: started, missed: 0 };
        let gap = missed.open.get_or_insert_with(new);
        gap.missed = gap.missed.saturating_add(1);
        gap.from = gap.from.min(started);
        gap.until = gap.until.max(started);
    }

    /// How many records were given up since the start.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    /// What the store has to be told.
    pub(super) fn gap(&self) -> Option<Gap> {
        let mut missed = self.lock();
        if missed.telling.is_none() {
            missed.telling = missed.open.take();
        }
        missed.telling
    }

    /// The store was told what [`gap`](Self::gap) answered.
    pub(super) fn told(&self) {
        self.lock().telling = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// One that takes nothing down.
    pub(super) fn off() -> Self {
        Self(None)
    }

    /// One that puts records into `records`, and says when there are `batch` of them.
    pub(super) fn new(
        records: mpsc::Sender<Record>,
        batch: usize,
        response_bytes: usize,
        backlog: Arc<Backlog>,
    ) -> Self {
        Self(Some(Log { records, response_bytes, batch, backlog }))
    }

    /// An attempt that began at `began` and has just ended.
    pub(super) fn attempted(
        &self,
        told: &events::Attempted<'_>,
        began: UnixMillis,
        account: &Account,
        verdict: &Verdict,
    ) {
        let Some(log) = &self.0 else { return };
        let events::Attempted { delivery, subscription, outcome, duration } = *told;
        let response = account.response.get(..log.response_bytes).unwrap_or(&account.response);
        let trial = Trial::Attempted(Attempted {
            attempt: delivery.next_attempt().get(),
            duration,
            class: Class::from(outcome),
            outcome: outcome.to_string(),
            status: account.status,
            response: response.to_vec(),
            cut: response.len() < account.response.len(),
            cause: account.cause.clone(),
        });
        let url = Some(subscription.terms.url.as_str().to_owned());
        log.put(of_delivery(delivery, began, url, (trial, after(verdict, clock::now()))));
    }

    /// A delivery that was not attempted, where people are told of that.
    pub(super) fn held(&self, delivery: &Delivery, onward: Option<&Onward>) {
        let (Some(log), Some(onward)) = (&self.0, onward) else { return };
        let Some(Unattempted { why, url }) = &onward.unattempted else { return };
        let now = clock::now();
        let Some(sequel) = sequel(&onward.message, onward.route, now) else { return };
        let url = url.as_ref().map(|url| url.as_str().to_owned());
        let trial = Trial::NotAttempted(why.clone());
        log.put(of_delivery(delivery, now, url, (trial, sequel)));
    }

    /// A delivery that waited until its subscription could be read, which does not want it.
    pub(super) fn not_wanted(&self, delivery: &Delivery, subscription: &Subscription) {
        let Some(log) = &self.0 else { return };
        let trial = Trial::NotAttempted("its subscription does not want it".to_owned());
        let url = Some(subscription.terms.url.as_str().to_owned());
        log.put(of_delivery(delivery, clock::now(), url, (trial, Sequel::NotWanted)));
    }

    /// An event or a delivery that is parked as it came, because of `why`.
    pub(super) fn parked(&self, parked: &Message, why: &str) {
        let Some(log) = &self.0 else { return };
        let now = clock::now();
        let Some(sequel) = sequel(parked, Route::Parked, now) else { return };
        log.put(Record {
            id: clock::new_record_id(now),
            event: parked.event.id.to_string(),
            topic: parked.event.topic.to_string(),
            owed: parked.subscription.map(|id| (id, DeliveryId::of(&parked.event.id, id))),
            url: None,
            step: parked.progress.step.get(),
            replays: parked.progress.replays,
            trial: Trial::NotAttempted(why.to_owned()),
            sequel,
        });
    }
}

impl Log {
    fn put(&self, record: Record) {
        let started = record.started();
        if self.records.try_send(record).is_err() {
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
    (trial, sequel): (Trial, Sequel),
) -> Record {
    Record {
        id: clock::new_record_id(began),
        event: delivery.event.id.to_string(),
        topic: delivery.event.topic.to_string(),
        owed: Some((delivery.subscription, delivery.id())),
        url,
        step: delivery.progress.step.get(),
        replays: delivery.progress.replays,
        trial,
        sequel,
    }
}

fn after(verdict: &Verdict, now: UnixMillis) -> Sequel {
    match verdict {
        Verdict::Done => Sequel::Done,
        Verdict::Wait { .. } => Sequel::Waits(now.plus(verdict.wait().unwrap_or_default())),
        Verdict::Park(reason) => Sequel::Parked(*reason),
    }
}

/// What follows for a message on its way; `None` for a route that a delivery never takes.
fn sequel(message: &Message, route: Route, now: UnixMillis) -> Option<Sequel> {
    match route {
        Route::Wait(wait) => Some(Sequel::Waits(now.plus(wait))),
        Route::Parked => message.parked.map(|parked| Sequel::Parked(parked.reason)),
        Route::Events | Route::Retry => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
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
            .parked(crate::domain::verdict::ParkReason::TooLarge, UnixMillis::new(1))
    }

    #[test]
    fn what_finds_no_room_is_counted_and_delays_nobody() {
        let (sender, mut records) = mpsc::channel(2);
        let backlog = Arc::new(Backlog::default());
        let recorder = Recorder::new(sender, 2, 1_024, Arc::clone(&backlog));
        let before = clock::now();
        for id in ["a", "b", "c", "d", "e"] {
            recorder.parked(&large(id), "it is larger than `worker.event_bytes_max`");
        }
        let after = clock::now();
        let kept: Vec<_> =
            std::iter::from_fn(|| records.try_recv().ok()).map(|record| record.event).collect();
        assert_eq!((kept, backlog.total()), (vec!["a".to_owned(), "b".to_owned()], 3));
        let gap = backlog.gap().unwrap();
        assert_eq!(gap.missed, 3);
        assert!(before <= gap.from && gap.from <= gap.until && gap.until <= after);
    }

    #[test]
    fn a_gap_that_is_being_told_stays_as_it_is_until_it_was() {
        let backlog = Backlog::default();
        assert_eq!(backlog.gap(), None);
        for millis in [30, 10, 20] {
            backlog.missed(UnixMillis::new(millis));
        }
        let first = backlog.gap().unwrap();
        assert_eq!((first.from.get(), first.until.get(), first.missed), (10, 30, 3));
        backlog.missed(UnixMillis::new(40));
        assert_eq!(backlog.gap(), Some(first));
        backlog.told();
        let second = backlog.gap().unwrap();
        assert_eq!((second.from.get(), second.missed), (40, 1));
        assert_ne!(second.id, first.id);
        backlog.told();
        assert_eq!((backlog.gap(), backlog.total()), (None, 4));
    }
}
