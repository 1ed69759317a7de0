//! Durations as settings write them: `1m 30s`, `400days`. No unit is longer than a day, because years
//! and months differ in length; they are read as on average.

use std::time::Duration;

use humantime_serde::re::humantime::format_duration;
use serde::{Deserializer, Serializer};

const DAY: u64 = 24 * 60 * 60;

/// Writes `duration` as a text.
///
/// # Errors
///
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

/// Reads a duration.
///
/// # Errors
///
/// It is no text of that form.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime_serde::deserialize(deserializer)
}

fn text(duration: Duration) -> String {
    let days = duration.as_secs() / DAY;
    let rest = duration.saturating_sub(Duration::from_secs(days.saturating_mul(DAY)));
    let unit = if days == 1 { "day" } else { "days" };
    match (days, rest.is_zero()) {
        (0, _) => format_duration(rest).to_string(),
        (_, true) => format!("{days}{unit}"),
        (_, false) => format!("{days}{unit} {}", format_duration(rest)),
    }
}

#[cfg(test)]
mod tests {
    use humantime_serde::re::humantime::parse_duration;

    use super::*;

    #[test]
    fn days_are_the_longest_unit() {
        let texts =
            ["0s", "1ms", "1m 30s", "23h 59m", "1day", "1day 1s", "400days", "36500days 12h"];
        for written in texts {
            assert_eq!(text(parse_duration(written).unwrap()), written);
        }
        assert_eq!(text(parse_duration("1year").unwrap()), "365days 6h");
    }
}
