//! Reports to the store every few seconds what this worker does, in one small transaction. What the
//! store does not take is reported the next time.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Context;
use homing_domain::{
    activity::{Figures, KEPT, Minute, REPORT_INTERVAL, Requests, WorkerReport, minute_of},
    clock,
    time::UnixMillis,
};
use homing_store::Store;
use homing_telemetry::{host_name, log_events};

/// Old figures are pruned this often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// Minutes kept while the store is unavailable; older ones are dropped.
const MAX_MINUTES: usize = 120;
/// Deadline for the last report.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// Reports one worker to the store.
pub(super) struct Heartbeat {
    store: Arc<dyn Store>,
    report: WorkerReport,
    /// The counts at the last update.
    counted: Figures,
    /// The current minute, and those that the store may not have completely.
    minutes: BTreeMap<UnixMillis, Figures>,
    pruned: Option<Instant>,
}

impl Heartbeat {
    /// For a worker that `runs_replays` or not.
    pub(super) fn new(store: Arc<dyn Store>, runs_replays: bool) -> Self {
        let now = clock::now();
        let report = WorkerReport {
            id: clock::new_id(),
            host: host_name(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: now,
            seen_ms: now,
            in_flight: 0,
            runs_replays: Some(runs_replays),
            problem: None,
        };
        let (counted, minutes) = (Figures::default(), BTreeMap::new());
        Self { store, report, counted, minutes, pruned: None }
    }

    /// Names the worker.
    pub(super) fn worker(&self) -> Uuid {
        self.report.id
    }

    /// Reports until `over`, then once more, and removes the worker from the list.
    pub(super) async fn run(mut self, context: Arc<Context>, over: CancellationToken) {
        over.run_until_cancelled(async {
            loop {
                self.report_now(&context).await;
                self.report_costly_filters(&context).await;
                self.prune_when_due().await;
                sleep(REPORT_INTERVAL).await;
            }
        })
        .await;
        let end = async {
            self.report_now(&context).await;
            self.report_costly_filters(&context).await;
            self.store.remove_worker(self.report.id).await
        };
        if let Ok(Err(error)) = timeout(END_DEADLINE, end).await {
            log_events::store_unavailable("removing this worker from the list", &error);
        }
    }

    async fn report_now(&mut self, context: &Context) {
        self.update(context, clock::now());
        let minutes: Vec<_> = self
            .minutes
            .iter()
            .map(|(start_ms, figures)| Minute { start_ms: *start_ms, figures: *figures })
            .collect();
        let requests = Requests::most_of(context.limits.in_flight());
        let dues = context.observers.counters.take_dues();
        match self.store.report_activity(&self.report, &requests, &minutes, &dues).await {
            Ok(()) => self.forget_reported(),
            Err(error) => {
                context.observers.counters.put_back(dues);
                log_events::store_unavailable("reporting what this worker does", &error);
            }
        }
    }

    /// Reports filters that cost too much, which is rare.
    async fn report_costly_filters(&self, context: &Context) {
        let costly = context.matching.take_costly();
        if costly.is_empty() {
            return;
        }
        if let Err(error) = self.store.report_costly(&costly).await {
            context.matching.note_costly(costly);
            log_events::store_unavailable("noting filters that cost too much", &error);
        }
    }

    /// Adds what was counted since the last update to the current minute.
    fn update(&mut self, context: &Context, now: UnixMillis) {
        let counted = context.observers.counters.figures();
        let minute = self.minutes.entry(minute_of(now)).or_default();
        *minute += counted.since(&self.counted);
        self.counted = counted;
        self.report.seen_ms = now;
        self.report.in_flight = context.observers.counters.in_flight_count();
        self.report.problem = context.handler.problem();
        while self.minutes.len() > MAX_MINUTES {
            self.minutes.pop_first();
        }
    }

    /// Keeps only the current minute, which is still growing.
    fn forget_reported(&mut self) {
        while self.minutes.len() > 1 {
            self.minutes.pop_first();
        }
    }

    async fn prune_when_due(&mut self) {
        if self.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNE_INTERVAL) {
            return;
        }
        let now = clock::now();
        match self.store.prune_activity(now.minus(KEPT), now).await {
            Ok(()) => self.pruned = Some(Instant::now()),
            Err(error) => log_events::store_unavailable("pruning old figures", &error),
        }
    }
}
