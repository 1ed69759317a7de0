//! Checks answers against the API's own description.

use std::sync::OnceLock;

use serde_json::Value;

static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// Reads `/openapi.json` once for all tests.
pub(crate) async fn learn(base_url: &str, client: &reqwest::Client) {
    if DOCUMENT.get().is_none() {
        let answer = client.get(format!("{base_url}/openapi.json")).send().await;
        let document = answer.expect("an answer").bytes().await.expect("a document");
        let document = serde_json::from_slice(&document).expect("JSON");
        // Another test may have been first.
        drop(DOCUMENT.set(document));
    }
}

/// Panics unless the description has this answer: its address, method, status, media type, and, for
/// JSON, every member of the body.
pub(crate) fn check(method: &str, path: &str, status: u16, media_type: &str, body: &Value) {
    let document = DOCUMENT.get().expect("it was learnt");
    let place = format!("{method} {path} {status}");
    if status == 405 || (status == 404 && operation(document, method, path).is_none()) {
        return;
    }
    let operation = operation(document, method, path).unwrap_or_else(|| panic!("{place}"));
    let response = operation.pointer(&format!("/responses/{status}"));
    let response = response.unwrap_or_else(|| panic!("{place} is not described"));
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        assert!(body.is_null(), "{place} has a body: {body}");
        return;
    };
    let essence = media_type.split(';').next().unwrap_or_default();
    let content = content.get(essence).unwrap_or_else(|| panic!("{place}: {media_type}"));
    let schema = content.get("schema").unwrap_or(&Value::Null);
    if essence.ends_with("json")
        && let Err(why) = fits(document, schema, body, status >= 400)
    {
        panic!("{place}: {why}\n{body}");
    }
}

/// The description of what is at `path`; a literal address goes before one with a name in it.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next().unwrap_or_default();
    let paths = document.get("paths")?.as_object()?;
    let is_at = |template: &str| {
        let (mut given, mut reported) = (path.split('/'), template.split('/'));
        loop {
            match (given.next(), reported.next()) {
                (None, None) => return true,
                (Some(given), Some(reported)) if given == reported || reported.starts_with('{') => {
                }
                _ => return false,
            }
        }
    };
    let literal = paths.get(path);
    let named = || paths.iter().find(|(template, _)| is_at(template)).map(|(_, item)| item);
    literal.or_else(named)?.get(method.to_lowercase())
}

/// Checks `value` against `schema`; of objects, whether all members are described, unless it is
/// `open`.
fn fits(document: &Value, schema: &Value, value: &Value, open: bool) -> Result<(), String> {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        let found = document.pointer(to.trim_start_matches('#'));
        return fits(document, found.ok_or(format!("{to} leads nowhere"))?, value, open);
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let tried: Vec<_> = choices.iter().map(|one| fits(document, one, value, open)).collect();
        let fitting = tried.iter().any(Result::is_ok);
        return fitting.then_some(()).ok_or_else(|| format!("none of {tried:?}"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Err(format!("{value} is none of {words:?}"));
    }
    let names = types(schema);
    if !names.is_empty() && !names.iter().any(|name| is_a(name, value)) {
        return Err(format!("{value} is none of {names:?}"));
    }
    match value {
        Value::Array(items) => {
            let of = schema.get("items").unwrap_or(&Value::Null);
            items.iter().try_for_each(|item| fits(document, of, item, open))
        }
        Value::Object(members) => {
            let mut fields = Vec::new();
            let described = collect(document, schema, &mut fields);
            for (name, member) in members {
                let field = fields.iter().find(|(field, _)| field == name);
                match field {
                    Some((_, field)) => fits(document, field, member, open)
                        .map_err(|why| format!("`{name}`: {why}"))?,
                    None if open || !described => {}
                    None => return Err(format!("`{name}` is not described")),
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// The fields of an object, those that it is put together of included. Whether it has any, and no
/// others.
fn collect<'a>(
    document: &'a Value,
    schema: &'a Value,
    into: &mut Vec<(String, &'a Value)>,
) -> bool {
    let mut closed = false;
    if let Some(to) = schema.get("$ref").and_then(Value::as_str)
        && let Some(found) = document.pointer(to.trim_start_matches('#'))
    {
        closed |= collect(document, found, into);
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        closed |= collect(document, part, into);
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        into.extend(fields.iter().map(|(name, field)| (name.clone(), field)));
        closed = true;
    }
    closed
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
