//! The lag of this process: it gets its turns late where the machine has too little CPU.
//!
//! An attempt takes several turns, so a quick endpoint seems to be slow then. Every measure of what
//! is slow grows with the lag.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The time from one look to the next.
const TICK: Duration = Duration::from_millis(25);
/// The weight of all earlier looks against the latest.
const EARLIER: u32 = 3;
/// Turns of an attempt, at both ends of the connection.
const TURNS: u32 = 16;
/// The most that is added: an endpoint that hangs is found on any machine.
const MAX_ADDED: Duration = Duration::from_secs(2);

/// The lag, as an average over the last looks.
#[derive(Default)]
pub(in crate::worker) struct Lag {
    micros: AtomicU64,
}

impl Lag {
    /// Looks again and again.
    pub(in crate::worker) async fn measure(&self) -> Infallible {
        loop {
            let due = Instant::now() + TICK;
            sleep_until(due).await;
            self.note(due.elapsed());
        }
    }

    pub(super) fn note(&self, late: Duration) {
        let earlier = Duration::from_micros(self.micros.load(Relaxed));
        let average = (earlier.saturating_mul(EARLIER).saturating_add(late)) / (EARLIER + 1);
        self.micros.store(u64::try_from(average.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time by which an attempt is longer for it.
    pub(super) fn added(&self) -> Duration {
        let lag = Duration::from_micros(self.micros.load(Relaxed));
        lag.saturating_mul(TURNS).min(MAX_ADDED)
    }
}
