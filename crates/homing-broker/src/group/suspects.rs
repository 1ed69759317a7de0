//! Messages that the broker will probably refuse again. One that ends its channel has the rest of
//! its group sent twice, so they go without others.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Publish, words::Reach};
use crate::error::BrokerError;

/// Denials that are remembered; beyond that the oldest are forgotten.
const MAX_DENIED: usize = 64;
/// A denial is remembered for this long: what is denied is published again within seconds.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Sizes and addresses that the broker has refused.
pub(crate) struct Suspects {
    /// The size of the smallest message that was too large for the broker.
    too_large: AtomicUsize,
    /// Where this account may not publish, and when that was last said.
    denied: Mutex<VecDeque<(Reach, Instant)>>,
    /// True if there may be any, so that ordinary messages need no lock.
    any_denied: AtomicBool,
}

impl Default for Suspects {
    fn default() -> Self {
        let too_large = AtomicUsize::new(usize::MAX);
        Self { too_large, denied: Mutex::default(), any_denied: AtomicBool::default() }
    }
}

impl Suspects {
    /// Notes that the broker refused a message.
    pub(crate) fn note(&self, publish: &Publish, error: &BrokerError) {
        if error.is_final() {
            self.too_large.fetch_min(publish.body.len(), Ordering::Relaxed);
        } else if error.is_denied() {
            let noted = Reach::of(error, &publish.address);
            let mut denied = self.denied.lock();
            denied.retain(|(reach, _)| *reach != noted);
            denied.push_back((noted, Instant::now()));
            if denied.len() > MAX_DENIED {
                denied.pop_front();
            }
            self.any_denied.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that the broker took a message of this size.
    pub(crate) fn took(&self, bytes: usize) {
        if bytes >= self.too_large.load(Ordering::Relaxed) {
            self.too_large.store(usize::MAX, Ordering::Relaxed);
        }
    }

    /// Returns true if the broker has refused a message of this size.
    pub(super) fn is_too_large(&self, publish: &Publish) -> bool {
        publish.body.len() >= self.too_large.load(Ordering::Relaxed)
    }

    /// Where the broker will probably deny a publish.
    pub(super) fn denied(&self) -> Vec<Reach> {
        if !self.any_denied.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut denied = self.denied.lock();
        denied.retain(|(_, at)| at.elapsed() < REMEMBERED);
        self.any_denied.store(!denied.is_empty(), Ordering::Relaxed);
        denied.iter().map(|(reach, _)| reach.clone()).collect()
    }
}
