//! Properties of all filters and all events.

use std::cmp::Ordering;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Budget, Comparison, Connector, EventStates, FilterSet};
use crate::json::Document;

/// More than any of these cost.
fn plenty() -> Budget {
    Budget::new(10_000_000)
}

fn order(found: &Value, wanted: &Value) -> Option<Ordering> {
    let document = Document::new(found.to_string().into()).expect("JSON");
    super::order::order(document.root().expect("a value"), wanted)
}

/// Few names, so that filters and events speak of the same fields.
fn name() -> impl Strategy<Value = String> + Clone {
    select(vec!["a", "b", "c", "newState", "oldState"]).prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON has finite numbers", |float| {
            float.is_finite().then(|| json!(float))
        }),
    ]
}

fn scalar() -> impl Strategy<Value = Value> + Clone {
    let texts = select(vec![
        "",
        "a",
        "ab",
        "0",
        "1",
        "-1.5",
        "null",
        "true",
        "20221211",
        "é",
        "2022-12-11T16:00:00.000-0800",
        "2022-12-12T00:00:00Z",
        "2022-12-11T16:00:00:000-0800",
    ]);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        number().prop_map(|number| json!(number.to_string())),
        texts.prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ]
}

/// Any JSON, four levels deep.
fn json() -> impl Strategy<Value = Value> + Clone {
    scalar().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name(), inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Mostly events with states, else any JSON.
fn event() -> impl Strategy<Value = EventStates<'static>> {
    let state =
        || vec((name(), json()), 0..4).prop_map(|fields| fields.into_iter().collect::<Value>());
    let with_states = (state(), option::of(state())).prop_map(|(new, old)| match old {
        Some(old) => json!({"newState": new, "oldState": old}),
        None => json!({"newState": new}),
    });
    prop_oneof![3 => with_states, 1 => json()].prop_map(EventStates::from)
}

/// A filter that is read without complaint.
fn filter() -> impl Strategy<Value = Value> + Clone {
    let state = select(vec!["newState", "oldState"]);
    (name(), json(), select(Comparison::ALL.to_vec()), state).prop_map(
        |(name, value, comparison, state)| {
            let comparison = comparison.as_str();
            let mut filter = json!({
                "fieldName": name, "fieldValue": value, "comparison": comparison, "state": state,
            });
            if FilterSet::from_json(std::slice::from_ref(&filter), Connector::And).is_err() {
                filter["fieldValue"] = json!("0");
            }
            filter
        },
    )
}

fn connector() -> impl Strategy<Value = Connector> + Clone {
    select(vec![Connector::And, Connector::Or])
}

fn item() -> impl Strategy<Value = Value> {
    let group = (connector(), vec(filter(), 2..=5)).prop_map(
        |(connector, filters)| json!({"type": "group", "connector": connector, "filters": filters}),
    );
    prop_oneof![2 => filter().boxed(), 1 => group.boxed()]
}

fn set(connector: Connector, filters: &[Value]) -> FilterSet {
    FilterSet::from_json(filters, connector).expect("good filters")
}

fn matches(filter: &Value, event: &EventStates<'_>) -> bool {
    matches_all(&set(Connector::And, std::slice::from_ref(filter)), event)
}

fn matches_all(filters: &FilterSet, event: &EventStates<'_>) -> bool {
    filters.matches(event, &mut plenty()).expect("within the budget")
}

/// The filter that is true exactly when `filter` is not, if there is one.
fn negated(filter: &Value) -> Option<Value> {
    let opposite = match filter["comparison"].as_str()? {
        "eq" => "ne",
        "ne" => "eq",
        "contains" => "notContains",
        "notContains" => "contains",
        _ => return None,
    };
    let mut negated = filter.clone();
    negated["comparison"] = json!(opposite);
    Some(negated)
}

/// A filter with an opposite: on a single value, as an object means several.
fn negatable() -> impl Strategy<Value = Value> + Clone {
    let comparison = select(vec!["eq", "ne", "contains", "notContains"]);
    (name(), scalar(), comparison).prop_map(|(name, value, comparison)| {
        json!({"fieldName": name, "fieldValue": value, "comparison": comparison})
    })
}

