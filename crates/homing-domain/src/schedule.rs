//! The times at which a failed delivery is retried.
//!
//! A schedule is a list of waits. A delivery's [`Step`] is its position in that list: the number of
//! waits before it, waited or skipped.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The unit of Workfront's published retry formula. Source: Adobe Workfront, event subscription
/// retries: `((2^attempt) - 1) * 84800 ms`.
pub const WORKFRONT_UNIT: Duration = Duration::from_millis(84_800);

/// Position in a schedule: 0 = none waited yet, n = the n-th wait is being or was waited.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Step(u32);

impl Step {
    /// Before the first wait.
    pub const START: Self = Self(0);

    /// A step from its number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself, for headers and logs.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The waits between the attempts of a delivery; bounded in number, none of them zero.
///
/// The default reads Workfront's formula as the offset of retry *n* from the first failure, so
/// the wait before retry *n* is `84.8 s × 2ⁿ⁻¹`. The table is a test:
///
/// ```
/// use homing_domain::schedule::{Next, Schedule, Step};
/// use std::time::Duration;
///
/// let schedule = Schedule::workfront();
/// let wait = |step| match schedule.after(Step::new(step)) {
///     Next::Wait { wait, .. } => wait.as_millis(),
///     Next::Exhausted => 0,
/// };
/// let due = |retry: u32| (0..retry).map(wait).sum::<u128>();
/// //           retry  wait before it          due after the first failure
/// assert_eq!((wait(0), due(1)), (84_800, 84_800)); //                  1 min 25 s
/// assert_eq!((wait(1), due(2)), (169_600, 254_400)); //                4 min 14 s
/// assert_eq!((wait(2), due(3)), (339_200, 593_600)); //                9 min 54 s
/// assert_eq!((wait(3), due(4)), (678_400, 1_272_000)); //             21 min 12 s
/// assert_eq!((wait(4), due(5)), (1_356_800, 2_628_800)); //           43 min 49 s
/// assert_eq!((wait(5), due(6)), (2_713_600, 5_342_400)); //       1 h 29 min
/// assert_eq!((wait(6), due(7)), (5_427_200, 10_769_600)); //      2 h 59 min
/// assert_eq!((wait(7), due(8)), (10_854_400, 21_624_000)); //     6 h
/// assert_eq!((wait(8), due(9)), (21_708_800, 43_332_800)); //    12 h  2 min
/// assert_eq!((wait(9), due(10)), (43_417_600, 86_750_400)); //   24 h  6 min
/// assert_eq!((wait(10), due(11)), (86_835_200, 173_585_600)); // 48 h 13 min
/// assert_eq!(schedule.after(Step::new(11)), Next::Exhausted);
/// ```
///
/// The other reading takes the formula as the wait itself:
///
/// ```
/// use homing_domain::schedule::Schedule;
///
/// let waits: Vec<_> =
///     Schedule::workfront_delay().waits().iter().map(|wait| wait.as_millis()).collect();
/// assert_eq!(waits, [
///     84_800, 254_400, 593_600, 1_272_000, 2_628_800, // 1.4 min … 44 min
///     5_342_400, 10_769_600, 21_624_000, 43_332_800, 86_750_400, // 1.5 h … 24.1 h
/// ]);
/// assert_eq!(waits.iter().sum::<u128>(), 172_652_800); // 47.96 h
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `waits[i]` leads from step `i` to step `i + 1`.
    waits: Vec<Duration>,
}

/// The next step after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait, then try again.
    Wait {
        /// The step that this wait leads to.
        step: Step,
        /// Its length.
        wait: Duration,
    },
    /// No wait is left.
    Exhausted,
}

/// Errors of a list of waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A wait that no wait queue can have.
    #[error("wait {position} is {wait:?}; a wait lasts from 1 ms to {:?}", Schedule::MAX_WAIT)]
    Wait {
        /// Counted from 1.
        position: usize,
        /// The wait as given.
        wait: Duration,
    },
    /// More waits than homing declares queues for.
    #[error("{count} waits; a schedule has at most {}", Schedule::MAX_WAITS)]
    TooMany {
        /// Their number.
        count: usize,
    },
}

impl Schedule {
    /// Every wait is a queue at the broker; more than this is a mistake in the settings.
    pub const MAX_WAITS: usize = 64;

