//! The permits of one URL, as many as its endpoint takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use super::concurrency::{Answer, Concurrency};

/// The permits of one URL.
pub(super) struct Permits {
    semaphore: Semaphore,
    max: usize,
    /// True while there may be fewer than `max`, so that others need not take the lock.
    is_adaptive: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Permits that exist, taken or free; more than there are to be until enough were given back.
    opened: usize,
    /// `None`: all permits, whatever the endpoint does.
    concurrency: Option<Concurrency>,
}

/// A permit; given back when dropped.
pub(super) struct Taken(Arc<Permits>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.give_back();
    }
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

    fn new(max: usize, opened: usize, concurrency: Option<Concurrency>) -> Self {
        Self {
            semaphore: Semaphore::new(opened),
            max,
            is_adaptive: concurrency.is_some().into(),
            state: Mutex::new(State { opened, concurrency }),
        }
    }

    /// Takes a permit if one is free.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Taken> {
        self.semaphore.try_acquire().ok()?.forget();
        Some(Taken(Arc::clone(self)))
    }

    /// Takes a permit, in the order of those who wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the place among those who wait is given up.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Taken> {
        self.semaphore.acquire().await.ok()?.forget();
        Some(Taken(Arc::clone(self)))
    }

    /// Gives a permit back; it ends if there are more than there are to be.
    fn give_back(&self) {
        if self.is_whole() {
            return self.semaphore.add_permits(1);
        }
        let mut state = self.state.lock();
        if state.opened > self.limit(&state) {
            state.opened = state.opened.saturating_sub(1);
        } else {
            self.semaphore.add_permits(1);
        }
    }

    /// True if none is free.
    pub(super) fn are_taken(&self) -> bool {
        self.semaphore.available_permits() == 0
    }

    /// The number of permits taken.
    pub(super) fn taken(&self) -> usize {
        self.state.lock().opened.saturating_sub(self.semaphore.available_permits())
    }

    /// True if the endpoint takes whatever it gets, as far as known.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_adaptive.load(Relaxed)
    }

    /// Notes an attempt that took `took`; its permit is still taken. How much the endpoint takes is
    /// found out while the URL `is_slow`, and from there until it has all permits.
    pub(super) fn ended(&self, answer: Answer, took: Duration, is_slow: impl FnOnce() -> bool) {
        let is_full = self.are_taken();
        let (now, mut state) = (Instant::now(), self.state.lock());
        let is_slow = is_slow();
        if is_slow && state.concurrency.is_none() {
            state.concurrency = Some(Concurrency::descent(self.max, now));
            self.is_adaptive.store(true, Relaxed);
        }
        let Some(concurrency) = state.concurrency.as_mut() else { return };
        concurrency.ended(answer, took, is_full, now);
        let is_over = concurrency.is_at_max() && !is_slow;
        self.resize(&mut state);
        if is_over {
            state.concurrency = None;
            self.is_adaptive.store(false, Relaxed);
        }
    }

    /// The number of permits that there are to be.
    fn limit(&self, state: &State) -> usize {
        state.concurrency.as_ref().map_or(self.max, Concurrency::limit)
    }

    /// Opens what is missing; ends what is too much as far as it is free, and the rest when it is
    /// given back.
    fn resize(&self, state: &mut State) {
        let limit = self.limit(state);
        self.semaphore.add_permits(limit.saturating_sub(state.opened));
        let ended = self.semaphore.forget_permits(state.opened.saturating_sub(limit));
        state.opened = state.opened.max(limit).saturating_sub(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(permits: &Arc<Permits>) -> Vec<Taken> {
        std::iter::from_fn(|| permits.try_take()).collect()
    }

    /// Goal: fewer permits are in use soon after the limit falls, and never fewer than there are to
    /// be. Method: all are taken; the endpoint refuses, then accepts.
    #[tokio::test(start_paused = true)]
    async fn permits_above_the_limit_end_when_they_are_given_back() {
        let permits = Arc::new(Permits::all(8));
        let mut taken = take_all(&permits);
        assert_eq!(taken.len(), 8);
        permits.ended(Answer::Accepted, Duration::ZERO, || true);
        for _ in 0..4 {
            tokio::time::advance(Duration::from_millis(20)).await;
            permits.ended(Answer::Overloaded, Duration::from_millis(10), || true);
        }
        for left in (4..8).rev() {
            drop(taken.pop());
            assert_eq!(permits.taken(), left);
            assert!(permits.try_take().is_none());
        }
        drop(taken.pop());
        assert!(permits.try_take().is_some());
        drop(taken);
        assert_eq!(take_all(&permits).len(), 4);

        let ramp = Arc::new(Permits::ramp(8));
        let first = ramp.try_take();
        assert!(ramp.try_take().is_none());
        ramp.ended(Answer::Accepted, Duration::ZERO, || false);
        assert!(ramp.try_take().is_some());
        drop(first);
        assert_eq!(take_all(&ramp).len(), 2);
    }
}
