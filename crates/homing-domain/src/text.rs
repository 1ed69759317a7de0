//! Reads what is written as text, such as the parameters of a query, by a type's [`FromStr`], whose
//! errors say what to write instead.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};

/// Deserializes text that `T` parses; for `deserialize_with`.
///
/// # Errors
///
/// The error of `T`, or no text.
pub fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed_by(deserializer, str::parse)
}

/// The same, parsed by `parse`.
///
/// # Errors
///
/// The error of `parse`, or no text.
pub fn parsed_by<'de, D, T, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}
