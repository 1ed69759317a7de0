//! The subscription's condition on events: a pure predicate on the event's body.
//!
//! A subscription has one [`FilterSet`]: single filters and groups of them, joined by a
//! [`Connector`]. A filter compares one field of one state of the event ([`EventStates`]) with a
//! value. The JSON form is Workfront's; where Workfront accepts a bad filter in silence,
//! [`FilterSet::from_json`] refuses it and names the field.
//!
//! | file | holds |
//! |---|---|
//! | `states.rs` | the states of an event |
//! | `budget.rs` | the cost limit of matching |
//! | `comparison.rs` | the comparisons of two values |
//! | `wanted_set.rs` | the values of a `containsOnly`, as a set |
//! | `order.rs` | the order of numbers, dates and texts |
//! | `document.rs` | the JSON form, read and written |
//! | `refused.rs` | the fields because of which an event does not match |
//! | `names.rs` | names of fields that never match |
//! | `error.rs` | errors of filters |
//!
//! The comparisons, as a test:
//!
//! ```
//! use homing_domain::filter::{Budget, Connector, EventStates, FilterError, FilterSet};
//! use serde_json::{Value, json};
//!
//! let event = EventStates::from(json!({
//!     "newState": {"name": "Big Plan", "cost": 12.5, "tags": ["b", "a"], "data": {"x": {"y": 1}},
//!                  "due": "2022-12-11T16:00:00.000-0800"},
//!     "oldState": {"name": "Plan",     "cost": 12.5, "tags": []},
//! }));
//! let holds = |field: &str, comparison: &str, value: Value| {
//!     let filter = json!({"fieldName": field, "comparison": comparison, "fieldValue": value});
//!     let filters = FilterSet::from_json(&[filter], Connector::And)?;
//!     Ok::<_, FilterError>(filters.matches(&event, &mut Budget::new(1_000)) == Ok(true))
//! };
//! assert!( holds("name", "eq",          json!("Big Plan"))?);
//! assert!(!holds("name", "eq",          json!("big plan"))?); //             case counts
//! assert!( holds("cost", "eq",          json!("12.5"))?);     //   a number is its spelling
//! assert!( holds("none", "ne",          json!("x"))?);        //  nothing equals no value
//! assert!( holds("cost", "lt",          json!("100"))?);      //  as numbers, not as text
//! assert!( holds("due",  "gte",         json!("2022-12-12T00:00:00Z"))?); //   as instants
//! assert!( holds("name", "contains",    json!("Plan"))?);     //                 substring
//! assert!( holds("tags", "contains",    json!("a"))?);        //                   element
//! assert!( holds("none", "notContains", json!("a"))?);        //       absent with its field
//! assert!( holds("tags", "containsOnly", json!(["a", "b"]))?); //                any order
//! assert!(!holds("tags", "containsOnly", json!("a"))?);       //   `b` is there as well
//! assert!( holds("name", "changed",     json!(null))?);       //       the value is ignored
//! assert!( holds("data", "eq",          json!({"x": {"y": 1}}))?); //      inside the field
//! assert!( holds("data.x.y", "eq",      json!(1))?);          //       the same, as a path
//! # Ok::<(), FilterError>(())
//! ```
//!
//! Source: Adobe Workfront, *Event subscription API*, filters; where it is silent, the item that
//! decides has a comment.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod budget;
mod comparison;
mod document;
mod error;
mod names;
mod order;
#[cfg(test)]
mod properties;
mod refused;
mod states;
mod wanted_set;

pub use budget::{Budget, OverBudget};
use comparison::Comparison;
pub use document::{GROUP_FILTERS, MAX_CONTAINS_ONLY, MAX_DEPTH, MAX_FILTERS, MAX_GROUPS};
pub use error::{FilterError, FilterProblem};
pub use states::EventStates;
use states::State;

/// All filters of a subscription, valid by construction. Without any, every event matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSet {
    connector: Connector,
    items: Vec<Item>,
}

