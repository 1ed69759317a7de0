//! Writes what was counted to the store, every few seconds, beside the deliveries.
//!
//! A batch has a number and is sent again unchanged until the store takes it, so that each counts
//! once, however often an answer was lost. What is counted meanwhile adds up in memory; of hours
//! that are older than some, only the sums, so that it stays bounded and no total is wrong.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Collector, collector::Taken};
use crate::settings::HistorySettings;
use homing_domain::{
    clock,
    history::{HourFigures, Series, TopicSeen},
    time::{UnixMillis, hour_of},
};
use homing_store::{HISTORY_AT_ONCE, HistoryBatch, Store, StoreError};
use homing_telemetry::log_events;

/// Counts are written this often, and belong to the hour in which they are taken.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// The history is pruned this often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// A worker that counts nothing shows this often that it runs.
const SHOWN_INTERVAL: Duration = Duration::from_secs(60);
/// Hours that wait in memory with their names while the store does not answer.
const MAX_HOURS: usize = 6;
/// Unwanted topics that are logged; enough for an operator to see the pattern.
const MAX_LOGGED: usize = 1_000;
/// Deadline for the rest at the end.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Takes from the collector, and writes.
pub(in crate::worker) struct Writer {
    store: Arc<dyn Store>,
    settings: HistorySettings,
    collector: Arc<Collector>,
    worker: Uuid,
    /// The number of the last batch.
    number: i64,
    /// By the hour: what is in no batch yet.
    waiting: BTreeMap<UnixMillis, Sums>,
    /// Batches that may have been added; they stay unchanged.
    batches: VecDeque<HistoryBatch>,
    /// The last time that the store took a batch.
    shown: Option<Instant>,
    pruned: Option<Instant>,
    /// Topics that were logged as unwanted.
    logged: HashSet<String>,
}

/// The counts of an hour.
#[derive(Default)]
struct Sums {
    figures: BTreeMap<Series, HourFigures>,
    /// Each has figures.
    topics: BTreeMap<String, TopicSeen>,
}

/// Opens the history in `store`; nothing if none is kept.
pub(in crate::worker) fn open(
    settings: &HistorySettings,
    store: Arc<dyn Store>,
) -> Option<(Arc<Collector>, Writer)> {
    if !settings.enabled {
        return None;
    }
    let collector = Arc::new(Collector::new(settings.max_names));
    let writer = Writer {
        store,
        settings: settings.clone(),
        collector: Arc::clone(&collector),
        worker: clock::new_id(),
        number: 0,
        waiting: BTreeMap::new(),
        batches: VecDeque::new(),
        shown: None,
        pruned: None,
        logged: HashSet::new(),
    };
    Some((collector, writer))
}

impl Sums {
    /// Merges all names into those that are not distinguished; false if that has been done.
    fn forget_names(&mut self) -> bool {
        let mut has_names = false;
        let mut merged: BTreeMap<Series, HourFigures> = BTreeMap::new();
        for (series, figures) in std::mem::take(&mut self.figures) {
            has_names |= !series.name().is_empty();
            let others = series.others().unwrap_or(series);
            merged.entry(others).or_default().merge(&figures);
        }
        self.figures = merged;
        let topics = std::mem::take(&mut self.topics).into_values();
        let others = topics.reduce(|mut sum, seen| {
            sum.merge(&seen);
            sum
        });
        let others = others.map(|sum| TopicSeen { topic: String::new(), ..sum });
        self.topics.extend(others.map(|others| (String::new(), others)));
        has_names
    }
}

impl Writer {
    /// Writes until `over`, and then what is left, within a deadline.
    pub(in crate::worker) async fn write(mut self, over: CancellationToken) {
        over.run_until_cancelled(async {
            loop {
                sleep(WRITE_INTERVAL).await;
                self.write_or_wait().await;
                self.prune_when_due().await;
            }
        })
        .await;
        if timeout(END_DEADLINE, self.end()).await.is_err() || self.has_some_to_write() {
            let left = self.batches.len();
            warn!(left, "history.left: what was counted last is missing from the history");
        }
    }

    /// Writes the rest. Where that fails, the store keeps that this worker did not end.
    async fn end(&mut self) {
        self.write_or_wait().await;
        if !self.has_some_to_write()
            && let Err(error) = self.store.end_history(self.worker).await
        {
            log_events::store_unavailable("ending the history of this worker", &error);
        }
    }

    fn has_some_to_write(&self) -> bool {
        !self.batches.is_empty() || !self.waiting.is_empty()
    }

    /// Writes all that was counted; what the store does not take waits for the next time.
    async fn write_or_wait(&mut self) {
        let now = clock::now();
        let taken = self.collector.take(now);
        self.add(taken, now);
        if !self.has_some_to_write()
            && self.shown.is_none_or(|shown| shown.elapsed() >= SHOWN_INTERVAL)
        {
            self.push_batch(now, Vec::new(), Vec::new());
        }
        // Batches that wait come first: figures of the same hour may follow them.
        while self.has_some_to_write() {
            if self.batches.is_empty() {
                self.divide(now);
            }
            if let Err(error) = self.write_batches().await {
                return log_events::store_unavailable("adding to the history", &error);
            }
        }
    }

