//! Attempt numbers, counted from one.

use std::{fmt, num::NonZeroU32};

use serde::Serialize;

/// Position of an attempt (one HTTP request) within its delivery; the first is 1.
///
/// A type, so that an index counted from zero cannot be passed by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AttemptNumber(NonZeroU32);

impl AttemptNumber {
    /// The attempt that follows `made` attempts.
    #[must_use]
    pub fn after(made: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(made))
    }

    /// The number itself, for logs and headers.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
