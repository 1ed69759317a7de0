//! Columns that cannot be read, and why.

use std::{fmt::Display, str::FromStr};

use serde::de::DeserializeOwned;

use homing_domain::subscription::FieldError;

/// A column that cannot be read, and why.
pub(super) struct Flaw {
    pub(super) field: String,
    pub(super) why: String,
}

impl Flaw {
    pub(super) fn new(field: impl Into<String>, why: impl Display) -> Self {
        Self { field: field.into(), why: why.to_string() }
    }
}

pub(super) fn undecodable(error: sqlx::Error) -> Flaw {
    if let sqlx::Error::ColumnDecode { index, source } = error {
        Flaw::new(index.trim_matches('"'), source)
    } else {
        Flaw::new("row", error)
    }
}

/// Several columns that cannot be read.
#[derive(Default)]
pub(super) struct Flaws(Vec<FieldError>);

impl Flaws {
    /// Returns the value that was read; where it has a flaw, notes that and returns an empty one.
    pub(super) fn sort_out<T: Default>(&mut self, read: Result<T, Flaw>) -> T {
        read.unwrap_or_else(|Flaw { field, why }| {
            self.0.push(FieldError::new(field, why));
            T::default()
        })
    }

    /// An error for each.
    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.0
    }
}

/// Reads JSON. The flaw names what was expected, never what was found: it may be secret.
pub(super) fn json<T: DeserializeOwned>(
    field: &str,
    text: &str,
    expected: &str,
) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|_| Flaw::new(field, format!("is not {expected}")))
}

pub(super) fn parsed<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Flaw> {
    text.parse().map_err(|error| Flaw::new(field, error))
}

pub(super) fn checked<T: TryFrom<String, Error: Display>>(
    field: &str,
    text: String,
) -> Result<T, Flaw> {
    T::try_from(text).map_err(|error| Flaw::new(field, error))
}
