//! Writes records to the attempt log of the store, in batches, beside the deliveries.
//!
//! A batch that the store does not take is retried a few times while the channel behind it fills;
//! then it is dropped and counted, and the next one is tried. Dropped records are reported to the
//! store with the first batch that it takes. Writing a batch twice is harmless, so an unanswered
//! step may be repeated.
//!
//! Payloads are written before their records, in small parts within a short deadline. Where the
//! store does not take them, they are given up for a while.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::sender::{Backlog, Entry, Sender, WaitingPayload};
use crate::settings::AttemptsSettings;
use homing_domain::{
    clock,
    payload::PayloadState,
    record::{Record, RecordId},
    time::UnixMillis,
};
use homing_store::{
    AttemptPayload, PayloadBounds, PayloadTotals, RECORDS_AT_ONCE, Store, StoreError,
};
use homing_telemetry::{log_events, metrics};

/// Records that may wait, each of up to two kilobytes with the default settings.
const MAX_WAITING: usize = 4_096;
/// Records in one transaction.
const BATCH: usize = 1_000;
/// A record waits at most this long before it is written, when the store takes it.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Tries for a batch that the store does not take; the pause between them follows.
const TRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Deadline for the rest at the end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of payloads in one transaction, about: others write in between.
const PAYLOADS_AT_ONCE: usize = 1_024 * 1_024;
/// Deadline for the payloads of a batch; those that are not written by then are given up.
const PAYLOADS_DEADLINE: Duration = Duration::from_secs(3);
/// Deadline for payloads at the end: the rest of [`END_DEADLINE`] is for records.
const END_PAYLOADS_DEADLINE: Duration = Duration::from_secs(2);
/// After a failure, payloads are given up for this long, so that records keep up.
const PAYLOADS_PAUSE: Duration = Duration::from_secs(30);
/// Old records are pruned this often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// Dropped records are logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The writing end of the channel.
pub(in crate::worker) struct Writer {
    store: Arc<dyn Store>,
    settings: AttemptsSettings,
    records: mpsc::Receiver<Entry>,
    backlog: Arc<Backlog>,
    /// The records being written.
    batch: Vec<Record>,
    /// The payloads of some of them, until they are written.
    payloads: Vec<(RecordId, WaitingPayload)>,
    /// Payloads are given up until then.
    payloads_paused: Option<Instant>,
    /// No payload is written after this; `None`: the end has not begun.
    payloads_end: Option<Instant>,
    /// The number of records in the store, as far as is known.
    rows: u64,
    /// The extent of the payloads in the store, as far as is known.
    kept: PayloadTotals,
    /// The last time that the store was pruned; `None`: not since the start.
    pruned: Option<Instant>,
    logged_missed: (u64, Instant),
}

/// Opens the log of `store`: both ends of the channel. Where no log is kept, the writer prunes what
/// was kept before.
pub(in crate::worker) fn open(
    settings: &AttemptsSettings,
    store: Arc<dyn Store>,
) -> (Sender, Writer) {
    let (sender, records) = mpsc::channel(MAX_WAITING);
    let backlog = Arc::new(Backlog::default());
    let log = if settings.enabled {
        Sender::new(sender, BATCH, settings.response_bytes, Arc::clone(&backlog))
    } else {
        Sender::off()
    };
    let writer = Writer {
        store,
        settings: settings.clone(),
        records,
        backlog,
        batch: Vec::new(),
        payloads: Vec::new(),
        payloads_paused: None,
        payloads_end: None,
        rows: 0,
        kept: PayloadTotals::default(),
        pruned: None,
        logged_missed: (0, Instant::now()),
    };
    (log, writer)
}

impl Writer {
    /// Writes until `over`, and then what is left, within a deadline.
    pub(in crate::worker) async fn write(mut self, over: CancellationToken) {
        over.run_until_cancelled(self.keep_writing()).await;
        self.records.close();
        self.payloads_end = Some(Instant::now() + END_PAYLOADS_DEADLINE);
        let ended = timeout(END_DEADLINE, async {
            while self.has_some_to_write() && self.write_batch().await.is_ok() {}
        });
        // What is left is counted below, whatever the reason.
        drop(ended.await);
        let waiting = self.batch.len().saturating_add(self.records.len());
        let gap = self.backlog.gap().map_or(0, |gap| gap.missed);
        let left = gap.saturating_add(u64::try_from(waiting).unwrap_or(u64::MAX));
        if left > 0 {
            log_events::records_left(left);
        }
    }

    async fn keep_writing(&mut self) {
        loop {
            // Timing out is the usual case.
            drop(timeout(WRITE_INTERVAL, self.backlog.enough.notified()).await);
            while self.has_some_to_write() {
                self.write_or_give_up().await;
                self.log_missed();
                if self.rows > self.rows_bound() || self.has_too_many_payloads() {
                    self.prune_step().await;
                }
                if self.records.len() < BATCH {
                    break;
                }
            }
            self.prune_when_due().await;
        }
    }

    /// Fills the batch with waiting records; an unwritten batch is filled up to the same size.
    fn has_some_to_write(&mut self) -> bool {
        while self.batch.len() < BATCH
            && let Ok(Entry { record, payload }) = self.records.try_recv()
        {
            self.payloads.extend(payload.map(|payload| (record.id, payload)));
            self.batch.push(record);
        }
        !self.batch.is_empty() || self.backlog.gap().is_some()
    }

