//! The permits of one URL, as many as its endpoint takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::concurrency::{Answer, Concurrency};

/// The permits of one URL.
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    max: usize,
    /// Permits that there are to be.
    limit: AtomicUsize,
    /// Permits that exist, taken or free; more than `limit` until enough of them were given back.
    opened: AtomicUsize,
    /// True while `concurrency` is set, so that others need not take the lock.
    is_adaptive: AtomicBool,
    /// `None`: all permits, whatever the endpoint does.
    concurrency: Mutex<Option<Concurrency>>,
}

impl Permits {
    /// All permits.
    pub(super) fn all(max: usize) -> Self {
        Self::new(max, max, None)
    }

    /// One permit, and more as the endpoint takes them.
    pub(super) fn ramp(max: usize) -> Self {
        Self::new(max, 1, Some(Concurrency::ramp(max, Instant::now())))
    }

    fn new(max: usize, limit: usize, concurrency: Option<Concurrency>) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(limit)),
            max,
            limit: limit.into(),
            opened: limit.into(),
            is_adaptive: concurrency.is_some().into(),
            concurrency: Mutex::new(concurrency),
        }
    }

    /// Takes a permit if one is free.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.semaphore).try_acquire_owned().ok()
    }

    /// Takes a permit, in the order of those who wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the place among those who wait is given up.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.semaphore).acquire_owned().await.ok()
    }

    /// Gives a permit back; it ends if there are more than there are to be.
    pub(super) fn give_back(&self, permit: OwnedSemaphorePermit) {
        if self.close_one() {
            permit.forget();
        }
    }

    /// The number of permits taken.
    pub(super) fn taken(&self) -> usize {
        self.opened.load(Relaxed).saturating_sub(self.semaphore.available_permits())
    }

    /// True if the endpoint takes whatever it gets, as far as known.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_adaptive.load(Relaxed)
    }

    /// Begins to find out how much the endpoint takes, if that is not under way.
    pub(super) fn adapt(&self) {
        let mut concurrency = self.concurrency.lock();
        concurrency.get_or_insert_with(|| Concurrency::descent(self.max, Instant::now()));
        self.is_adaptive.store(true, Relaxed);
    }

    /// Notes an attempt that took `took`; its permit is still taken. Unless the URL `is_slow`, its
    /// endpoint is watched until it has all permits.
    pub(super) fn ended(&self, answer: Answer, took: Duration, is_slow: bool) {
        let is_full = self.semaphore.available_permits() == 0;
        let mut adaptive = self.concurrency.lock();
        let Some(concurrency) = adaptive.as_mut() else { return };
        concurrency.ended(answer, took, is_full, Instant::now());
        self.resize(concurrency.limit());
        if concurrency.is_at_max() && !is_slow {
            *adaptive = None;
            self.is_adaptive.store(false, Relaxed);
        }
    }

    fn resize(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
        let before = self.opened.fetch_max(limit, Relaxed);
        self.semaphore.add_permits(limit.saturating_sub(before));
        while self.close_one() {
            if self.semaphore.forget_permits(1) == 0 {
                // None is free: those that are given back end.
                self.opened.fetch_add(1, Relaxed);
                break;
            }
        }
    }

    /// Counts one permit less if there are more than there are to be; that one has to end.
    fn close_one(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        let fewer = |opened: usize| (opened > limit).then(|| opened.saturating_sub(1));
        self.opened.fetch_update(Relaxed, Relaxed, fewer).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: fewer permits are in use soon after the limit falls, and never fewer than there are to
    /// be. Method: all are taken; the endpoint refuses, then accepts.
    #[tokio::test(start_paused = true)]
    async fn permits_above_the_limit_end_when_they_are_given_back() {
        let permits = Permits::all(8);
        permits.adapt();
        let mut taken: Vec<_> = std::iter::from_fn(|| permits.try_take()).collect();
        assert_eq!(taken.len(), 8);
        tokio::time::advance(Duration::from_millis(20)).await;
        permits.ended(Answer::Overloaded, Duration::from_millis(10), true);
        for left in (4..8).rev() {
            permits.give_back(taken.pop().unwrap());
            assert_eq!(permits.taken(), left);
            assert!(permits.try_take().is_none());
        }
        permits.give_back(taken.pop().unwrap());
        assert!(permits.try_take().is_some());
        drop(taken);

        let ramp = Permits::ramp(8);
        let first = ramp.try_take().unwrap();
        assert!(ramp.try_take().is_none());
        ramp.ended(Answer::Accepted, Duration::ZERO, false);
        assert!(ramp.try_take().is_some());
        drop(first);
    }
}
