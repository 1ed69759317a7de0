//! Errors of filters, with their place.

use super::document::{GROUP_FILTERS, MAX_CONTAINS_ONLY, MAX_DEPTH, MAX_FILTERS, MAX_GROUPS};

/// A refused filter. Displays the problem; [`FilterError::field`] is its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FilterError {
    field: String,
    problem: FilterProblem,
}

/// The problem with one field of a filter, and the allowed values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    /// Something else in place of a filter or group.
    #[error("must be an object, a filter or a group of filters")]
    NotAnObject,
    /// Something else in place of the filters of a group.
    #[error("must be a list of filters")]
    NotAList,
    /// A misspelt key would leave its filter without effect.
    #[error("unknown key; expected one of {}", .expected.join(", "))]
    UnknownKey {
        /// The keys that exist here.
        expected: &'static [&'static str],
    },
    /// A key that is needed.
    #[error("is missing")]
    Missing,
    /// An empty name of a field.
    #[error("must be a non-empty string")]
    NotAName,
    /// A name that matches no field.
    #[error("`{name:.60}` never matches: {hint}")]
    NeverMatches {
        /// The name.
        name: String,
        /// The correct form of what is probably meant.
        hint: &'static str,
    },
    /// A value outside its closed set.
    #[error("unknown {what} `{found:.60}`; expected one of {}", .expected.join(", "))]
    UnknownWord {
        /// The kind of value.
        what: &'static str,
        /// The value found, or the JSON found in its place.
        found: String,
        /// The values that exist.
        expected: Vec<&'static str>,
    },
    /// More filters and groups than a subscription may have.
    #[error("{found} filters and groups; at most {max} are allowed", max = MAX_FILTERS)]
    TooManyFilters {
        /// The number found.
        found: usize,
    },
    /// More groups than a subscription may have.
    #[error("one group too many; at most {max} are allowed", max = MAX_GROUPS)]
    TooManyGroups,
    /// A group too small or too big.
    #[error(
        "a group has {min} to {max} filters, this one has {found}",
        min = GROUP_FILTERS.start(),
        max = GROUP_FILTERS.end()
    )]
    GroupSize {
        /// The number found.
        found: usize,
    },
    /// A group inside a group.
    #[error("a group cannot be inside a group")]
    NestedGroup,
    /// A value nested too deep to be compared safely.
    #[error("nested too deep; at most {max} levels are allowed", max = MAX_DEPTH)]
    TooDeep,
    /// A value that has no order.
    #[error("`{comparison}` needs a number, a date or another string")]
    NotOrdered {
        /// The comparison that orders.
        comparison: &'static str,
    },
    /// A list or object for a comparison with one element.
    #[error("`{comparison}` looks for one string, number, boolean or null; join several filters")]
    NotSingle {
        /// The comparison that looks for one element.
        comparison: &'static str,
    },
    /// Too long a list: each element is looked up in the event's list.
    #[error("{found} values; `containsOnly` takes at most {max}", max = MAX_CONTAINS_ONLY)]
    TooManyValues {
        /// The number found.
        found: usize,
    },
}

impl FilterError {
    /// The path of the field at fault, such as `filters[2].filters[0].comparison`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The problem.
    #[must_use]
    pub fn problem(&self) -> &FilterProblem {
        &self.problem
    }

    /// `problem` with `field`; callers add their own path.
    pub(super) fn at(field: &str, problem: FilterProblem) -> Self {
        Self { field: field.to_owned(), problem }
    }

    /// Adds `parent` before the path.
    #[must_use]
    pub(super) fn inside(self, parent: &str) -> Self {
        let field = match self.field.as_str() {
            "" => parent.to_owned(),
            field => format!("{parent}.{field}"),
        };
        Self { field, ..self }
    }
}
