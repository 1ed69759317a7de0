//! Facts about parameters and fields that hold in every operation: the words that a parameter can
//! be, and instants in ISO 8601.

use serde_json::{Map, Value, json};

use super::openapi::operations;
use homing_domain::{
    audit::{Action, ObjectKind},
    circuit::StateName,
    delivery_state::States,
    record::Classes,
    verdict::ParkReason,
};

/// The names of parameters and fields that are instants.
const INSTANTS: [&str; 33] = [
    "archive_begins",
    "as_of",
    "at",
    "created",
    "due",
    "expires",
    "failing_since",
    "filters_over_budget",
    "first",
    "first_failure",
    "from",
    "held_since",
    "hour",
    "kept_since",
    "last",
    "last_success",
    "last_unwanted",
    "next_connect",
    "next_due",
    "next_probe",
    "obtained",
    "parked",
    "parked_after",
    "parked_before",
    "received",
    "seen",
    "since",
    "start",
    "started",
    "until",
    "updated",
    "verified",
    "waited_since",
];

/// The words that a parameter of an operation can be.
fn words(operation: &str, parameter: &str) -> Option<Vec<&'static str>> {
    match (operation, parameter) {
        ("list_attempts", "outcome") => Some(Classes::names()),
        ("list_deliveries" | "list_events", "state") => Some(States::names()),
        ("list_endpoints", "state") => Some(StateName::ALL.map(StateName::as_str).to_vec()),
        ("list_parked", "reason") => Some(ParkReason::ALL.map(ParkReason::as_str).to_vec()),
        ("list_audit", "kind") => Some(ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect()),
        ("list_audit", "action") => Some(Action::ALL.iter().map(|one| one.as_str()).collect()),
        _ => None,
    }
}

/// Completes the description of parameters and fields.
pub(super) fn complete(document: &mut Value) {
    for (_, _, operation) in operations(document) {
        let id =
            operation.get("operationId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let Some(schema) = parameter.get_mut("schema") else { continue };
            if let Some(words) = words(&id, &name) {
                *schema = json!({ "type": "string", "enum": words });
            }
            complete_field(&name, schema);
        }
    }
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas.into_iter().flat_map(Map::values_mut).for_each(complete_schema);
}

fn complete_schema(schema: &mut Value) {
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(complete_schema);
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        complete_field(name, field);
    }
}

/// Marks a text with the name of an instant as one.
fn complete_field(name: &str, schema: &mut Value) {
    let is_text = match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        Some(_) | None => false,
    };
    if is_text
        && INSTANTS.contains(&name)
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("format".to_owned(), "date-time".into());
    }
}
