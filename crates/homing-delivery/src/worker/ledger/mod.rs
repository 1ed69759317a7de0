//! The ledger of this worker: counts what was delivered, by subscription and hour, and writes it to
//! the store beside the deliveries.
//!
//! The hour of a delivery is that of its `webhook-timestamp`. An hour is opened in the store before
//! anything is delivered in it, and closed when nothing is in flight any more that may have begun in
//! it and all of it is written. So a worker that is killed leaves an open hour behind, which says
//! that its figures are not all.
//!
//! What the store does not take is written the next time. An hour that begins while the store is
//! away is opened when it is back: until then, the figures of others look complete.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Context;
use crate::settings::LedgerSettings;
use homing_domain::{
    clock,
    delivery::Delivery,
    id::SubscriptionId,
    ledger::{Checksum, hour_of, next_hour},
    time::UnixMillis,
};
use homing_store::{LedgerReport, Store, StoreError};
use homing_telemetry::log_events;

mod announcements;

/// Interval of writing.
const INTERVAL: Duration = Duration::from_secs(5);
/// The next hour is opened this long before it begins.
const AHEAD: Duration = Duration::from_secs(300);
/// Subscriptions in hours that are in memory at most; hours with more stay open.
const MAX_ROWS: usize = 100_000;
/// Interval of pruning.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Deadline for the last report.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline for opening the first hour, after which deliveries begin without it.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries to open the first hour.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Counts; does nothing if no ledger is kept.
pub(super) struct Ledger(Option<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    /// Deliveries in flight by the hour in which they were taken: each begins then or later.
    in_flight: BTreeMap<UnixMillis, u64>,
    rows: HashMap<(SubscriptionId, UnixMillis), Row>,
    /// Hours that have a row in the store which is not closed.
    open: BTreeSet<UnixMillis>,
    /// Hours of which not everything was counted.
    incomplete: BTreeSet<UnixMillis>,
    /// Hours before this one are closed, whatever a clock that is set back says.
    floor: UnixMillis,
}

#[derive(Clone, Copy, Default)]
struct Row {
    checksum: Checksum,
    is_written: bool,
}

/// A delivery in flight, until dropped.
pub(super) struct Turn<'a> {
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
    pub(super) fn delivered(self, delivery: &Delivery, started: UnixMillis) {
        let Some(counts) = self.counts else { return };
        let hour = hour_of(started).max(self.hour);
        let key = (delivery.subscription, hour);
        let mut counts = counts.lock();
        if counts.rows.len() >= MAX_ROWS && !counts.rows.contains_key(&key) {
            counts.incomplete.insert(hour);
            return;
        }
        let row = counts.rows.entry(key).or_default();
        row.checksum.add(delivery.id());
        row.is_written = false;
    }
}

impl Ledger {
    pub(super) fn new(settings: &LedgerSettings) -> Self {
        Self(settings.enabled.then(Mutex::default))
    }

