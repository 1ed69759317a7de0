//! When a comparison is true of a value found in an event and the value a filter wants.

use std::{borrow::Cow, cmp::Ordering, slice};

use serde_json::{Number, Value};

use super::order::{order, order_numbers};

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    Contains,
    NotContains,
    ContainsOnly,
    Changed,
}

impl Comparison {
    /// In the order in which messages list them.
    pub(super) const ALL: [Self; 10] = [
        Self::Eq,
        Self::Ne,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::Contains,
        Self::NotContains,
        Self::ContainsOnly,
        Self::Changed,
    ];

    /// Whether the comparison is true of `found` (`None`: the field is missing).
    ///
    /// An object as `wanted` reaches into the field: each of its keys addresses a part, to any
    /// depth, and the comparison must be true of every value it ends in. So a nested filter is the
    /// AND of one filter per value, for `ne` too. An empty object is a value: `eq {}` means empty.
    pub(super) fn holds(self, found: Option<&Value>, wanted: &Value) -> bool {
        match wanted.as_object() {
            Some(parts) if !parts.is_empty() => parts
                .iter()
                .all(|(name, part)| self.holds(found.and_then(|found| found.get(name)), part)),
            Some(_) | None => self.holds_of_value(found, wanted),
        }
    }

    fn holds_of_value(self, found: Option<&Value>, wanted: &Value) -> bool {
        let is = |test: fn(&Value, &Value) -> bool| found.is_some_and(|found| test(found, wanted));
        let ordered = |test: fn(Ordering) -> bool| {
            found.and_then(|found| order(found, wanted)).is_some_and(test)
        };
        match self {
            Self::Eq => is(equal),
            Self::Ne => !is(equal),
            Self::Gt => ordered(Ordering::is_gt),
            Self::Gte => ordered(Ordering::is_ge),
            Self::Lt => ordered(Ordering::is_lt),
            Self::Lte => ordered(Ordering::is_le),
            Self::Contains => is(contains),
            Self::NotContains => !is(contains),
            Self::ContainsOnly => is(contains_only),
            // True of two states, not of a state and a value: `EventStates::changed`.
            Self::Changed => false,
        }
    }

    /// As in the JSON form.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Contains => "contains",
            Self::NotContains => "notContains",
            Self::ContainsOnly => "containsOnly",
            Self::Changed => "changed",
        }
    }
}

/// Equal, case counts. A number, boolean or null equals its spelling as a string (`0` and `"0"`),
/// because filters made for Workfront write strings where the state holds something else.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::String(text), other) | (other, Value::String(text)) => spells(text, other),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        (left, right) => left == right,
    }
}

