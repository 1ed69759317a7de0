//! How old the oldest delivery is that waits, as far as this process knows.
//!
//! What it has put into a wait queue stays there until it is due, whatever happens to others. So a
//! note of when that is, and of how old the oldest of those is that are due in the same minute, is
//! enough, and small: there are as many notes as the longest wait has minutes. After a restart
//! they begin anew, and fill up as deliveries come due.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use homing_domain::time::UnixMillis;

/// How exact a note is, and how late its delivery may be.
const NOTE_MS: i64 = 60_000;

/// By the minute in which they are due: when the oldest of them was received.
#[derive(Default)]
pub(super) struct OldestWaiting(Mutex<BTreeMap<i64, UnixMillis>>);

impl OldestWaiting {
    /// A delivery of what was received then waits until `due`.
    pub(super) fn waits(&self, received: UnixMillis, due: UnixMillis) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = notes.entry(due.get().div_euclid(NOTE_MS)).or_insert(received);
        *oldest = (*oldest).min(received);
    }

    /// The age of the oldest that is not due yet; zero: there is none.
    pub(super) fn age(&self, now: UnixMillis) -> Duration {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *notes = notes.split_off(&now.get().div_euclid(NOTE_MS));
        notes.values().min().map_or(Duration::ZERO, |oldest| now.since(*oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_as_old_as_its_oldest_until_that_is_due() {
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
