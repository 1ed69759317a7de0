//! The pace of endpoints, and the share of a lane that the slow ones hold together.
//!
//! A delivery holds a place of its lane while it waits for a permit and while its request is under
//! way. The places of all URLs that are not known to be quick are counted together: beyond half of
//! a lane, further deliveries to slow URLs are throttled at once, however many slow URLs there are.
//! From a quarter on, each gets its fair share of the half, so that a few do not take all of it from
//! the others.
//!
//! A URL whose speed is not known yet may always try one delivery; more of them wait for its
//! answer, for as long as a delivery may wait for a permit.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// A URL whose permit wait timed out is behind for this long. While it is not, it may hold up
/// others once, for `endpoint.permit_wait`: too rare to affect their 99th percentile.
const BEHIND: Duration = Duration::from_secs(60);

/// A URL that holds places and has ended no attempt for this long is slow.
const HUNG: Duration = Duration::from_secs(1);

/// The weight of all earlier requests against the latest in the average duration.
const EARLIER: u32 = 7;

/// The speed of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speed {
    Quick,
    /// It has not ended an attempt yet, or not for longer than it usually takes.
    Unknown,
    /// Its requests take as long as a delivery may wait for a permit.
    Slow,
}

/// The places that URLs hold which are not known to be quick.
pub(super) struct SlowShare {
    /// Places for all of them together: half of a lane.
    max_places: usize,
    /// The longest wait for a permit.
    window: Duration,
    held: Mutex<Held>,
    /// Notified when a place or an answer may let others in.
    changed: Notify,
}

#[derive(Default)]
struct Held {
    urls: usize,
    places: usize,
}

impl SlowShare {
    /// The share of a lane of `lane` places.
    pub(super) fn new(lane: usize, window: Duration) -> Self {
        Self {
            max_places: lane.div_ceil(2),
            window,
            held: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// True if a URL that holds `places` of the share may take another one.
    fn admits(&self, places: usize) -> bool {
        let held = self.held.lock();
        let fair = (self.max_places / held.urls.max(1)).max(1);
        let is_scarce = held.places >= self.max_places.div_ceil(2);
        held.places < self.max_places && (!is_scarce || places < fair)
    }
}

/// The recent pace of one URL.
pub(super) struct Pace {
    share: Arc<SlowShare>,
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
    places: usize,
    /// True if its places are counted in the share.
    is_counted: bool,
}

impl State {
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

    /// Counts its places in the share, or not any more.
    fn count(&mut self, is_counted: bool, share: &SlowShare) {
        if self.is_counted == is_counted {
            return;
        }
        self.is_counted = is_counted;
        let mut held = share.held.lock();
        if is_counted {
            held.urls = held.urls.saturating_add(1);
            held.places = held.places.saturating_add(self.places);
        } else {
            held.urls = held.urls.saturating_sub(1);
            held.places = held.places.saturating_sub(self.places);
        }
    }
}

impl Pace {
    pub(super) fn new(share: Arc<SlowShare>) -> Self {
        let now = Instant::now();
        let state = State {
            behind_until: None,
            since: now,
            ended: [0; 2],
            average: None,
            moved: now,
            places: 0,
            is_counted: false,
        };
        Self { share, state: Mutex::new(state) }
    }

    /// Takes a place of the lane for a delivery; `None`: the share is used up, and the URL is slow,
    /// or has not shown in time that it is not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<LanePlace> {
        let deadline = Instant::now() + self.share.window;
        loop {
            let changed = self.share.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.try_enter() {
                Ok(place) => return Some(place),
                Err(Speed::Slow) => return None,
                Err(Speed::Quick | Speed::Unknown) => timeout_at(deadline, changed).await.ok()?,
            }
        }
    }

    fn try_enter(self: &Arc<Self>) -> Result<LanePlace, Speed> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.places == 0 {
            state.moved = now;
        }
        let speed = state.speed(now, self.share.window);
        state.count(speed != Speed::Quick, &self.share);
        let is_trial = speed == Speed::Unknown && state.places == 0;
        if speed != Speed::Quick && !is_trial && !self.share.admits(state.places) {
            // It stays counted, so that the others leave it its part.
            return Err(speed);
        }
        state.places = state.places.saturating_add(1);
        if state.is_counted {
            let mut held = self.share.held.lock();
            held.places = held.places.saturating_add(1);
        }
        Ok(LanePlace(Arc::clone(self)))
    }

    fn leave(&self) {
        let mut state = self.state.lock();
        state.places = state.places.saturating_sub(1);
        if state.is_counted {
            let mut held = self.share.held.lock();
            held.places = held.places.saturating_sub(1);
        }
        if state.places == 0 {
            state.count(false, &self.share);
        }
        drop(state);
        self.share.changed.notify_waiters();
    }

    /// Notes that a permit wait timed out.
    pub(super) fn fell_behind(&self) {
        self.state.lock().behind_until = Some(Instant::now() + BEHIND);
    }

