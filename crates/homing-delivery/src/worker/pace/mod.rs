//! The pace of endpoints: which of them are quick, and which take less than what comes for them.
//!
//! A delivery holds a place of its lane while it waits for a permit and while its request is under
//! way. In each lane, the places of all URLs that are not known to be quick are counted together:
//! beyond half of the lane, further deliveries to slow URLs are not admitted, however many slow URLs
//! there are. When an eighth of that half is left, each gets its fair share only, so that a few do
//! not keep all of it from the others. What comes from held queues has places of its own, taken in
//! turns.
//!
//! A URL whose speed is not known yet may always try one delivery; more of them wait for its
//! answer, for as long as a delivery may wait for a permit.
//!
//! A URL *is slow* ([`Pace::is_slow`]) when it holds more than 1/16 of a lane for longer than the
//! permit wait without being quick, or again and again has no place or permit for a delivery, or
//! answers 429; until it has taken all that came for it at once, for a while. Deliveries to it leave
//! the lanes for its held queue.

mod share;
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
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use homing_broker::consume::Lane;

use share::Places;
pub(super) use share::Shares;

/// A URL whose permit wait timed out is behind for this long. While it is not, it may hold up
/// others once, for `endpoint.permit_wait`: too rare to affect their 99th percentile.
const BEHIND: Duration = Duration::from_secs(60);

/// A URL that holds places and has ended no attempt for this long is slow.
const HUNG: Duration = Duration::from_secs(1);

/// The weight of all earlier requests against the latest in the average duration.
const EARLIER: u32 = 7;

/// A URL that did not admit so many deliveries ...
const MAX_NOT_ADMITTED: u32 = 3;
/// ... within this time is slow.
const NOT_ADMITTED_WITHIN: Duration = Duration::from_secs(10);

/// A slow URL that took everything at once for this long is slow no more.
const CALM: Duration = Duration::from_secs(10);

/// The speed of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speed {
    Quick,
    /// It has not ended an attempt yet, or not for longer than it usually takes.
    Unknown,
    /// Its requests take as long as a delivery may wait for a permit.
    Slow,
}

/// The recent pace of one URL.
pub(super) struct Pace {
    shares: Arc<Shares>,
    is_slow: AtomicBool,
    /// True if it became slow and that was not noticed yet.
    is_news: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// A permit wait timed out less than [`BEHIND`] before.
    behind_until: Option<Instant>,
    /// Start of the current window; it lasts as long as a delivery may wait.
    since: Instant,
    /// Attempts that ended in the previous window, and in this one.
    ended: [usize; 2],
    /// The average duration of a request; `None`: none has ended yet.
    average: Option<Duration>,
    /// The end of the latest attempt, or the time when it took its first place.
    moved: Instant,
    places: Places,
    /// True if its places of lanes are counted in the shares.
    is_counted: bool,
    /// Since when it holds more of the lanes than it may without being quick.
    crowding_since: Option<Instant>,
    /// Deliveries that were not admitted, and since when they are counted.
    not_admitted: (u32, Instant),
    /// The last time when it did not take at once what came for it.
    crowded: Instant,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            behind_until: None,
            since: now,
            ended: [0; 2],
            average: None,
            moved: now,
            places: Places::default(),
            is_counted: false,
            crowding_since: None,
            not_admitted: (0, now),
            crowded: now,
        }
    }

    fn move_on(&mut self, now: Instant, window: Duration) {
        let [_, present] = self.ended;
        let age = now.duration_since(self.since);
        if age >= window.saturating_mul(2) {
            (self.since, self.ended) = (now, [0; 2]);
        } else if age >= window {
            (self.since, self.ended) = (self.since + window, [present, 0]);
        }
    }

    fn speed(&self, now: Instant, window: Duration) -> Speed {
        let since_answer = now.duration_since(self.moved);
        if since_answer >= HUNG || self.average.is_some_and(|average| average >= window) {
            return Speed::Slow;
        }
        let usual = |average: Duration| average.saturating_mul(4).max(window / 4);
        match self.average {
            Some(average) if since_answer <= usual(average) => Speed::Quick,
            Some(_) | None => Speed::Unknown,
        }
    }

    /// Counts its places of lanes in the shares, or not any more.
    fn count(&mut self, is_counted: bool, shares: &Shares) {
        if self.is_counted == is_counted {
            return;
        }
        self.is_counted = is_counted;
        for (share, places) in
            [(&shares.primary, self.places.primary), (&shares.retry, self.places.retry)]
        {
            if is_counted { share.join(places) } else { share.part(places) }
        }
    }

    /// Takes a place for a delivery.
    fn take(&mut self, lane: Lane, shares: &Shares) {
        let places = self.places.of(lane);
        *places = places.saturating_add(1);
        if let Some(share) = shares.of(lane).filter(|_| self.is_counted) {
            share.take();
        }
    }

    /// Gives up a place of a delivery; returns true if others may take it.
    fn give_back(&mut self, lane: Lane, shares: &Shares) -> bool {
        let places = self.places.of(lane);
        *places = places.saturating_sub(1);
        let share = shares.of(lane).filter(|_| self.is_counted);
        if let Some(share) = share {
            share.give_back();
        }
        if self.places.in_lanes() == 0 {
            self.count(false, shares);
        }
        share.is_some()
    }

    /// True if it has held more of the lanes than it may for too long.
    fn is_crowding(&mut self, speed: Speed, now: Instant, shares: &Shares) -> bool {
        if speed == Speed::Quick || self.places.in_lanes() <= shares.max_own {
            self.crowding_since = None;
            return false;
        }
        let since = *self.crowding_since.get_or_insert(now);
        now.duration_since(since) >= shares.window
    }
}

