//! The JSON form of filters, Workfront's, read strictly and written back the same.
//!
//! ```json
//! [ {"fieldName": "status", "fieldValue": "CUR", "comparison": "eq", "state": "newState"},
//!   {"type": "group", "connector": "OR", "filters": [ …2 to 5 of the above… ]} ]
//! ```

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::{
    Comparison, Connector, Filter, FilterError, FilterProblem as Problem, FilterSet, Group, Item,
    State,
};

/// Filters and groups of a subscription at most; more would slow every event down.
pub const FILTERS_MAX: usize = 100;

/// Groups of a subscription at most. Source: Adobe Workfront, *Event subscription API*.
pub const GROUPS_MAX: usize = 10;

/// How many filters a group has. Source: as [`GROUPS_MAX`].
pub const GROUP_FILTERS: RangeInclusive<usize> = 2..=5;

/// Levels of arrays and objects in a `fieldValue` at most, so that comparing cannot overflow the
/// stack.
pub const DEPTH_MAX: usize = 32;

/// Values in the list of a `containsOnly` at most: each is looked up in the event's list.
pub const CONTAINS_ONLY_MAX: usize = 100;

const FILTER_KEYS: &[&str] = &["fieldName", "fieldValue", "comparison", "state"];
const GROUP_KEYS: &[&str] = &["type", "connector", "filters"];

type Fields = Map<String, Value>;

impl FilterSet {
    /// Reads `filters` and joins them by `connector`.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for the first field that is wrong.
    pub fn from_json(filters: &[Value], connector: Connector) -> Result<Self, FilterError> {
        if filters.len() > FILTERS_MAX {
            let problem = Problem::TooManyFilters { found: filters.len() };
            return Err(FilterError::at("filters", problem));
        }
        let items = read_each(filters, read_item)?;
        let is_group = |(_, item): &(usize, &Item)| matches!(item, Item::Group(_));
        match items.iter().enumerate().filter(is_group).nth(GROUPS_MAX) {
            Some((index, _)) => {
                Err(FilterError::at(&format!("filters[{index}]"), Problem::TooManyGroups))
            }
            None => Ok(Self { connector, items }),
        }
    }

    /// Writes the filters in the form that [`FilterSet::from_json`] reads; `state` is spelt out.
    #[must_use]
    pub fn to_json(&self) -> Vec<Value> {
        let write = |item: &Item| match item {
            Item::Filter(filter) => write_filter(filter),
            Item::Group(Group { connector, filters }) => json!({
                "type": "group",
                "connector": connector.as_str(),
                "filters": filters.iter().map(write_filter).collect::<Vec<_>>(),
            }),
        };
        self.items.iter().map(write).collect()
    }
}

fn write_filter(filter: &Filter) -> Value {
    let mut json = json!({
        "fieldName": filter.field_name,
        "comparison": filter.comparison.as_str(),
        "state": filter.state.as_str(),
    });
    if let (Some(fields), Some(value)) = (json.as_object_mut(), &filter.field_value) {
        fields.insert("fieldValue".to_owned(), value.clone());
    }
    json
}

/// Reads every element of a list `filters`; an error says which.
fn read_each<T>(
    filters: &[Value],
    read: fn(&Fields) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    let read_at = |(index, json): (usize, &Value)| {
        json.as_object()
            .ok_or_else(|| FilterError::at("", Problem::NotAnObject))
            .and_then(read)
            .map_err(|error| error.inside(&format!("filters[{index}]")))
    };
    filters.iter().enumerate().map(read_at).collect()
}

fn read_item(fields: &Fields) -> Result<Item, FilterError> {
    if is_group(fields) {
        read_group(fields).map(Item::Group)
    } else {
        read_filter(fields).map(Item::Filter)
    }
}

/// A group whose `type` was forgotten is still meant as a group, and is told so.
fn is_group(fields: &Fields) -> bool {
    fields.contains_key("type") || fields.contains_key("filters")
}

fn read_group(fields: &Fields) -> Result<Group, FilterError> {
    refuse_unknown_keys(fields, GROUP_KEYS)?;
    read_word(fields, "type", &[((), "group")])?;
    let connectors = [Connector::And, Connector::Or].map(|one| (one, one.as_str()));
    let connector = read_word(fields, "connector", &connectors)?;
    let filters = required(fields, "filters")?
        .as_array()
        .ok_or_else(|| FilterError::at("filters", Problem::NotAList))?;
    if !GROUP_FILTERS.contains(&filters.len()) {
        return Err(FilterError::at("filters", Problem::GroupSize { found: filters.len() }));
    }
    let filters = read_each(filters, |fields| {
        if is_group(fields) {
            Err(FilterError::at("", Problem::NestedGroup))
        } else {
            read_filter(fields)
        }
    })?;
    Ok(Group { connector, filters })
}

