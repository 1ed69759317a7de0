//! Prefetch by size: the broker sends fewer messages ahead where they are large.
//!
//! RabbitMQ bounds what it sends ahead by number only. So the number follows the sizes: it starts
//! as if every message were as large as an event may be, grows when enough of them turned out
//! smaller, and shrinks with the first large one. Where that start is a few messages, as in a held
//! queue, it grows with each round of them, so that an endpoint is not idle meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time from a decrease to the next increase: each costs three round trips, and sizes
/// vary.
const RAISE_INTERVAL: Duration = Duration::from_secs(1);
/// With every message, the expected size shrinks by this part; by half at most where fewer are sent
/// ahead than this.
const DECAY: usize = 16;
/// After so many messages, a larger one before them hardly counts: 1.6 % of its size. Before that,
/// an increase would be one of many.
const SETTLED: usize = 4 * DECAY;

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
    /// Messages since the last change.
    seen: usize,
    /// The earliest time of the next increase.
    raised_from: Instant,
}

impl Prefetch {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let (expected, seen, raised_from) = (bounds.largest, 0, now);
        let mut prefetch = Self { bounds, in_force: 1, expected, seen, raised_from };
        prefetch.in_force = prefetch.fitting();
        prefetch
    }

    pub(super) fn in_force(&self) -> u16 {
        self.in_force
    }

    /// Records the size of a body.
    pub(super) fn observe(&mut self, bytes: usize) {
        let decay = DECAY.min(self.in_force.into()).max(2);
        self.expected = bytes.max(self.expected.saturating_sub(self.expected / decay));
        self.seen = self.seen.saturating_add(1);
    }

    /// Returns the prefetch that has to replace the present one, and that then counts as in force.
    /// Small changes are not worth it, but for the last one.
    pub(super) fn change(&mut self, now: Instant) -> Option<u16> {
        let fitting = self.fitting();
        let lower = fitting <= self.in_force / 2;
        // All that was sent ahead may be in flight to slow endpoints: then no more is seen.
        let is_settled = self.seen >= SETTLED.min(self.in_force.into());
        let may_rise = is_settled && now >= self.raised_from;
        let is_last = fitting == self.bounds.max_messages && fitting > self.in_force;
        let higher = may_rise && (self.in_force <= fitting / 2 || is_last);
        if !lower && !higher {
            return None;
        }
        if lower {
            self.raised_from = now + RAISE_INTERVAL;
        }
        (self.in_force, self.seen) = (fitting, 0);
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

    fn observe(prefetch: &mut Prefetch, messages: usize, bytes: usize) {
        (0..messages).for_each(|_| prefetch.observe(bytes));
    }

    #[test]
    fn small_messages_soon_get_all_the_places_in_one_step() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(BOUNDS, start);
        assert_eq!(prefetch.in_force(), 64);
        observe(&mut prefetch, SETTLED - 1, 1_000);
        assert_eq!(prefetch.change(start + RAISE_INTERVAL), None, "not by halves");
        observe(&mut prefetch, 1, 1_000);
        assert_eq!(prefetch.change(start), Some(512));
        observe(&mut prefetch, SETTLED, 1_000);
        assert_eq!(prefetch.change(start + RAISE_INTERVAL), None, "not twice");
    }

    #[test]
    fn all_that_was_sent_ahead_may_be_in_flight() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(Bounds { largest: 2 * MIB, ..BOUNDS }, start);
        assert_eq!(prefetch.in_force(), 32);
        observe(&mut prefetch, 32, 1_000);
        assert_eq!(prefetch.change(start), Some(252));
    }

    #[test]
    fn a_few_at_first_become_more_with_every_round_of_them() {
        let start = Instant::now();
        let mut prefetch =
            Prefetch::new(Bounds { max_messages: 128, max_bytes: 2 * MIB, ..BOUNDS }, start);
        let mut steps = vec![prefetch.in_force()];
        while let Some(&last @ ..128) = steps.last() {
            observe(&mut prefetch, last.into(), 1_000);
            steps.push(prefetch.change(start).expect("it rises"));
        }
        assert_eq!(steps, [2, 8, 23, 102, 128]);
    }

    #[test]
    fn the_first_large_message_lowers_it_at_once() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(BOUNDS, start);
        observe(&mut prefetch, SETTLED, 1_000);
        assert_eq!(prefetch.change(start), Some(512));
        prefetch.observe(4 * MIB);
        assert_eq!(prefetch.change(start), Some(16));
        observe(&mut prefetch, SETTLED, 1_000);
        assert_eq!(prefetch.change(start), None, "sizes vary");
        assert_eq!(prefetch.change(start + RAISE_INTERVAL), Some(512));
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
