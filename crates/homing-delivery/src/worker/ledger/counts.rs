//! Deliveries of this worker by subscription and hour, and those in flight.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::settings::LedgerSettings;
use homing_domain::{
    clock,
    delivery::Delivery,
    id::SubscriptionId,
    ledger::Checksum,
    time::{UnixMillis, hour_of, next_hour},
};
use homing_store::LedgerReport;

/// Subscriptions in hours that are in memory at most; hours with more are not provable.
const MAX_ROWS: usize = 100_000;

/// Counts; does nothing if no ledger is kept.
pub(in crate::worker) struct Ledger(Option<Mutex<Counts>>);

struct Counts {
    /// Deliveries in flight by the hour in which they were taken: each begins then or later.
    in_flight: BTreeMap<UnixMillis, u64>,
    part: Part,
    /// The part before the clock was set back, until it is written.
    ended: Option<Part>,
}

/// The hours that are counted under one name: closed ones before open ones.
struct Part {
    worker: Uuid,
    from: UnixMillis,
    /// Nothing is counted any more in hours before this one.
    closed: UnixMillis,
    /// The latest hour that it was in.
    last: UnixMillis,
    rows: HashMap<(SubscriptionId, UnixMillis), Row>,
    /// Hours of which not everything is counted, until that is written.
    gaps: BTreeSet<UnixMillis>,
}

#[derive(Clone, Copy, Default)]
struct Row {
    checksum: Checksum,
    is_written: bool,
}

impl Part {
    fn new(hour: UnixMillis) -> Self {
        Self {
            worker: clock::new_id(),
            from: hour,
            closed: hour,
            last: hour,
            rows: HashMap::new(),
            gaps: BTreeSet::new(),
        }
    }

    fn report(&self, ended: Option<UnixMillis>) -> LedgerReport {
        let rows = self.rows.iter().filter(|(_, row)| !row.is_written);
        LedgerReport {
            worker: self.worker,
            process: Uuid::nil(),
            place: None,
            from: self.from,
            closed: self.closed,
            ended,
            rows: rows.map(|((id, hour), row)| (*id, *hour, row.checksum)).collect(),
            gaps: self.gaps.iter().copied().collect(),
        }
    }
}

impl Counts {
    fn new(now: UnixMillis) -> Self {
        Self { in_flight: BTreeMap::new(), part: Part::new(hour_of(now)), ended: None }
    }

    /// The hour of `now`, which is open: where the clock was set back, a new part begins.
    fn hour(&mut self, now: UnixMillis) -> UnixMillis {
        let hour = hour_of(now);
        if hour < self.part.closed {
            if self.ended.is_some() {
                // The store is away while the clock jumps.
                let closed = self.part.closed;
                self.part.gaps.extend([hour, closed]);
                return closed;
            }
            let mut part = mem::replace(&mut self.part, Part::new(hour));
            part.closed = next_hour(part.last);
            self.ended = Some(part);
        }
        self.part.last = self.part.last.max(hour);
        hour
    }
}

/// A delivery in flight, until dropped.
pub(in crate::worker) struct Turn<'a> {
    counts: Option<&'a Mutex<Counts>>,
    hour: UnixMillis,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(counts) = self.counts else { return };
        let mut counts = counts.lock();
        if let Some(number) = counts.in_flight.get_mut(&self.hour) {
            *number = number.saturating_sub(1);
            if *number == 0 {
                counts.in_flight.remove(&self.hour);
            }
        }
    }
}

impl Turn<'_> {
    /// Counts its delivery, which was sent at `started`, accepted, and settled.
    pub(in crate::worker) fn delivered(self, delivery: &Delivery, started: UnixMillis) {
        let Some(counts) = self.counts else { return };
        let mut counts = counts.lock();
        let hour = counts.hour(started);
        let key = (delivery.subscription, hour);
        let part = &mut counts.part;
        if part.rows.len() >= MAX_ROWS && !part.rows.contains_key(&key) {
            part.gaps.insert(hour);
            return;
        }
        let row = part.rows.entry(key).or_default();
        row.checksum.add(delivery.id());
        row.is_written = false;
    }
}

