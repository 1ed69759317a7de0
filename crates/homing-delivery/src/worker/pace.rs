//! The pace of endpoints, and the share of a lane that the slow ones hold together.
//!
//! A delivery holds a place of its lane while it waits for a permit and while its request is under
//! way. The places that slow URLs hold are counted together: beyond half of a lane, further
//! deliveries to them are throttled at once, however many slow URLs there are. From a quarter on,
//! each gets its fair share of the half, so that a few do not take all of it from the others.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A URL whose permit wait timed out is behind for this long. While it is not, it may hold up
/// others once, for `endpoint.busy_wait`: too rare to affect their 99th percentile.
const BEHIND: Duration = Duration::from_secs(60);

/// A URL that holds places and has ended no attempt for this long counts as slow.
const HUNG: Duration = Duration::from_secs(1);

/// The weight of all earlier requests against the latest in the average duration.
const EARLIER: u32 = 7;

/// The places that slow URLs hold.
pub(super) struct SlowShare {
    /// Places for all slow URLs together: half of a lane.
    max_places: usize,
    /// A URL whose requests take as long as a delivery may wait for a permit is slow.
    window: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    urls: usize,
    places: usize,
}

impl SlowShare {
    /// The share of a lane of `lane` places.
    pub(super) fn new(lane: usize, window: Duration) -> Self {
        Self { max_places: lane.div_ceil(2), window, held: Mutex::default() }
    }

    /// True if a slow URL that holds `places` may take another one.
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
    /// True if its places are counted in the share of the slow.
    is_slow: bool,
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

    /// Counts or no longer counts the URL among the slow.
    fn mark(&mut self, now: Instant, share: &SlowShare) {
        let takes_long = self.average.is_some_and(|average| average >= share.window);
        self.count(takes_long || now.duration_since(self.moved) >= HUNG, share);
    }

    fn count(&mut self, is_slow: bool, share: &SlowShare) {
        if self.is_slow == is_slow {
            return;
        }
        self.is_slow = is_slow;
        let mut held = share.held.lock();
        if is_slow {
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
            is_slow: false,
        };
        Self { share, state: Mutex::new(state) }
    }

    /// Takes a place of the lane for a delivery; `None`: the slow URLs hold their share, and this is
    /// one of them.
    pub(super) fn enter(self: &Arc<Self>) -> Option<LanePlace> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.places == 0 {
            state.moved = now;
        }
        state.mark(now, &self.share);
        if state.is_slow && !self.share.admits(state.places) {
            if state.places == 0 {
                state.count(false, &self.share);
            }
            return None;
        }
        state.places = state.places.saturating_add(1);
        if state.is_slow {
            let mut held = self.share.held.lock();
            held.places = held.places.saturating_add(1);
        }
        Some(LanePlace(Arc::clone(self)))
    }

    fn leave(&self) {
        let mut state = self.state.lock();
        state.places = state.places.saturating_sub(1);
        if state.is_slow {
            let mut held = self.share.held.lock();
            held.places = held.places.saturating_sub(1);
        }
        if state.places == 0 {
            state.count(false, &self.share);
        }
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
        state.mark(now, &self.share);
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
        std::iter::from_fn(|| pace.enter()).take(LANE).collect()
    }

    /// Goal: slow URLs leave half of a lane to others, however many they are. Method: virtual time;
    /// each of them takes what it gets.
    #[tokio::test(start_paused = true)]
    async fn slow_urls_hold_at_most_half_of_a_lane_together() {
        for urls in [1, 3, 16, 300] {
            let share = share();
            let paces: Vec<_> = (0..urls).map(|_| slow(&share)).collect();
            let places: Vec<_> = paces.iter().map(enter_all).collect();
            let held: usize = places.iter().map(Vec::len).sum();
            assert!((LANE / 4..=LANE / 2).contains(&held), "{urls} hold {held}");
            drop(places);
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
        let mut places: Vec<_> = paces.iter().map(enter_all).collect();
        for _ in 0..LANE {
            for (pace, held) in paces.iter().zip(&mut places) {
                drop(held.pop());
                held.extend(pace.enter());
            }
        }
        for (pace, held) in paces.iter().zip(&mut places) {
            held.extend(enter_all(pace));
        }
        let numbers: Vec<_> = places.iter().map(Vec::len).collect();
        assert!(numbers.iter().all(|number| *number >= LANE / 2 / 4 / 2), "{numbers:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_url_has_the_whole_lane() {
        let pace = Arc::new(Pace::new(share()));
        pace.ended(Duration::from_millis(20));
        assert_eq!(enter_all(&pace).len(), LANE);
    }

    /// Goal: a URL that answers nothing is slow before its requests end. Method: virtual time.
    #[tokio::test(start_paused = true)]
    async fn a_url_that_hangs_is_slow_after_a_second() {
        let pace = Arc::new(Pace::new(share()));
        let held: Vec<_> = std::iter::from_fn(|| pace.enter()).take(LANE / 2).collect();
        assert!(pace.enter().is_some());
        tokio::time::sleep(HUNG).await;
        assert!(pace.enter().is_none());
        drop(held);
        assert!(pace.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_url_that_is_quick_again_is_no_longer_slow() {
        let pace = slow(&share());
        let _held = enter_all(&pace);
        assert!(pace.enter().is_none());
        for _ in 0..40 {
            pace.ended(Duration::from_millis(10));
        }
        assert!(pace.enter().is_some());
    }
}
