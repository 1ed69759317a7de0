//! The rules by which a circuit opens and freezes.

use std::time::Duration;

use super::{Circuit, Window, reason::Reason};
use crate::{tally::Tally, time::UnixMillis};

/// The figures of the rules. "Above" is *more than*, "at" is *at least*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Opens when a greater share of the attempts failed, in per cent; 100 never does.
    pub open_above_percent: u8,
    /// … of more than so many attempts.
    pub open_above_attempts: u64,
    /// Opens at this many consecutive failures.
    pub open_at_consecutive_failures: u64,
    /// At this many attempts, the counts for the share are halved.
    pub rate_window_attempts: u64,
    /// From one probe to the next.
    pub probe_interval: Duration,
    /// From the opening to the first probe; doubles with each, up to `probe_interval`. Zero, or more
    /// than that: `probe_interval` from the first on.
    pub probe_first: Duration,
    /// Freezes at more consecutive failures than this …
    pub freeze_above_consecutive_failures: u64,
    /// … when the last success is longer ago than this.
    pub freeze_above_last_success_ago: Duration,
    /// Freezes at this many consecutive failures.
    pub freeze_at_consecutive_failures: u64,
}

impl Figures {
    /// The published figures, except for the window, about which nothing is published. In this one,
    /// an endpoint that has long accepted everything reaches 2,000 consecutive failures before more
    /// than 70 % of it failed; below 2,500 the rate would always be first.
    ///
    /// Source: Adobe Workfront, *Event subscription retries*: disabled and frozen URLs.
    #[must_use]
    pub fn published() -> Self {
        Self {
            open_above_percent: 70,
            open_above_attempts: 100,
            open_at_consecutive_failures: 2_000,
            rate_window_attempts: 3_000,
            probe_interval: Duration::from_mins(10),
            probe_first: Duration::ZERO,
            freeze_above_consecutive_failures: 2_000,
            freeze_above_last_success_ago: Duration::from_hours(72),
            freeze_at_consecutive_failures: 50_000,
        }
    }
}

/// Figures that are consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitRules(Figures);

/// Errors of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CircuitRulesError {
    /// `open_above_percent` is above 100.
    #[error("at most 100")]
    Percent,
    /// `open_at_consecutive_failures` is zero, so that nothing would ever be attempted.
    #[error("at least 1")]
    Row,
    /// `rate_window_attempts` would halve the counts before there are enough attempts.
    #[error("more than `open_above_attempts`, or the failure rate is never applied")]
    Window,
    /// `probe_interval` is zero, or out of range.
    #[error("between 1ms and {} days", CircuitRules::MAX_PROBE_INTERVAL.as_secs() / 86_400)]
    Interval,
    /// `freeze_at_consecutive_failures` would be reached before the circuit opens.
    #[error("at least `open_at_consecutive_failures`: only an open circuit freezes")]
    FreezeBeforeOpen,
}

impl CircuitRules {
    /// A month without a probe is a mistake in the settings: freezing exists for that.
    pub const MAX_PROBE_INTERVAL: Duration = Duration::from_hours(30 * 24);

    /// Rules with these figures.
    ///
    /// # Errors
    ///
    /// [`CircuitRulesError`] for the first invalid figure.
    pub fn new(figures: Figures) -> Result<Self, CircuitRulesError> {
        let interval = figures.probe_interval;
        if figures.open_above_percent > 100 {
            Err(CircuitRulesError::Percent)
        } else if figures.open_at_consecutive_failures == 0 {
            Err(CircuitRulesError::Row)
        } else if figures.rate_window_attempts <= figures.open_above_attempts {
            Err(CircuitRulesError::Window)
        } else if interval.as_millis() == 0 || interval > Self::MAX_PROBE_INTERVAL {
            Err(CircuitRulesError::Interval)
        } else if figures.freeze_at_consecutive_failures < figures.open_at_consecutive_failures {
            Err(CircuitRulesError::FreezeBeforeOpen)
        } else {
            Ok(Self(figures))
        }
    }

