//! The recent pace of one URL, as it is counted.

use std::time::Duration;

use tokio::time::Instant;

use homing_broker::consume::Lane;

use super::share::{Holding, Shares};

/// A URL whose permit wait timed out is behind for this long. While it is not, it may hold up
/// others once, for `endpoint.permit_wait`: too rare to affect their 99th percentile.
const BEHIND: Duration = Duration::from_secs(60);

/// A URL that holds places and has ended no attempt for this long is slow.
pub(super) const HUNG: Duration = Duration::from_secs(1);

/// The weight of all earlier requests against the latest in the average duration.
const EARLIER: f64 = 7.0;

/// A URL that did not admit so many deliveries ...
const MAX_NOT_ADMITTED: u32 = 3;
/// ... and more than one for so many attempts ...
pub(super) const ATTEMPTS_FOR_ONE: u32 = 100;
/// ... within this time is slow.
pub(super) const NOT_ADMITTED_WITHIN: Duration = Duration::from_secs(10);

/// The shortest duration of a request that is counted.
const SHORTEST: Duration = Duration::from_micros(1);

/// A slow URL that took what came for it for this long is slow no more ...
pub(super) const CALM: Duration = Duration::from_secs(10);
/// ... and, while slow URLs get their fair share of the lanes only, if it is quick or unused for so
/// long.
pub(super) const UNUSED: Duration = Duration::from_secs(30);

/// The speed of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speed {
    Quick,
    /// It has not ended an attempt yet, or not for longer than it usually takes.
    Unknown,
    /// Its requests take as long as a delivery may wait for a permit.
    Slow,
}

/// Deliveries that were not admitted, and attempts that ended.
struct Admissions {
    since: Instant,
    refused: u32,
    /// Attempts that ended before count half.
    ended: u32,
}

impl Admissions {
    fn new(since: Instant) -> Self {
        Self { since, refused: 0, ended: 0 }
    }

    fn move_on(&mut self, now: Instant) {
        if now.duration_since(self.since) >= NOT_ADMITTED_WITHIN {
            *self = Self { since: now, refused: 0, ended: self.ended / 2 };
        }
    }

    fn ended(&mut self, now: Instant) {
        self.move_on(now);
        self.ended = self.ended.saturating_add(1);
    }
}

/// The cause that keeps deliveries from being attempted.
#[derive(Clone, Copy)]
pub(in crate::worker) enum Obstacle {
    /// The endpoint takes less than what comes for it.
    Endpoint,
    /// A limit of their subscription's own; others to the same URL are not concerned.
    OwnLimit,
}

/// The deliveries that wait because of one obstacle.
pub(super) struct Backlog {
    admissions: Admissions,
    /// Since when it has held more of the lanes than it may.
    crowding_since: Option<Instant>,
    /// Deliveries from the held queue that wait for longer than they may in a lane.
    pub(super) late: usize,
    /// The last time when more came than was taken.
    pub(super) crowded: Instant,
}

impl Backlog {
    fn new(now: Instant) -> Self {
        Self { admissions: Admissions::new(now), crowding_since: None, late: 0, crowded: now }
    }

    /// Notes that a delivery was not admitted; returns true if that happens again and again.
    pub(super) fn not_admitted(&mut self, now: Instant) -> bool {
        self.admissions.move_on(now);
        let Admissions { refused, ended, .. } = &mut self.admissions;
        *refused = refused.saturating_add(1);
        *refused >= MAX_NOT_ADMITTED && refused.saturating_mul(ATTEMPTS_FOR_ONE) > *ended
    }

    /// True if it is too much for too long.
    fn crowds(&mut self, is_too_much: bool, now: Instant, window: Duration) -> bool {
        if !is_too_much {
            self.crowding_since = None;
            return false;
        }
        now.duration_since(*self.crowding_since.get_or_insert(now)) >= window
    }

    /// True if all that came has been taken for a while; it is not now if it `is_crowded`.
    pub(super) fn is_calm(&mut self, is_crowded: bool, now: Instant) -> bool {
        if is_crowded || self.late > 0 {
            self.crowded = now;
        }
        now.duration_since(self.crowded) >= CALM
    }

    /// Begins to count anew.
    pub(super) fn end(&mut self, now: Instant) {
        *self = Self { late: self.late, ..Self::new(now) };
    }
}

/// The recent pace of one URL, and its places.
pub(super) struct State {
    /// A permit wait timed out less than [`BEHIND`] before.
    behind_until: Option<Instant>,
    /// Start of the current window; it lasts as long as a delivery may wait.
    since: Instant,
    /// Attempts that ended in the previous window, and in this one.
    ended: [usize; 2],
    /// The natural logarithm of the average duration of a request, in seconds; `None`: none has
    /// ended yet. The average is the geometric one: a few requests that take a thousand times as
    /// long as the others are no sign of a slow endpoint.
    log_average: Option<f64>,
    /// The end of the latest attempt, or the time when it took its first place.
    pub(super) moved: Instant,
    primary: Holding,
    retry: Holding,
    held: Holding,
    /// Deliveries in lanes that wait for a limit of their own.
    pub(super) limited: usize,
    pub(super) endpoint: Backlog,
    pub(super) rate: Backlog,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            behind_until: None,
            since: now,
            ended: [0; 2],
            log_average: None,
            moved: now,
            primary: Holding::default(),
            retry: Holding::default(),
            held: Holding::default(),
            limited: 0,
            endpoint: Backlog::new(now),
            rate: Backlog::new(now),
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

