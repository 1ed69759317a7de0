//! The durations for which an endpoint is paused.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    fields::{Fields, Wrong},
    layout::ErrorPage,
};
use homing_domain::time::UnixMillis;

/// The duration of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Quarter,
    Hour,
    Hours,
    Day,
}

impl Pause {
    pub(super) const ALL: [Self; 4] = [Self::Quarter, Self::Hour, Self::Hours, Self::Day];

    /// Of a form.
    pub(super) fn of(fields: &Fields) -> Result<Self, ErrorPage> {
        let mut wrong = Wrong::default();
        let pause = fields.get("for", &mut wrong);
        pause.ok_or_else(|| {
            let why = wrong.with("for").unwrap_or("choose a duration");
            ErrorPage::bad_request(format!("The pause: {why}."))
        })
    }

    /// Its word in forms.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::Hours => "4h",
            Self::Day => "24h",
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quarter => "15 minutes",
            Self::Hour => "an hour",
            Self::Hours => "4 hours",
            Self::Day => "a day",
        }
    }

    /// The end of one that begins now.
    pub(super) fn end(self, now: UnixMillis) -> UnixMillis {
        let minutes = match self {
            Self::Quarter => 15,
            Self::Hour => 60,
            Self::Hours => 240,
            Self::Day => 1_440,
        };
        now.plus(Duration::from_mins(minutes))
    }
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|pause| pause.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is not a duration; one of 15m, 1h, 4h, 24h"))
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
