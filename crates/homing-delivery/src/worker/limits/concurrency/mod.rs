//! The concurrency that an endpoint takes, found by trying.
//!
//! An endpoint that works on few requests at a time answers each of them later, the more it gets:
//! further permits make it no quicker, they only make a queue there. So the limit follows what the
//! endpoint does, between one permit and all of them:
//!
//! - After a circuit closes, it begins with one and doubles, until answers come later for it.
//! - For a URL that becomes slow, and whenever answers take much longer than at best, it halves for
//!   as long as answers come sooner for it, and goes back by one step when they do not. One that
//!   takes its time for every request, however many there are, has all its permits again soon.
//! - Otherwise it rises by one with every round of answers in which all permits were used and answers
//!   took about as long as at best; by an eighth if it refused nothing for a minute. Where answers
//!   take somewhat longer for several rounds, it is measured again, by halving.
//! - Where the endpoint refuses more than a few (429, 503) or, where most do not, does not answer in
//!   time, the limit falls at once, and at most once for all requests that were under way together.
//! - Where it does so with one request at a time, too, fewer are no help: some more than it refuses
//!   then are tolerated for a while ([`refusals`]), and the limit doubles again.
//!
//! Each worker finds its own limit. With several, one that halves its limit shortens what waits at
//! the endpoint by little: that is then found only where the endpoint refuses, or does not answer in
//! time.
//!
//! Sources: Brakmo and Peterson, *TCP Vegas*; Netflix, *Performance Under Load*.

mod refusals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use homing_domain::outcome::Outcome;
use tokio::time::Instant;

use self::refusals::Refusals;

/// Answers that are enough for an average.
const MIN_ANSWERS: usize = 8;
/// Answers that come later by less than this did not wait for others: a busy machine makes as much.
const UNNOTICED: Duration = Duration::from_millis(25);
/// After the limit fell for refusals, it does not rise for this long: each one is an attempt that
/// failed.
const REST: Duration = Duration::from_secs(5);
/// After that, it rises by an eighth.
const LONG_REST: Duration = Duration::from_secs(60);
/// Rounds of answers that take somewhat longer than at best after which that is measured again.
const DOUBTS: u32 = 8;

/// Meaning of an outcome for the load of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    /// It was too much: 429 or 503.
    Overloaded,
    /// There was no answer in time.
    Late,
    /// Nothing: the endpoint failed in another way.
    Failed,
}

impl From<&Outcome> for Answer {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted { .. } | Outcome::Done => Self::Accepted,
            Outcome::Refused { status: 429 | 503, .. } => Self::Overloaded,
            Outcome::TimedOut { .. } => Self::Late,
            Outcome::Refused { .. }
            | Outcome::Unreachable { .. }
            | Outcome::Failed { .. }
            | Outcome::Cancelled { .. } => Self::Failed,
        }
    }
}

/// The way in which the limit changes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It doubles.
    Ramp,
    /// It halves. `before`: the limit before, and how long answers took then.
    Descent { before: Option<(usize, Duration)> },
    /// It rises by one.
    Cruise,
}

/// Answers at one limit.
#[derive(Clone, Copy, Debug)]
struct Round {
    since: Instant,
    answers: usize,
    /// Those that say nothing about the time that answers take.
    failed: usize,
    total: Duration,
    /// True if all permits were used at some time.
    was_full: bool,
}

impl Round {
    fn new(since: Instant) -> Self {
        Self { since, answers: 0, failed: 0, total: Duration::ZERO, was_full: false }
    }

    fn mean(&self) -> Duration {
        let answers = u32::try_from(self.answers).unwrap_or(u32::MAX).max(1);
        self.total / answers
    }
}

/// The limit of one URL.
#[derive(Debug)]
pub(super) struct Concurrency {
    max: usize,
    limit: usize,
    phase: Phase,
    /// The time that answers take at best.
    base: Option<Duration>,
    round: Round,
    refusals: Refusals,
    /// Consecutive rounds of answers that took somewhat longer than at best.
    doubts: u32,
    /// True if it has risen since it fell for refusals: it is about what the endpoint takes.
    is_about_right: bool,
    /// The last time when the limit fell for refusals, or its beginning.
    fell: Instant,
}

impl Concurrency {
    /// Begins with one permit.
    pub(super) fn ramp(max: usize, now: Instant) -> Self {
        Self::new(max, 1, Phase::Ramp, now)
    }

    /// Begins with all permits.
    pub(super) fn descent(max: usize, now: Instant) -> Self {
        Self::new(max, max, Phase::Descent { before: None }, now)
    }

    fn new(max: usize, limit: usize, phase: Phase, now: Instant) -> Self {
        let round = Round::new(now);
        Self {
            max,
            limit,
            phase,
            base: None,
            round,
            refusals: Refusals::new(),
            doubts: 0,
            is_about_right: false,
            fell: now,
        }
    }

    /// Permits at present.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// True if the endpoint gets all permits.
    pub(super) fn is_at_max(&self) -> bool {
        self.limit >= self.max
    }