proptest! {
    #[test]
    fn filters_read_back_as_written(connector in connector(), filters in vec(item(), 0..=10)) {
        let read = set(connector, &filters);
        prop_assert_eq!(read.connector(), connector);
        prop_assert_eq!(read.to_json(), filters);
        prop_assert_eq!(set(connector, &read.to_json()), read);
    }

    #[test]
    fn any_filter_answers_about_any_event_and_the_same_when_read_back(
        connector in connector(), filters in vec(item(), 0..=10), event in event(),
    ) {
        let filters = set(connector, &filters);
        let again = set(connector, &filters.to_json());
        prop_assert_eq!(matches_all(&filters, &event), matches_all(&again, &event));
    }

    #[test]
    fn any_json_is_read_or_refused_with_a_path(filters in vec(json(), 1..4)) {
        if let Err(error) = FilterSet::from_json(&filters, Connector::And) {
            prop_assert!(error.field().starts_with("filters["), "{}", error.field());
        }
    }

    #[test]
    fn a_comparison_and_its_opposite_are_never_both_true(filter in negatable(), event in event()) {
        let opposite = negated(&filter).expect("has an opposite");
        prop_assert_ne!(matches(&filter, &event), matches(&opposite, &event));
    }

    /// De Morgan: not all hold exactly when one opposite holds.
    #[test]
    fn connectors_are_dual(filters in vec(negatable(), 1..6), event in event()) {
        let opposites: Vec<_> = filters.iter().filter_map(negated).collect();
        let all = matches_all(&set(Connector::And, &filters), &event);
        let one_not = matches_all(&set(Connector::Or, &opposites), &event);
        prop_assert_ne!(all, one_not);
    }

    #[test]
    fn a_group_on_its_own_is_its_connector(
        connector in connector(), filters in vec(filter(), 2..=5), event in event(),
    ) {
        let group = json!({"type": "group", "connector": connector, "filters": filters});
        prop_assert_eq!(matches(&group, &event), matches_all(&set(connector, &filters), &event));
    }

    #[test]
    fn a_number_is_greater_or_not(left in number(), right in number()) {
        let document = Document::new(left.to_string().into()).expect("JSON");
        let holds = |comparison: Comparison| comparison.holds(document.root(), &right, &mut plenty());
        prop_assert_ne!(holds(Comparison::Gt), holds(Comparison::Lte));
        prop_assert_ne!(holds(Comparison::Lt), holds(Comparison::Gte));
        let both = holds(Comparison::Gte) == Ok(true) && holds(Comparison::Lte) == Ok(true);
        prop_assert_eq!(holds(Comparison::Eq), Ok(both));
    }

    #[test]
    fn integers_are_ordered_as_integers(
        left in any::<u64>(), right in any::<i64>(), other in any::<u64>(),
    ) {
        let expected = i128::from(left).cmp(&i128::from(right));
        prop_assert_eq!(order(&json!(left), &json!(right)), Some(expected));
        prop_assert_eq!(order(&json!(left.to_string()), &json!(right)), Some(expected));
        prop_assert_eq!(order(&json!(left), &json!(other)), Some(left.cmp(&other)));
    }

    #[test]
    fn order_is_antisymmetric(left in json(), right in json()) {
        prop_assert_eq!(order(&left, &right), order(&right, &left).map(Ordering::reverse));
    }

    #[test]
    fn numbers_are_totally_ordered(mut numbers in vec(number(), 3)) {
        numbers.sort_by(|left, right| order(left, right).expect("numbers have an order"));
        for (at, left) in numbers.iter().enumerate() {
            for right in numbers.iter().skip(at) {
                prop_assert_ne!(order(left, right), Some(Ordering::Greater));
            }
        }
    }

    /// Goal: set lookup gives the same result as comparing each value with each.
    #[test]
    fn contains_only_is_each_in_the_other(
        found in vec(scalar(), 0..5), wanted in vec(json(), 0..5), shared in vec(scalar(), 0..3),
    ) {
        let found: Vec<_> = found.into_iter().chain(shared.clone()).collect();
        let wanted: Vec<_> = wanted.into_iter().chain(shared).collect();
        let document = Document::new(json!(found).to_string().into()).expect("JSON");
        let elements: Vec<_> = document.root().expect("a list").elements().collect();
        let equal = |found, wanted: &Value| {
            super::comparison::equal(found, wanted, &mut plenty()).expect("within the budget")
        };
        let expected = elements.iter().all(|it| wanted.iter().any(|other| equal(*it, other)))
            && wanted.iter().all(|it| elements.iter().any(|other| equal(*other, it)));
        let holds =
            Comparison::ContainsOnly.holds(document.root(), &json!(wanted), &mut plenty());
        prop_assert_eq!(holds, Ok(expected), "{:?} {:?}", found, wanted);
    }

    /// Goal: with any budget, matching ends, and never contradicts the result with plenty.
    #[test]
    fn a_small_budget_changes_no_answer(
        connector in connector(), filters in vec(item(), 0..=10), event in event(), steps in 0_u64..60,
    ) {
        let filters = set(connector, &filters);
        if let Ok(answer) = filters.matches(&event, &mut Budget::new(steps)) {
            prop_assert_eq!(answer, matches_all(&filters, &event));
        }
    }
}
