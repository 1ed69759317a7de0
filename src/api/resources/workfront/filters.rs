//! Filters as clients of Workfront's API write them.

use serde_json::{Map, Value, json};

use homing_domain::subscription::FieldError;

/// Fields that cannot be filtered. Source: Adobe Workfront, *Event subscription API*, event
/// subscription filtering. `RECORD.data` is in that list, too, but also in an example of a filter,
/// so it can be filtered here.
const UNFILTERABLE: [(&str, &str); 3] =
    [("DOCU", "groups"), ("RECORD_TYPE", "data"), ("RECORD_TYPE", "fields")];

/// A filter without a comparison means equality, as in Workfront's examples.
pub(super) fn with_comparison(mut filter: Map<String, Value>) -> Value {
    if filter.contains_key("fieldName") && filter.contains_key("fieldValue") {
        filter.entry("comparison").or_insert_with(|| json!("eq"));
    }
    Value::Object(filter)
}

/// Refuses filters of fields that cannot be filtered.
pub(super) fn check(obj_code: &str, filters: &[Map<String, Value>]) -> Result<(), FieldError> {
    for (index, filter) in filters.iter().enumerate() {
        let path = format!("filters[{index}]");
        check_one(obj_code, filter, &path)?;
        let grouped = filter.get("filters").and_then(Value::as_array).into_iter().flatten();
        for (inner, filter) in grouped.enumerate() {
            if let Value::Object(filter) = filter {
                check_one(obj_code, filter, &format!("{path}.filters[{inner}]"))?;
            }
        }
    }
    Ok(())
}

fn check_one(obj_code: &str, filter: &Map<String, Value>, path: &str) -> Result<(), FieldError> {
    let name = filter.get("fieldName").and_then(Value::as_str).unwrap_or_default();
    let field = name.split('.').next().unwrap_or_default();
    if UNFILTERABLE.contains(&(obj_code, field)) {
        let message = format!("`{field}` of {obj_code} cannot be filtered");
        return Err(FieldError::new(format!("{path}.fieldName"), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(obj_code: &str, filter: Value) -> Option<String> {
        let Value::Object(filter) = filter else { panic!("{filter}") };
        check(obj_code, &[filter]).err().map(|error| error.field)
    }

    #[test]
    fn fields_that_cannot_be_filtered_are_named() {
        let filter = |name: &str| json!({"fieldName": name, "fieldValue": 1});
        for (obj_code, name) in
            [("DOCU", "groups"), ("RECORD_TYPE", "data.x"), ("RECORD_TYPE", "fields")]
        {
            let field = refused(obj_code, filter(name));
            assert_eq!(field.as_deref(), Some("filters[0].fieldName"), "{obj_code}.{name}");
        }
        for (obj_code, name) in [("DOCU", "group"), ("PROJ", "groups"), ("RECORD", "data")] {
            assert_eq!(refused(obj_code, filter(name)), None, "{obj_code}.{name}");
        }
        let group = json!({"type": "group", "filters": [filter("name"), filter("groups")]});
        let field = refused("DOCU", group);
        assert_eq!(field.as_deref(), Some("filters[0].filters[1].fieldName"));
    }
}
