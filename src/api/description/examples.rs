//! Examples of requests and answers, by the name of the operation.
//!
//! `examples.json` has them: for each the `parameters`, the `body` and the `answer`, as far as there
//! are such. tests/it/api/examples.rs sends them to a running homing, and writes the answers.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::openapi::operations;

static EXAMPLES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());

/// Adds the examples to the operations of a document.
pub(super) fn add(document: &mut Value) {
    for (_, _, operation) in operations(document) {
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        let Some(example) = EXAMPLES.get(id) else { continue };
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
            let value = example.get("parameters").and_then(|given| given.get(name));
            set(Some(parameter), value.cloned());
        }
        let body = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
        let contents = body.into_iter().flat_map(Map::values_mut);
        contents.for_each(|content| set(Some(content), example.get("body").cloned()));
        let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
        let answers = answers.into_iter().flatten();
        for (_, answer) in answers.filter(|(status, _)| status.starts_with('2')) {
            let content = answer.pointer_mut("/content/application~1json");
            set(content, example.get("answer").cloned());
        }
    }
}

fn set(place: Option<&mut Value>, example: Option<Value>) {
    if let (Some(Value::Object(place)), Some(example)) = (place, example) {
        place.insert("example".to_owned(), example);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_that_of_an_operation() {
        let all: Map<String, Value> = serde_json::from_str(include_str!("examples.json")).unwrap();
        let mut document = super::super::described();
        let known: Vec<_> = operations(&mut document)
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        for (name, example) in &all {
            let is_optional = cfg!(not(feature = "workfront")) && name.starts_with("workfront");
            assert!(known.contains(name) || is_optional, "{name}");
            for part in example.as_object().unwrap().keys() {
                assert!(
                    ["parameters", "body", "answer"].contains(&part.as_str()),
                    "{name}: {part}"
                );
            }
        }
    }

    /// Goal: a reader sees what to send and what comes.
    #[test]
    fn every_operation_has_its_examples() {
        let mut document = super::super::described();
        for (method, path, operation) in operations(&mut document) {
            // Its answer is this document.
            if path == "/openapi.json" {
                continue;
            }
            let place = format!("{method} {path}");
            let required = |parameter: &&Value| parameter["required"] == true;
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(required) {
                assert!(parameter.get("example").is_some(), "{place}: {}", parameter["name"]);
            }
            let body = operation.pointer("/requestBody/content").and_then(Value::as_object);
            for content in body.into_iter().flat_map(Map::values) {
                assert!(content.get("example").is_some(), "{place}: the body");
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let json = answer.pointer("/content/application~1json");
                if let Some(content) = json.filter(|_| status.starts_with('2')) {
                    assert!(content.get("example").is_some(), "{place}: the answer {status}");
                }
            }
        }
    }
}
