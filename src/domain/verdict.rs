//! What we do about an outcome.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    outcome::Outcome,
    schedule::{Next, Schedule, Step},
};

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered: nothing is owed any more.
    Done,
    /// Try again after a wait.
    Wait {
        /// The step of the schedule that the delivery stands at from now on.
        step: Step,
        /// Which wait queue.
        wait: Duration,
        /// What the endpoint asked for where that is longer than every wait of the schedule.
        not_before: Option<Duration>,
    },
    /// Given up, kept for a person.
    Park(ParkReason),
}

/// Why a message is in the parking queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// No wait is left.
    Exhausted,
    /// The schedule ended while the circuit was open.
    CircuitOpen,
    /// The circuit is frozen.
    Frozen,
    /// The endpoint answered 410.
    Gone,
    /// Larger than `worker.event_bytes_max`.
    TooLarge,
    /// Not an event: no topic, or properties that cannot be read.
    Unreadable,
    /// Nobody is left to whom it is owed.
    SubscriptionDeleted,
    /// The broker gave up redelivering it (`x-delivery-limit`).
    RejectedByBroker,
}

impl ParkReason {
    /// All of them, in the order in which the documentation lists them.
    pub const ALL: [Self; 8] = [
        Self::Exhausted,
        Self::CircuitOpen,
        Self::Frozen,
        Self::Gone,
        Self::TooLarge,
        Self::Unreadable,
        Self::SubscriptionDeleted,
        Self::RejectedByBroker,
    ];

    /// The word in headers, logs and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::CircuitOpen => "circuit_open",
            Self::Frozen => "frozen",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::SubscriptionDeleted => "subscription_deleted",
            Self::RejectedByBroker => "rejected_by_broker",
        }
    }
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word is not a park reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a reason; one of {all}", all = ParkReason::ALL.map(ParkReason::as_str).join(", "))]
pub struct ParkReasonError(String);

impl FromStr for ParkReason {
    type Err = ParkReasonError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .ok_or_else(|| ParkReasonError(word.chars().take(64).collect()))
    }
}

/// The longest `Retry-After` that is honoured: the whole of the default schedule. A longer one
/// would keep a delivery neither delivered nor parked for as long as an endpoint likes.
pub const RETRY_AFTER_MAX: Duration = Duration::from_millis(173_585_600);

/// Decides what follows `outcome` for a delivery that stands at `step`.
#[must_use]
pub fn verdict(outcome: &Outcome, step: Step, schedule: &Schedule) -> Verdict {
    match outcome {
        Outcome::Accepted { .. } => Verdict::Done,
        Outcome::Refused { status: 410, .. } => Verdict::Park(ParkReason::Gone),
        Outcome::Refused { retry_after, .. } => {
            again(step, schedule, retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
        }
        Outcome::TimedOut { .. } | Outcome::Unreachable { .. } => {
            again(step, schedule, Duration::ZERO)
        }
    }
}

fn again(step: Step, schedule: &Schedule, asked: Duration) -> Verdict {
    match schedule.after_at_least(step, asked) {
        Next::Wait { step, wait } => {
            Verdict::Wait { step, wait, not_before: (asked > wait).then_some(asked) }
        }
        Next::Exhausted => Verdict::Park(ParkReason::Exhausted),
    }
}

/// The wait queue for a delivery that must be held for `remaining` more: the shortest wait of its
/// schedule that covers it, else the longest. `None` for a schedule without waits.
#[must_use]
pub fn hold(schedule: &Schedule, remaining: Duration) -> Option<Duration> {
    let long_enough = schedule.waits().iter().filter(|wait| **wait >= remaining).min();
    long_enough.or_else(|| schedule.waits().iter().max()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Obstacle, Phase};

    fn seconds(list: &[u64]) -> Schedule {
        let waits: Vec<_> = list.iter().copied().map(Duration::from_secs).collect();
        Schedule::new(&waits).unwrap()
    }

    fn refused(status: u16, retry_after_s: Option<u64>) -> Outcome {
        Outcome::Refused { status, retry_after: retry_after_s.map(Duration::from_secs) }
    }

    #[test]
    fn every_failure_waits_and_the_last_one_parks() {
        let schedule = seconds(&[1, 2]);
        let failures = [
            refused(301, None),
            refused(404, None),
            refused(500, None),
            Outcome::TimedOut { phase: Phase::Headers },
            Outcome::Unreachable { kind: Obstacle::Dns },
        ];
        for outcome in failures {
            assert_eq!(
                verdict(&outcome, Step::new(1), &schedule),
                Verdict::Wait {
                    step: Step::new(2),
                    wait: Duration::from_secs(2),
                    not_before: None
                }
            );
            assert_eq!(
                verdict(&outcome, Step::new(2), &schedule),
                Verdict::Park(ParkReason::Exhausted)
            );
        }
    }

    #[test]
    fn gone_parks_at_once() {
        let verdict = verdict(&refused(410, Some(5)), Step::START, &seconds(&[1]));
        assert_eq!(verdict, Verdict::Park(ParkReason::Gone));
    }

    #[test]
    fn retry_after_picks_the_first_wait_that_is_long_enough() {
        let verdict = verdict(&refused(429, Some(3)), Step::START, &seconds(&[1, 2, 4, 8]));
        assert_eq!(
            verdict,
            Verdict::Wait { step: Step::new(3), wait: Duration::from_secs(4), not_before: None }
        );
    }

    #[test]
    fn retry_after_beyond_every_wait_is_remembered_and_bounded() {
        let schedule = seconds(&[1, 2]);
        let wait = |asked, not_before| {
            assert_eq!(
                verdict(&refused(503, Some(asked)), Step::START, &schedule),
                Verdict::Wait {
                    step: Step::new(1),
                    wait: Duration::from_secs(1),
                    not_before: Some(not_before)
                }
            );
        };
        wait(60, Duration::from_secs(60));
        wait(u64::MAX, RETRY_AFTER_MAX);
    }

    #[test]
    fn holding_takes_the_fewest_rounds() {
        let wait = |asked| hold(&seconds(&[1, 8, 2, 4]), Duration::from_secs(asked));
        assert_eq!(wait(2), Some(Duration::from_secs(2)));
        assert_eq!(wait(3), Some(Duration::from_secs(4)));
        assert_eq!(wait(60), Some(Duration::from_secs(8)));
        assert_eq!(hold(&seconds(&[]), Duration::from_secs(1)), None);
    }

    #[test]
    fn a_reason_is_read_as_it_is_written() {
        for reason in ParkReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!("dead".parse::<ParkReason>().is_err());
    }
}
