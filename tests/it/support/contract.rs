//! Checks answers against the API's own description; and what else is written in the same form: the
//! examples in it, and the documents of commands.

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
    let document = document();
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
        && let Err(why) = fits(document, schema, body, Rules { open: status >= 400, whole: true })
    {
        panic!("{place}: {why}\n{body}");
    }
}

/// The description that was learnt.
pub(crate) fn document() -> &'static Value {
    DOCUMENT.get().expect("it was learnt")
}

/// Panics unless `value` is what `schema` describes.
pub(crate) fn check_value(place: &str, schema: &Value, value: &Value) {
    if let Err(why) = fits(document(), schema, value, Rules { open: false, whole: true }) {
        panic!("{place}: {why}\n{value}");
    }
}

/// Panics unless every member of `value` has the name and the type of one in the answer to this
/// operation.
pub(crate) fn check_names(operation: &str, value: &Value) {
    let (method, path) = operation.split_once(' ').expect("a method and an address");
    let found = self::operation(document(), method, path).expect("it is described");
    let answers = found["responses"].as_object().expect("answers");
    let good = answers.iter().find(|(status, _)| status.starts_with('2')).expect("an answer").1;
    let schema = good.pointer("/content/application~1json/schema").expect("it is JSON");
    if let Err(why) = fits(document(), schema, value, Rules { open: false, whole: false }) {
        panic!("{operation}: {why}\n{value}");
    }
}

/// The way in which objects are compared with their descriptions.
#[derive(Clone, Copy)]
struct Rules {
    /// There may be members that are not described.
    open: bool,
    /// All members have to be there that are described as required.
    whole: bool,
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

/// Checks `value` against `schema`, objects by the `rules`.
fn fits(document: &Value, schema: &Value, value: &Value, rules: Rules) -> Result<(), String> {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        let found = document.pointer(to.trim_start_matches('#'));
        return fits(document, found.ok_or(format!("{to} leads nowhere"))?, value, rules);
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let tried: Vec<_> = choices.iter().map(|one| fits(document, one, value, rules)).collect();
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
    is_instant_if_described(schema, value)?;
    match value {
        Value::Array(items) => {
            let of = schema.get("items").unwrap_or(&Value::Null);
            items.iter().try_for_each(|item| fits(document, of, item, rules))
        }
        Value::Object(members) => {
            let mut fields = Vec::new();
            let described = collect(document, schema, &mut fields);
            let mut required = Vec::new();
            collect_required(document, schema, &mut required);
            if rules.whole
                && let Some(missing) = required.iter().find(|name| !members.contains_key(**name))
            {
                return Err(format!("`{missing}` is missing"));
            }
            for (name, member) in members {
                let field = fields.iter().find(|(field, _)| field == name);
                match field {
                    Some((_, field)) => fits(document, field, member, rules)
                        .map_err(|why| format!("`{name}`: {why}"))?,
                    None if rules.open || !described => {}
                    None => return Err(format!("`{name}` is not described")),
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Instants are texts in ISO 8601, and described as such.
fn is_instant_if_described(schema: &Value, value: &Value) -> Result<(), String> {
    if types(schema).is_empty() {
        return Ok(());
    }
    let is_described = schema.get("format").and_then(Value::as_str) == Some("date-time");
    let is_instant = |text: &str| text.len() >= 20 && text.parse::<jiff::Timestamp>().is_ok();
    if let Some(text) = value.as_str()
        && is_instant(text) != is_described
    {
        return Err(format!("{text:?} is no instant, or not described as one"));
    }
    match value.as_i64() {
        Some(number) if number > 1_000_000_000_000 => {
            Err(format!("{number} is an instant that is not in ISO 8601"))
        }
        _ => Ok(()),
    }
}

fn collect_required<'a>(document: &'a Value, schema: &'a Value, into: &mut Vec<&'a str>) {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str)
        && let Some(found) = document.pointer(to.trim_start_matches('#'))
    {
        collect_required(document, found, into);
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        collect_required(document, part, into);
    }
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    into.extend(names.filter_map(Value::as_str));
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
