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

/// Maximum of filters and groups of a subscription; more would slow down every event.
pub const MAX_FILTERS: usize = 100;

/// Maximum of groups of a subscription. Source: Adobe Workfront, *Event subscription API*.
pub const MAX_GROUPS: usize = 10;

/// The number of filters in a group. Source: as [`MAX_GROUPS`].
pub const GROUP_FILTERS: RangeInclusive<usize> = 2..=5;

/// Maximum of levels of arrays and objects in a `fieldValue`, so that comparing cannot overflow the
/// stack.
pub const MAX_DEPTH: usize = 32;

/// Maximum of values in the list of a `containsOnly`: each is looked up in the event's list.
pub const MAX_CONTAINS_ONLY: usize = 100;

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
        if filters.len() > MAX_FILTERS {
            let problem = Problem::TooManyFilters { found: filters.len() };
            return Err(FilterError::at("filters", problem));
        }
        let items = read_each(filters, read_item)?;
        let is_group = |(_, item): &(usize, &Item)| matches!(item, Item::Group(_));
        match items.iter().enumerate().filter(is_group).nth(MAX_GROUPS) {
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

/// Reads every element of a list `filters`; an error contains its path.
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

/// True for a group, even if its `type` is missing, so that the error says so.
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
    let comparison =
        read_word(fields, "comparison", &Comparison::ALL.map(|one| (one, one.as_str())))?;
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

/// Reads the value at `key`, which must be one of `words`.
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
    if !fits(value, MAX_DEPTH) {
        return Err(FilterError::at("", Problem::TooDeep));
    }
    check_parts(comparison, value)
}

/// True if `value` has at most so many levels; reads no deeper than that.
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

