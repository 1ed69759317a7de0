//! Refusals of an endpoint, and which of them have other reasons than the number of requests.
//!
//! An endpoint may refuse a share of all requests, however few it gets: one of two servers behind it
//! is down. So two and a half times what it refuses with one request at a time is tolerated with
//! more: for a minute at first, for twice as long each time, and for ten times as long as it took to
//! find that out. Then it is found out anew.
//!
//! # Refused attempts
//!
//! With as many deliveries as it could take, an endpoint refuses:
//!
//! | endpoint | refusals |
//! |---|---|
//! | takes so many at a time | up to 70 a minute, or one for each 25 others if that is more |
//! | takes so many a second | up to 200 a minute, and what one request at a time meets |
//! | refuses a share, whatever it gets | that share |
//! | both | up to eight times that share: 2.5 times what a few dozen answers showed |
//!
//! In the first minute, in which the limit falls from all permits, up to 400 more.

use std::time::Duration;

use tokio::time::Instant;

use super::Answer;

/// Refusals for each other answer that are tolerated always.
const USUAL_REFUSED: f64 = 0.04;
/// Attempts without an answer in time, for each with one, that are tolerated always.
const USUAL_LATE: f64 = 1.0;
/// There are too many refusals when there are so many more than these.
const MAX_REFUSED: f64 = 4.0;
/// As `MAX_REFUSED` for attempts without an answer in time: half of all may be, in any order.
const MAX_LATE: f64 = 12.0;
/// Where more than usual is tolerated, so many for each that is, and one more, are too many; and all
/// that those in flight may make up for.
const MAX_FOUND: f64 = 8.0;
/// As many times what was found with one request at a time is tolerated with more.
const MARGIN: f64 = 2.5;
/// Answers of other kinds from which that is found.
const ENOUGH: u32 = 16;
/// Answers of other kinds after a fall before the limit rises.
const ENOUGH_TO_RISE: u32 = 32;
/// Refusals for each other answer above which none are tolerated.
const NEARLY_ALL: u32 = 16;
/// The time for which what was found is tolerated at first ...
const FIRST_REST: Duration = Duration::from_secs(60);
/// ... at least for so many times as long as it took ...
const RESTS: u32 = 10;
/// ... and at most for this long.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Refusals of one kind beyond those that are tolerated.
#[derive(Clone, Copy, Debug)]
struct Excess {
    count: f64,
    tolerated: f64,
    usual: f64,
    /// So many are too many while what is usual is tolerated.
    usual_max: f64,
}

impl Excess {
    fn new(usual: f64, usual_max: f64) -> Self {
        Self { count: 0.0, tolerated: usual, usual, usual_max }
    }

    /// Counts an answer that came under `limit`; returns true if there are too many refusals.
    fn note(&mut self, is_refusal: bool, limit: usize) -> bool {
        let change = if is_refusal { 1.0 } else { -self.tolerated };
        self.count = (self.count + change).max(0.0);
        is_refusal && self.count >= self.max(limit)
    }

    fn max(&self, limit: usize) -> f64 {
        if self.tolerated <= self.usual {
            return self.usual_max;
        }
        let in_flight = f64::from(u32::try_from(limit).unwrap_or(u32::MAX));
        MAX_FOUND * (1.0 + self.tolerated) + self.tolerated * in_flight
    }

    /// Tolerates more than `refused` for so many `others` from now on.
    fn tolerate(&mut self, refused: u32, others: u32) {
        let found = f64::from(refused) / f64::from(others.max(1));
        (self.count, self.tolerated) = (0.0, self.usual.max(MARGIN * found));
    }
}

/// Answers since the limit fell.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    overloaded: u32,
    late: u32,
    /// Accepted, or failed for another reason.
    others: u32,
}

impl Sample {
    fn note(&mut self, answer: Answer) {
        let count = match answer {
            Answer::Overloaded => &mut self.overloaded,
            Answer::Late => &mut self.late,
            Answer::Accepted | Answer::Failed => &mut self.others,
        };
        *count = count.saturating_add(1);
    }
}

/// The refusals of one URL.
#[derive(Debug)]
pub(super) struct Refusals {
    overloaded: Excess,
    late: Excess,
    sample: Sample,
    /// The end of tolerating more than usual.
    tolerates_until: Option<Instant>,
    rest: Duration,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            overloaded: Excess::new(USUAL_REFUSED, MAX_REFUSED),
            late: Excess::new(USUAL_LATE, MAX_LATE),
            sample: Sample::default(),
            tolerates_until: None,
            rest: FIRST_REST,
        }
    }

    /// Counts an answer that came under `limit`; returns true if there are too many refusals.
    pub(super) fn note(&mut self, answer: Answer, limit: usize, now: Instant) -> bool {
        if self.tolerates_until.is_some_and(|until| until <= now) {
            *self = Self { rest: self.rest, ..Self::new() };
        }
        self.sample.note(answer);
        let are_late = self.late.note(answer == Answer::Late, limit);
        self.overloaded.note(answer == Answer::Overloaded, limit) || are_late
    }

    /// Counts anew, with fewer requests.
    pub(super) fn fell(&mut self) {
        (self.overloaded.count, self.late.count) = (0.0, 0.0);
        self.sample = Sample::default();
    }

    /// True if there are no more than are tolerated, of enough answers since the limit fell.
    pub(super) fn are_few(&self) -> bool {
        self.sample.others >= ENOUGH_TO_RISE && self.overloaded.count < 1.0 && self.late.count < 1.0
    }

    /// Tolerates what one request at a time has met in the time that it `took`; returns false if that
    /// is not known yet, or nearly all.
    pub(super) fn tolerate(&mut self, took: Duration, now: Instant) -> bool {
        let Sample { overloaded, late, others } = self.sample;
        let refused = overloaded.saturating_add(late);
        if others < ENOUGH || refused > others.saturating_mul(NEARLY_ALL) {
            return false;
        }
        self.overloaded.tolerate(overloaded, others.saturating_add(late));
        self.late.tolerate(late, others.saturating_add(overloaded));
        self.sample = Sample::default();
        let rest = self.rest.max(took.saturating_mul(RESTS)).min(LONGEST_REST);
        self.tolerates_until = Some(now + rest);
        self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
        true
    }
}
