//! Pauses between tries that go on for ever.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from the first to the longest, each with up to as much jitter.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    pauses: ExponentialBackoff,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(max)
            .without_max_times()
            .with_jitter()
            .build();
        Self { first, max, pauses }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.max)
    }

    /// Begins again, because a try succeeded.
    pub fn reset(&mut self) {
        *self = Self::new(self.first, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_never_end_and_begin_again() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, max);
        for expected in [1, 2, 4, 8, 16, 20, 20, 20].map(|tenths| first * tenths) {
            let pause = backoff.pause();
            assert!(pause >= expected && pause <= expected * 2, "{pause:?} for {expected:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first * 2);
    }
}