    /// A delivery is in flight from now on.
    pub(super) fn begin(&self, now: UnixMillis) -> Turn<'_> {
        let Some(counts) = &self.0 else { return Turn { counts: None, hour: now } };
        let hour = {
            let mut counts = counts.lock();
            let hour = hour_of(now).max(counts.floor);
            let number = counts.in_flight.entry(hour).or_default();
            *number = number.saturating_add(1);
            hour
        };
        Turn { counts: Some(counts), hour }
    }

    /// The hour of `now` has deliveries that began before it was open.
    fn leave_open(&self, now: UnixMillis) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock();
        let hour = hour_of(now).max(counts.floor);
        counts.incomplete.insert(hour);
    }

    /// The report that is due at `now`. At the end, everything is closed.
    fn report(&self, worker: Uuid, now: UnixMillis, is_end: bool) -> LedgerReport {
        let Some(counts) = &self.0 else { return LedgerReport::default() };
        let mut counts = counts.lock();
        let current = hour_of(now).max(counts.floor);
        let coming = [current, hour_of(now.plus(AHEAD)).max(current)];
        let coming = coming.into_iter().filter(|_| !is_end);
        let wanted = counts.rows.keys().map(|(_, hour)| *hour).chain(coming);
        let opened: BTreeSet<_> = wanted.filter(|hour| !counts.open.contains(hour)).collect();
        let bound = counts.in_flight.keys().next().copied().unwrap_or(current).min(current);
        let is_over = |hour: &UnixMillis| is_end || *hour < bound;
        let over: BTreeSet<_> = counts.open.union(&opened).copied().filter(is_over).collect();
        if let Some(last) = over.last() {
            // From here on, nothing is counted in them any more.
            counts.floor = counts.floor.max(next_hour(*last));
        }
        let closed = over.difference(&counts.incomplete).copied().collect();
        let rows = counts.rows.iter().filter(|(_, row)| !row.is_written);
        let rows = rows.map(|((id, hour), row)| (*id, *hour, row.checksum)).collect();
        LedgerReport { worker, opened: opened.into_iter().collect(), rows, closed }
    }

    /// The store has taken a report.
    fn written(&self, report: &LedgerReport) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock();
        counts.open.extend(&report.opened);
        for (id, hour, checksum) in &report.rows {
            if let Some(row) = counts.rows.get_mut(&(*id, *hour)) {
                row.is_written = row.checksum == *checksum;
            }
        }
        let floor = counts.floor;
        counts.rows.retain(|(_, hour), row| *hour >= floor || !row.is_written);
        // One that is incomplete stays open in the store.
        let incomplete = mem::take(&mut counts.incomplete);
        counts.open.retain(|hour| {
            !report.closed.contains(hour) && (*hour >= floor || !incomplete.contains(hour))
        });
        counts.incomplete = incomplete.into_iter().filter(|hour| *hour >= floor).collect();
    }
}

/// Writes the ledger of one worker.
pub(super) struct Writer {
    store: Arc<dyn Store>,
    settings: LedgerSettings,
    worker: Uuid,
    pruned: Option<Instant>,
}

impl Writer {
    pub(super) fn new(store: Arc<dyn Store>, settings: LedgerSettings) -> Self {
        Self { store, settings, worker: clock::new_id(), pruned: None }
    }

    /// Opens the present hour before anything is delivered in it. Where the store does not take
    /// that in time, the hour is never closed, for no delivery waits longer for the ledger.
    pub(super) async fn open(&self, ledger: &Ledger) {
        let opening = async {
            while self.settings.enabled
                && let Err(error) = self.write(ledger, false).await
            {
                log_events::store_unavailable("opening an hour of the ledger", &error);
                sleep(RETRY_INTERVAL).await;
            }
        };
        if timeout(OPEN_DEADLINE, opening).await.is_err() {
            ledger.leave_open(clock::now());
            log_events::ledger_not_opened();
        }
    }

