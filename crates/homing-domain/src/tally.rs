//! The sum of the outcomes at one endpoint.
//!
//! Workers count on their own and report their tallies to the store from time to time. Adding up is
//! associative, so it does not matter how many attempts are in one tally, nor how many tallies a
//! batch was merged from.

use super::{outcome::Outcome, time::UnixMillis};

/// The sum of some attempts at one endpoint; [`Tally::default`] is that of none.
///
/// All numbers saturate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of attempts.
    pub attempts: u64,
    /// The number of attempts that the endpoint did not accept.
    pub failures: u64,
    /// Failures since the last success in this tally; all of them if there is none.
    pub trailing_failures: u64,
    /// The end of the earliest attempt.
    pub first_attempt: Option<UnixMillis>,
    /// The end of the latest success.
    pub last_success: Option<UnixMillis>,
    /// The end of the latest failure.
    pub last_failure: Option<UnixMillis>,
    /// The last outcome, and the end of its attempt.
    pub last_outcome: Option<(UnixMillis, Outcome)>,
}

impl Tally {
    /// One attempt, which ended at `ended`.
    #[must_use]
    pub fn of(outcome: &Outcome, ended: UnixMillis) -> Self {
        let accepted = outcome.is_accepted();
        let failures = u64::from(!accepted);
        Self {
            attempts: 1,
            failures,
            trailing_failures: failures,
            first_attempt: Some(ended),
            last_success: accepted.then_some(ended),
            last_failure: (!accepted).then_some(ended),
            last_outcome: Some((ended, outcome.clone())),
        }
    }

    /// Merges a tally of attempts that were counted after these.
    ///
    /// The order of counting decides which failures follow which success; instants are compared as
    /// such, since the clocks of two workers may disagree with that order.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        let before = if later.has_success() { 0 } else { self.trailing_failures };
        Self {
            attempts: self.attempts.saturating_add(later.attempts),
            failures: self.failures.saturating_add(later.failures),
            trailing_failures: before.saturating_add(later.trailing_failures),
            first_attempt: earliest(self.first_attempt, later.first_attempt),
            last_success: self.last_success.max(later.last_success),
            last_failure: self.last_failure.max(later.last_failure),
            last_outcome: latest(self.last_outcome, later.last_outcome),
        }
    }

    /// True if any attempt succeeded.
    #[must_use]
    pub fn has_success(&self) -> bool {
        self.last_success.is_some()
    }

    /// The number of attempts that succeeded.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.attempts.saturating_sub(self.failures)
    }

    /// True if it counts no attempt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attempts == 0
    }
}

/// The smaller one of those that are there: `None` is no instant.
pub(super) fn earliest(one: Option<UnixMillis>, other: Option<UnixMillis>) -> Option<UnixMillis> {
    one.into_iter().chain(other).min()
}

/// The one that ended later; of two that ended together the one counted later.
fn latest<T>(
    counted_before: Option<(UnixMillis, T)>,
    counted: Option<(UnixMillis, T)>,
) -> Option<(UnixMillis, T)> {
    counted_before.into_iter().chain(counted).max_by_key(|(ended, _)| *ended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Phase;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Accepted { status: 200 }),
            Just(Outcome::Refused { status: 503, retry_after: None }),
            Just(Outcome::TimedOut { phase: Phase::Headers }),
        ]
    }

    fn attempts() -> impl Strategy<Value = Vec<(Outcome, i64)>> {
        prop::collection::vec((outcome(), 0_i64..9), 0..12)
    }

    fn tally(attempts: &[(Outcome, i64)]) -> Tally {
        attempts.iter().fold(Tally::default(), |tally, (outcome, ended)| {
            tally.merge(Tally::of(outcome, UnixMillis::new(*ended)))
        })
    }

    /// Also such as no attempts add up to.
    fn any_tally() -> impl Strategy<Value = Tally> {
        let count = || prop_oneof![any::<u64>(), u64::MAX - 2..=u64::MAX, 0_u64..3];
        let instant = || prop::option::of((0_i64..5).prop_map(UnixMillis::new));
        let counts = (count(), count(), count());
        let last = prop::option::of(((0_i64..5).prop_map(UnixMillis::new), outcome()));
        (counts, instant(), instant(), instant(), last).prop_map(
            |(counts, first_attempt, last_success, last_failure, last_outcome)| {
                let (attempts, failures, trailing_failures) = counts;
                Tally {
                    attempts,
                    failures,
                    trailing_failures,
                    first_attempt,
                    last_success,
                    last_failure,
                    last_outcome,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_are_added_first(
            a in any_tally(), b in any_tally(), c in any_tally(),
        ) {
            let left = a.clone().merge(b.clone()).merge(c.clone());
            prop_assert_eq!(left, a.merge(b.merge(c)));
        }

        #[test]
        fn no_attempts_change_nothing(tally in any_tally()) {
            prop_assert_eq!(tally.clone().merge(Tally::default()), tally.clone());
            prop_assert_eq!(Tally::default().merge(tally.clone()), tally);
        }

        /// Method: a model that uses the attempts themselves.
        #[test]
        fn a_tally_says_what_the_attempts_were(attempts in attempts()) {
            let sum = tally(&attempts);
            let failed = |(outcome, _): &&(Outcome, i64)| !outcome.is_accepted();
            let count = |number: usize| u64::try_from(number).unwrap();
            prop_assert_eq!(sum.attempts, count(attempts.len()));
            prop_assert_eq!(sum.failures, count(attempts.iter().filter(failed).count()));
            let trailing = attempts.iter().rev().take_while(failed).count();
            prop_assert_eq!(sum.trailing_failures, count(trailing));
            let first = attempts.iter().map(|(_, ended)| UnixMillis::new(*ended)).min();
            prop_assert_eq!(sum.first_attempt, first);
            prop_assert_eq!(sum.has_success(), sum.successes() > 0);
        }
    }

    #[test]
    fn the_last_outcome_is_the_one_that_ended_last() {
        let accepted = Outcome::Accepted { status: 200 };
        let refused = Outcome::Refused { status: 500, retry_after: None };
        let sum = tally(&[(accepted.clone(), 7), (refused.clone(), 3)]);
        assert_eq!(sum.last_outcome, Some((UnixMillis::new(7), accepted.clone())));
        assert_eq!(sum.last_failure, Some(UnixMillis::new(3)));
        let together = tally(&[(accepted, 7), (refused.clone(), 7)]);
        assert_eq!(together.last_outcome, Some((UnixMillis::new(7), refused)));
    }
}
