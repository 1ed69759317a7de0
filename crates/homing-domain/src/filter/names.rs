//! Names of fields that are probably mistakes.

use serde_json::Value;

use super::{Connector, Filter, FilterError, FilterProblem, FilterSet, Item};

impl FilterSet {
    /// Reads `filters` of a new subscription.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json); also for a `fieldName` in an unsupported syntax, which
    /// would never match.
    pub fn for_subscribing(filters: &[Value], connector: Connector) -> Result<Self, FilterError> {
        let set = Self::from_json(filters, connector)?;
        for (index, item) in set.items.iter().enumerate() {
            let at = format!("filters[{index}]");
            match item {
                Item::Filter(filter) => check_name(filter).map_err(|error| error.inside(&at))?,
                Item::Group(group) => {
                    for (inner, filter) in group.filters.iter().enumerate() {
                        let at = format!("{at}.filters[{inner}]");
                        check_name(filter).map_err(|error| error.inside(&at))?;
                    }
                }
            }
        }
        Ok(set)
    }
}

/// Refuses names in the syntaxes of `JSONPath` and JavaScript, and those that begin with a state.
fn check_name(filter: &Filter) -> Result<(), FilterError> {
    let name = &filter.field_name;
    let is_index = |word: &str| {
        let within = word.strip_suffix(']').and_then(|word| word.rsplit_once('['));
        let quotes = ['"', '\''];
        within.is_some_and(|(_, index)| {
            index == "*"
                || index.starts_with(quotes)
                || !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let hint = if name == "$" || name.starts_with("$.") || name.starts_with("$[") {
        "write the name without `$`: `status`, or `data.total` for a part of an object"
    } else if name.starts_with("newState.") || name.starts_with("oldState.") {
        "write the name alone, and the state as `state`"
    } else if name.split('.').any(is_index) {
        "elements of a list have no position here; `contains` looks for one in the whole list"
    } else {
        return Ok(());
    };
    Err(FilterError::at("fieldName", FilterProblem::NeverMatches { name: name.clone(), hint }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(name: &str) -> Value {
        json!({"fieldName": name, "fieldValue": 1, "comparison": "eq"})
    }

    #[test]
    fn names_that_never_match_are_refused_with_a_hint_and_stay_readable() {
        let refusal = |name: &str| {
            let filters = [named(name)];
            let error = FilterSet::for_subscribing(&filters, Connector::And).expect_err("refused");
            assert_eq!(error.field(), "filters[0].fieldName", "{name}");
            // One that was accepted by an earlier version is kept.
            assert!(FilterSet::from_json(&filters, Connector::And).is_ok(), "{name}");
            error.to_string()
        };
        insta::assert_snapshot!(refusal("$.status"), @"`$.status` never matches: write the name without `$`: `status`, or `data.total` for a part of an object");
        insta::assert_snapshot!(refusal("newState.status"), @"`newState.status` never matches: write the name alone, and the state as `state`");
        insta::assert_snapshot!(refusal("list[0]"), @"`list[0]` never matches: elements of a list have no position here; `contains` looks for one in the whole list");
        for name in ["$", "$['a']", "a.list[12].b", "list[*]", "a[\"b\"]", "oldState.a"] {
            refusal(name);
        }
        for name in ["a.b", "DE:Approx. cost", "$price", "a[b]", "x[]", "newState", "DE:Size [cm]"]
        {
            let filters = [named(name)];
            assert!(FilterSet::for_subscribing(&filters, Connector::And).is_ok(), "{name}");
        }
        let group =
            json!({"type": "group", "connector": "OR", "filters": [named("a"), named("$.a")]});
        let error = FilterSet::for_subscribing(&[group], Connector::And).expect_err("refused");
        assert_eq!(error.field(), "filters[0].filters[1].fieldName");
    }
}