    /// Notes an attempt that ended, `duration` after it got its permit.
    pub(super) fn ended(&self, duration: Duration) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.move_on(now, self.share.window);
        let [_, present] = &mut state.ended;
        *present = present.saturating_add(1);
        let earlier = state.average.unwrap_or(duration).saturating_mul(EARLIER);
        state.average = Some(earlier.saturating_add(duration) / (EARLIER + 1));
        state.moved = now;
        let is_quick = state.speed(now, self.share.window) == Speed::Quick;
        let is_counted = !is_quick && state.places > 0;
        state.count(is_counted, &self.share);
        drop(state);
        self.share.changed.notify_waiters();
    }

    /// The number of deliveries that may wait for a permit: while it is behind, as many as it has
    /// recently ended in that time, and at least `at_least`.
    pub(super) fn max_waiting(&self, at_least: usize) -> usize {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.behind_until.is_none_or(|until| until <= now) {
            return usize::MAX;
        }
        state.move_on(now, self.share.window);
        state.ended.into_iter().max().map_or(at_least, |ended| ended.max(at_least))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.state.get_mut().count(false, &self.share);
    }
}

/// A place of a lane, held by a delivery; given up when dropped.
pub(super) struct LanePlace(Arc<Pace>);

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(200);
    const LANE: usize = 512;

    fn share() -> Arc<SlowShare> {
        Arc::new(SlowShare::new(LANE, WINDOW))
    }

    fn slow(share: &Arc<SlowShare>) -> Arc<Pace> {
        let pace = Arc::new(Pace::new(Arc::clone(share)));
        pace.ended(Duration::from_millis(4_800));
        pace
    }

    fn enter_all(pace: &Arc<Pace>) -> Vec<LanePlace> {
        std::iter::from_fn(|| pace.try_enter().ok()).take(LANE).collect()
    }

    /// Goal: slow URLs leave half of a lane to others, however many they are. Method: virtual time;
    /// each of them takes what it gets.
    #[tokio::test(start_paused = true)]
    async fn slow_urls_hold_at_most_half_of_a_lane_together() {
        for urls in [1, 3, 16, 300] {
            let share = share();
            let paces: Vec<_> = (0..urls).map(|_| slow(&share)).collect();
            let taken: Vec<_> = paces.iter().map(enter_all).collect();
            let held: usize = taken.iter().map(Vec::len).sum();
            assert!((LANE / 4..=LANE / 2).contains(&held), "{urls} hold {held}");
            drop((taken, paces));
            let held = share.held.lock();
            assert_eq!((held.urls, held.places), (0, 0));
        }
    }

    /// Goal: a URL that came first does not keep the share from the others. Method: virtual time;
    /// all give their places back, one by one, and take new ones.
    #[tokio::test(start_paused = true)]
    async fn slow_urls_share_fairly() {
        let share = share();
        let paces: Vec<_> = (0..4).map(|_| slow(&share)).collect();
        let mut taken: Vec<_> = paces.iter().map(enter_all).collect();
        for _ in 0..LANE {
            for (pace, held) in paces.iter().zip(&mut taken) {
                drop(held.pop());
                // More arrive than end.
                held.extend(pace.enter().await);
                held.extend(pace.enter().await);
            }
        }
        let numbers: Vec<_> = taken.iter().map(Vec::len).collect();
        assert!(numbers.iter().all(|number| *number >= LANE / 2 / 4 / 2), "{numbers:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_url_has_the_whole_lane() {
        let pace = Arc::new(Pace::new(share()));
        pace.ended(Duration::from_millis(20));
        assert_eq!(enter_all(&pace).len(), LANE);
    }

    /// Goal: the first deliveries to a URL are not throttled if it answers in time, and do not fill
    /// the lane if it does not. Method: virtual time.
    #[tokio::test(start_paused = true)]
    async fn deliveries_to_an_unknown_url_wait_for_its_first_answer() {
        let pace = Arc::new(Pace::new(share()));
        let held = enter_all(&pace);
        assert_eq!(held.len(), LANE / 2);
        let waiting = pace.enter();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        pace.ended(Duration::from_millis(20));
        assert!(waiting.await.is_some());
        assert_eq!(enter_all(&pace).len(), LANE);
    }

    /// Goal: a URL can always be tried, whatever others hold.
    #[tokio::test(start_paused = true)]
    async fn an_unknown_url_may_try_one_delivery_though_the_share_is_used_up() {
        let share = share();
        let _held = (enter_all(&slow(&share)), enter_all(&slow(&share)), enter_all(&slow(&share)));
        let pace = Arc::new(Pace::new(Arc::clone(&share)));
        let trial = pace.enter().await;
        assert!(trial.is_some());
    }

    /// Goal: a URL that stops answering is slow before its requests end. Method: virtual time.
    #[tokio::test(start_paused = true)]
    async fn a_quick_url_that_hangs_is_slow_after_a_second() {
        let pace = Arc::new(Pace::new(share()));
        pace.ended(Duration::from_millis(20));
        let held = enter_all(&pace);
        assert_eq!(held.len(), LANE);
        tokio::time::sleep(HUNG).await;
        let refused = Instant::now();
        assert!(pace.enter().await.is_none());
        assert_eq!(refused.elapsed(), Duration::ZERO);
        drop(held);
        assert!(pace.enter().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_url_that_is_quick_again_is_no_longer_slow() {
        let pace = slow(&share());
        let _held = enter_all(&pace);
        assert!(pace.enter().await.is_none());
        for _ in 0..40 {
            pace.ended(Duration::from_millis(10));
        }
        assert!(pace.enter().await.is_some());
    }
}
