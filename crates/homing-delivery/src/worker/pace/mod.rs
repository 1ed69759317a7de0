//! The pace of endpoints: which of them are quick, and which take less than what comes for them.
//!
//! A delivery holds a place of its lane while it waits for a permit and while its request is under
//! way. In each lane, the places of all URLs that are not known to be quick are counted together:
//! beyond half of the lane, further deliveries to slow URLs are not admitted, however many slow URLs
//! there are. When an eighth of that half is left, each gets its fair share only, so that a few do
//! not keep all of it from the others. What comes from held queues has places of its own, shared in
//! the same way.
//!
//! A URL whose speed is not known yet may always try one delivery; more of them wait for its
//! answer, for as long as a delivery may wait for a permit.
//!
//! A URL *is slow* ([`Pace::is_slow`]) when it holds more than 1/16 of a lane for longer than the
//! permit wait without being quick, or again and again has no place or permit for a delivery, or
//! answers 429. It is slow no more when no delivery has waited in its held queue for longer than it
//! may in a lane, for a while. Deliveries to it leave the lanes for its held queue. So do those with
//! limits of their own ([`Pace::is_limited`]) while more of them come than these allow; others to the
//! same URL are not concerned.
//!
//! All times grow where this process gets its turns late ([`lag`]).

mod lag;
mod share;
mod state;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use homing_broker::consume::Lane;

pub(super) use share::Shares;
pub(super) use state::Obstacle;
use state::{Speed, State};

/// The recent pace of one URL.
pub(super) struct Pace {
    shares: Arc<Shares>,
    is_slow: AtomicBool,
    /// As `is_slow`, for what has limits of its own.
    is_limited: AtomicBool,
    /// True if one of them became true and that was not noticed yet.
    is_news: AtomicBool,
    state: Mutex<State>,
}

impl Pace {
    pub(super) fn new(shares: Arc<Shares>) -> Self {
        let state = Mutex::new(State::new(Instant::now()));
        let [is_slow, is_limited, is_news] = [false; 3].map(AtomicBool::new);
        Self { shares, is_slow, is_limited, is_news, state }
    }

