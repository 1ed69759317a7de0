//! Prefetch by size: the broker sends fewer messages ahead where they are large.
//!
//! RabbitMQ bounds what it sends ahead by number only. So the number follows the sizes: it starts
//! as if every message were as large as an event may be, grows when they turn out smaller, and
//! shrinks with the first large one.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time from a change to the next increase: each costs three round trips, and sizes
/// vary.
const RAISE_INTERVAL: Duration = Duration::from_secs(1);
/// The time from the start to the first increase: a process with much to do mostly begins with
/// small messages.
const FIRST_RAISE: Duration = Duration::from_millis(20);
/// With every message, the expected size shrinks by this part.
const DECAY: usize = 16;

/// The bounds on what a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages that the broker sends ahead.
    pub max_messages: u16,
    /// Bytes of their bodies, approximately, because sizes are only known afterwards.
    pub max_bytes: usize,
    /// The largest body that is expected, in bytes.
    pub largest: usize,
}

/// The present prefetch, and the sizes for which it was chosen.
#[derive(Debug)]
pub(super) struct Prefetch {
    bounds: Bounds,
    in_force: u16,
    /// The expected size of a body, in bytes.
    expected: usize,
    /// The earliest time of the next increase.
    raised_from: Instant,
}

impl Prefetch {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let raised_from = now + FIRST_RAISE;
        let mut prefetch = Self { bounds, in_force: 1, expected: bounds.largest, raised_from };
        prefetch.in_force = prefetch.fitting();
        prefetch
    }

    pub(super) fn in_force(&self) -> u16 {
        self.in_force
    }

    /// Records the size of a body.
    pub(super) fn observe(&mut self, bytes: usize) {
        self.expected = bytes.max(self.expected.saturating_sub(self.expected / DECAY));
    }

    /// Returns the prefetch that has to replace the present one, and that then counts as in force.
    /// Small changes are not worth it.
    pub(super) fn change(&mut self, now: Instant) -> Option<u16> {
        let fitting = self.fitting();
        let lower = fitting <= self.in_force / 2;
        let higher = self.in_force <= fitting / 2 && now >= self.raised_from;
        if !lower && !higher {
            return None;
        }
        (self.in_force, self.raised_from) = (fitting, now + RAISE_INTERVAL);
        Some(fitting)
    }

    fn fitting(&self) -> u16 {
        let fitting = self.bounds.max_bytes / self.expected.max(1);
        u16::try_from(fitting).unwrap_or(u16::MAX).clamp(1, self.bounds.max_messages.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1_048_576;
    const BOUNDS: Bounds = Bounds { max_messages: 512, max_bytes: 64 * MIB, largest: MIB };

    #[test]
    fn small_messages_soon_get_all_the_places() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(BOUNDS, start);
        assert_eq!(prefetch.in_force(), 64);
        (0..64).for_each(|_| prefetch.observe(1_000));
        assert_eq!(prefetch.change(start), None, "not at once");
        assert_eq!(prefetch.change(start + FIRST_RAISE), Some(512));
        assert_eq!(prefetch.change(start + FIRST_RAISE + RAISE_INTERVAL), None, "not twice");
    }

    #[test]
    fn the_first_large_message_lowers_it_at_once() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(BOUNDS, start);
        (0..64).for_each(|_| prefetch.observe(1_000));
        assert_eq!(prefetch.change(start + FIRST_RAISE), Some(512));
        prefetch.observe(4 * MIB);
        assert_eq!(prefetch.change(start + FIRST_RAISE), Some(16));
        (0..64).for_each(|_| prefetch.observe(1_000));
        assert_eq!(prefetch.change(start + 2 * FIRST_RAISE), None, "sizes vary");
        assert_eq!(prefetch.change(start + FIRST_RAISE + RAISE_INTERVAL), Some(512));
    }

    proptest! {
        /// Goal: where sizes do not change any more, what is sent ahead stays within twice the
        /// bound, and at least one message is sent.
        #[test]
        fn what_is_sent_ahead_is_bounded(sizes in prop::collection::vec(0_usize..8 * MIB, 0..50)) {
            let mut now = Instant::now();
            let mut prefetch = Prefetch::new(BOUNDS, now);
            for size in sizes {
                now += RAISE_INTERVAL;
                prefetch.observe(size);
                prefetch.change(now);
                let ahead = usize::from(prefetch.in_force());
                prop_assert!((1..=512).contains(&ahead));
                prop_assert!(ahead == 1 || ahead * size <= 2 * BOUNDS.max_bytes);
            }
        }
    }
}
