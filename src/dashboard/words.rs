//! Instants, numbers and states in words. Each is HTML that is known to be safe, because it
//! consists of fixed words and checked numbers only.

use std::{borrow::Borrow, fmt, time::Duration};

use askama::filters::HtmlSafe;
use jiff::Timestamp;

use homing_domain::{clock, report::duration, time::UnixMillis};

/// An instant relative to now, with the exact time as its title.
pub(super) struct When(Option<UnixMillis>);

impl When {
    /// From an instant.
    pub(super) fn at(instant: impl Borrow<UnixMillis>) -> Self {
        Self(Some(*instant.borrow()))
    }

    /// From one that may be missing.
    pub(super) fn maybe(instant: impl Borrow<Option<UnixMillis>>) -> Self {
        Self(*instant.borrow())
    }
}

/// From RFC 3339 text; other text is shown as a dash.
pub(super) fn when(text: &str) -> When {
    When(instant(text))
}

/// From RFC 3339 text that may be missing.
pub(super) fn when_maybe(text: impl Borrow<Option<String>>) -> When {
    When(text.borrow().as_deref().and_then(instant))
}

/// The instant of an RFC 3339 text.
pub(super) fn instant(text: &str) -> Option<UnixMillis> {
    text.parse::<Timestamp>().ok().map(|timestamp| UnixMillis::new(timestamp.as_millisecond()))
}

impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(instant) = self.0 else { return f.write_str("–") };
        let relative = relative(instant, clock::now());
        let exact = exact(instant);
        write!(f, "<time datetime=\"{instant}\" title=\"{exact}\" tabindex=\"0\">{relative}</time>")
    }
}

/// A due time, never shown as past: `in 4 min`, or `due now`.
pub(super) struct Due(Option<UnixMillis>);

impl Due {
    /// From an instant.
    pub(super) fn at(instant: UnixMillis) -> Self {
        Self(Some(instant))
    }
}

/// From RFC 3339 text that may be missing.
pub(super) fn due_maybe(text: impl Borrow<Option<String>>) -> Due {
    Due(text.borrow().as_deref().and_then(instant))
}

impl HtmlSafe for Due {}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(instant) = self.0 else { return f.write_str("–") };
        let (now, exact) = (clock::now(), exact(instant));
        let text = if instant > now { relative(instant, now) } else { "due now".to_owned() };
        write!(f, "<time datetime=\"{instant}\" title=\"{exact}\" tabindex=\"0\">{text}</time>")
    }
}

/// The due time of a record as of now: `due in 4 min`, `was due 8 min ago`.
pub(super) struct DueThen(Option<UnixMillis>);

/// From RFC 3339 text that may be missing.
pub(super) fn due_then(text: impl Borrow<Option<String>>) -> DueThen {
    DueThen(text.borrow().as_deref().and_then(instant))
}

impl HtmlSafe for DueThen {}

impl fmt::Display for DueThen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(instant) = self.0 else { return Ok(()) };
        let verb = if instant > clock::now() { "due" } else { "was due" };
        write!(f, "{verb} {}", When::at(instant))
    }
}

/// The verdict of a record as of now: a wait whose end has passed is over.
pub(super) fn then(verdict: impl Borrow<&'static str>, due: impl Borrow<Option<String>>) -> State {
    let due = due.borrow().as_deref().and_then(instant);
    let is_over = due.is_some_and(|due| due <= clock::now());
    let waits = matches!(*verdict.borrow(), "waits" | "not_before" | "throttled");
    State(if is_over && waits { "waited" } else { verdict.borrow() })
}

/// `now`, `12 s ago`, `in 4 min 30 s`
pub(super) fn relative(instant: UnixMillis, now: UnixMillis) -> String {
    const JUST_NOW: Duration = Duration::from_secs(1);
    let (ago, ahead) = (now.since(instant), instant.since(now));
    if ago < JUST_NOW && ahead < JUST_NOW {
        "now".to_owned()
    } else if ahead > ago {
        format!("in {}", coarse(ahead))
    } else {
        format!("{} ago", coarse(ago))
    }
}