    async fn write_batches(&mut self) -> Result<(), StoreError> {
        while let Some(batch) = self.batches.front() {
            let unreadable = self.store.add_history(batch, self.settings.max_topics).await?;
            if unreadable > 0 {
                warn!(unreadable, "history.unreadable: stored figures were begun anew");
            }
            self.batches.pop_front();
            self.shown = Some(Instant::now());
        }
        Ok(())
    }

    fn add(&mut self, taken: Taken, now: UnixMillis) {
        let Taken { figures, topics } = taken;
        if figures.is_empty() {
            return;
        }
        let hour = hour_of(now);
        for seen in &topics {
            self.log_unwanted(seen);
        }
        let sums = self.waiting.entry(hour).or_default();
        for (series, figures) in figures {
            sums.figures.entry(series).or_default().merge(&figures);
        }
        for seen in topics {
            match sums.topics.get_mut(&seen.topic) {
                Some(sum) => sum.merge(&seen),
                None => drop(sums.topics.insert(seen.topic.clone(), seen)),
            }
        }
        let excess = self.waiting.len().saturating_sub(MAX_HOURS);
        for (hour, sums) in self.waiting.iter_mut().take(excess) {
            if sums.forget_names() {
                warn!(%hour, "history.merged: the store was not available for hours, so the \
                     figures of that hour have no names");
            }
        }
        // They would be deleted as soon as they are written.
        let kept = hour_of(now.minus(self.settings.keep));
        self.waiting.retain(|hour, _| *hour >= kept);
    }

    /// Logs a topic once, when no subscription wanted an event of it.
    fn log_unwanted(&mut self, seen: &TopicSeen) {
        let TopicSeen { topic, unwanted, .. } = seen;
        let is_no_news = *unwanted == 0 || topic.is_empty() || self.logged.len() >= MAX_LOGGED;
        if !is_no_news && self.logged.insert(topic.clone()) {
            info!(topic, events = unwanted, "topic.unwanted: no subscription wanted its events");
        }
    }

    /// Makes batches of all that waits.
    fn divide(&mut self, at: UnixMillis) {
        for (hour, Sums { figures, topics }) in std::mem::take(&mut self.waiting) {
            let hours: Vec<_> = figures.into_iter().map(|(one, sums)| (one, hour, sums)).collect();
            let topics: Vec<_> = topics.into_values().collect();
            let mut topics = topics.chunks(HISTORY_AT_ONCE);
            for hours in hours.chunks(HISTORY_AT_ONCE) {
                // There are no more topics than figures.
                let topics = topics.next().unwrap_or_default().to_vec();
                self.push_batch(at, hours.to_vec(), topics);
            }
        }
    }

    fn push_batch(
        &mut self,
        at: UnixMillis,
        hours: Vec<(Series, UnixMillis, HourFigures)>,
        topics: Vec<TopicSeen>,
    ) {
        self.number = self.number.saturating_add(1);
        let (worker, number) = (self.worker, self.number);
        self.batches.push_back(HistoryBatch { worker, number, at, hours, topics });
    }

    async fn prune_when_due(&mut self) {
        if self.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNE_INTERVAL) {
            return;
        }
        // A failure, too, is tried again after the interval only.
        self.pruned = Some(Instant::now());
        let now = clock::now();
        let before = now.minus(self.settings.keep);
        if let Err(error) = self.store.prune_history(before, self.settings.max_rows, now).await {
            log_events::store_unavailable("pruning the history", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::history::Count;

    /// Goal: what is too old to wait with its names keeps its sums, and is merged once.
    #[test]
    fn hours_that_wait_for_long_keep_their_sums() {
        let figures = |events: u64| {
            let mut figures = HourFigures::default();
            (0..events).for_each(|_| figures.count(Count::Events));
            figures
        };
        let url = |name: &str| Series::Url(name.to_owned());
        let topic = |name: &str| Series::Topic(name.to_owned());
        let seen = |name: &str, millis| {
            let seen = TopicSeen::one(name.to_owned(), UnixMillis::new(millis), false);
            (name.to_owned(), seen)
        };
        let mut sums = Sums::default();
        for (series, events) in
            [(Series::All, 6), (url("a"), 1), (url("b"), 2), (url(""), 3), (topic("t"), 6)]
        {
            sums.figures.insert(series, figures(events));
        }
        sums.topics.extend([seen("t", 1), seen("u", 2)]);
        assert!(sums.forget_names());
        assert!(!sums.forget_names(), "it is done once");
        let events: Vec<_> =
            sums.figures.iter().map(|(one, sum)| (one.kind(), sum.get(Count::Events))).collect();
        assert_eq!(events, [("all", 6), ("url", 6), ("topic", 6)]);
        assert!(sums.figures.keys().all(|series| series.name().is_empty()));
        let others = sums.topics.get("").unwrap();
        assert_eq!((sums.topics.len(), others.events, others.unwanted), (1, 2, 2));
    }
}