    /// Takes a place of a lane for a delivery; `None`: the share is used up, and the URL is slow,
    /// or has not shown in time that it is not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn enter(self: &Arc<Self>, lane: Lane) -> Option<LanePlace> {
        let deadline = Instant::now() + self.shares.window();
        loop {
            let changed = self.shares.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.try_enter(lane) {
                Ok(place) => return Some(place),
                Err(Speed::Slow) => return None,
                Err(Speed::Quick | Speed::Unknown) => timeout_at(deadline, changed).await.ok()?,
            }
        }
    }

    fn try_enter(self: &Arc<Self>, lane: Lane) -> Result<LanePlace, Speed> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.is_idle() {
            state.moved = now;
        }
        let speed = state.speed(now, self.shares.window());
        let is_trial = speed == Speed::Unknown && state.is_idle();
        let (holding, share) = (state.places(lane), self.shares.of(lane));
        holding.count(speed != Speed::Quick, share);
        if speed != Speed::Quick && !is_trial && !share.admits(holding.places) {
            // It stays counted, so that the others leave it its part.
            return Err(speed);
        }
        holding.take(share);
        if let Some(obstacle) = state.crowds(speed, now, &self.shares) {
            self.slows(&mut state, obstacle, now);
        }
        Ok(LanePlace { pace: Arc::clone(self), lane })
    }

    /// Takes a place of its own for a delivery from the held queue of `slot`, as soon as there is
    /// one; one delivery of each URL always has one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn enter_in_turn(self: &Arc<Self>, slot: u16) -> LanePlace {
        let lane = Lane::Held(slot);
        loop {
            let changed = self.shares.held_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(place) = self.try_enter_in_turn(lane) {
                return place;
            }
            changed.await;
        }
    }

    fn try_enter_in_turn(self: &Arc<Self>, lane: Lane) -> Option<LanePlace> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (is_idle, share) = (state.is_idle(), self.shares.of(lane));
        let holding = state.places(lane);
        if holding.places > 0 && !share.admits(holding.places) {
            return None;
        }
        holding.count(true, share);
        holding.take(share);
        if is_idle {
            state.moved = now;
        }
        Some(LanePlace { pace: Arc::clone(self), lane })
    }

    fn leave(&self, lane: Lane) {
        if !self.state.lock().places(lane).give_back(self.shares.of(lane)) {
            return;
        }
        match lane {
            Lane::Primary | Lane::Retry => self.shares.changed.notify_waiters(),
            Lane::Held(_) => self.shares.held_changed.notify_waiters(),
        }
    }

    /// Notes that a permit wait timed out.
    pub(super) fn fell_behind(&self) {
        self.state.lock().fell_behind(Instant::now());
    }

    /// Notes that a delivery was not admitted because of `obstacle`, here or by its endpoint.
    pub(super) fn not_admitted(&self, obstacle: Obstacle) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.backlog(obstacle).not_admitted(now) {
            self.slows(&mut state, obstacle, now);
        }
    }

    /// Notes that a delivery from its held queue has waited for longer than it may in a lane, and
    /// that it waits no more when the guard is dropped.
    pub(super) fn late(&self, obstacle: Obstacle) -> Late<'_> {
        let mut state = self.state.lock();
        let backlog = state.backlog(obstacle);
        backlog.late = backlog.late.saturating_add(1);
        Late(self, obstacle)
    }

    /// Notes that a delivery in a lane waits for a limit of its own, and that it waits no more when the
    /// guard is dropped.
    pub(super) fn limited(&self) -> Limited<'_> {
        let mut state = self.state.lock();
        state.limited = state.limited.saturating_add(1);
        Limited(self)
    }

    fn slows(&self, state: &mut State, obstacle: Obstacle, now: Instant) {
        state.backlog(obstacle).crowded = now;
        let is_slow = match obstacle {
            Obstacle::Endpoint => &self.is_slow,
            Obstacle::OwnLimit => &self.is_limited,
        };
        if !is_slow.swap(true, Relaxed) {
            self.is_news.store(true, Relaxed);
        }
    }

    /// True once after the URL became slow.
    pub(super) fn has_slowed(&self) -> bool {
        self.is_news.swap(false, Relaxed)
    }

    /// True if the URL takes less than what comes for it, or needs much of a lane for it.
    pub(super) fn is_slow(&self) -> bool {
        if !self.is_slow.load(Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let is_over = state.is_over(now, &self.shares);
        if is_over {
            state.endpoint.end(now);
            self.is_slow.store(false, Relaxed);
        }
        !is_over
    }

    /// True if more comes with limits of its own than these allow.
    pub(super) fn is_limited(&self) -> bool {
        if !self.is_limited.load(Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let is_over = state.rate.is_calm(false, now);
        if is_over {
            state.rate.end(now);
            self.is_limited.store(false, Relaxed);
        }
        !is_over
    }

    /// The time since an attempt ended, or since it took its first place.
    pub(super) fn idle_for(&self) -> Duration {
        self.state.lock().moved.elapsed()
    }

    /// Notes an attempt that ended, `duration` after it got its permit.
    pub(super) fn ended(&self, duration: Duration) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.ended(duration, now, self.shares.window());
        let is_quick = state.speed(now, self.shares.window()) == Speed::Quick;
        let is_counted = state.count(is_quick, &self.shares);
        drop(state);
        // Only what is not known to be quick has anything wait for it.
        if is_counted {
            self.shares.changed.notify_waiters();
        }
    }

    /// The number of deliveries that may wait for a permit: while it is behind, as many as it has
    /// recently ended in that time, and at least `at_least`.
    pub(super) fn max_waiting(&self, at_least: usize) -> usize {
        self.state.lock().max_waiting(at_least, Instant::now(), self.shares.window())
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.state.get_mut().count(true, &self.shares);
    }
}

/// A delivery from a held queue that waits for longer than it may in a lane, until dropped.
pub(super) struct Late<'a>(&'a Pace, Obstacle);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        let Self(pace, obstacle) = *self;
        let mut state = pace.state.lock();
        let backlog = state.backlog(obstacle);
        (backlog.late, backlog.crowded) = (backlog.late.saturating_sub(1), Instant::now());
    }
}

/// A delivery in a lane that waits for a limit of its own, until dropped.
pub(super) struct Limited<'a>(&'a Pace);

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.limited = state.limited.saturating_sub(1);
    }
}

/// A place of a lane, or of what comes from held queues, held by a delivery; given up when dropped.
pub(super) struct LanePlace {
    pace: Arc<Pace>,
    lane: Lane,
}

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.pace.leave(self.lane);
    }
}
