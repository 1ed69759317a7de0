//! A histogram of durations with fixed logarithmic buckets, so that any two add up.

use super::sparse::Sparse;

/// A power of two is divided into 2^`BITS` buckets.
const BITS: u32 = 3;
/// The longest duration that is distinguished: 49 days.
const MAX_MS: u64 = 0xffff_ffff;

/// Durations in milliseconds. A duration is known to a sixteenth of itself ([`Self::ERROR_PERCENT`]),
/// and exactly below 16 ms; longer ones than 49 days count as these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(pub(super) Sparse);

impl Histogram {
    /// A percentile is at most this far from the true one, in per cent.
    pub const ERROR_PERCENT: f64 = 6.25;

    /// Adds a duration.
    pub fn add(&mut self, millis: u64) {
        self.0.add(bucket(millis), 1);
    }

    /// Adds the durations of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// The number of durations.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, number)| sum.saturating_add(number))
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The duration in milliseconds that `percent` of a hundred do not exceed; `None`: there is
    /// none.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let (all, percent) = (u128::from(self.len()), u128::from(percent.min(100)));
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let found = self.0.iter().find(|(_, number)| {
            seen = seen.saturating_add(u128::from(*number));
            seen >= wanted
        });
        found.map(|(bucket, _)| middle(bucket))
    }
}

/// The bucket of a duration: the first 2^`BITS` are a millisecond each; of each further power of
/// two, the bits below the highest one choose one of 2^`BITS`.
fn bucket(millis: u64) -> u8 {
    let millis = millis.min(MAX_MS);
    let shift = (u64::BITS - millis.leading_zeros()).saturating_sub(BITS + 1);
    let bucket = (u64::from(shift) << BITS) + (millis >> shift);
    u8::try_from(bucket).unwrap_or(u8::MAX)
}

/// The duration in the middle of a bucket.
fn middle(bucket: u8) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> BITS).saturating_sub(1);
    let lowest = (bucket - (shift << BITS)) << shift;
    lowest + ((1 << shift) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: the error that the documentation states is the largest.
        #[test]
        fn a_duration_is_known_to_a_sixteenth(exponent in 0_u32..32, part in any::<u32>()) {
            let millis = (1_u64 << exponent) + (u64::from(part) % (1 << exponent));
            let error = middle(bucket(millis)).abs_diff(millis);
            prop_assert!(error * 16 <= millis, "{millis} ms: {error}");
            prop_assert!(millis >= 16 || error == 0);
            prop_assert!(bucket(millis) <= bucket(millis + 1));
        }

        /// Goal: percentiles are those of the durations, up to that error.
        #[test]
        fn percentiles_are_those_of_the_durations(
            mut all in prop::collection::vec(0_u64..10_000_000, 1..200),
            percent in 0_u8..=100,
        ) {
            let mut histogram = Histogram::default();
            for one in &all {
                histogram.add(*one);
            }
            all.sort_unstable();
            let rank = (all.len() * usize::from(percent)).div_ceil(100).max(1);
            let (exact, found) = (all[rank - 1], histogram.percentile(percent).unwrap());
            prop_assert!(found.abs_diff(exact) * 16 <= exact, "{found} instead of {exact}");
            prop_assert_eq!(histogram.len(), u64::try_from(all.len()).unwrap());
        }
    }

    #[test]
    fn nothing_has_no_percentiles_and_the_longest_fits() {
        assert_eq!(Histogram::default().percentile(50), None);
        assert!(Histogram::default().is_empty());
        assert!(bucket(u64::MAX) < u8::MAX && bucket(u64::MAX) == bucket(MAX_MS));
        let ends = [0, 7, 8, 15, 16, 17, 18].map(bucket);
        assert_eq!(ends, [0, 7, 8, 15, 16, 16, 17]);
    }
}