/// A duration, rounded for a list.
pub(super) fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => duration(time),
        1..120 => format!("{seconds} s"),
        120..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => {
            let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
            if minutes == 0 { format!("{hours} h") } else { format!("{hours} h {minutes} min") }
        }
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `2026-11-21 14:35:16.087 UTC`
pub(super) fn exact(instant: UnixMillis) -> String {
    let text = instant.to_string();
    format!("{} UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// The same of RFC 3339 text.
pub(super) fn exactly(text: &str) -> String {
    instant(text).map_or_else(|| text.to_owned(), exact)
}

/// A count of any width; templates pass references.
pub(super) trait Number {
    fn number(&self) -> u64;
}

macro_rules! numbers {
    ($($width:ty),+) => { $(impl Number for $width {
        fn number(&self) -> u64 {
            u64::try_from(*self).unwrap_or(u64::MAX)
        }
    })+ };
}

numbers!(u64, u32, u8, usize);

impl<T: Number> Number for &T {
    fn number(&self) -> u64 {
        T::number(self)
    }
}

/// `1,234,567`
pub(super) fn grouped(number: impl Number) -> String {
    let digits = number.number().to_string();
    let mut text = String::with_capacity(digits.len().saturating_mul(2));
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3`, `0.42`, `1,234`: per second.
pub(super) fn rate(rate: f64) -> String {
    if rate >= 100.0 {
        let whole = format!("{rate:.0}");
        grouped(whole.parse::<u64>().unwrap_or(0))
    } else if rate >= 10.0 {
        format!("{rate:.1}")
    } else if rate >= 0.005 {
        format!("{rate:.2}")
    } else if rate > 0.0 {
        "< 0.01".to_owned()
    } else {
        "0".to_owned()
    }
}

/// `843 B`, `12.4 kB`
pub(super) fn bytes(bytes: impl Number) -> String {
    let bytes = bytes.number();
    let tenths =
        |unit: u64| (bytes.saturating_mul(10) / unit / 10, bytes.saturating_mul(10) / unit % 10);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => {
            let (whole, tenth) = tenths(1_000);
            format!("{whole}.{tenth} kB")
        }
        _ => {
            let (whole, tenth) = tenths(1_000_000);
            format!("{whole}.{tenth} MB")
        }
    }
}

/// `99.4 %`, of all; a dash where there was nothing.
pub(super) fn percent(part: impl Number, rest: impl Number) -> String {
    let (part, rest) = (part.number(), rest.number());
    let all = part.saturating_add(rest);
    if all == 0 {
        return "–".to_owned();
    }
    let per_mille = u128::from(part).saturating_mul(1_000) / u128::from(all);
    match (per_mille, rest) {
        // 100 % is shown only if nothing is missing.
        (1_000, _) if rest > 0 => "99.9 %".to_owned(),
        (per_mille, _) if per_mille % 10 == 0 => format!("{} %", per_mille / 10),
        (per_mille, _) => format!("{}.{} %", per_mille / 10, per_mille % 10),
    }
}

/// A number of requests; a dash where it is not known.
pub(super) fn in_flight(requests: impl Borrow<Option<u32>>) -> String {
    requests.borrow().map_or_else(|| "–".to_owned(), grouped)
}

/// `1 message`, `2,000 messages`
pub(super) fn count(number: impl Number, one: &str, many: &str) -> String {
    let number = number.number();
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(number)) }
}

/// A number that was counted up to `most` only.
pub(super) fn up_to(number: impl Number, most: impl Number) -> String {
    let more = if number.number() >= most.number() { "+" } else { "" };
    format!("{}{more}", grouped(number.number()))
}

/// The colour of a word.
pub(super) fn tone(word: &str) -> &'static str {
    match word {
        "closed" | "accepted" | "delivered" | "running" | "connected" | "alive" => "good",
        "open" | "waits" | "not_before" | "throttled" | "held" | "not_attempted" | "paused"
        | "waiting" | "connecting" | "circuit_open" | "endpoint_slow" | "slow" => "wait",
        "frozen" | "refused" | "timed_out" | "unreachable" | "parked" | "stopped" | "missing"
        | "different" | "silent" | "exhausted" | "gone" | "failing" => "bad",
        _ => "",
    }
}

/// A word of homing with spaces: `timed out`.
pub(super) fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// A word of homing with its colour. Never for text from outside.
pub(super) fn state(word: impl Borrow<&'static str>) -> State {
    State(word.borrow())
}

/// True if two texts are the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other
}

/// A duration given in milliseconds.
pub(super) fn took(millis: impl Number) -> String {
    duration(Duration::from_millis(millis.number()))
}

/// See [`state`].
pub(super) struct State(&'static str);

impl HtmlSafe for State {}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span class=\"state {}\">{}</span>", tone(self.0), spaced(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!([0_u64, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.42, 12.34, 1_234.5].map(rate), ["0", "0.42", "12.3", "1,234"]);
        assert_eq!([12_usize, 1_550, 3_000_000].map(bytes), ["12 B", "1.5 kB", "3.0 MB"]);
        assert_eq!([None, Some(0), Some(1_024)].map(in_flight), ["–", "0", "1,024"]);
        assert_eq!(count(1_u64, "message", "messages"), "1 message");
        assert_eq!(count(2_000_u64, "message", "messages"), "2,000 messages");
    }

    #[test]
    fn a_share_is_whole_only_if_nothing_is_missing() {
        assert_eq!(percent(0_u64, 0_u64), "–");
        assert_eq!(percent(3_u64, 0_u64), "100 %");
        assert_eq!(percent(99_999_u64, 1_u64), "99.9 %");
        assert_eq!(percent(1_u64, 3_u64), "25 %");
        assert_eq!(percent(1_u64, 7_u64), "12.5 %");
        assert_eq!(percent(0_u64, 7_u64), "0 %");
    }

    #[test]
    fn instants_are_relative_to_now() {
        let now = UnixMillis::new(1_000_000_000);
        let text = |offset: i64| relative(UnixMillis::new(1_000_000_000 + offset), now);
        assert_eq!(text(0), "now");
        assert_eq!(text(-90_000), "90 s ago");
        assert_eq!(text(270_000), "in 4 min");
        assert_eq!(text(-3_660_000), "1 h 1 min ago");
        assert_eq!(text(-400_000_000), "4 days ago");
        assert_eq!(when("<script>").to_string(), "–");
        let text = When::at(now).to_string();
        assert!(text.contains("title=\"1970-01-12 13:46:40.000 UTC\""), "{text}");
    }

    /// Goal: the future is never shown as past, nor the past as future.
    #[test]
    fn what_is_due_is_due_now_or_later() {
        let now = clock::now();
        let text = |instant: UnixMillis| Some(instant.to_string());
        let (past, ahead) =
            (now.minus(Duration::from_secs(270)), now.plus(Duration::from_secs(270)));
        let shown = |instant| due_maybe(text(instant)).to_string();
        assert!(shown(past).ends_with(">due now</time>"), "{}", shown(past));
        assert!(shown(ahead).contains(">in 4 min<"), "{}", shown(ahead));
        assert_eq!(due_maybe(None).to_string(), "–");
        let shown = |instant| due_then(text(instant)).to_string();
        assert!(shown(past).starts_with("was due <time"), "{}", shown(past));
        assert!(shown(past).ends_with(">4 min ago</time>"), "{}", shown(past));
        assert!(shown(ahead).starts_with("due <time"), "{}", shown(ahead));
        assert!(then("waits", text(past)).to_string().ends_with(">waited</span>"));
        assert!(then("waits", text(ahead)).to_string().ends_with(">waits</span>"));
        assert!(then("delivered", None).to_string().ends_with(">delivered</span>"));
    }
}
