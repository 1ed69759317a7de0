//! All problems of a draft, reported at once.

use std::fmt;

use super::FieldError;

/// The problems of a draft, in the order of its fields; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.0.iter()
    }

    /// Changes each of them by `change`.
    #[must_use]
    pub fn map(self, change: impl FnMut(FieldError) -> FieldError) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// `` `url`: …; `topics[1]`: … ``
impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

/// Collects problems while the rest is checked.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<FieldError>);

impl Wrong {
    /// The valid value; keeps the problem.
    pub(super) fn take<T>(&mut self, checked: Result<T, FieldError>) -> Option<T> {
        checked.map_err(|error| self.0.push(error)).ok()
    }

    /// The valid values, if all are valid; keeps the problems.
    pub(super) fn take_all<T>(&mut self, checked: Result<T, Vec<FieldError>>) -> Option<T> {
        checked.map_err(|errors| self.0.extend(errors)).ok()
    }

    /// `whole`, if there was no problem.
    pub(super) fn end<T>(self, whole: Option<T>) -> Result<T, FieldErrors> {
        match whole {
            Some(whole) if self.0.is_empty() => Ok(whole),
            Some(_) | None => Err(FieldErrors(self.0)),
        }
    }
}

/// All values, or all problems.
pub(super) fn all<T, C: FromIterator<T>>(
    checked: impl Iterator<Item = Result<T, FieldError>>,
) -> Result<C, Vec<FieldError>> {
    let mut wrong = Vec::new();
    let right = checked.filter_map(|one| one.map_err(|error| wrong.push(error)).ok()).collect();
    if wrong.is_empty() { Ok(right) } else { Err(wrong) }
}
