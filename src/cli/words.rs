//! Durations, instants and lists of numbers in words.

use jiff::{Span, SpanRelativeTo, Timestamp};

use super::failure::Failure;
use homing_domain::time::UnixMillis;

pub(super) use homing_domain::report::{duration, quoted, with_operand};

/// An instant from a flag: RFC 3339, or a duration, which means that long before `now`.
pub(super) fn instant(text: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(UnixMillis::new(timestamp.as_millisecond()));
    }
    let ago = text
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| {
            format!(
                "`{text}` is not an instant; write 2026-01-31T12:00:00Z, or 2h for two hours ago"
            )
        })?;
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(UnixMillis::new(now.get().saturating_sub(ago_ms)))
}

/// The instant of a flag that may be given.
pub(super) fn instant_of_flag(
    flag: &str,
    text: Option<&str>,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, Failure> {
    text.map(|text| instant(text, now))
        .transpose()
        .map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}

/// Fractions of a second are of no use in a list.
pub(super) fn to_seconds(instant: &str) -> String {
    instant.split_once('.').map_or_else(|| instant.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

/// A due time given as RFC 3339 text: the instant, or `due now` if it has passed.
pub(super) fn due(instant: &str, now: UnixMillis) -> String {
    let is_ahead = instant.parse().is_ok_and(|at: Timestamp| at.as_millisecond() > now.get());
    if is_ahead { instant.to_owned() } else { "due now".to_owned() }
}

/// `1 delivery was`, `2 deliveries were`.
pub(super) fn deliveries(number: u32) -> String {
    if number == 1 { "1 delivery was".to_owned() } else { format!("{number} deliveries were") }
}

/// `1 event`, `2 events`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `12, 500-502`: ascending numbers, runs merged, the first `most` runs of them.
pub(super) fn numbers(numbers: &[u64], most: usize) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *number => *last = *number,
            Some(_) | None => runs.push((*number, *number)),
        }
    }
    let mut parts: Vec<_> = runs
        .iter()
        .take(most)
        .map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        )
        .collect();
    if runs.len() > most {
        parts.push("…".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_rounded_to_what_matters() {
        let text = |millis| duration(Duration::from_millis(millis));
        assert_eq!(text(0), "0 ms");
        assert_eq!(text(250), "250 ms");
        assert_eq!(text(1_500), "1.5 s");
        assert_eq!(text(5_000), "5 s");
        assert_eq!(text(59_600), "1 min");
        assert_eq!(text(84_800), "1 min 25 s");
        assert_eq!(text(3_599_600), "1 h");
        assert_eq!(text(5_342_400), "1 h 29 min");
        assert_eq!(text(10_769_600), "2 h 59 min");
        assert_eq!(text(173_585_600), "48 h 13 min");
    }

    #[test]
    fn instants_are_absolute_or_a_while_ago() {
        let now = UnixMillis::new(1_700_000_000_000);
        let at = |text: &str| instant(text, now).map(UnixMillis::get);
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(at("2h"), Ok(1_699_992_800_000));
        assert_eq!(at("1d 30m"), Ok(1_699_911_800_000));
        insta::assert_snapshot!(at("yesterday").unwrap_err(), @"`yesterday` is not an instant; write 2026-01-31T12:00:00Z, or 2h for two hours ago");
    }

    #[test]
    fn what_is_to_come_is_never_past() {
        let now = UnixMillis::new(1_700_000_000_000);
        assert_eq!(due("2023-11-14T22:13:20.001Z", now), "2023-11-14T22:13:20.001Z");
        assert_eq!(due("2023-11-14T22:13:20Z", now), "due now");
        assert_eq!(due("2023-11-14T22:09:20.123Z", now), "due now");
    }

    #[test]
    fn runs_are_merged() {
        assert_eq!(numbers(&[12, 500, 501, 502, 504], 9), "12, 500-502, 504");
        assert_eq!(numbers(&[1, 3, 5], 2), "1, 3, …");
        assert_eq!(numbers(&[], 2), "");
    }
}
