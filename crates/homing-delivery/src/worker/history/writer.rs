//! Writes what was counted to the store, every few seconds, beside the deliveries.
//!
//! A batch has a number and is sent again unchanged until the store takes it, so that each counts
//! once, however often an answer was lost. What is counted meanwhile adds up in memory, for some
//! hours; older hours are dropped and counted.

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
/// Hours that wait in memory while the store does not answer.
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
        pruned: None,
        logged: HashSet::new(),
    };
    Some((collector, writer))
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
        if timeout(END_DEADLINE, self.write_or_wait()).await.is_err() || self.has_some_to_write() {
            let left = self.batches.len();
            warn!(left, "history.left: what was counted last is missing from the history");
        }
    }

    fn has_some_to_write(&self) -> bool {
        !self.batches.is_empty() || !self.waiting.is_empty()
    }

    /// Writes all that was counted; what the store does not take waits for the next time.
    async fn write_or_wait(&mut self) {
        let now = clock::now();
        let taken = self.collector.take(now);
        self.add(taken, hour_of(now));
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
        }
        Ok(())
    }

    fn add(&mut self, taken: Taken, hour: UnixMillis) {
        let Taken { figures, topics } = taken;
        if figures.is_empty() {
            return;
        }
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
        if self.waiting.len() > MAX_HOURS
            && let Some((hour, _)) = self.waiting.pop_first()
        {
            warn!(%hour, "history.dropped: the store was not available for hours");
        }
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
                let hours = hours.to_vec();
                self.number = self.number.saturating_add(1);
                let (worker, number) = (self.worker, self.number);
                self.batches.push_back(HistoryBatch { worker, number, at, hours, topics });
            }
        }
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
