//! The limits of one subscription: how often, how many at a time, and for how long it is called.

use std::{num::NonZeroU32, time::Duration};

use humantime_serde::re::humantime::{format_duration, parse_duration};

use super::{Draft, FieldError};

const MAX_RATE_LIMIT: u32 = 1_000_000;
const MAX_CONCURRENCY: u32 = 10_000;

/// The longest deadline of a subscription's own.
pub const MAX_DEADLINE: Duration = Duration::from_secs(60);

impl Draft {
    pub(super) fn rate_limit(&self) -> Result<Option<NonZeroU32>, FieldError> {
        up_to("rate_limit", self.rate_limit, MAX_RATE_LIMIT)
    }

    pub(super) fn max_concurrency(&self) -> Result<Option<NonZeroU32>, FieldError> {
        up_to("max_concurrency", self.max_concurrency, MAX_CONCURRENCY)
    }

    pub(super) fn deadline(&self) -> Result<Option<Duration>, FieldError> {
        let Some(text) = &self.deadline else { return Ok(None) };
        let wrong = || {
            let max = MAX_DEADLINE.as_secs();
            FieldError::new("deadline", format!("a time such as 30s, of 1 ms to {max} s"))
        };
        // Kept in milliseconds.
        let deadline = parse_duration(text.trim()).map_err(|_| wrong())?;
        let is_whole = deadline.subsec_nanos().is_multiple_of(1_000_000);
        let is_sound = is_whole && !deadline.is_zero() && deadline <= MAX_DEADLINE;
        if is_sound { Ok(Some(deadline)) } else { Err(wrong()) }
    }

    /// A deadline as a draft has it.
    #[must_use]
    pub fn written_deadline(deadline: Duration) -> String {
        format_duration(deadline).to_string()
    }
}

fn up_to(field: &str, given: Option<u32>, max: u32) -> Result<Option<NonZeroU32>, FieldError> {
    let Some(given) = given else { return Ok(None) };
    let limit = NonZeroU32::new(given).filter(|limit| limit.get() <= max);
    limit.map(Some).ok_or_else(|| FieldError::new(field, format!("between 1 and {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(text: &str) -> Result<Option<Duration>, FieldError> {
        Draft { deadline: Some(text.to_owned()), ..Draft::new("https://a/", "t") }.deadline()
    }

    #[test]
    fn a_deadline_is_a_time_of_up_to_a_minute() {
        for (text, ms) in [("30s", 30_000), ("1m", 60_000), (" 7s 500ms ", 7_500), ("1ms", 1)] {
            let read = deadline(text).unwrap().unwrap();
            assert_eq!(read, Duration::from_millis(ms), "{text}");
            assert_eq!(deadline(&Draft::written_deadline(read)).unwrap(), Some(read));
        }
        for text in ["", "0s", "61s", "30", "-1s", "1us", "soon", "9999999999999y"] {
            assert_eq!(deadline(text).unwrap_err().field, "deadline", "{text}");
        }
    }
}