fn spells(text: &str, value: &Value) -> bool {
    match value {
        Value::String(other) => text == other,
        Value::Number(number) => text.parse().is_ok_and(|read: Number| same_number(&read, number)),
        Value::Bool(true) => text == "true",
        Value::Bool(false) => text == "false",
        Value::Null => text == "null",
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    order_numbers(left, right) == Some(Ordering::Equal)
}

/// A string contains the spelling of a single value, an array contains it as an element.
fn contains(found: &Value, wanted: &Value) -> bool {
    match found {
        Value::String(text) => {
            let part = wanted.as_str().map_or_else(|| Cow::from(wanted.to_string()), Cow::from);
            text.contains(&*part)
        }
        Value::Array(elements) => elements.iter().any(|element| equal(element, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// The same values and no other: order and repetition do not count.
///
/// A single value is a list of one, on both sides. Source: Adobe Workfront, *Event subscription
/// versioning*: version 1 sends a multi-select field with one value as a string.
fn contains_only(found: &Value, wanted: &Value) -> bool {
    let (found, wanted) = (elements(found), elements(wanted));
    let within = |element: &Value, list: &[Value]| list.iter().any(|other| equal(element, other));
    found.iter().all(|element| within(element, wanted))
        && wanted.iter().all(|element| within(element, found))
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| slice::from_ref(value), Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use Comparison::{Contains, ContainsOnly, Eq, Gt, Gte, Lt, Lte, Ne, NotContains};
    use serde_json::json;

    use super::*;

    fn check(rows: impl IntoIterator<Item = (Value, Comparison, Value, bool)>) {
        for (found, comparison, wanted, expected) in rows {
            let name = comparison.as_str();
            assert_eq!(
                comparison.holds(Some(&found), &wanted),
                expected,
                "{found} {name} {wanted}"
            );
        }
    }

    #[test]
    fn equality_counts_case_and_takes_spellings() {
        check([
            (json!("CUR"), Eq, json!("CUR"), true),
            (json!("CUR"), Eq, json!("cur"), false),
            (json!("CUR"), Ne, json!("cur"), true),
            (json!(0), Eq, json!("0"), true),
            (json!("0"), Eq, json!(0), true),
            (json!(100.0), Eq, json!("100"), true),
            (json!(100.0), Eq, json!(100), true),
            (json!("1.0"), Eq, json!("1"), false),
            (json!(7), Eq, json!("007"), false),
            (json!(7), Eq, json!(" 7"), false),
            (json!(true), Eq, json!("true"), true),
            (json!(true), Eq, json!(1), false),
            (json!(null), Eq, json!(null), true),
            (json!(null), Eq, json!("null"), true),
            (json!(null), Eq, json!(""), false),
            (json!(9_007_199_254_740_993_u64), Eq, json!(9_007_199_254_740_992_u64), false),
            (json!(u64::MAX), Eq, json!("18446744073709551615"), true),
            (json!([1, "a"]), Eq, json!(["1", "a"]), true),
            (json!([1, 2]), Eq, json!([2, 1]), false),
            (json!([{"a": 1}]), Eq, json!([{"a": "1"}]), true),
            (json!([{"a": 1, "b": 2}]), Eq, json!([{"a": 1}]), false),
            (json!({}), Eq, json!({}), true),
            (json!({"a": 1}), Eq, json!({}), false),
            (json!([]), Eq, json!({}), false),
        ]);
    }

    #[test]
    fn order_is_of_numbers_dates_and_texts() {
        check([
            (json!(100), Gt, json!("99"), true),
            (json!("100"), Gt, json!("99"), true),
            (json!(100), Gt, json!(100), false),
            (json!(100), Gte, json!(100.0), true),
            (json!(100), Lt, json!("1e3"), true),
            (json!(100), Lte, json!(99.5), false),
            (json!("2022-12-11T16:00:00.000-0800"), Gt, json!("2022-12-11T23:00:00Z"), true),
            (json!("apple"), Lt, json!("banana"), true),
            (json!(null), Lt, json!(1), false),
            (json!(null), Gte, json!(1), false),
            (json!("n/a"), Gt, json!(1), false),
            (json!("n/a"), Lte, json!(1), false),
        ]);
    }

    #[test]
    fn strings_contain_parts_and_arrays_contain_elements() {
        check([
            (json!("Big Plan"), Contains, json!("Plan"), true),
            (json!("Big Plan"), Contains, json!("plan"), false),
            (json!("Big Plan"), NotContains, json!("plan"), true),
            (json!("PO-4711"), Contains, json!(4711), true),
            (json!(["a", "bc"]), Contains, json!("a"), true),
            (json!(["a", "bc"]), Contains, json!("b"), false),
            (json!(["a", "bc"]), NotContains, json!("b"), true),
            (json!([1, 2]), Contains, json!("2"), true),
            (json!([]), Contains, json!(null), false),
            (json!(4711), Contains, json!(47), false),
            (json!(null), NotContains, json!("a"), true),
        ]);
    }

    #[test]
    fn contains_only_ignores_order_and_repetition() {
        check([
            (json!(["a", "b"]), ContainsOnly, json!(["b", "a"]), true),
            (json!(["a", "b", "a"]), ContainsOnly, json!(["b", "a"]), true),
            (json!(["a", "b", "c"]), ContainsOnly, json!(["b", "a"]), false),
            (json!(["a"]), ContainsOnly, json!(["b", "a"]), false),
            (json!(["a"]), ContainsOnly, json!("a"), true),
            (json!(["a", "b"]), ContainsOnly, json!("a"), false),
            (json!("a"), ContainsOnly, json!(["a"]), true),
            (json!([]), ContainsOnly, json!([]), true),
            (json!([]), ContainsOnly, json!("a"), false),
            (json!([1]), ContainsOnly, json!(["1"]), true),
            (json!(null), ContainsOnly, json!([]), false),
        ]);
    }

    #[test]
    fn an_object_reaches_into_the_field_to_any_depth() {
        let found = json!({"a": "x", "n": {"m": {"k": 5, "tags": ["p", "q"]}}});
        check([
            (found.clone(), Eq, json!({"a": "x"}), true),
            (found.clone(), Eq, json!({"a": "x", "n": {"m": {"k": "5"}}}), true),
            (found.clone(), Eq, json!({"a": "x", "n": {"m": {"k": 6}}}), false),
            (found.clone(), Gt, json!({"n": {"m": {"k": 4}}}), true),
            (found.clone(), Contains, json!({"n": {"m": {"tags": "p"}}}), true),
            (found.clone(), ContainsOnly, json!({"n": {"m": {"tags": ["q", "p"]}}}), true),
            (found.clone(), Eq, json!({"n": {"none": {"k": 5}}}), false),
            (found.clone(), Ne, json!({"n": {"none": {"k": 5}}}), true),
            // Every value must differ, not just one.
            (found.clone(), Ne, json!({"a": "x", "n": {"m": {"k": 6}}}), false),
            (found, Ne, json!({"a": "y", "n": {"m": {"k": 6}}}), true),
            (json!("x"), Eq, json!({"a": "x"}), false),
            (json!(["x"]), NotContains, json!({"0": "x"}), true),
        ]);
    }

    #[test]
    fn a_missing_field_equals_and_contains_nothing() {
        for wanted in [json!("x"), json!(null), json!([]), json!({})] {
            for comparison in [Eq, Gt, Gte, Lt, Lte, Contains, ContainsOnly] {
                assert!(!comparison.holds(None, &wanted), "{} {wanted}", comparison.as_str());
            }
            assert!(Ne.holds(None, &wanted) && NotContains.holds(None, &wanted), "{wanted}");
        }
    }
}