/// The reason why `comparison` could never hold for `value`, or only too slowly.
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
            (found > MAX_CONTAINS_ONLY).then_some(Problem::TooManyValues { found })
        }
        Comparison::Eq | Comparison::Ne | Comparison::Changed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filters: &Value) -> Result<FilterSet, FilterError> {
        FilterSet::from_json(filters.as_array().expect("a list"), Connector::And)
    }

    /// `path: message` for filters that must be refused.
    fn refusal(filters: &Value) -> String {
        let error = read(filters).expect_err("refused");
        format!("{}: {error}", error.field())
    }

    /// A good filter with `key` changed.
    fn with(key: &str, value: Value) -> Value {
        let mut filter = filter();
        filter[key] = value;
        filter
    }

    fn without(key: &str) -> Value {
        let mut filter = filter();
        filter.as_object_mut().expect("an object").remove(key);
        filter
    }

    fn filter() -> Value {
        json!({"fieldName": "a", "fieldValue": 1, "comparison": "eq", "state": "newState"})
    }

    fn group(filters: usize) -> Value {
        json!({"type": "group", "connector": "OR", "filters": vec![filter(); filters]})
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn filters_written_in_full_are_written_back_the_same() {
        let filters = json!([
            {"fieldName": "a", "comparison": "changed", "state": "newState"},
            {"fieldName": "a", "fieldValue": null, "comparison": "changed", "state": "oldState"},
            {"fieldName": "b", "fieldValue": {"c": [1]}, "comparison": "ne", "state": "oldState"},
            group(2),
        ]);
        assert_eq!(Value::from(read(&filters).expect("filters").to_json()), filters);
    }

    #[test]
    fn the_state_is_new_unless_named() {
        assert_eq!(read(&json!([without("state")])), read(&json!([filter()])));
    }

    #[test]
    fn limits_are_inclusive() {
        for good in [
            json!(vec![filter(); MAX_FILTERS]),
            json!(vec![group(*GROUP_FILTERS.end()); MAX_GROUPS]),
            json!([with("fieldValue", nested(MAX_DEPTH))]),
            json!([with("fieldValue", json!({"a": {"b": "x"}, "c": {}}))]),
        ] {
            assert!(read(&good).is_ok(), "{good}");
        }
    }

    #[test]
    fn filters_that_are_wrong_are_refused_by_name() {
        let word = |key, word: &str| refusal(&json!([with(key, json!(word))]));
        insta::assert_snapshot!(word("comparison", "equals"), @"filters[0].comparison: unknown comparison `equals`; expected one of eq, ne, gt, gte, lt, lte, contains, notContains, containsOnly, changed");
        insta::assert_snapshot!(word("state", "newstate"), @"filters[0].state: unknown state `newstate`; expected one of newState, oldState");
        insta::assert_snapshot!(refusal(&json!([with("comparison", json!(5))])), @"filters[0].comparison: unknown comparison `5`; expected one of eq, ne, gt, gte, lt, lte, contains, notContains, containsOnly, changed");
        insta::assert_snapshot!(refusal(&json!([filter(), with("fieldNam", json!("b"))])), @"filters[1].fieldNam: unknown key; expected one of fieldName, fieldValue, comparison, state");
        insta::assert_snapshot!(refusal(&json!([without("fieldName")])), @"filters[0].fieldName: is missing");
        insta::assert_snapshot!(refusal(&json!([with("fieldName", json!(""))])), @"filters[0].fieldName: must be a non-empty string");
        insta::assert_snapshot!(refusal(&json!([without("fieldValue")])), @"filters[0].fieldValue: is missing");
        insta::assert_snapshot!(refusal(&json!([without("comparison")])), @"filters[0].comparison: is missing");
        insta::assert_snapshot!(refusal(&json!(["a eq 1"])), @"filters[0]: must be an object, a filter or a group of filters");
        insta::assert_snapshot!(refusal(&json!(vec![filter(); MAX_FILTERS + 1])), @"filters: 101 filters and groups; at most 100 are allowed");
    }

    #[test]
    fn groups_that_are_wrong_are_refused_by_name() {
        let changed = |key: &str, value: Value| {
            let mut group = group(3);
            group[key] = value;
            refusal(&json!([filter(), group]))
        };
        insta::assert_snapshot!(refusal(&json!([group(1)])), @"filters[0].filters: a group has 2 to 5 filters, this one has 1");
        insta::assert_snapshot!(refusal(&json!([group(6)])), @"filters[0].filters: a group has 2 to 5 filters, this one has 6");
        insta::assert_snapshot!(refusal(&json!(vec![group(2); MAX_GROUPS + 1])), @"filters[10]: one group too many; at most 10 are allowed");
        insta::assert_snapshot!(changed("filters", json!([filter(), group(2)])), @"filters[1].filters[1]: a group cannot be inside a group");
        insta::assert_snapshot!(changed("filters", json!([filter(), with("state", json!(null))])), @"filters[1].filters[1].state: unknown state `null`; expected one of newState, oldState");
        insta::assert_snapshot!(changed("filters", json!({"0": filter()})), @"filters[1].filters: must be a list of filters");
        insta::assert_snapshot!(changed("connector", json!("XOR")), @"filters[1].connector: unknown connector `XOR`; expected one of AND, OR");
        insta::assert_snapshot!(changed("type", json!("set")), @"filters[1].type: unknown type `set`; expected one of group");
        insta::assert_snapshot!(changed("fieldName", json!("a")), @"filters[1].fieldName: unknown key; expected one of type, connector, filters");
        insta::assert_snapshot!(refusal(&json!([{"connector": "OR", "filters": []}])), @"filters[0].type: is missing");
        insta::assert_snapshot!(refusal(&json!([{"type": "group", "filters": []}])), @"filters[0].connector: is missing");
    }

    #[test]
    fn values_that_cannot_be_compared_are_refused() {
        let value = |comparison: &str, value: Value| {
            let mut filter = with("fieldValue", value);
            filter["comparison"] = json!(comparison);
            refusal(&json!([filter]))
        };
        insta::assert_snapshot!(value("gt", json!(true)), @"filters[0].fieldValue: `gt` needs a number, a date or another string");
        insta::assert_snapshot!(value("lte", json!({"a": 1, "b": {"c": null}})), @"filters[0].fieldValue.b.c: `lte` needs a number, a date or another string");
        insta::assert_snapshot!(value("contains", json!(["a"])), @"filters[0].fieldValue: `contains` looks for one string, number, boolean or null; join several filters");
        insta::assert_snapshot!(value("containsOnly", json!(vec![0; MAX_CONTAINS_ONLY + 1])), @"filters[0].fieldValue: 101 values; `containsOnly` takes at most 100");
        insta::assert_snapshot!(value("changed", nested(MAX_DEPTH + 1)), @"filters[0].fieldValue: nested too deep; at most 32 levels are allowed");
        assert_eq!(value("eq", nested(500)), value("eq", nested(MAX_DEPTH + 1)));
    }
}
