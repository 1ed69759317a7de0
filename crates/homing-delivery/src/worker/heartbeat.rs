//! Tells the store every few seconds what this worker does, in one small transaction beside the
//! deliveries. What the store does not take is told the next time.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Context;
use homing_domain::{
    activity::{Figures, KEPT, Minute, Requests, TOLD_EVERY, WorkerReport, minute_of},
    clock,
    time::UnixMillis,
};
use homing_store::Store;
use homing_telemetry::{events, host_name};

/// How often figures are looked through for what is too old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// Minutes that wait for a store that is away; older ones are forgotten.
const MAX_MINUTES: usize = 120;
/// How long the last report may take.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// What the store is told of one worker.
pub(super) struct Heartbeat {
    store: Arc<dyn Store>,
    report: WorkerReport,
    /// What was counted until the last look.
    counted: Figures,
    /// The present minute, and those of which the store may not know all.
    minutes: BTreeMap<UnixMillis, Figures>,
    pruned: Option<Instant>,
}

impl Heartbeat {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let now = clock::now();
        let report = WorkerReport {
            id: clock::new_id(),
            host: host_name(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: now,
            seen_ms: now,
            in_flight: 0,
        };
        let (counted, minutes) = (Figures::default(), BTreeMap::new());
        Self { store, report, counted, minutes, pruned: None }
    }

    /// Tells until `over`, then once more, and takes the worker off the list.
    pub(super) async fn tell(mut self, context: Arc<Context>, over: CancellationToken) {
        over.run_until_cancelled(async {
            loop {
                self.tell_now(&context).await;
                self.tell_costly(&context).await;
                self.prune_when_due().await;
                sleep(TOLD_EVERY).await;
            }
        })
        .await;
        let end = async {
            self.tell_now(&context).await;
            self.tell_costly(&context).await;
            self.store.remove_worker(self.report.id).await
        };
        if let Ok(Err(error)) = timeout(END_DEADLINE, end).await {
            events::store_unavailable("taking this worker off the list", &error);
        }
    }

    async fn tell_now(&mut self, context: &Context) {
        self.look(context, clock::now());
        let minutes: Vec<_> = self
            .minutes
            .iter()
            .map(|(start_ms, figures)| Minute { start_ms: *start_ms, figures: *figures })
            .collect();
        let requests = Requests::most_of(context.limits.in_flight());
        let dues = context.observers.counters.take_dues();
        match self.store.report_activity(&self.report, &requests, &minutes, &dues).await {
            Ok(()) => self.forget_told(),
            Err(error) => {
                context.observers.counters.put_back(dues);
                events::store_unavailable("telling what this worker does", &error);
            }
        }
    }

    /// Tells of filters that cost too much, which is rare.
    async fn tell_costly(&self, context: &Context) {
        let costly = context.matching.take_costly();
        if costly.is_empty() {
            return;
        }
        if let Err(error) = self.store.report_costly(&costly).await {
            context.matching.note_costly(costly);
            events::store_unavailable("noting filters that cost too much", &error);
        }
    }

    /// Adds what was counted since the last look to the present minute.
    fn look(&mut self, context: &Context, now: UnixMillis) {
        let counted = context.observers.counters.figures();
        let minute = self.minutes.entry(minute_of(now)).or_default();
        *minute += counted.since(&self.counted);
        self.counted = counted;
        self.report.seen_ms = now;
        self.report.in_flight = context.observers.counters.busy_with();
        while self.minutes.len() > MAX_MINUTES {
            self.minutes.pop_first();
        }
    }

    /// The present minute goes on.
    fn forget_told(&mut self) {
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
            Err(error) => events::store_unavailable("forgetting old figures", &error),
        }
    }
}
