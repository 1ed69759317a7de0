//! Instants as arguments: the rules never read a clock.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, as headers and the store hold them.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// An instant from its number of milliseconds.
    #[must_use]
    pub const fn new(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// The number of milliseconds.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// Whole seconds, as `webhook-timestamp` has them.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The instant `duration` earlier; saturates.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The duration since `earlier`; zero if this is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

/// The start of the hour of `instant`, UTC.
#[must_use]
pub fn hour_of(instant: UnixMillis) -> UnixMillis {
    UnixMillis::new(instant.get().saturating_sub(instant.get().rem_euclid(HOUR_MS)))
}

/// The start of the following hour.
#[must_use]
pub fn next_hour(hour: UnixMillis) -> UnixMillis {
    UnixMillis::new(hour.get().saturating_add(HOUR_MS))
}

/// The text is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("milliseconds since 1970, a whole number")]
pub struct UnixMillisError;

impl FromStr for UnixMillis {
    type Err = UnixMillisError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| UnixMillisError)
    }
}

/// RFC 3339 in UTC, for operators.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_in_utc() {
        assert_eq!(UnixMillis::new(1_506_453_831_232).to_string(), "2017-09-26T19:23:51.232Z");
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_duration() {
        assert_eq!(UnixMillis::new(5).since(UnixMillis::new(9)), Duration::ZERO);
    }

    #[test]
    fn an_hour_begins_at_the_whole_hour() {
        assert_eq!(hour_of(UnixMillis::new(7_199_999)), UnixMillis::new(3_600_000));
        assert_eq!(hour_of(UnixMillis::new(7_200_000)), UnixMillis::new(7_200_000));
        assert_eq!(hour_of(UnixMillis::new(-1)), UnixMillis::new(-3_600_000));
    }

    #[test]
    fn hours_begin_where_clocks_say() {
        let hour = hour_of(UnixMillis::new(1_700_000_000_000));
        assert_eq!(hour.to_string(), "2023-11-14T22:00:00.000Z");
        assert_eq!(hour_of(hour), hour);
        assert_eq!(hour_of(UnixMillis::new(next_hour(hour).get() - 1)), hour);
    }
}
