//! A worker as `homing run --role worker` starts it, with measured attempts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{load::due, process::Orders};
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        globals::Globals,
    },
    config::Settings,
    process,
    services::Services,
};
use homing_delivery::{
    endpoint::Endpoints,
    worker::{Handler, HandlerError, JobOutcome, Webhooks},
};
use homing_domain::{clock, delivery::Delivery, subscription::Subscription, time::UnixMillis};
use parking_lot::Mutex;

/// The work of one worker, without the warm-up. Sums of microseconds, so that they can be added.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) deliveries: u64,
    /// From the publish to the receipt by the worker, which is known to the millisecond.
    pub(super) to_worker_us: i64,
    /// From there to the beginning of the request.
    pub(super) before_us: i64,
    /// From there to the end of the answer.
    pub(super) answer_us: i64,
    /// Attempts without an answer: timed out or unreachable.
    pub(super) unanswered: u64,
}

impl Report {
    pub(super) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.to_worker_us += other.to_worker_us;
        self.before_us += other.before_us;
        self.answer_us += other.answer_us;
        self.unanswered += other.unanswered;
    }
}

/// Webhooks, and the times at which they are called.
struct Watched {
    webhooks: Webhooks,
    report: Mutex<Report>,
}

#[async_trait]
impl Handler for Watched {
    async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<JobOutcome, HandlerError> {
        /// Half of what is cut off from an instant in milliseconds.
        const HALF_MS_US: i64 = 500;
        let begun = clock::micros();
        let attempted = self.webhooks.attempt(delivery, subscription, now).await;
        let ended = clock::micros();
        if let Some(due) = due(&delivery.event.body) {
            let received = delivery.progress.received.unwrap_or(now).get();
            let received = received.saturating_mul(1_000).saturating_add(HALF_MS_US);
            let is_answered = match &attempted {
                Ok(JobOutcome::Attempted(result)) => result.outcome.status().is_some(),
                Ok(_) | Err(_) => false,
            };
            self.report.lock().add(&Report {
                deliveries: 1,
                to_worker_us: received.saturating_sub(due),
                before_us: begun.saturating_sub(received),
                answer_us: ended.saturating_sub(begun),
                unanswered: u64::from(!is_answered),
            });
        }
        attempted
    }
}

/// Delivers until the order to stop.
pub(super) async fn run(globals: &Globals, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut orders = Orders::new();
    let settings: Settings = orders.job().await?;
    globals.log(&settings, "homing=warn")?;
    let endpoints = Endpoints::new(&settings.endpoint).map_err(Failure::Endpoints)?;
    let parts = Services::open(settings).await.map_err(Failure::Start)?;
    parts.broker.connect().await.map_err(Failure::Broker)?;
    let webhooks = Webhooks(endpoints);
    let watched = Arc::new(Watched { webhooks, report: Mutex::default() });
    let handler = Arc::<Watched>::clone(&watched);
    let pool = process::pool(&parts, None, handler).map_err(Failure::Start)?;
    let stop = CancellationToken::new();
    let stopping = async {
        let polite = orders.stop().await;
        stop.cancel();
        // After the end of the bench there is no one to report to.
        let grace = if polite { Duration::MAX } else { Duration::ZERO };
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = pool.run(stop.clone()) => {}
        () = stopping => return Ok(Exit::Failed),
    }
    parts.close().await;
    let report = *watched.report.lock();
    output.line_of_json(&report)?;
    Ok(Exit::Done)
}
