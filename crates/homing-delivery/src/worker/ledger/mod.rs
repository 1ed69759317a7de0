//! The ledger of this worker: counts what was delivered, by subscription and hour, and writes it to
//! the store beside the deliveries.
//!
//! The hour of a delivery is that of its `webhook-timestamp`. The worker is in the store before it
//! delivers anything, and an hour is closed there when nothing is in flight any more that may have
//! begun in it and all of it is written. So a worker that is killed, or cannot reach the store,
//! leaves hours behind that say that its figures are not all. A killed one leaves no more of them
//! once another one of its machine proves that it has ended ([`presence`]).
//!
//! What the store does not take is written the next time.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Context;
use crate::settings::LedgerSettings;
use homing_domain::{clock, time::hour_of};
use homing_store::{LedgerReport, MAX_LEDGER_PRUNED, Store, StoreError};
use homing_telemetry::log_events;

pub(super) mod announcements;
mod counts;
mod presence;

pub(super) use counts::Ledger;

use presence::Presence;

/// Interval of writing.
const INTERVAL: Duration = Duration::from_secs(5);
/// Interval of pruning, and of the next step where one was not enough.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Interval of looking for workers of this machine that have ended without saying so, and the time
/// since their last report.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Deadline for the last report.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline for the first report, after which deliveries begin without it.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries of the first report.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes the ledger of one worker.
pub(super) struct Writer {
    store: Arc<dyn Store>,
    settings: LedgerSettings,
    /// Names the process.
    process: Uuid,
    /// `None`: no ledger is kept, or the machine has no such names.
    presence: Option<Presence>,
    prune_at: Instant,
    look_at: Instant,
}

impl Writer {
    pub(super) fn new(store: Arc<dyn Store>, settings: LedgerSettings, process: Uuid) -> Self {
        let failed = |error: &io::Error| log_events::ledger_without_name(error);
        let begin = || Presence::begin(process).inspect_err(failed).ok();
        let presence = settings.enabled.then(begin).flatten();
        let (prune_at, look_at) = (Instant::now(), Instant::now());
        Self { store, settings, process, presence, prune_at, look_at }
    }

    /// True if hours that are over are announced.
    pub(super) fn announces(&self) -> bool {
        self.settings.enabled && self.settings.events
    }

    /// Begins in the store before anything is delivered. Where the store does not take that in
    /// time, this hour is not provable, for no delivery waits longer for the ledger.
    pub(super) async fn open(&self, ledger: &Ledger) {
        let opening = async {
            while self.settings.enabled
                && let Err(error) = self.write(ledger, false).await
            {
                log_events::store_unavailable("opening the ledger", &error);
                sleep(RETRY_INTERVAL).await;
            }
        };
        if timeout(OPEN_DEADLINE, opening).await.is_err() {
            ledger.leave_gap(clock::now());
            log_events::ledger_not_opened();
        }
    }

    /// Writes until `over`, then once more; what is in flight then leaves its hour unproved.
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
                self.look_when_due().await;
                self.prune_when_due().await;
                sleep(INTERVAL).await;
            }
        })
        .await;
        match timeout(END_DEADLINE, self.write(ledger, true)).await {
            Ok(Ok(())) => self.presence.into_iter().for_each(Presence::end),
            Ok(Err(error)) => log_events::store_unavailable("closing the ledger", &error),
            Err(_elapsed) => log_events::ledger_left_open(),
        }
    }

    async fn write(&self, ledger: &Ledger, is_end: bool) -> Result<(), StoreError> {
        let now = clock::now();
        for report in ledger.reports(now, is_end) {
            let place = self.presence.as_ref().map(|presence| presence.place().to_owned());
            let report = LedgerReport { process: self.process, place, ..report };
            self.store.report_ledger(&report, now).await?;
            ledger.written(&report);
        }
        Ok(())
    }

    async fn look_when_due(&mut self) {
        if Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
        if let Some(presence) = &self.presence
            && let Err(error) = self.end_those_that_ended(presence).await
        {
            log_events::store_unavailable("looking for workers that have ended", &error);
        }
    }

    /// Notes the end of processes of this place that could not do so.
    async fn end_those_that_ended(&self, presence: &Presence) -> Result<(), StoreError> {
        let silent_since = clock::now().minus(LOOK_INTERVAL);
        for process in self.store.silent_ledger_processes(presence.place(), silent_since).await? {
            if presence::has_ended(process) {
                self.store.ledger_process_ended(process, clock::now()).await?;
            }
        }
        Ok(())
    }

    async fn prune_when_due(&mut self) {
        if Instant::now() < self.prune_at {
            return;
        }
        let now = clock::now();
        let before = hour_of(now.minus(self.settings.keep));
        let pruned = self.store.prune_ledger(before, self.settings.max_rows, now).await;
        let has_more = pruned.as_ref().is_ok_and(|pruned| *pruned >= MAX_LEDGER_PRUNED.into());
        self.prune_at = Instant::now() + if has_more { INTERVAL } else { PRUNE_INTERVAL };
        if let Err(error) = pruned {
            log_events::store_unavailable("pruning the ledger", &error);
        }
    }
}
