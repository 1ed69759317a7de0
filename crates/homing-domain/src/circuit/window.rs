//! The results of the last attempts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// Two counts of about the last attempts, for the failure rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The number of attempts counted.
    pub attempts: u64,
    /// The number of failures among them; never more than `attempts`.
    pub failures: u64,
}

impl Window {
    /// Adds the attempts of `tally`.
    pub(super) fn with(self, tally: &Tally) -> Self {
        let attempts = self.attempts.saturating_add(tally.attempts);
        let failures = self.failures.saturating_add(tally.failures);
        Self { attempts, failures: failures.min(attempts) }
    }

    /// Halves both counts until there are fewer attempts than `max_attempts`: old attempts count
    /// less and less, and the rate stays.
    pub(super) fn decayed(mut self, max_attempts: u64) -> Self {
        // Zero would never end; the rules exclude it.
        while self.attempts >= max_attempts.max(1) {
            self.attempts /= 2;
            self.failures /= 2;
        }
        self
    }

    /// True if a greater share than `percent` failed.
    pub(super) fn fails_above(self, percent: u8) -> bool {
        u128::from(self.failures) * 100 > u128::from(self.attempts) * u128::from(percent)
    }

    /// The share that failed, in hundredths of a per cent, rounded down.
    fn hundredths(self) -> u128 {
        let (attempts, failures) = (u128::from(self.attempts), u128::from(self.failures));
        (failures * 10_000).checked_div(attempts).unwrap_or(0)
    }
}

/// `103 of 143 attempts failed (72.02 %)`: with the counts, so that 701 of 1,001 does not read as
/// if it had opened at 70 %.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, failures } = self;
        let (whole, rest) = (self.hundredths() / 100, self.hundredths() % 100);
        write!(f, "{failures} of {attempts} attempts failed ({whole}")?;
        match (rest / 10, rest % 10) {
            (0, 0) => {}
            (tenth, 0) => write!(f, ".{tenth}")?,
            (tenth, hundredth) => write!(f, ".{tenth}{hundredth}")?,
        }
        f.write_str(" %)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Method: halving loses less than one failure and one attempt each time.
        #[test]
        fn halving_keeps_the_rate(
            (attempts, failures) in (0_u64..100_000).prop_flat_map(|all| (Just(all), 0..=all)),
            max_attempts in 1_u64..3_000,
        ) {
            let decayed = Window { attempts, failures }.decayed(max_attempts);
            prop_assert!(decayed.attempts < max_attempts);
            prop_assert!(decayed.failures <= decayed.attempts);
            prop_assert!(attempts < max_attempts || decayed.attempts >= max_attempts / 2);
            // failures / attempts = decayed.failures / decayed.attempts, but for one of each.
            prop_assert!(decayed.failures * attempts <= failures * (decayed.attempts + 1));
            prop_assert!((decayed.failures + 1) * attempts >= failures * decayed.attempts);
        }

        #[test]
        fn no_counts_are_too_large(attempts: u64, failures: u64, percent in 0_u8..=100) {
            let tally = Tally { attempts, failures, ..Tally::default() };
            let window = Window { attempts: u64::MAX, failures: 1 }.with(&tally);
            prop_assert!(window.decayed(1).attempts < 1);
            prop_assert!(window.to_string().contains('%'));
            let _any = window.fails_above(percent);
        }
    }

    #[test]
    fn a_rate_is_above_a_figure_only_when_it_is_greater() {
        let above = |failures| Window { attempts: 1_000, failures }.fails_above(70);
        assert!(!above(700));
        assert!(above(701));
        assert!(!Window::default().fails_above(0));
    }
}
