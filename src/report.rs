//! How things are told to people: errors once, on one line, with all their causes; durations; commands
//! that are advised.

use std::{error::Error, fmt, time::Duration};

/// Displays `outer: cause: root` on one line.
///
/// A cause whose text the previous one already ends with is skipped: some libraries print their
/// source inside their own message.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        f.write_str(&text)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                write!(f, ": {next}")?;
            }
            text = next;
            cause = error.source();
        }
        Ok(())
    }
}

/// `250 ms`, `5 s`, `1 min 25 s`, `48 h 13 min`: rounded to what matters at that size.
#[must_use]
pub fn duration(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let seconds = millis.saturating_add(500) / 1_000;
    let minutes = millis.saturating_add(30_000) / (MINUTE * 1_000);
    if millis < 1_000 {
        format!("{millis} ms")
    } else if millis < 10_000 && millis % 1_000 >= 100 {
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    } else if seconds < MINUTE {
        format!("{seconds} s")
    } else if seconds < HOUR {
        parts((seconds / MINUTE, "min"), (seconds % MINUTE, "s"))
    } else {
        parts((minutes / MINUTE, "h"), (minutes % MINUTE, "min"))
    }
}

fn parts((large, large_unit): (u64, &str), (small, small_unit): (u64, &str)) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// The name of this machine; for people.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this machine".to_owned() } else { name.to_owned() }
}

/// A word as a shell reads it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("root")]
    struct Root;

    #[derive(Debug, thiserror::Error)]
    #[error("middle: {0}")]
    struct Repeating(#[source] Root);

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Repeating);

    #[test]
    fn every_cause_is_told_once() {
        assert_eq!(Chain(&Outer(Repeating(Root))).to_string(), "outer: middle: root");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        assert_eq!(quoted("https://example.com:8443/a-b_c"), "https://example.com:8443/a-b_c");
        assert_eq!(quoted("https://example.com/?a=1&b=2"), "'https://example.com/?a=1&b=2'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