impl Pace {
    pub(super) fn new(shares: Arc<Shares>) -> Self {
        let state = Mutex::new(State::new(Instant::now()));
        let (is_slow, is_news) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { shares, is_slow, is_news, state }
    }

    /// Takes a place of a lane for a delivery; `None`: the share is used up, and the URL is slow,
    /// or has not shown in time that it is not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn enter(self: &Arc<Self>, lane: Lane) -> Option<LanePlace> {
        let deadline = Instant::now() + self.shares.window;
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
        if state.places.all() == 0 {
            state.moved = now;
        }
        let speed = state.speed(now, self.shares.window);
        state.count(speed != Speed::Quick, &self.shares);
        let is_trial = speed == Speed::Unknown && state.places.all() == 0;
        let places = *state.places.of(lane);
        let has_room = || self.shares.of(lane).is_none_or(|share| share.admits(places));
        if speed != Speed::Quick && !is_trial && !has_room() {
            // It stays counted, so that the others leave it its part.
            return Err(speed);
        }
        state.take(lane, &self.shares);
        if state.is_crowding(speed, now, &self.shares) {
            self.slows(&mut state, now);
        }
        Ok(LanePlace { pace: Arc::clone(self), lane, _held: None })
    }

    /// Takes a place of its own for a delivery from the held queue of `slot`, in the order of those
    /// who wait. `None`: never.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn enter_in_turn(self: &Arc<Self>, slot: u16) -> Option<LanePlace> {
        let held = Arc::clone(&self.shares.held);
        let held = if let Ok(held) = Arc::clone(&held).try_acquire_owned() {
            held
        } else {
            self.waits();
            held.acquire_owned().await.ok()?
        };
        let (now, lane) = (Instant::now(), Lane::Held(slot));
        let mut state = self.state.lock();
        if state.places.all() == 0 {
            state.moved = now;
        }
        // As far below what makes it slow that it does not become so again at once.
        if state.places.held >= self.shares.max_own / 2 {
            state.crowded = now;
        }
        state.take(lane, &self.shares);
        Some(LanePlace { pace: Arc::clone(self), lane, _held: Some(held) })
    }

    fn leave(&self, lane: Lane) {
        // Many may wait for a place, and all of them are woken.
        if self.state.lock().give_back(lane, &self.shares) {
            self.shares.changed.notify_waiters();
        }
    }

    /// Notes that a permit wait timed out.
    pub(super) fn fell_behind(&self) {
        self.state.lock().behind_until = Some(Instant::now() + BEHIND);
    }

    /// Notes that a delivery was not admitted, here or by its endpoint.
    pub(super) fn not_admitted(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (number, since) = state.not_admitted;
        let is_over = now.duration_since(since) >= NOT_ADMITTED_WITHIN;
        let (number, since) = if is_over { (1, now) } else { (number.saturating_add(1), since) };
        state.not_admitted = (number, since);
        if number >= MAX_NOT_ADMITTED {
            self.slows(&mut state, now);
        }
    }

    /// Notes that what comes from its held queue does not get a permit at once.
    pub(super) fn waits(&self) {
        self.state.lock().crowded = Instant::now();
    }

    fn slows(&self, state: &mut State, now: Instant) {
        state.crowded = now;
        if !self.is_slow.swap(true, Relaxed) {
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
        let mut state = self.state.lock();
        let is_over = state.crowded.elapsed() >= CALM && !self.shares.are_scarce();
        if is_over {
            state.not_admitted = (0, Instant::now());
            self.is_slow.store(false, Relaxed);
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
        state.move_on(now, self.shares.window);
        let [_, present] = &mut state.ended;
        *present = present.saturating_add(1);
        let earlier = state.average.unwrap_or(duration).saturating_mul(EARLIER);
        state.average = Some(earlier.saturating_add(duration) / (EARLIER + 1));
        state.moved = now;
        let is_quick = state.speed(now, self.shares.window) == Speed::Quick;
        let is_counted = !is_quick && state.places.in_lanes() > 0;
        let was_counted = state.is_counted;
        state.count(is_counted, &self.shares);
        drop(state);
        // Only what is not known to be quick has anything wait for it.
        if was_counted || is_counted {
            self.shares.changed.notify_waiters();
        }
    }

    /// The number of deliveries that may wait for a permit: while it is behind, as many as it has
    /// recently ended in that time, and at least `at_least`.
    pub(super) fn max_waiting(&self, at_least: usize) -> usize {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.behind_until.is_none_or(|until| until <= now) {
            return usize::MAX;
        }
        state.move_on(now, self.shares.window);
        state.ended.into_iter().max().map_or(at_least, |ended| ended.max(at_least))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.state.get_mut().count(false, &self.shares);
    }
}

/// A place of a lane, or of what comes from held queues, held by a delivery; given up when dropped.
pub(super) struct LanePlace {
    pace: Arc<Pace>,
    lane: Lane,
    _held: Option<OwnedSemaphorePermit>,
}

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.pace.leave(self.lane);
    }
}