    /// The figures.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.0
    }

    /// Consecutive failures that have to be reported at once: each of eight workers may see a part
    /// of those that open a circuit.
    #[must_use]
    pub fn failures_at_once(&self) -> u64 {
        const PARTS: u64 = 8;
        (self.0.open_above_attempts.min(self.0.open_at_consecutive_failures) / PARTS).max(1)
    }

    /// True if `tally` may open a circuit: too great a share failed, or all of the last ones. Other
    /// tallies can be merged later: if too great a share of a sum failed, at least one of its
    /// tallies has too great a share by itself.
    #[must_use]
    pub fn points_to_opening(&self, tally: &Tally) -> bool {
        let window = Window { attempts: tally.attempts, failures: tally.failures };
        window.fails_above(self.0.open_above_percent)
            || tally.trailing_failures >= self.failures_at_once()
    }

    /// The due time of the next probe at `now` of a circuit that is open since `opened`: as long from
    /// now as it is open, within the bounds, which doubles with every probe.
    #[must_use]
    pub(super) fn next_probe(&self, opened: UnixMillis, now: UnixMillis) -> UnixMillis {
        let Figures { probe_first, probe_interval, .. } = self.0;
        let first = Some(probe_first).filter(|first| first.as_millis() > 0);
        let first = first.unwrap_or(probe_interval).min(probe_interval);
        now.plus(now.since(opened).clamp(first, probe_interval))
    }

    /// The reason for opening a closed circuit with these counts.
    pub(super) fn reason_to_open(&self, circuit: &Circuit) -> Option<Reason> {
        let Figures {
            open_above_percent, open_above_attempts, open_at_consecutive_failures, ..
        } = self.0;
        let Circuit { window, consecutive_failures, .. } = circuit;
        if *consecutive_failures >= open_at_consecutive_failures {
            return Some(Reason::ConsecutiveFailures { failures: *consecutive_failures });
        }
        (window.attempts > open_above_attempts && window.fails_above(open_above_percent))
            .then_some(Reason::FailureRate { window: *window })
    }

    /// The reason for freezing an open circuit with these counts at `now`.
    pub(super) fn reason_to_freeze(&self, circuit: &Circuit, now: UnixMillis) -> Option<Reason> {
        let failures = circuit.consecutive_failures;
        if failures >= self.0.freeze_at_consecutive_failures {
            return Some(Reason::ConsecutiveFailures { failures });
        }
        let ago = now.since(circuit.last_success_or_first_attempt());
        let silent = failures > self.0.freeze_above_consecutive_failures
            && ago > self.0.freeze_above_last_success_ago;
        silent.then_some(match circuit.last_success {
            Some(_) => Reason::LastSuccessLongAgo { failures, ago },
            None => Reason::NeverSucceeded { failures, ago },
        })
    }
}

/// The published figures.
impl Default for CircuitRules {
    fn default() -> Self {
        Self(Figures::published())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_figures_make_sense() {
        assert_eq!(CircuitRules::new(Figures::published()), Ok(CircuitRules::default()));
    }

    #[test]
    fn probes_begin_at_the_first_interval_and_double_up_to_the_last() {
        let probes = |probe_first, probe_interval| {
            let seconds = Duration::from_secs;
            let figures = Figures {
                probe_first: seconds(probe_first),
                probe_interval: seconds(probe_interval),
                ..Figures::published()
            };
            let rules = CircuitRules::new(figures).unwrap();
            let opened = UnixMillis::new(1_000_000);
            let mut now = opened;
            [(); 6].map(|()| {
                now = rules.next_probe(opened, now);
                now.since(opened).as_secs()
            })
        };
        assert_eq!(probes(5, 60), [5, 10, 20, 40, 80, 140]);
        assert_eq!(probes(0, 60), [60, 120, 180, 240, 300, 360]);
        assert_eq!(probes(90, 60), probes(0, 60));
    }

    #[test]
    fn some_failures_among_successes_can_wait_and_many_or_the_last_cannot() {
        use crate::outcome::Outcome;
        let rules = CircuitRules::default();
        let of = |outcomes: &[(u32, u16)]| {
            let attempts = outcomes.iter().flat_map(|(times, status)| {
                let outcome = match status {
                    200 => Outcome::Accepted { status: 200 },
                    _ => Outcome::Refused { status: *status, retry_after: None },
                };
                (0..*times).map(move |_| Tally::of(&outcome, UnixMillis::default()))
            });
            rules.points_to_opening(&attempts.fold(Tally::default(), Tally::merge))
        };
        assert_eq!(rules.failures_at_once(), 12);
        assert!(!of(&[]) && !of(&[(9, 200)]) && !of(&[(70, 500), (30, 200)]));
        assert!(of(&[(1, 500)]) && of(&[(71, 500), (29, 200)]));
        assert!(!of(&[(1_000, 200), (11, 500)]) && of(&[(1_000, 200), (12, 500)]));
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        let refusal = |change: fn(&mut Figures)| {
            let mut figures = Figures::published();
            change(&mut figures);
            CircuitRules::new(figures).unwrap_err().to_string()
        };
        insta::assert_snapshot!(refusal(|f| f.open_above_percent = 101), @"at most 100");
        insta::assert_snapshot!(refusal(|f| f.open_at_consecutive_failures = 0), @"at least 1");
        insta::assert_snapshot!(refusal(|f| f.rate_window_attempts = 100), @"more than `open_above_attempts`, or the failure rate is never applied");
        insta::assert_snapshot!(refusal(|f| f.probe_interval = Duration::from_nanos(9)), @"between 1ms and 30 days");
        insta::assert_snapshot!(refusal(|f| f.probe_interval = Duration::MAX), @"between 1ms and 30 days");
        insta::assert_snapshot!(refusal(|f| f.freeze_at_consecutive_failures = 1_999), @"at least `open_at_consecutive_failures`: only an open circuit freezes");
    }
}