    /// Writes until `over`, then once more, when nothing is in flight.
    pub(super) async fn run(mut self, context: Arc<Context>, over: CancellationToken) {
        if !self.settings.enabled {
            return;
        }
        let ledger = &context.observers.ledger;
        over.run_until_cancelled(async {
            loop {
                if let Err(error) = self.write(ledger, false).await {
                    log_events::store_unavailable("writing the ledger", &error);
                }
                if self.settings.events {
                    announcements::announce(&context).await;
                }
                self.prune_when_due().await;
                sleep(INTERVAL).await;
            }
        })
        .await;
        match timeout(END_DEADLINE, self.write(ledger, true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log_events::store_unavailable("closing the ledger", &error),
            Err(_elapsed) => log_events::ledger_left_open(),
        }
    }

    async fn write(&self, ledger: &Ledger, is_end: bool) -> Result<(), StoreError> {
        let now = clock::now();
        let report = ledger.report(self.worker, now, is_end);
        self.store.report_ledger(&report, now).await?;
        ledger.written(&report);
        Ok(())
    }

    async fn prune_when_due(&mut self) {
        if self.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNE_INTERVAL) {
            return;
        }
        let before = hour_of(clock::now().minus(self.settings.keep));
        match self.store.prune_ledger(before, self.settings.max_rows).await {
            Ok(_) => self.pruned = Some(Instant::now()),
            Err(error) => log_events::store_unavailable("pruning the ledger", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::{
        delivery::Progress,
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::EventId,
        ledger::HOUR_MS,
        topic::Topic,
    };

    const START: UnixMillis = UnixMillis::new(500_000 * HOUR_MS);

    fn at(hours: i64, millis: i64) -> UnixMillis {
        UnixMillis::new(START.get() + hours * HOUR_MS + millis)
    }

    fn ledger() -> Ledger {
        let settings = homing_domain::settings::section(crate::settings::DEFAULTS, "ledger", "");
        Ledger::new(&settings.unwrap())
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

    fn written(ledger: &Ledger, now: UnixMillis, is_end: bool) -> LedgerReport {
        let report = ledger.report(Uuid::nil(), now, is_end);
        ledger.written(&report);
        report
    }

    #[test]
    fn an_hour_is_closed_when_nothing_that_began_in_it_is_in_flight() {
        let ledger = ledger();
        assert_eq!(written(&ledger, at(0, 0), false).opened, [at(0, 0)]);
        let late = ledger.begin(at(0, HOUR_MS - 1));
        ledger.begin(at(0, 5)).delivered(&delivery("a"), at(0, 6));
        let ahead = written(&ledger, at(0, HOUR_MS - 1), false);
        assert_eq!((ahead.opened, ahead.rows.len()), (vec![at(1, 0)], 1));
        let second = written(&ledger, at(1, 0), false);
        assert_eq!((second.closed.len(), second.rows.len()), (0, 0), "one is in flight");
        late.delivered(&delivery("b"), at(0, HOUR_MS - 1));
        let third = written(&ledger, at(1, 1), false);
        assert_eq!((third.closed, third.rows.len()), (vec![at(0, 0)], 1));
        assert_eq!(third.rows.first().map(|(.., checksum)| checksum.number), Some(2));
    }

    #[test]
    fn an_hour_that_was_not_opened_in_time_is_never_closed() {
        let ledger = ledger();
        ledger.leave_open(at(0, 0));
        ledger.begin(at(0, 5)).delivered(&delivery("a"), at(0, 6));
        let late = written(&ledger, at(0, 7), false);
        assert_eq!((late.opened, late.rows.len()), (vec![at(0, 0)], 1));
        let next = written(&ledger, at(1, 0), false);
        assert_eq!((next.opened, next.closed.len()), (vec![at(1, 0)], 0));
        assert_eq!(written(&ledger, at(2, 0), false).closed, [at(1, 0)]);
    }

    /// Goal: a clock that is set back changes no hour that is closed.
    #[test]
    fn what_is_delivered_after_the_clock_was_set_back_counts_in_an_open_hour() {
        let ledger = ledger();
        written(&ledger, at(0, 0), false);
        written(&ledger, at(1, 0), false);
        ledger.begin(at(0, 7)).delivered(&delivery("a"), at(0, 8));
        let report = written(&ledger, at(0, 9), false);
        assert_eq!(report.rows.first().map(|(_, hour, _)| *hour), Some(at(1, 0)));
    }

    #[test]
    fn what_the_store_did_not_take_is_written_and_its_hours_are_opened_later() {
        let ledger = ledger();
        ledger.begin(at(0, 1)).delivered(&delivery("a"), at(0, 1));
        let _lost = ledger.report(Uuid::nil(), at(0, 2), false);
        ledger.begin(at(2, 1)).delivered(&delivery("b"), at(2, 1));
        let report = written(&ledger, at(2, 2), false);
        assert_eq!(report.opened, [at(0, 0), at(2, 0)]);
        assert_eq!((report.closed, report.rows.len()), (vec![at(0, 0)], 2));
        let end = written(&ledger, at(2, 3), true);
        assert_eq!((end.opened.len(), end.closed, end.rows.len()), (0, vec![at(2, 0)], 0));
    }
}
