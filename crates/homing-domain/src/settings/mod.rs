//! Shared by the sections of settings: their error, and how texts and words in them are read.

pub mod address;
pub mod duration;
pub mod list;
pub mod word;

use serde::de::DeserializeOwned;

/// Errors of settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file, a variable or a flag cannot be read.
    #[error("the settings cannot be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file cannot be read, or is not TOML. The line at fault is not repeated: it may hold a secret.
    #[error("the settings cannot be read from {file}: {message}")]
    File {
        /// Its name.
        file: String,
        /// The problem, and its place.
        message: String,
    },
    /// Several things are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
    /// A key that does not exist, or a value that does not fit or makes no sense.
    #[error("`{key}`{}: {message}", .origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default())]
    Value {
        /// `section.key`
        key: String,
        /// The file or variable that sets it, if that is known.
        origin: Option<String>,
        /// The problem, and the allowed values.
        message: String,
    },
}

impl SettingsError {
    /// `message` about `key`.
    pub fn value(key: &str, message: impl std::fmt::Display) -> Self {
        Self::Value { key: key.to_owned(), origin: None, message: message.to_string() }
    }

    /// `key` needs a part that this build does not have.
    #[must_use]
    pub fn not_built(key: &str, part: &str, feature: &str) -> Self {
        Self::value(key, not_built(part, feature))
    }

    /// All of `errors` as one, if there are any.
    ///
    /// # Errors
    ///
    /// The only one; [`SettingsError::Several`] if there are more.
    pub fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }
}

/// The sentence about a part that this build does not have.
#[must_use]
pub fn not_built(part: &str, feature: &str) -> String {
    format!("this build has no {part}; build it with --features {feature}")
}

/// The section `name` of `defaults`, a TOML text, overridden by `changes`, another one with keys of
/// the section.
///
/// # Errors
///
/// [`SettingsError`]: not TOML, or a value that does not fit.
pub fn section<T: DeserializeOwned>(
    defaults: &str,
    name: &str,
    changes: &str,
) -> Result<T, SettingsError> {
    let read = |error: toml::de::Error| SettingsError::Read(error.into());
    let mut sections: toml::Table = defaults.parse().map_err(read)?;
    let changes: toml::Table = changes.parse().map_err(read)?;
    let section = sections.remove(name).unwrap_or_else(|| toml::Table::new().into());
    let mut section: toml::Table = section.try_into().map_err(read)?;
    section.extend(changes);
    section.try_into().map_err(read)
}