fn read_filter(fields: &Fields) -> Result<Filter, FilterError> {
    refuse_unknown_keys(fields, FILTER_KEYS)?;
    let field_name = required(fields, "fieldName")?
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| FilterError::at("fieldName", Problem::NotAName))?;
    let comparison = read_word(fields, "comparison", &Comparison::ALL.map(|one| (one, one.as_str())))?;
    let state = if fields.contains_key("state") {
        read_word(fields, "state", &[State::New, State::Old].map(|one| (one, one.as_str())))?
    } else {
        State::New
    };
    let field_value = match fields.get("fieldValue") {
        None if comparison == Comparison::Changed => None,
        None => return Err(FilterError::at("fieldValue", Problem::Missing)),
        Some(value) => {
            check_value(comparison, value).map_err(|error| error.inside("fieldValue"))?;
            Some(value.clone())
        }
    };
    Ok(Filter { field_name: field_name.to_owned(), field_value, comparison, state })
}

fn refuse_unknown_keys(fields: &Fields, expected: &'static [&str]) -> Result<(), FilterError> {
    fields
        .keys()
        .find(|key| !expected.contains(&key.as_str()))
        .map_or(Ok(()), |key| Err(FilterError::at(key, Problem::UnknownKey { expected })))
}

fn required<'a>(fields: &'a Fields, key: &str) -> Result<&'a Value, FilterError> {
    fields.get(key).ok_or_else(|| FilterError::at(key, Problem::Missing))
}

/// The value at `key` that is spelt so; `words` are all there are.
fn read_word<T: Copy>(
    fields: &Fields,
    key: &'static str,
    words: &[(T, &'static str)],
) -> Result<T, FilterError> {
    let found = required(fields, key)?;
    words.iter().find(|(_, word)| found == word).map(|(value, _)| *value).ok_or_else(|| {
        let found = found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned);
        let expected = words.iter().map(|(_, word)| *word).collect();
        FilterError::at(key, Problem::UnknownWord { what: key, found, expected })
    })
}

fn check_value(comparison: Comparison, value: &Value) -> Result<(), FilterError> {
    if !fits(value, DEPTH_MAX) {
        return Err(FilterError::at("", Problem::TooDeep));
    }
    check_parts(comparison, value)
}

/// Whether `value` has at most so many levels; looks no deeper than that.
fn fits(value: &Value, levels: usize) -> bool {
    let inner = |value| levels.checked_sub(1).is_some_and(|levels| fits(value, levels));
    match value {
        Value::Array(values) => levels > 0 && values.iter().all(inner),
        Value::Object(fields) => levels > 0 && fields.values().all(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Checks every value that [`Comparison::holds`] would compare.
fn check_parts(comparison: Comparison, value: &Value) -> Result<(), FilterError> {
    match value.as_object() {
        Some(parts) if !parts.is_empty() => parts.iter().try_for_each(|(name, part)| {
            check_parts(comparison, part).map_err(|error| error.inside(name))
        }),
        Some(_) | None => match problem(comparison, value) {
            Some(problem) => Err(FilterError::at("", problem)),
            None => Ok(()),
        },
    }
}

/// Why `comparison` could never be true of `value`, or too slowly.
fn problem(comparison: Comparison, value: &Value) -> Option<Problem> {
    let name = comparison.as_str();
    match comparison {
        Comparison::Gt | Comparison::Gte | Comparison::Lt | Comparison::Lte => {
            let has_order = value.is_number() || value.is_string();
            (!has_order).then_some(Problem::NotOrdered { comparison: name })
        }
        Comparison::Contains | Comparison::NotContains => {
            let is_single = !value.is_array() && !value.is_object();
            (!is_single).then_some(Problem::NotSingle { comparison: name })
        }
        Comparison::ContainsOnly => {
            let found = value.as_array().map_or(1, Vec::len);
            (found > CONTAINS_ONLY_MAX).then_some(Problem::TooManyValues { found })
        }
        Comparison::Eq | Comparison::Ne | Comparison::Changed => None,
    }
}
