//! Shares: places that URLs hold together.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::lag::Lag;
use homing_broker::consume::Lane;

/// Places that URLs hold together: in a lane those of the slow ones, of what comes from held queues
/// all.
pub(super) struct Share {
    max_places: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    urls: usize,
    places: usize,
}

impl Share {
    fn new(max_places: usize) -> Self {
        Self { max_places, held: Mutex::default() }
    }

    /// True if a URL that holds `places` of the share may take another one.
    pub(super) fn admits(&self, places: usize) -> bool {
        let held = self.held.lock();
        let fair = (self.max_places / held.urls.max(1)).max(1);
        held.places < self.max_places && (!self.is_used(&held) || places < fair)
    }

    /// True if each URL has its fair share only.
    pub(super) fn is_scarce(&self) -> bool {
        self.is_used(&self.held.lock())
    }

    fn is_used(&self, held: &Held) -> bool {
        held.places >= self.max_places.saturating_sub((self.max_places / 8).max(1)).max(1)
    }

    /// Counts a URL with its places.
    pub(super) fn join(&self, places: usize) {
        let mut held = self.held.lock();
        held.urls = held.urls.saturating_add(1);
        held.places = held.places.saturating_add(places);
    }

    /// Counts a URL with its places no more.
    pub(super) fn part(&self, places: usize) {
        let mut held = self.held.lock();
        held.urls = held.urls.saturating_sub(1);
        held.places = held.places.saturating_sub(places);
    }

    /// Counts another place of a URL.
    pub(super) fn take(&self) {
        let mut held = self.held.lock();
        held.places = held.places.saturating_add(1);
    }

    /// Counts a place of a URL no more.
    pub(super) fn give_back(&self) {
        let mut held = self.held.lock();
        held.places = held.places.saturating_sub(1);
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let held = self.held.lock();
        (held.urls, held.places)
    }
}

/// Places of one share that a URL holds.
#[derive(Default)]
pub(super) struct Holding {
    pub(super) places: usize,
    is_counted: bool,
}

impl Holding {
    /// Counts the URL and its places in the share, or not any more; returns true if they are or were
    /// counted.
    pub(super) fn count(&mut self, is_counted: bool, share: &Share) -> bool {
        let was_counted = std::mem::replace(&mut self.is_counted, is_counted);
        match (was_counted, is_counted) {
            (false, true) => share.join(self.places),
            (true, false) => share.part(self.places),
            (true, true) | (false, false) => {}
        }
        was_counted || is_counted
    }

    /// Takes a place for a delivery.
    pub(super) fn take(&mut self, share: &Share) {
        self.places = self.places.saturating_add(1);
        if self.is_counted {
            share.take();
        }
    }

    /// Gives up a place of a delivery; returns true if that may let others in.
    pub(super) fn give_back(&mut self, share: &Share) -> bool {
        let was_counted = self.is_counted;
        self.places = self.places.saturating_sub(1);
        if was_counted {
            share.give_back();
        }
        if self.places == 0 {
            self.count(false, share);
        }
        was_counted
    }
}

/// The shares of a worker.
pub(in crate::worker) struct Shares {
    pub(super) primary: Share,
    pub(super) retry: Share,
    pub(super) held: Share,
    permit_wait: Duration,
    /// The window is longer by it.
    pub(in crate::worker) lag: Lag,
    /// A URL that holds more places of lanes than this for longer than the window is slow, unless it
    /// is quick.
    pub(super) max_own: usize,
    /// Notified when a place of a lane, or an answer, may let others in.
    pub(super) changed: Notify,
    /// Notified when a place of what comes from held queues may let others in.
    pub(super) held_changed: Notify,
}

impl Shares {
    /// The shares of two lanes of `lane` places: half of each, and as many as both have for held
    /// queues.
    pub(in crate::worker) fn new(lane: usize, permit_wait: Duration) -> Self {
        Self {
            primary: Share::new(lane.div_ceil(2)),
            retry: Share::new(lane.div_ceil(2)),
            held: Share::new(lane.saturating_mul(2)),
            permit_wait,
            lag: Lag::default(),
            max_own: (lane / 16).max(2),
            changed: Notify::new(),
            held_changed: Notify::new(),
        }
    }

    /// The longest wait for a permit; an endpoint whose requests take as long is slow.
    pub(in crate::worker) fn window(&self) -> Duration {
        self.permit_wait.saturating_add(self.lag.added())
    }

    /// Places of lanes that a URL may hold without becoming slow by them soon.
    pub(in crate::worker) fn free_of_concern(&self) -> usize {
        self.max_own / 2
    }

    pub(super) fn of(&self, lane: Lane) -> &Share {
        match lane {
            Lane::Primary => &self.primary,
            Lane::Retry => &self.retry,
            Lane::Held(_) => &self.held,
        }
    }

    /// True if the slow URLs get their fair share of a lane only.
    pub(super) fn are_scarce(&self) -> bool {
        self.primary.is_scarce() || self.retry.is_scarce()
    }
}