    /// Notes an attempt that ended at `now` and took `took`; `is_full`: all permits are in use.
    pub(super) fn ended(&mut self, answer: Answer, took: Duration, is_full: bool, now: Instant) {
        let began_since = |earlier: Instant| now.duration_since(earlier) > took;
        let is_of_round = began_since(self.round.since);
        if began_since(self.fell) && self.refusals.note(answer, self.limit, now) {
            if self.limit > 1 {
                self.back_off(now);
            } else if self.refusals.tolerate(now.duration_since(self.fell), now) {
                (self.round, self.phase) = (Round::new(now), Phase::Ramp);
            }
        }
        let is_ramp = matches!(self.phase, Phase::Ramp);
        let round = &mut self.round;
        match answer {
            // While it doubles, waiting for requests that began since would take twice as long.
            Answer::Accepted if is_of_round || is_ramp => {
                round.answers = round.answers.saturating_add(1);
                round.total = round.total.saturating_add(took);
            }
            Answer::Failed if is_ramp => round.failed = round.failed.saturating_add(1),
            Answer::Accepted | Answer::Overloaded | Answer::Late | Answer::Failed => return,
        }
        round.was_full |= is_full;
        if round.answers.saturating_add(round.failed) >= self.enough() {
            let round = std::mem::replace(&mut self.round, Round::new(now));
            self.judge(&round, now);
        }
    }

    fn enough(&self) -> usize {
        if self.is_first_steps() { 1 } else { self.limit.max(MIN_ANSWERS) }
    }

    /// True while there are too few permits for an average.
    fn is_first_steps(&self) -> bool {
        matches!(self.phase, Phase::Ramp)
            && self.base.is_none()
            && self.limit < MIN_ANSWERS.min(self.max)
    }

    fn back_off(&mut self, now: Instant) {
        let by = if self.is_about_right { (self.limit / 8).max(1) } else { self.limit.div_ceil(2) };
        self.limit = self.limit.saturating_sub(by).max(1);
        // A descent that did not come to its end has not found what answers take at best.
        let is_known = self.base.is_some() && !matches!(self.phase, Phase::Descent { .. });
        self.phase = if is_known { Phase::Cruise } else { Phase::Descent { before: None } };
        (self.round, self.fell, self.is_about_right) = (Round::new(now), now, false);
        self.refusals.fell();
    }

    fn judge(&mut self, round: &Round, now: Instant) {
        // What does not use its permits says nothing about more or fewer of them.
        if !round.was_full && !self.is_first_steps() {
            return;
        }
        let mean = round.mean();
        match self.phase {
            Phase::Ramp if self.is_first_steps() || round.answers == 0 => self.double(),
            Phase::Ramp if self.is_later(mean, 3, 2) => self.descend(),
            Phase::Ramp => {
                self.note_base(mean);
                self.double();
            }
            Phase::Descent { before: Some((limit, before)) }
                if mean > before * 3 / 5 || mean.saturating_add(UNNOTICED) > before =>
            {
                (self.limit, self.base, self.phase) = (limit, Some(mean), Phase::Cruise);
            }
            Phase::Descent { .. } if self.limit > 1 => self.halve(mean),
            Phase::Descent { .. } => (self.base, self.phase) = (Some(mean), Phase::Cruise),
            Phase::Cruise => self.cruise(mean, now),
        }
    }

    fn double(&mut self) {
        self.limit = self.limit.saturating_mul(2).min(self.max);
        if self.limit == self.max && self.base.is_some() {
            self.phase = Phase::Cruise;
        }
    }

    /// Measures at this limit once more, without what began at another, and then halves it.
    fn descend(&mut self) {
        self.phase = Phase::Descent { before: None };
    }

    fn halve(&mut self, mean: Duration) {
        self.phase = Phase::Descent { before: Some((self.limit, mean)) };
        self.limit = self.limit.div_ceil(2);
    }

    fn cruise(&mut self, mean: Duration, now: Instant) {
        if self.limit == 1 {
            // One request at a time waits for no other.
            self.base = Some(mean);
        }
        self.note_base(mean);
        let (is_later, is_same) = (self.is_later(mean, 3, 2), !self.is_later(mean, 6, 5));
        self.doubts = if is_same { 0 } else { self.doubts.saturating_add(1) };
        let rests = now.duration_since(self.fell);
        if self.limit > 1 && (is_later || self.doubts >= DOUBTS) {
            self.doubts = 0;
            self.descend();
        } else if is_same && rests >= REST && self.refusals.are_few() {
            self.is_about_right = true;
            let step = if rests >= LONG_REST { (self.limit / 8).max(1) } else { 1 };
            self.limit = self.limit.saturating_add(step).min(self.max);
        }
    }

    /// Follows what answers take at best downwards, by parts: one quick round may be chance.
    fn note_base(&mut self, mean: Duration) {
        let lower = |base: Duration| if mean < base { (base * 3 + mean) / 4 } else { base };
        self.base = Some(self.base.map_or(mean, lower));
    }

    /// True if `mean` is noticeably more than `times / parts` of what answers take at best.
    fn is_later(&self, mean: Duration, times: u32, parts: u32) -> bool {
        let mean = mean.saturating_sub(UNNOTICED);
        self.base.is_some_and(|base| mean.saturating_mul(parts) > base.saturating_mul(times))
    }
}