/// The way filters are joined.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Connector {
    /// All of them must hold.
    #[default]
    And,
    /// One of them must hold.
    Or,
}

/// An item of the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Filter(Filter),
    Group(Group),
}

/// Filters joined among themselves before they are joined with the rest; groups do not nest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    connector: Connector,
    filters: Vec<Filter>,
}

/// One field of one state, compared with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    field_name: String,
    /// `None` only with [`Comparison::Changed`], which ignores it.
    field_value: Option<Value>,
    comparison: Comparison,
    state: State,
}

impl FilterSet {
    /// True if `event` matches.
    ///
    /// # Errors
    ///
    /// [`OverBudget`]: the result is unknown.
    pub fn matches(
        &self,
        event: &EventStates<'_>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        if self.items.is_empty() {
            return Ok(true);
        }
        self.connector.join(&self.items, |item| item.matches(event, budget))
    }

    /// The connector of the top level.
    #[must_use]
    pub fn connector(&self) -> Connector {
        self.connector
    }

    /// True if there is no filter, so that matching needs no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if a filter uses the old state, which a CREATE does not have.
    ///
    /// `changed` does not count: it uses both states, and everything in a CREATE is changed.
    #[must_use]
    pub fn uses_old_state(&self) -> bool {
        self.old_state_field().is_some()
    }

    /// The path of the first `state` that names the old state, such as `filters[2].state`.
    #[must_use]
    pub fn old_state_field(&self) -> Option<String> {
        let path = |index: usize, within: &str| format!("filters[{index}]{within}.state");
        self.items.iter().enumerate().find_map(|(index, item)| match item {
            Item::Filter(filter) => filter.uses_old_state().then(|| path(index, "")),
            Item::Group(group) => {
                let inner = group.filters.iter().position(Filter::uses_old_state)?;
                Some(path(index, &format!(".filters[{inner}]")))
            }
        })
    }
}

impl Connector {
    /// True if `holds` is true of all or of one, depending on the connector.
    fn join<T>(
        self,
        items: &[T],
        mut holds: impl FnMut(&T) -> Result<bool, OverBudget>,
    ) -> Result<bool, OverBudget> {
        let decides = self == Self::Or;
        for item in items {
            if holds(item)? == decides {
                return Ok(decides);
            }
        }
        Ok(!decides)
    }

    /// As in the JSON form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Item {
    fn matches(&self, event: &EventStates<'_>, budget: &mut Budget) -> Result<bool, OverBudget> {
        match self {
            Self::Filter(filter) => filter.matches(event, budget),
            Self::Group(group) => {
                group.connector.join(&group.filters, |filter| filter.matches(event, budget))
            }
        }
    }
}

impl Filter {
    fn matches(&self, event: &EventStates<'_>, budget: &mut Budget) -> Result<bool, OverBudget> {
        match &self.field_value {
            Some(wanted) if self.comparison != Comparison::Changed => {
                let found = event.field(self.state, &self.field_name, budget)?;
                self.comparison.holds(found, wanted, budget)
            }
            Some(_) | None => event.changed(&self.field_name, budget),
        }
    }

    fn uses_old_state(&self) -> bool {
        self.state == State::Old
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CREATE: &[u8] = include_bytes!("../../../../tests/samples/workfront-create.json");
    const UPDATE: &[u8] = include_bytes!("../../../../tests/samples/workfront-update.json");
    const USER_UPDATE: &[u8] =
        include_bytes!("../../../../tests/samples/workfront-user-update.json");

    fn set(connector: Connector, filters: &Value) -> FilterSet {
        FilterSet::from_json(filters.as_array().expect("a list"), connector).expect("filters")
    }

    fn one(filter: &Value) -> FilterSet {
        set(Connector::And, &json!([filter]))
    }

    fn sample(body: &[u8]) -> EventStates<'_> {
        EventStates::read(body, None).expect("samples are JSON")
    }

    fn matches(filters: &FilterSet, event: &EventStates<'_>) -> bool {
        filters.matches(event, &mut Budget::new(100_000)).expect("within the budget")
    }

