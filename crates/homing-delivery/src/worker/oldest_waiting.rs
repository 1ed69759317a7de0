//! The age of the oldest waiting delivery, as far as this process knows.
//!
//! A delivery stays in its wait queue until it is due, whatever happens to others. So one note per
//! minute of due time is enough: the age of the oldest delivery due in that minute. There are as
//! many notes as the longest wait has minutes. After a restart they start empty, and fill up as
//! deliveries come due.

use std::{collections::BTreeMap, time::Duration};

use homing_domain::time::UnixMillis;
use parking_lot::Mutex;

/// Precision of a note, and how late its delivery may be.
const NOTE_MS: i64 = 60_000;

/// By due minute: the time when the oldest of its deliveries was received.
#[derive(Default)]
pub(super) struct OldestWaiting(Mutex<BTreeMap<i64, UnixMillis>>);

impl OldestWaiting {
    /// Notes a delivery that was received at `received` and waits until `due`.
    pub(super) fn waits(&self, received: UnixMillis, due: UnixMillis) {
        let mut notes = self.0.lock();
        let oldest = notes.entry(due.get().div_euclid(NOTE_MS)).or_insert(received);
        *oldest = (*oldest).min(received);
    }

    /// The age of the oldest delivery that is not due yet; zero: there is none.
    pub(super) fn age(&self, now: UnixMillis) -> Duration {
        let mut notes = self.0.lock();
        *notes = notes.split_off(&now.get().div_euclid(NOTE_MS));
        notes.values().min().map_or(Duration::ZERO, |oldest| now.since(*oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_until_it_is_due() {
        let oldest = OldestWaiting::default();
        let at = |minutes: i64| UnixMillis::new(minutes * NOTE_MS);
        let age = |minutes| oldest.age(at(minutes)).as_secs() / 60;
        assert_eq!(age(5), 0);
        oldest.waits(at(4), at(20));
        oldest.waits(at(1), at(10));
        oldest.waits(at(3), at(10));
        assert_eq!(age(5), 4);
        assert_eq!(age(10), 9);
        assert_eq!(age(11), 7);
        assert_eq!(age(21), 0);
    }
}