    /// The longest TTL that the broker accepts: 2³² − 1 ms, 49.7 days.
    /// Source: RabbitMQ, `rabbit_misc:check_expiry`.
    pub const MAX_WAIT: Duration = Duration::from_millis(u32::MAX as u64);

    /// A schedule of these waits; none means no retries. Fractions of a millisecond are cut off.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`].
    pub fn new(waits: &[Duration]) -> Result<Self, ScheduleError> {
        if waits.len() > Self::MAX_WAITS {
            return Err(ScheduleError::TooMany { count: waits.len() });
        }
        for (index, wait) in waits.iter().enumerate() {
            if wait.as_millis() == 0 || *wait > Self::MAX_WAIT {
                let position = index.saturating_add(1);
                return Err(ScheduleError::Wait { position, wait: *wait });
            }
        }
        Ok(Self { waits: waits.iter().map(|wait| whole_millis(*wait)).collect() })
    }

    /// `84.8 s × 2ⁿ⁻¹`, n = 1…11: retry *n* is due `84.8 s × (2ⁿ − 1)` after the first failure.
    #[must_use]
    pub fn workfront() -> Self {
        Self { waits: (0..11).map(|power| WORKFRONT_UNIT * 2_u32.pow(power)).collect() }
    }

    /// `84.8 s × (2ⁿ − 1)`, n = 1…10, as the wait itself.
    #[must_use]
    pub fn workfront_delay() -> Self {
        Self { waits: (1..=10).map(|n| WORKFRONT_UNIT * (2_u32.pow(n) - 1)).collect() }
    }

    /// The waits that the Standard Webhooks specification gives as an example.
    /// Source: Standard Webhooks, *Delivery*, retry schedule.
    #[must_use]
    pub fn standard_webhooks() -> Self {
        const HOUR: u64 = 3_600;
        let seconds =
            [5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self { waits: seconds.map(Duration::from_secs).to_vec() }
    }

    /// The waits, in order.
    #[must_use]
    pub fn waits(&self) -> &[Duration] {
        &self.waits
    }

    /// The sum of all waits: the time over which a delivery is retried, without its requests.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.waits.iter().fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait))
    }

    /// The wait after `step`, the last one where none follows; `None`: there are no waits.
    #[must_use]
    pub fn wait_at(&self, step: Step) -> Option<Duration> {
        let behind = usize::try_from(step.get()).unwrap_or(usize::MAX);
        self.waits.get(behind).or(self.waits.last()).copied()
    }

    /// The next step after a failure of a delivery at `step`. Changes nothing.
    #[must_use]
    pub fn after(&self, step: Step) -> Next {
        let behind = usize::try_from(step.get()).unwrap_or(usize::MAX);
        self.waits.get(behind).map_or(Next::Exhausted, |wait| Next::Wait {
            step: Step(step.get().saturating_add(1)),
            wait: *wait,
        })
    }
}

/// A wait queue's TTL is a whole number of milliseconds.
fn whole_millis(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waits() -> impl Strategy<Value = Vec<Duration>> {
        proptest::collection::vec((1_u64..1_000_000).prop_map(Duration::from_millis), 0..20)
    }

    proptest! {
        /// A schedule of n waits is exhausted after exactly n failures, in the order given.
        #[test]
        fn each_wait_is_waited_once(waits in waits()) {
            let schedule = Schedule::new(&waits).unwrap();
            let mut step = Step::START;
            for expected in &waits {
                let Next::Wait { step: next, wait } = schedule.after(step) else {
                    return Err(TestCaseError::fail(format!("exhausted at {step:?}")));
                };
                prop_assert_eq!(&wait, expected);
                step = next;
            }
            prop_assert_eq!(schedule.after(step), Next::Exhausted);
        }
    }

    #[test]
    fn a_wait_of_nothing_is_refused_by_its_position() {
        let error = Schedule::new(&[Duration::from_secs(1), Duration::ZERO]).unwrap_err();
        insta::assert_snapshot!(error, @"wait 2 is 0ns; a wait lasts from 1 ms to 4294967.295s");
    }

    #[test]
    fn standard_webhooks_spans_about_three_days() {
        let total: Duration = Schedule::standard_webhooks().waits().iter().sum();
        assert_eq!(total.as_secs(), 5 + 300 + 1_800 + 75 * 3_600);
    }
}
