//! The decision about an outcome.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    delivery_control::DeliveryControl,
    outcome::Outcome,
    schedule::{Next, Schedule, Step},
};

/// The decision after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered: nothing follows.
    Done,
    /// Try again after a wait.
    Wait {
        /// The step of the schedule that the delivery is at from now on.
        step: Step,
        /// The schedule's wait at that step.
        wait: Duration,
        /// The time that the endpoint requested, if that is longer.
        not_before: Option<Duration>,
    },
    /// Given up, kept for an operator.
    Park(ParkReason),
}

/// The consequence of the answer 410 Gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGone {
    /// The delivery is parked, and its URL is frozen.
    Freeze,
    /// As every failure: the delivery is retried.
    Retry,
}

/// The reason for parking a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// No wait is left.
    Exhausted,
    /// The schedule ended while the circuit was open.
    CircuitOpen,
    /// The circuit is frozen.
    Frozen,
    /// The schedule ended before the endpoint, which was slow when it came, took it.
    EndpointSlow,
    /// The endpoint answered 410.
    Gone,
    /// Its handler, or its endpoint (`webhook-delivery: abort-message`), cancelled it: it would never
    /// succeed.
    Cancelled,
    /// Larger than `worker.max_event_bytes`.
    TooLarge,
    /// Not an event (no topic, unreadable properties), or one that the filters or the form of the
    /// subscription cannot be applied to.
    Unreadable,
    /// The endpoint of the subscription has not consented to be called.
    Unverified,
    /// The subscription was deleted.
    SubscriptionDeleted,
    /// The broker gave up redelivering it (`x-delivery-limit`).
    RejectedByBroker,
}

impl ParkReason {
    /// All of them, in the order in which the documentation lists them.
    pub const ALL: [Self; 11] = [
        Self::Exhausted,
        Self::CircuitOpen,
        Self::Frozen,
        Self::EndpointSlow,
        Self::Gone,
        Self::Cancelled,
        Self::TooLarge,
        Self::Unreadable,
        Self::Unverified,
        Self::SubscriptionDeleted,
        Self::RejectedByBroker,
    ];

    /// The name in headers, logs and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::CircuitOpen => "circuit_open",
            Self::Frozen => "frozen",
            Self::EndpointSlow => "endpoint_slow",
            Self::Gone => "gone",
            Self::Cancelled => "cancelled",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::Unverified => "unverified",
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

/// The text is not a park reason.
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

impl Verdict {
    /// The same, as the endpoint wants it: a delivery that it aborts is not tried again.
    #[must_use]
    pub fn controlled(self, control: Option<DeliveryControl>) -> Self {
        match (self, control) {
            (
                Self::Wait { .. } | Self::Park(ParkReason::Exhausted),
                Some(DeliveryControl::AbortMessage),
            ) => Self::Park(ParkReason::Cancelled),
            (verdict, Some(_) | None) => verdict,
        }
    }

    /// The time until the next attempt; `None`: there is none.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Wait { wait, not_before, .. } => Some(not_before.unwrap_or_default().max(*wait)),
            Self::Done | Self::Park(_) => None,
        }
    }
}

/// Decides what follows `outcome` for a delivery at `step`.
///
/// `Retry-After` moves the next attempt and costs no step beyond that of every failure. It moves it
/// by the [length](Schedule::length) of the schedule at most: a longer one would keep a delivery
/// neither delivered nor parked for as long as an endpoint likes.
#[must_use]
pub fn verdict(outcome: &Outcome, step: Step, schedule: &Schedule, on_gone: OnGone) -> Verdict {
    match outcome {
        Outcome::Accepted { .. } | Outcome::Done => Verdict::Done,
        Outcome::Refused { status: 410, .. } if on_gone == OnGone::Freeze => {
            Verdict::Park(ParkReason::Gone)
        }
        Outcome::Cancelled { .. } => Verdict::Park(ParkReason::Cancelled),
        Outcome::Refused { retry_after, .. } => {
            retry(step, schedule, retry_after.unwrap_or_default().min(schedule.length()))
        }
        Outcome::TimedOut { .. } | Outcome::Unreachable { .. } | Outcome::Failed { .. } => {
            retry(step, schedule, Duration::ZERO)
        }
    }
}

fn retry(step: Step, schedule: &Schedule, requested: Duration) -> Verdict {
    match schedule.after(step) {
        Next::Wait { step, wait } => {
            Verdict::Wait { step, wait, not_before: (requested > wait).then_some(requested) }
        }
        Next::Exhausted => Verdict::Park(ParkReason::Exhausted),
    }
}

