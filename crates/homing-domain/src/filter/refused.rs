//! The fields because of which an event does not match.

use super::{Budget, Connector, EventStates, FilterSet, Item, OverBudget};

impl FilterSet {
    /// The fields of the filters because of which `event` does not match; empty: it does. Of
    /// filters that must all hold, the first that does not; of alternatives, all.
    ///
    /// # Errors
    ///
    /// [`OverBudget`]: the result is unknown.
    pub fn refused_by(
        &self,
        event: &EventStates<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<&str>, OverBudget> {
        let mut fields = Vec::new();
        for item in &self.items {
            let refusing = item.refused_by(event, budget)?;
            match (refusing.is_empty(), self.connector) {
                (true, Connector::Or) => return Ok(Vec::new()),
                (false, Connector::And) => return Ok(refusing),
                (true, Connector::And) | (false, Connector::Or) => fields.extend(refusing),
            }
        }
        fields.dedup();
        Ok(fields)
    }
}

impl Item {
    fn refused_by(
        &self,
        event: &EventStates<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<&str>, OverBudget> {
        if self.matches(event, budget)? {
            return Ok(Vec::new());
        }
        match self {
            Self::Filter(filter) => Ok(vec![filter.field_name.as_str()]),
            Self::Group(group) => {
                let mut fields = Vec::new();
                for filter in &group.filters {
                    if !filter.matches(event, budget)? {
                        fields.push(filter.field_name.as_str());
                    }
                }
                if group.connector == Connector::And {
                    fields.truncate(1);
                }
                Ok(fields)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn fields_that_refuse_are_named() {
        let event = EventStates::from(json!({"a": 1}));
        let is = |field: &str, value: u8| json!({"fieldName": field, "fieldValue": value, "comparison": "eq"});
        let group = |connector: &str, filters: &[Value]| json!({"type": "group", "connector": connector, "filters": filters});
        let (either, both) = (
            group("OR", &[is("b", 1), is("c", 1)]),
            group("AND", &[is("a", 1), is("d", 1), is("e", 1)]),
        );
        for (connector, filters, expected) in [
            (Connector::And, json!([is("a", 1)]), vec![]),
            (Connector::And, json!([is("a", 1), is("b", 1), is("c", 1)]), vec!["b"]),
            (Connector::Or, json!([is("b", 1), is("a", 1)]), vec![]),
            (Connector::Or, json!([is("b", 1), is("c", 1)]), vec!["b", "c"]),
            (Connector::And, json!([is("a", 1), either]), vec!["b", "c"]),
            (Connector::Or, json!([both, is("b", 1)]), vec!["d", "b"]),
        ] {
            let filters = FilterSet::from_json(filters.as_array().unwrap(), connector).unwrap();
            let refused = filters.refused_by(&event, &mut Budget::new(1_000)).unwrap();
            assert_eq!(refused, expected, "{connector} {filters:?}");
            let matches = filters.matches(&event, &mut Budget::new(1_000)).unwrap();
            assert_eq!(refused.is_empty(), matches);
        }
    }
}
