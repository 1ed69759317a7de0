//! Writes records to the attempt log of the store, in batches, beside the deliveries.
//!
//! A batch that the store does not take is tried a few times while the channel behind it fills;
//! then it is given up and counted, and the next one is tried. What is given up is told to the store
//! with the first batch that it takes. Writing a batch twice is harmless, so it does not matter
//! whether a step that was not answered was done.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::sender::{Backlog, Sender};
use crate::settings::AttemptsSettings;
use homing_domain::{clock, record::Record};
use homing_store::{RECORDS_AT_ONCE, Store, StoreError};
use homing_telemetry::{events, metrics};

/// Records that wait to be written, each of up to two kilobytes by the default settings.
const MAX_WAITING: usize = 4_096;
/// Records in one transaction.
const BATCH: usize = 1_000;
/// How long a record waits at most before it is written, when the store takes it.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a batch is tried that the store does not take, and the pause between.
const TRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long the rest may take at the end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How often the log is looked through for what is too old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// How often records that were given up are told of.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// The end of the channel that writes.
pub(in crate::worker) struct Writer {
    store: Arc<dyn Store>,
    settings: AttemptsSettings,
    records: mpsc::Receiver<Record>,
    backlog: Arc<Backlog>,
    /// What is being written.
    batch: Vec<Record>,
    /// How many records the store has, as far as is known.
    rows: u64,
    /// When the store was last looked through; `None`: not since the start.
    pruned: Option<Instant>,
    told: (u64, Instant),
}

/// Both ends of the way to the log of `store`, the second one only where there is to be a log.
pub(in crate::worker) fn open(
    settings: &AttemptsSettings,
    store: Arc<dyn Store>,
) -> (Sender, Option<Writer>) {
    if !settings.enabled {
        return (Sender::off(), None);
    }
    let (sender, records) = mpsc::channel(MAX_WAITING);
    let backlog = Arc::new(Backlog::default());
    let log = Sender::new(sender, BATCH, settings.response_bytes, Arc::clone(&backlog));
    let writer = Writer {
        store,
        settings: settings.clone(),
        records,
        backlog,
        batch: Vec::new(),
        rows: 0,
        pruned: None,
        told: (0, Instant::now()),
    };
    (log, Some(writer))
}

impl Writer {
    /// Writes until `over`, and then what is left, within a deadline.
    pub(in crate::worker) async fn write(mut self, over: CancellationToken) {
        over.run_until_cancelled(self.keep_writing()).await;
        self.records.close();
        let ended = timeout(END_DEADLINE, async {
            while self.has_some_to_write() && self.write_batch().await.is_ok() {}
        });
        // What is left shows below, whatever the reason.
        drop(ended.await);
        let waiting = self.batch.len().saturating_add(self.records.len());
        let gap = self.backlog.gap().map_or(0, |gap| gap.missed);
        let left = gap.saturating_add(u64::try_from(waiting).unwrap_or(u64::MAX));
        if left > 0 {
            events::records_left(left);
        }
    }

    async fn keep_writing(&mut self) {
        loop {
            // Passed over: it is the usual case that there is not enough.
            drop(timeout(WRITE_INTERVAL, self.backlog.enough.notified()).await);
            while self.has_some_to_write() {
                self.write_or_give_up().await;
                self.tell_of_missed();
                if self.rows > self.rows_bound() {
                    self.prune_step().await;
                }
                if self.records.len() < BATCH {
                    break;
                }
            }
            self.prune_when_due().await;
        }
    }

    /// Fills the batch with what waits; one that was not written is filled no further than that.
    fn has_some_to_write(&mut self) -> bool {
        while self.batch.len() < BATCH
            && let Ok(record) = self.records.try_recv()
        {
            self.batch.push(record);
        }
        !self.batch.is_empty() || self.backlog.gap().is_some()
    }

    async fn write_batch(&mut self) -> Result<(), StoreError> {
        let gap = self.backlog.gap();
        self.rows = self.store.record_attempts(&self.batch, gap.as_ref()).await?;
        metrics::records_written(self.batch.len());
        self.batch.clear();
        if gap.is_some() {
            self.backlog.report();
        }
        Ok(())
    }

    async fn write_or_give_up(&mut self) {
        for _ in 1..TRIES {
            match self.write_batch().await {
                Ok(()) => return,
                Err(error) => events::store_unavailable("writing to the attempt log", &error),
            }
            sleep(RETRY_PAUSE).await;
        }
        if let Err(error) = self.write_batch().await {
            events::store_unavailable("writing to the attempt log", &error);
            for record in self.batch.drain(..) {
                self.backlog.missed(record.started());
            }
        }
    }

    fn tell_of_missed(&mut self) {
        let missed = self.backlog.total();
        let (told, at) = self.told;
        if missed > told && (told == 0 || at.elapsed() >= TELL_INTERVAL) {
            events::records_missed(missed);
            self.told = (missed, Instant::now());
        }
    }

    /// Beyond the setting by as much as one step prunes, so that not every batch has one behind it.
    fn rows_bound(&self) -> u64 {
        self.settings.max_rows.saturating_add(RECORDS_AT_ONCE.into())
    }

    /// Prunes in steps until nothing is too old, or there is something to write; then goes on with
    /// that the next time.
    async fn prune_when_due(&mut self) {
        if self.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNE_INTERVAL) {
            return;
        }
        while self.prune_step().await {
            if self.records.len() >= BATCH {
                return;
            }
        }
        self.pruned = Some(Instant::now());
    }

    /// Whether there may be more to prune.
    async fn prune_step(&mut self) -> bool {
        let before = clock::now().minus(self.settings.keep);
        match self.store.prune_attempts(before, self.settings.max_rows).await {
            Ok(pruned) => {
                self.rows = self.rows.saturating_sub(pruned.records);
                if pruned.records > 0 {
                    events::records_pruned(pruned.records);
                }
                pruned.more
            }
            Err(error) => {
                events::store_unavailable("pruning the attempt log", &error);
                false
            }
        }
    }
}