/// The wait, of these, of a delivery that must be held for `remaining` more: the longest one that
/// is not too long, or the shortest if all are. Repeated, it never ends early, and ends late by
/// less than the shortest wait. `None` without waits.
pub fn hold(
    waits: impl Iterator<Item = Duration> + Clone,
    remaining: Duration,
) -> Option<Duration> {
    waits.clone().filter(|wait| *wait <= remaining).max().or_else(|| waits.min())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{Obstacle, Phase};

    fn seconds(list: &[u64]) -> Schedule {
        let waits: Vec<_> = list.iter().copied().map(Duration::from_secs).collect();
        Schedule::new(&waits).unwrap()
    }

    fn verdict(outcome: &Outcome, step: Step, schedule: &Schedule) -> Verdict {
        super::verdict(outcome, step, schedule, OnGone::Freeze)
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
    fn an_endpoint_aborts_what_would_be_tried_again() {
        let abort = Some(DeliveryControl::AbortMessage);
        let (first, last) = (Step::START, Step::new(1));
        let refused = refused(503, Some(5));
        for step in [first, last] {
            let verdict = verdict(&refused, step, &seconds(&[1]));
            assert_eq!(verdict.controlled(abort), Verdict::Park(ParkReason::Cancelled));
            assert_eq!(verdict.controlled(Some(DeliveryControl::Disable)), verdict);
            assert_eq!(verdict.controlled(None), verdict);
        }
        for verdict in [Verdict::Done, Verdict::Park(ParkReason::Gone)] {
            assert_eq!(verdict.controlled(abort), verdict);
        }
    }

    #[test]
    fn gone_parks_at_once() {
        let verdict = verdict(&refused(410, Some(5)), Step::START, &seconds(&[1]));
        assert_eq!(verdict, Verdict::Park(ParkReason::Gone));
    }

    #[test]
    fn gone_is_retried_where_it_is_a_failure_as_any_other() {
        let after = |step| {
            let outcome = refused(410, None);
            super::verdict(&outcome, Step::new(step), &seconds(&[7]), OnGone::Retry)
        };
        assert_eq!(after(0).wait(), Some(Duration::from_secs(7)));
        assert_eq!(after(1), Verdict::Park(ParkReason::Exhausted));
    }

    #[test]
    fn a_job_waits_when_it_failed_and_is_parked_when_it_is_cancelled() {
        let schedule = seconds(&[7]);
        let after = |outcome| verdict(&outcome, Step::START, &schedule);
        assert_eq!(after(Outcome::Done), Verdict::Done);
        let failed = after(Outcome::Failed { why: "busy".to_owned() });
        assert_eq!(failed.wait(), Some(Duration::from_secs(7)));
        let cancelled = after(Outcome::Cancelled { why: "no such user".to_owned() });
        assert_eq!(cancelled, Verdict::Park(ParkReason::Cancelled));
    }

    #[test]
    fn retry_after_moves_the_instant_by_the_length_of_the_schedule_at_most() {
        let schedule = seconds(&[2, 2, 2, 2, 20]);
        let waits = |requested| {
            let verdict = verdict(&refused(503, Some(requested)), Step::START, &schedule);
            let wait = Duration::from_secs(2);
            let Verdict::Wait { step, .. } = verdict else { panic!("{verdict:?}") };
            assert_eq!(step, Step::new(1), "one step, whatever is requested");
            assert!(verdict.wait() >= Some(wait), "no sooner than the schedule says");
            verdict.wait().unwrap().as_secs()
        };
        assert_eq!([0, 1, 2, 5, 28, 29, u64::MAX].map(waits), [2, 2, 2, 5, 28, 28, 28]);
    }

    /// 44,000 s are longer than all waits of the default schedule but the last.
    #[test]
    fn no_retry_after_skips_a_step_of_the_default_schedule() {
        let (mut step, mut requests) = (Step::START, 1);
        while let Verdict::Wait { step: next, .. } =
            verdict(&refused(429, Some(44_000)), step, &Schedule::workfront())
        {
            (step, requests) = (next, requests + 1);
        }
        assert_eq!(requests, 12);
    }

    proptest! {
        /// As many requests as there are waits, and one; no wait shorter than the schedule's or, up
        /// to its length, than the requested one.
        #[test]
        fn no_answer_costs_more_than_one_step(
            waits in proptest::collection::vec(1_u64..100_000, 0..20),
            requested in proptest::collection::vec(any::<Option<u32>>(), 21),
        ) {
            let schedule = seconds(&waits);
            let mut step = Step::START;
            for (index, requested) in requested.into_iter().map(|requested| requested.map(u64::from)).enumerate() {
                let verdict = verdict(&refused(503, requested), step, &schedule);
                let Some(wait) = waits.get(index) else {
                    prop_assert_eq!(verdict, Verdict::Park(ParkReason::Exhausted));
                    break;
                };
                let Verdict::Wait { step: next, .. } = verdict else {
                    return Err(TestCaseError::fail(format!("{verdict:?} at {index}")));
                };
                prop_assert_eq!(next, Step::new(step.get() + 1));
                let requested = requested.unwrap_or_default().min(waits.iter().sum());
                prop_assert_eq!(verdict.wait().unwrap().as_secs(), requested.max(*wait));
                step = next;
            }
        }

        /// Repeated holds: never early, late by less than the shortest wait, and no wait except the
        /// last is longer than what remains.
        #[test]
        fn holding_ends_at_the_requested_time(
            waits in proptest::collection::vec(1_000_u64..100_000, 1..20), requested_ms in 1_u64..1_000_000,
        ) {
            let waits = || waits.iter().copied().map(Duration::from_millis);
            let requested = Duration::from_millis(requested_ms);
            let mut held = Duration::ZERO;
            while held < requested {
                let remaining = requested.saturating_sub(held);
                let wait = hold(waits(), remaining).unwrap();
                prop_assert!(wait <= remaining || Some(wait) == waits().min());
                held += wait;
            }
            prop_assert!(held < requested + waits().min().unwrap());
        }
    }

    #[test]
    fn holding_takes_the_longest_wait_that_is_not_too_long() {
        let wait = |seconds| {
            let waits = [1, 8, 2, 4].into_iter().map(Duration::from_secs);
            hold(waits, Duration::from_secs(seconds)).map(|wait| wait.as_secs())
        };
        assert_eq!([0, 1, 3, 4, 60].map(wait), [1, 1, 2, 4, 8].map(Some));
        assert_eq!(hold(std::iter::empty(), Duration::from_secs(1)), None);
    }

    #[test]
    fn a_reason_is_read_as_it_is_written() {
        for reason in ParkReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!("dead".parse::<ParkReason>().is_err());
    }
}