    /// The average duration of a request; `None`: none has ended yet.
    fn average(&self) -> Option<Duration> {
        let average = self.log_average?.exp();
        Some(Duration::try_from_secs_f64(average).unwrap_or(Duration::MAX))
    }

    pub(super) fn speed(&self, now: Instant, window: Duration) -> Speed {
        let since_answer = now.duration_since(self.moved);
        if since_answer >= HUNG.max(window.saturating_mul(2))
            || self.average().is_some_and(|average| average >= window)
        {
            return Speed::Slow;
        }
        let usual = |average: Duration| average.saturating_mul(4).max(window / 4);
        match self.average() {
            Some(average) if since_answer <= usual(average) => Speed::Quick,
            Some(_) | None => Speed::Unknown,
        }
    }

    /// Its places of `lane`.
    pub(super) fn places(&mut self, lane: Lane) -> &mut Holding {
        match lane {
            Lane::Primary => &mut self.primary,
            Lane::Retry => &mut self.retry,
            Lane::Held(_) => &mut self.held,
        }
    }

    fn in_lanes(&self) -> usize {
        self.primary.places.saturating_add(self.retry.places)
    }

    /// True if it holds no place.
    pub(super) fn is_idle(&self) -> bool {
        self.in_lanes() == 0 && self.held.places == 0
    }

    /// Counts its places of lanes in the shares unless it `is_quick`; returns true if some are or
    /// were counted.
    pub(super) fn count(&mut self, is_quick: bool, shares: &Shares) -> bool {
        let both = [(&mut self.primary, &shares.primary), (&mut self.retry, &shares.retry)];
        both.into_iter().fold(false, |any, (holding, share)| {
            any | holding.count(!is_quick && holding.places > 0, share)
        })
    }

    /// Notes an attempt that ended.
    pub(super) fn ended(&mut self, duration: Duration, now: Instant, window: Duration) {
        self.move_on(now, window);
        let [_, present] = &mut self.ended;
        *present = present.saturating_add(1);
        let latest = duration.max(SHORTEST).as_secs_f64().ln();
        let earlier = self.log_average.unwrap_or(latest);
        self.log_average = Some((earlier * EARLIER + latest) / (EARLIER + 1.0));
        self.moved = now;
        self.endpoint.admissions.ended(now);
        self.rate.admissions.ended(now);
    }

    /// The deliveries that wait because of `obstacle`.
    pub(super) fn backlog(&mut self, obstacle: Obstacle) -> &mut Backlog {
        match obstacle {
            Obstacle::Endpoint => &mut self.endpoint,
            Obstacle::OwnLimit => &mut self.rate,
        }
    }

    /// Notes that a permit wait timed out.
    pub(super) fn fell_behind(&mut self, now: Instant) {
        self.behind_until = Some(now + BEHIND);
    }

    /// See [`super::Pace::max_waiting`].
    pub(super) fn max_waiting(&mut self, at_least: usize, now: Instant, window: Duration) -> usize {
        if self.behind_until.is_none_or(|until| until <= now) {
            return usize::MAX;
        }
        self.move_on(now, window);
        self.ended.into_iter().max().map_or(at_least, |ended| ended.max(at_least))
    }

    /// The obstacle because of which it has held more of the lanes than it may for too long.
    pub(super) fn crowds(
        &mut self,
        speed: Speed,
        now: Instant,
        shares: &Shares,
    ) -> Option<Obstacle> {
        let (max_own, window) = (shares.max_own, shares.window());
        let own = self.in_lanes().saturating_sub(self.limited);
        let (is_much, is_limited) = (own > max_own, self.limited > max_own);
        let is_slow = is_much && speed != Speed::Quick;
        if self.endpoint.crowds(is_slow, now, window) {
            return Some(Obstacle::Endpoint);
        }
        self.rate.crowds(is_limited, now, window).then_some(Obstacle::OwnLimit)
    }

    /// True if it has taken what came for it for a while, and would do so from the lanes.
    pub(super) fn is_over(&mut self, now: Instant, shares: &Shares) -> bool {
        // As far below what makes it slow that it does not become so again at once.
        let needs_much = self.held.places >= shares.free_of_concern();
        let is_crowded = needs_much && self.speed(now, shares.window()) != Speed::Quick;
        let is_calm = self.endpoint.is_calm(is_crowded, now);
        let is_quick = self.average().is_some_and(|average| average < shares.window());
        let is_unused = self.is_idle() && now.duration_since(self.moved) >= UNUSED;
        is_calm && (is_quick || is_unused || !shares.are_scarce())
    }
}
