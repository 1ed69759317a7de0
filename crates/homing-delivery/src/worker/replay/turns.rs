//! The turns of a replay: by its rate, and behind live traffic.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Fault, RENEW_INTERVAL, Running, WAIT_INTERVAL};
use homing_broker::{consume::Lane, topology::ShardPart};

/// Messages that may wait for workers while a step begins.
const MAX_WAITING: u64 = 1_000;

impl Running<'_> {
    /// Waits until the rate allows a step with so many deliveries, and until few messages wait for
    /// workers.
    pub(super) async fn wait_for_turn(&mut self, deliveries: u64) -> Result<(), Fault> {
        if deliveries == 0 {
            return Ok(());
        }
        while Instant::now() < self.not_before {
            let pause = self.not_before.saturating_duration_since(Instant::now());
            self.pause(pause.min(RENEW_INTERVAL)).await?;
        }
        loop {
            let waiting = self.waiting().await?;
            if waiting <= MAX_WAITING {
                break;
            }
            self.progress().note =
                Some(format!("waits for {waiting} messages that are ahead of it"));
            self.pause(WAIT_INTERVAL).await?;
        }
        self.progress().note = None;
        let seconds = Duration::from_secs(deliveries) / self.replay.selection.rate.get();
        self.not_before = Instant::now() + seconds;
        Ok(())
    }

    /// Waits, and keeps the claim.
    async fn pause(&mut self, pause: Duration) -> Result<(), Fault> {
        let slept = self.stop.run_until_cancelled(sleep(pause)).await;
        slept.ok_or(Fault::Stopping)?;
        if Instant::now() < self.renew_at { Ok(()) } else { self.write().await }
    }

    pub(super) fn check_stop(&self) -> Result<(), Fault> {
        if self.stop.is_cancelled() { Err(Fault::Stopping) } else { Ok(()) }
    }

    /// Messages that wait in the queues of new events and of due deliveries.
    async fn waiting(&self) -> Result<u64, Fault> {
        let mut waiting = 0_u64;
        for lane in [Lane::Primary, Lane::Retry] {
            for queue in self.context.broker.topology().lane_queues(lane, ShardPart::ALL) {
                let depth = self.context.broker.depth(&queue).await?;
                let messages = depth.map_or(0, |depth| u64::from(depth.messages));
                waiting = waiting.saturating_add(messages);
            }
        }
        Ok(waiting)
    }
}
