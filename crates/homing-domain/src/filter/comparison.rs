//! Compares a value found in an event with the value of a filter.

use std::{borrow::Cow, cmp::Ordering, slice};

use serde_json::Value;

use super::{
    budget::{Budget, OverBudget},
    order::{order, order_number},
    states::{part, parts},
    wanted_set::WantedSet,
};
use crate::json::{Json, Kind};

/// The comparison of a field with a value.
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

    /// True if the comparison holds for `found` (`None`: the field is missing).
    ///
    /// An object as `wanted` reaches into the field: each of its keys addresses a part, to any
    /// depth, and the comparison must be true of every value it ends in. So a nested filter is the
    /// AND of one filter per value, for `ne` too. An empty object is a value: `eq {}` means empty.
    ///
    /// # Errors
    ///
    /// [`OverBudget`].
    pub(super) fn holds(
        self,
        found: Option<Json<'_>>,
        wanted: &Value,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        match wanted.as_object() {
            Some(wanted) if !wanted.is_empty() => {
                for (name, wanted) in wanted {
                    let found = match found {
                        Some(found) => part(found, name, budget)?,
                        None => None,
                    };
                    if !self.holds(found, wanted, budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(_) | None => self.holds_of_value(found, wanted, budget),
        }
    }

    fn holds_of_value(
        self,
        found: Option<Json<'_>>,
        wanted: &Value,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        let is_negative = matches!(self, Self::Ne | Self::NotContains);
        let Some(found) = found else { return Ok(is_negative) };
        let ordered = |test: fn(Ordering) -> bool, budget: &mut Budget| {
            budget.read(found.raw().len())?;
            Ok(order(found, wanted).is_some_and(test))
        };
        match self {
            Self::Eq => equal(found, wanted, budget),
            Self::Ne => Ok(!equal(found, wanted, budget)?),
            Self::Gt => ordered(Ordering::is_gt, budget),
            Self::Gte => ordered(Ordering::is_ge, budget),
            Self::Lt => ordered(Ordering::is_lt, budget),
            Self::Lte => ordered(Ordering::is_le, budget),
            Self::Contains => contains(found, wanted, budget),
            Self::NotContains => Ok(!contains(found, wanted, budget)?),
            Self::ContainsOnly => contains_only(found, wanted, budget),
            // Holds for two states, not for a state and a value: `EventStates::changed`.
            Self::Changed => Ok(false),
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
///
/// Recurses as deep as `wanted` is, which is bounded.
pub(super) fn equal(
    found: Json<'_>,
    wanted: &Value,
    budget: &mut Budget,
) -> Result<bool, OverBudget> {
    match (found.kind(), wanted) {
        (Kind::List, Value::Array(wanted)) => {
            let mut elements = found.elements();
            for wanted in wanted {
                let Some(found) = elements.next() else { return Ok(false) };
                if !equal(found, wanted, budget)? {
                    return Ok(false);
                }
            }
            Ok(elements.next().is_none())
        }
        (Kind::Object, Value::Object(wanted)) => {
            let found = parts(found, budget)?;
            if found.len() != wanted.len() {
                return Ok(false);
            }
            for (name, wanted) in wanted {
                let Some(found) = found.get(name.as_str()) else { return Ok(false) };
                if !equal(*found, wanted, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::List | Kind::Object, _) => budget.spend(1).map(|()| false),
        (Kind::Null | Kind::Bool | Kind::Number | Kind::Text, _) => {
            budget.spend(SINGLE_STEPS)?;
            budget.read(found.raw().len())?;
            Ok(equal_single(found, wanted))
        }
    }
}

/// Cost of reading a number and comparing it.
const SINGLE_STEPS: usize = 3;

fn equal_single(found: Json<'_>, wanted: &Value) -> bool {
    match (found.kind(), wanted) {
        (_, Value::Array(_) | Value::Object(_)) => false,
        (Kind::Text, Value::String(wanted)) => found.says(wanted),
        (Kind::Text, wanted) => found.text().is_some_and(|text| spells(&text, wanted)),
        (Kind::Number, wanted) => order_number(found.raw(), wanted) == Some(Ordering::Equal),
        (_, Value::String(wanted)) => wanted == found.raw(),
        (_, wanted) => spells(found.raw(), wanted),
    }
}

fn spells(text: &str, wanted: &Value) -> bool {
    match wanted {
        Value::Number(_) => order_number(text, wanted) == Some(Ordering::Equal),
        Value::Bool(true) => text == "true",
        Value::Bool(false) => text == "false",
        Value::Null => text == "null",
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A string contains the spelling of a single value, an array contains it as an element.
fn contains(found: Json<'_>, wanted: &Value, budget: &mut Budget) -> Result<bool, OverBudget> {
    if found.kind() == Kind::Text {
        budget.spend(SINGLE_STEPS)?;
        budget.read(found.raw().len())?;
        let text = found.text().unwrap_or_default();
        let part = wanted.as_str().map_or_else(|| Cow::from(wanted.to_string()), Cow::from);
        return Ok(text.contains(&*part));
    }
    for element in found.elements() {
        if equal(element, wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same values and no others: order and repetition do not count.
///
/// A single value is a list of one, on both sides. Source: Adobe Workfront, *Event subscription
/// versioning*: version 1 sends a multi-select field with one value as a string.
fn contains_only(found: Json<'_>, wanted: &Value, budget: &mut Budget) -> Result<bool, OverBudget> {
    let mut wanted = WantedSet::new(elements(wanted), budget)?;
    if found.kind() != Kind::List {
        return Ok(wanted.saw(found, budget)? && wanted.saw_all());
    }
    for element in found.elements() {
        if !wanted.saw(element, budget)? {
            return Ok(false);
        }
    }
    Ok(wanted.saw_all())
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| slice::from_ref(value), Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use Comparison::{Contains, ContainsOnly, Eq, Gt, Gte, Lt, Lte, Ne, NotContains};
    use serde_json::json;

    use super::*;
    use crate::json::Document;

    fn holds(comparison: Comparison, found: Option<&Value>, wanted: &Value) -> bool {
        let mut budget = Budget::new(1_000_000);
        let document = found.map(|found| Document::new(found.to_string().into()).expect("JSON"));
        let found = document.as_ref().and_then(Document::root);
        comparison.holds(found, wanted, &mut budget).expect("within the budget")
    }

    fn check(rows: impl IntoIterator<Item = (Value, Comparison, Value, bool)>) {
        for (found, comparison, wanted, expected) in rows {
            let name = comparison.as_str();
            assert_eq!(
                holds(comparison, Some(&found), &wanted),
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
                assert!(!holds(comparison, None, &wanted), "{} {wanted}", comparison.as_str());
            }
            assert!(holds(Ne, None, &wanted) && holds(NotContains, None, &wanted), "{wanted}");
        }
    }
}
