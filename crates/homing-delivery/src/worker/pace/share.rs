//! Shares: places that URLs hold together.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use homing_broker::consume::Lane;

/// Places of a lane that slow URLs hold together.
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
        held.places >= self.max_places.saturating_sub(self.max_places / 8)
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

/// Places that a URL holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) primary: usize,
    pub(super) retry: usize,
    pub(super) held: usize,
}

impl Places {
    pub(super) fn of(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Primary => &mut self.primary,
            Lane::Retry => &mut self.retry,
            Lane::Held(_) => &mut self.held,
        }
    }

    pub(super) fn in_lanes(self) -> usize {
        self.primary.saturating_add(self.retry)
    }

    pub(super) fn all(self) -> usize {
        self.in_lanes().saturating_add(self.held)
    }
}

/// The shares of a worker.
pub(in crate::worker) struct Shares {
    pub(super) primary: Share,
    pub(super) retry: Share,
    /// Places for what comes from held queues. Each queue is sent as many messages, so that taking
    /// turns is fair.
    pub(super) held: Arc<Semaphore>,
    /// The longest wait for a permit.
    pub(super) window: Duration,
    /// A URL that holds more places of lanes than this for longer than the window is slow, unless it
    /// is quick.
    pub(super) max_own: usize,
    /// Notified when a place or an answer may let others in.
    pub(super) changed: Notify,
}

impl Shares {
    /// The shares of two lanes of `lane` places: half of each, and as many as both have for held
    /// queues.
    pub(in crate::worker) fn new(lane: usize, window: Duration) -> Self {
        Self {
            primary: Share::new(lane.div_ceil(2)),
            retry: Share::new(lane.div_ceil(2)),
            held: Arc::new(Semaphore::new(lane.saturating_mul(2).min(Semaphore::MAX_PERMITS))),
            window,
            max_own: lane / 16,
            changed: Notify::new(),
        }
    }

    /// The share of a lane; `None`: held queues have places for all.
    pub(super) fn of(&self, lane: Lane) -> Option<&Share> {
        match lane {
            Lane::Primary => Some(&self.primary),
            Lane::Retry => Some(&self.retry),
            Lane::Held(_) => None,
        }
    }

    /// True if the slow URLs get their fair share of a lane only.
    pub(super) fn are_scarce(&self) -> bool {
        self.primary.is_scarce() || self.retry.is_scarce()
    }
}
