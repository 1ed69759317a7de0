//! Numbers as decimal text: compared exactly, whatever their size.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

/// A number of JSON by its digits, `± 0.DIGITS × 10^exponent` without leading or trailing zeros; so
/// equal numbers have equal parts. Exponents beyond 64 bits are all the same.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'t> {
    is_negative: bool,
    exponent: i64,
    /// The digits are those of `whole` and then those of `fraction`.
    whole: &'t [u8],
    fraction: &'t [u8],
}

impl<'t> Decimal<'t> {
    /// Reads a number in JSON's syntax; `None` for anything else.
    #[must_use]
    pub fn parse(text: &'t str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, read_exponent(rest.get(at.saturating_add(1)..)?)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if !is_digits(whole) || whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        Some(Self::of(is_negative, whole, fraction, exponent))
    }

    fn of(is_negative: bool, whole: &'t str, fraction: &'t str, exponent: i64) -> Self {
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let places = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        let (whole, digits, places) = if whole.is_empty() {
            let digits = fraction.trim_start_matches('0');
            let zeros = fraction.len().saturating_sub(digits.len());
            (whole, digits, i64::try_from(zeros).unwrap_or(i64::MAX).saturating_neg())
        } else if fraction.is_empty() {
            (whole.trim_end_matches('0'), fraction, places)
        } else {
            (whole, fraction, places)
        };
        let is_zero = whole.is_empty() && digits.is_empty();
        Self {
            is_negative: is_negative && !is_zero,
            exponent: if is_zero { 0 } else { exponent.saturating_add(places) },
            whole: whole.as_bytes(),
            fraction: digits.as_bytes(),
        }
    }

    /// True if it has no fraction.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let digits = self.whole.len().saturating_add(self.fraction.len());
        i64::try_from(digits).is_ok_and(|digits| digits <= self.exponent.max(0))
    }

    /// The number as an integer; `None` if it is none, or too large.
    #[must_use]
    pub fn to_integer(&self) -> Option<i128> {
        /// Digits that always fit.
        const MAX_PLACES: i64 = 38;
        if !self.is_whole() || self.exponent > MAX_PLACES {
            return None;
        }
        let size = self.digits().try_fold(0_i128, |size, digit| {
            size.checked_mul(10)?.checked_add(i128::from(digit.saturating_sub(b'0')))
        })?;
        let digits = i64::try_from(self.digits().count()).ok()?;
        let zeros = u32::try_from(self.exponent.saturating_sub(digits)).ok()?;
        let size = size.checked_mul(10_i128.checked_pow(zeros)?)?;
        Some(if self.is_negative { size.saturating_neg() } else { size })
    }

    fn digits(&self) -> impl Iterator<Item = &'t u8> {
        self.whole.iter().chain(self.fraction)
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// Compares the absolute values.
    fn order_size(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Digits of the same place are aligned, because none begins with a zero.
            (false, false) => {
                self.exponent.cmp(&other.exponent).then_with(|| self.digits().cmp(other.digits()))
            }
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if !is_digits(digits) {
        return None;
    }
    // Far from the limits, so that the places of the digits fit, too.
    let size = digits.parse().unwrap_or(i64::MAX).min(i64::MAX / 2);
    Some(if is_negative { size.saturating_neg() } else { size })
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.order_size(other),
            (true, true) => other.order_size(self),
        }
    }
}

impl Hash for Decimal<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.is_negative, self.exponent).hash(state);
        self.digits().for_each(|digit| state.write_u8(*digit));
        // Not a digit, so that what follows cannot be taken for one.
        state.write_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("`{text}` is a number"))
    }

    #[test]
    fn numbers_of_any_size_are_in_order() {
        let huge = format!("1{}", "0".repeat(310));
        let huger = format!("1{}1", "0".repeat(309));
        let ascending = [
            "-1e99999999999999999999",
            "-1e400",
            "-1.5",
            "-1",
            "-1e-400",
            "0",
            "1e-400",
            "5e-324",
            "0.1",
            "0.10000000000000000001",
            "0.5",
            "1",
            "1.5",
            "9.99",
            "10",
            "9007199254740992",
            "9007199254740993",
            "1e300",
            huge.as_str(),
            huger.as_str(),
            "1e400",
            "1e99999999999999999999",
        ];
        for (left_at, left) in ascending.iter().enumerate() {
            for (right_at, right) in ascending.iter().enumerate() {
                let order = decimal(left).cmp(&decimal(right));
                assert_eq!(order, left_at.cmp(&right_at), "{left} and {right}");
            }
        }
    }

    #[test]
    fn equal_numbers_are_equal_in_every_spelling() {
        let spellings = [
            &["0", "-0", "0.0", "0e5", "-0.00E-3"][..],
            &["100", "1e2", "1E+2", "100.0", "0.1e3", "1000e-1", "10.00e1"],
            &["-12.5", "-125e-1", "-0.125e2", "-12.50"],
        ];
        let hasher = std::hash::RandomState::new();
        for same in spellings {
            for (left, right) in same.iter().flat_map(|left| same.iter().map(move |it| (left, it)))
            {
                let (left, right) = (decimal(left), decimal(right));
                assert_eq!(left, right);
                assert_eq!(hasher.hash_one(left), hasher.hash_one(right));
            }
        }
    }

    #[test]
    fn only_numbers_of_json_are_numbers() {
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", " 1", "1 ", "NaN", "١", "1e1.5"]
        {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        for (text, is_whole) in [
            ("0", true),
            ("10", true),
            ("1.50e1", true),
            ("1.5", false),
            ("1e-1", false),
            ("1e9", true),
        ] {
            assert_eq!(decimal(text).is_whole(), is_whole, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_and_floats_are_ordered_as_what_they_are(
            left in any::<i128>(), right in any::<i128>(), first in any::<f64>(), second in any::<f64>(),
        ) {
            let (one, other) = (left.to_string(), right.to_string());
            prop_assert_eq!(decimal(&one).cmp(&decimal(&other)), left.cmp(&right));
            let small = left / 10_i128.pow(3);
            prop_assert_eq!(decimal(&format!("{small}e2")).to_integer(), small.checked_mul(100));
            if first.is_finite() && second.is_finite() {
                let (one, other) = (format!("{first:e}"), format!("{second:?}"));
                let order = decimal(&one).cmp(&decimal(&other));
                prop_assert_eq!(Some(order), first.partial_cmp(&second));
            }
        }
    }
}
