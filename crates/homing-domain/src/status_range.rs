//! HTTP statuses to search for: one, or a class of them.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// `503`, or `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// The text is no status and no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status, 100 to 999, or a class of them, such as 5xx")]
pub struct StatusRangeError;

impl StatusRange {
    /// The statuses.
    #[must_use]
    pub fn range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// True if there is a 2xx among them.
    #[must_use]
    pub fn has_success(self) -> bool {
        self.first < 300 && self.last >= 200
    }
}

impl From<u16> for StatusRange {
    fn from(status: u16) -> Self {
        Self { first: status, last: status }
    }
}

impl FromStr for StatusRange {
    type Err = StatusRangeError;

    fn from_str(text: &str) -> Result<Self, StatusRangeError> {
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let class: u16 = class.parse().map_err(|_error| StatusRangeError)?;
            let first = class.checked_mul(100).filter(|first| (100..=900).contains(first));
            let first = first.ok_or(StatusRangeError)?;
            return Ok(Self { first, last: first.saturating_add(99) });
        }
        let status: Option<u16> = text.parse().ok();
        status.filter(|status| (100..=999).contains(status)).map(Self::from).ok_or(StatusRangeError)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}xx", self.first / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_a_class_is_read_and_nothing_else() {
        let read = |text: &str| text.parse::<StatusRange>().map(StatusRange::range);
        assert_eq!(read("503"), Ok(503..=503));
        assert_eq!(read("5xx"), Ok(500..=599));
        assert_eq!(read("2XX"), Ok(200..=299));
        for text in ["", "xx", "0xx", "10xx", "99", "1000", "-1xx", "5x", "ok"] {
            assert_eq!(read(text), Err(StatusRangeError), "{text}");
        }
        let text = |text: &str| text.parse::<StatusRange>().map(|range| range.to_string());
        assert_eq!((text("5xx"), text("418")), (Ok("5xx".to_owned()), Ok("418".to_owned())));
        let has_success = |text: &str| text.parse::<StatusRange>().map(StatusRange::has_success);
        assert_eq!(
            (has_success("2xx"), has_success("204"), has_success("5xx")),
            (Ok(true), Ok(true), Ok(false))
        );
    }
}