impl Ledger {
    pub(in crate::worker) fn new(settings: &LedgerSettings, now: UnixMillis) -> Self {
        Self(settings.enabled.then(|| Mutex::new(Counts::new(now))))
    }

    /// A delivery is in flight from now on.
    pub(in crate::worker) fn begin(&self, now: UnixMillis) -> Turn<'_> {
        let Some(counts) = &self.0 else { return Turn { counts: None, hour: now } };
        let hour = {
            let mut counts = counts.lock();
            let hour = counts.hour(now);
            let number = counts.in_flight.entry(hour).or_default();
            *number = number.saturating_add(1);
            hour
        };
        Turn { counts: Some(counts), hour }
    }

    /// Not everything in the hour of `now` is counted.
    pub(super) fn leave_gap(&self, now: UnixMillis) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock();
        let hour = counts.hour(now);
        counts.part.gaps.insert(hour);
    }

    /// The reports that are due at `now`, in this order. At the end, nothing is counted any more but
    /// what is in flight.
    pub(super) fn reports(&self, now: UnixMillis, is_end: bool) -> Vec<LedgerReport> {
        let Some(counts) = &self.0 else { return Vec::new() };
        let mut counts = counts.lock();
        let current = counts.hour(now);
        let end = next_hour(counts.part.last);
        let bound = if is_end { end } else { current };
        let bound = counts.in_flight.keys().next().map_or(bound, |first| bound.min(*first));
        counts.part.closed = counts.part.closed.max(bound);
        let ended = counts.ended.as_ref().map(|part| part.report(Some(next_hour(part.last))));
        let present = counts.part.report(is_end.then_some(end));
        ended.into_iter().chain([present]).collect()
    }

    /// The store has taken a report.
    pub(super) fn written(&self, report: &LedgerReport) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock();
        if counts.ended.as_ref().is_some_and(|part| part.worker == report.worker) {
            if report.ended.is_some() {
                counts.ended = None;
            }
            return;
        }
        let part = &mut counts.part;
        if part.worker != report.worker {
            return;
        }
        for (id, hour, checksum) in &report.rows {
            if let Some(row) = part.rows.get_mut(&(*id, *hour)) {
                row.is_written = row.checksum == *checksum;
            }
        }
        part.rows.retain(|(_, hour), row| *hour >= part.closed || !row.is_written);
        part.gaps.retain(|hour| !report.gaps.contains(hour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::{
        delivery::Progress,
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::EventId,
        time::HOUR_MS,
        topic::Topic,
    };

    const START: UnixMillis = UnixMillis::new(500_000 * HOUR_MS);

    fn at(hours: i64, millis: i64) -> UnixMillis {
        UnixMillis::new(START.get() + hours * HOUR_MS + millis)
    }

    fn ledger() -> Ledger {
        let settings = homing_domain::settings::section(crate::settings::DEFAULTS, "ledger", "");
        Ledger::new(&settings.unwrap(), at(0, 0))
    }

    fn delivery(id: &str) -> Delivery {
        let event = Event {
            id: EventId::new(id).unwrap(),
            topic: Topic::new("t").unwrap(),
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            content_encoding: None,
            body: "{}".into(),
        };
        Delivery::new(event.into(), SubscriptionId::new(Uuid::nil()), Progress::default())
    }

    fn written(ledger: &Ledger, now: UnixMillis, is_end: bool) -> Vec<LedgerReport> {
        let reports = ledger.reports(now, is_end);
        for report in &reports {
            ledger.written(report);
        }
        reports
    }

    /// The only report.
    fn one(ledger: &Ledger, now: UnixMillis) -> LedgerReport {
        let mut reports = written(ledger, now, false);
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    #[test]
    fn an_hour_is_closed_when_nothing_that_began_in_it_is_in_flight() {
        let ledger = ledger();
        let first = one(&ledger, at(0, 0));
        assert_eq!((first.from, first.closed, first.ended), (at(0, 0), at(0, 0), None));
        let late = ledger.begin(at(0, HOUR_MS - 1));
        ledger.begin(at(0, 5)).delivered(&delivery("a"), at(0, 6));
        assert_eq!(one(&ledger, at(0, HOUR_MS - 1)).rows.len(), 1);
        let second = one(&ledger, at(1, 0));
        assert_eq!((second.closed, second.rows.len()), (at(0, 0), 0), "one is in flight");
        late.delivered(&delivery("b"), at(0, HOUR_MS - 1));
        let third = one(&ledger, at(1, 1));
        assert_eq!((third.closed, third.rows.len()), (at(1, 0), 1));
        assert_eq!(third.rows.first().map(|(.., checksum)| checksum.number), Some(2));
    }

    /// Goal: a clock that is set back changes no hour that is closed, and what is delivered then
    /// counts in the hour of its `webhook-timestamp`, which is open again.
    #[test]
    fn what_is_delivered_after_the_clock_was_set_back_counts_under_another_name() {
        let ledger = ledger();
        let before = one(&ledger, at(0, 0));
        ledger.begin(at(1, 3)).delivered(&delivery("a"), at(1, 3));
        assert_eq!(one(&ledger, at(1, 4)).closed, at(1, 0));
        ledger.begin(at(1, 5)).delivered(&delivery("b"), at(1, 5));
        ledger.begin(at(0, 7)).delivered(&delivery("c"), at(0, 8));
        let reports = written(&ledger, at(0, 9), false);
        let [ended, present] = &reports[..] else { panic!("two parts: {reports:?}") };
        assert_eq!(
            (ended.worker, ended.ended, ended.closed),
            (before.worker, Some(at(2, 0)), at(2, 0))
        );
        assert_eq!(ended.rows.first().map(|(_, _, checksum)| checksum.number), Some(2));
        assert_ne!(present.worker, before.worker);
        assert_eq!((present.from, present.closed, present.ended), (at(0, 0), at(0, 0), None));
        assert_eq!(present.rows.first().map(|(_, hour, _)| *hour), Some(at(0, 0)));
        assert_eq!(one(&ledger, at(1, 6)).closed, at(1, 0));
    }

    #[test]
    fn where_the_store_is_away_while_the_clock_jumps_the_hours_are_gaps() {
        let ledger = ledger();
        for _ in 0..2 {
            let _lost = ledger.reports(at(1, 0), false);
            ledger.begin(at(0, 7)).delivered(&delivery("a"), at(0, 8));
        }
        let reports = written(&ledger, at(1, 1), false);
        assert_eq!(
            reports.last().map(|report| report.gaps.clone()),
            Some(vec![at(0, 0), at(1, 0)])
        );
        assert!(one(&ledger, at(1, 2)).gaps.is_empty(), "written once");
    }

    #[test]
    fn what_the_store_did_not_take_is_written_later() {
        let ledger = ledger();
        ledger.begin(at(0, 1)).delivered(&delivery("a"), at(0, 1));
        let _lost = ledger.reports(at(0, 2), false);
        ledger.leave_gap(at(0, 2));
        ledger.begin(at(2, 1)).delivered(&delivery("b"), at(2, 1));
        let report = one(&ledger, at(2, 2));
        assert_eq!((report.closed, report.rows.len()), (at(2, 0), 2));
        assert_eq!(report.gaps, [at(0, 0)]);
    }

    #[test]
    fn the_end_closes_only_hours_before_those_of_what_is_in_flight() {
        let ledger = ledger();
        let running = ledger.begin(at(1, 1));
        let end = written(&ledger, at(2, 3), true);
        assert_eq!(end.last().map(|end| (end.closed, end.ended)), Some((at(1, 0), Some(at(3, 0)))));
        drop(running);
        let end = written(&ledger, at(2, 3), true);
        assert_eq!(end.last().map(|end| (end.closed, end.ended)), Some((at(3, 0), Some(at(3, 0)))));
    }
}