    /// Writes the payloads of the batch, in parts; those that the store does not take soon are given
    /// up, so that they cost no record.
    async fn write_payloads(&mut self) {
        let now = Instant::now();
        let deadline = now + PAYLOADS_DEADLINE;
        let deadline = self.payloads_end.map_or(deadline, |end| end.min(deadline));
        let mut may_write = self.payloads_paused.is_none_or(|paused| paused <= now);
        while may_write && !self.payloads.is_empty() {
            let part = self.next_payloads();
            let written = timeout_at(deadline, self.store.keep_payloads(&part)).await;
            let step = "keeping payloads of attempts";
            let timed_out = |_elapsed| StoreError::TimedOut { step, deadline: PAYLOADS_DEADLINE };
            match written.unwrap_or_else(|elapsed| Err(timed_out(elapsed))) {
                Ok(totals) => {
                    self.kept = totals;
                    self.payloads.drain(..part.len());
                }
                Err(error) => {
                    log_events::store_unavailable(step, &error);
                    self.payloads_paused = Some(Instant::now() + PAYLOADS_PAUSE);
                    may_write = false;
                }
            }
        }
        self.give_payloads_up();
    }

    /// The first of the payloads that wait, as many as are written at once.
    fn next_payloads(&self) -> Vec<AttemptPayload> {
        let mut bytes = 0_usize;
        let fits = |(_, waiting): &&(RecordId, WaitingPayload)| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(waiting.payload.bytes().max(1));
            is_first || bytes <= PAYLOADS_AT_ONCE
        };
        let part = self.payloads.iter().take_while(fits);
        part.map(|(id, waiting)| (*id, Arc::clone(&waiting.payload))).collect()
    }

    /// Counts the payloads that were not written as missed.
    fn give_payloads_up(&mut self) {
        if self.payloads.is_empty() {
            return;
        }
        metrics::payloads_missed(u64::try_from(self.payloads.len()).unwrap_or(u64::MAX));
        let missed: BTreeSet<_> = self.payloads.drain(..).map(|(id, _)| id).collect();
        for record in self.batch.iter_mut().filter(|record| missed.contains(&record.id)) {
            record.payload = PayloadState::Missed;
        }
    }

    async fn write_batch(&mut self) -> Result<(), StoreError> {
        self.write_payloads().await;
        let gap = self.backlog.gap();
        self.rows = self.store.record_attempts(&self.batch, gap.as_ref()).await?;
        metrics::records_written(self.batch.len());
        self.batch.clear();
        if gap.is_some() {
            self.backlog.gap_written();
        }
        Ok(())
    }

    async fn write_or_give_up(&mut self) {
        for _ in 1..TRIES {
            match self.write_batch().await {
                Ok(()) => return,
                Err(error) => log_events::store_unavailable("writing to the attempt log", &error),
            }
            sleep(RETRY_PAUSE).await;
        }
        if let Err(error) = self.write_batch().await {
            log_events::store_unavailable("writing to the attempt log", &error);
            for record in self.batch.drain(..) {
                self.backlog.missed(record.started());
            }
        }
    }

    fn log_missed(&mut self) {
        let missed = self.backlog.total();
        let (logged_missed, at) = self.logged_missed;
        if missed > logged_missed && (logged_missed == 0 || at.elapsed() >= LOG_INTERVAL) {
            log_events::records_missed(missed);
            self.logged_missed = (missed, Instant::now());
        }
    }

    /// Above the setting by what one step prunes, so that not every batch needs a prune.
    fn rows_bound(&self) -> u64 {
        self.settings.max_rows.saturating_add(RECORDS_AT_ONCE.into())
    }

    /// As with records, not every batch needs a prune.
    fn has_too_many_payloads(&self) -> bool {
        let bounds = self.payload_bounds();
        let max_payloads = bounds.max_payloads.saturating_add(RECORDS_AT_ONCE.into());
        let max_bytes = bounds.max_bytes.saturating_add(bounds.max_bytes / 16);
        PayloadBounds { max_payloads, max_bytes, ..bounds }.are_exceeded(self.kept)
    }

    /// Prunes in steps until nothing is too old, or there is something to write; continues the next
    /// time.
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

    /// Prunes once; true if there may be more.
    async fn prune_step(&mut self) -> bool {
        let before = clock::now().minus(self.settings.keep);
        let more = match self.store.prune_payloads(&self.payload_bounds()).await {
            Ok(pruned) => {
                self.kept = pruned.left;
                pruned.more
            }
            Err(error) => {
                log_events::store_unavailable("pruning payloads of attempts", &error);
                false
            }
        };
        more | self.prune_records(before).await
    }

    fn payload_bounds(&self) -> PayloadBounds {
        let AttemptsSettings { keep, max_payloads, max_payloads_bytes, .. } = self.settings;
        let since = clock::now().minus(keep);
        PayloadBounds { since, max_payloads, max_bytes: max_payloads_bytes }
    }

    /// Prunes records once; true if there may be more.
    async fn prune_records(&mut self, before: UnixMillis) -> bool {
        match self.store.prune_attempts(before, self.settings.max_rows).await {
            Ok(pruned) => {
                self.rows = self.rows.saturating_sub(pruned.records);
                if pruned.records > 0 {
                    log_events::records_pruned(pruned.records);
                }
                pruned.more
            }
            Err(error) => {
                log_events::store_unavailable("pruning the attempt log", &error);
                false
            }
        }
    }
}
