//! The turns of a replay: by its rate, behind live traffic, and as its endpoints take it.
//!
//! A step has few deliveries at first, and twice as many each time, up to its part of the rate, as
//! long as its endpoints take it at once; where they need longer than a second, the next one has
//! half as many. So a live event waits behind what its endpoint takes in about a second, and behind
//! the few deliveries that may wait for it, not behind the replay.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Fault, RENEW_INTERVAL, Running, Step, obstacle::Obstacle};

/// Steps in a second, where the rate asks for more than one delivery in each.
const STEPS_PER_SECOND: u32 = 4;
/// Deliveries of the first step.
const FIRST_STEP: u64 = 8;
/// The next step is larger if the endpoints had taken the last one within this time ...
const SOON: Duration = Duration::from_millis(500);
/// ... and smaller if they needed longer than this.
const LATE: Duration = Duration::from_secs(1);
/// Pause before the next look while endpoints take what they have ...
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// ... and while others are ahead.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);
/// A replay that has waited for so long lets other replays go first, and asks the broker anew for
/// what it had sent ahead: that ends a consumer that waits for half an hour.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// The number of deliveries in a step.
pub(super) struct StepSize {
    present: u64,
    most: u64,
}

impl StepSize {
    /// For a replay of so many deliveries a second.
    pub(super) fn new(rate: u32) -> Self {
        let most = u64::from((rate / STEPS_PER_SECOND).max(1));
        Self { present: most.min(FIRST_STEP), most }
    }

    pub(super) fn get(&self) -> u64 {
        self.present
    }

    /// Follows the time for which endpoints kept the step from being sent.
    fn waited(&mut self, waited: Duration) {
        if waited < SOON {
            self.present = self.present.saturating_mul(2).min(self.most);
        } else if waited > LATE {
            self.present = (self.present / 2).max(1);
        }
    }
}

impl Running<'_> {
    /// Waits until the rate allows the step, and until nothing keeps it from being sent.
    pub(super) async fn wait_for_turn(&mut self, step: &mut Step) -> Result<(), Fault> {
        while step.deliveries > 0 && Instant::now() < self.not_before {
            let pause = self.not_before.saturating_duration_since(Instant::now());
            self.pause(pause.min(RENEW_INTERVAL)).await?;
        }
        let (begun, mut waits_since) = (Instant::now(), None);
        while let Some(obstacle) = self.obstacle(step, begun.elapsed() >= LONGEST_TURN).await? {
            let why = obstacle.to_string();
            if begun.elapsed() >= LONGEST_TURN {
                return Err(Fault::Behind(why));
            }
            let pause = if matches!(obstacle, Obstacle::Endpoint(..)) {
                waits_since.get_or_insert_with(Instant::now);
                LOOK_INTERVAL
            } else {
                WAIT_INTERVAL
            };
            self.progress().note = Some(why);
            self.pause(pause).await?;
        }
        self.progress().note = None;
        if step.deliveries == 0 {
            return Ok(());
        }
        let waited = waits_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        self.step_size.waited(waited);
        // Until it is seen what becomes of those for slow endpoints.
        let is_slow = step.urls().iter().any(|url| self.context.slots.of(url).is_some());
        let settling = if is_slow { LOOK_INTERVAL } else { Duration::ZERO };
        self.not_before = Instant::now() + self.at_rate(step.deliveries).max(settling);
        Ok(())
    }

    /// The time that so many deliveries take at the rate of the replay.
    pub(super) fn at_rate(&self, deliveries: u64) -> Duration {
        Duration::from_secs(deliveries) / self.replay.selection.rate.get()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_grows_and_shrinks_with_what_its_endpoints_take() {
        let (soon, about, late) =
            (Duration::ZERO, Duration::from_millis(700), Duration::from_millis(1_001));
        let mut size = StepSize::new(500);
        let mut after = |waits: &[Duration]| {
            for wait in waits {
                size.waited(*wait);
            }
            size.get()
        };
        assert_eq!(after(&[]), 8);
        assert_eq!(after(&[soon, soon]), 32);
        assert_eq!(after(&[soon; 9]), 125);
        assert_eq!(after(&[about; 9]), 125);
        assert_eq!(after(&[late]), 62);
        assert_eq!(after(&[late; 9]), 1);
        assert_eq!(after(&[soon]), 2);
        assert_eq!(StepSize::new(3).get(), 1);
    }
}