    /// A filter that is true of `{}` if and only if `truth`.
    fn constant(truth: bool) -> Value {
        json!({"fieldName": "x", "fieldValue": 1, "comparison": if truth { "ne" } else { "eq" }})
    }

    #[test]
    fn without_filters_every_event_matches() {
        for connector in [Connector::And, Connector::Or] {
            assert!(matches(&set(connector, &json!([])), &EventStates::from(Value::Null)));
        }
    }

    #[test]
    fn connectors_join_the_top_level_and_groups() {
        let event = EventStates::from(json!({}));
        let (yes, no) = (constant(true), constant(false));
        let any = json!({"type": "group", "connector": "OR", "filters": [no, yes]});
        let all = json!({"type": "group", "connector": "AND", "filters": [no, yes]});
        for (connector, filters, expected) in [
            (Connector::And, json!([yes, yes]), true),
            (Connector::And, json!([yes, no]), false),
            (Connector::Or, json!([no, yes]), true),
            (Connector::Or, json!([no, no]), false),
            (Connector::And, json!([any]), true),
            (Connector::Or, json!([all]), false),
            (Connector::And, json!([yes, any, all]), false),
            (Connector::And, json!([yes, any]), true),
            (Connector::Or, json!([all, no, any]), true),
        ] {
            let filters = set(connector, &filters);
            assert_eq!(matches(&filters, &event), expected, "{connector} {filters:?}");
        }
    }

    #[test]
    fn the_published_samples_are_matched() {
        for (body, name, comparison, state, value, expected) in [
            (CREATE, "status", "eq", "newState", json!("CUR"), true),
            (CREATE, "priority", "eq", "newState", json!("0"), true),
            (CREATE, "sponsorID", "eq", "newState", json!(null), true),
            (CREATE, "parameterValues", "eq", "newState", json!({}), true),
            (CREATE, "name", "eq", "oldState", json!("CUR"), false),
            (CREATE, "name", "changed", "newState", json!(null), true),
            (CREATE, "entryDate", "lt", "newState", json!("2017-09-26T19:23:50.747Z"), true),
            (CREATE, "entryDate", "lt", "newState", json!("2017-09-26T19:23:50.746Z"), false),
            (UPDATE, "name", "contains", "newState", json!("updated"), true),
            (UPDATE, "name", "contains", "oldState", json!("updated"), false),
            (UPDATE, "name", "changed", "newState", json!("ignored"), true),
            (UPDATE, "status", "changed", "newState", json!(null), false),
            (UPDATE, "referenceNumber", "gt", "newState", json!("999"), true),
            (
                UPDATE,
                "accessorIDs",
                "containsOnly",
                "newState",
                json!("544820df0000142362741fc0c368de19"),
                true,
            ),
            (USER_UPDATE, "homeTeamID", "changed", "newState", json!(null), true),
            (USER_UPDATE, "homeGroupID", "changed", "newState", json!(null), false),
            (USER_UPDATE, "roleID", "notContains", "newState", json!("x"), true),
        ] {
            let filter = json!({
                "fieldName": name, "fieldValue": value, "comparison": comparison, "state": state,
            });
            assert_eq!(matches(&one(&filter), &sample(body)), expected, "{filter}");
        }
    }

    #[test]
    fn the_old_state_is_found_wherever_it_is_used() {
        let mut old = constant(true);
        old["state"] = json!("oldState");
        let group = json!({"type": "group", "connector": "OR", "filters": [constant(true), old]});
        let found = |filters: Value| set(Connector::Or, &filters).old_state_field();
        assert_eq!(found(json!([constant(true), old])).as_deref(), Some("filters[1].state"));
        assert_eq!(found(json!([group])).as_deref(), Some("filters[0].filters[1].state"));
        assert_eq!(found(json!([{"fieldName": "a", "comparison": "changed"}])), None);
        assert!(one(&old).uses_old_state());
        assert!(!one(&constant(true)).uses_old_state());
    }
}
