//! The description of the API as one page, without scripts and without anything fetched from
//! elsewhere.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::openapi::COMMON_PROBLEMS;

const STYLE: &str = include_str!("docs.css");

/// The policy of the page: its own style, and nothing else.
pub(super) fn policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// Text, escaped for HTML.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// Text in which backticks mark code.
struct Prose<'a>(&'a str);

impl std::fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.split('`').enumerate().try_for_each(|(number, part)| match number % 2 {
            0 => write!(f, "{}", Escaped(part)),
            _ => write!(f, "<code>{}</code>", Escaped(part)),
        })
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn members<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The page that shows an OpenAPI document.
pub(super) fn html(document: &Value) -> String {
    // Writing to a string cannot fail.
    let mut out = String::new();
    let _written = write_page(&mut out, document);
    out
}

fn write_page(out: &mut String, document: &Value) -> std::fmt::Result {
    let info = document.get("info").unwrap_or(&Value::Null);
    write!(
        out,
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>homing: the API</title>\
         <style>{STYLE}</style></head><body><header><h1>homing <small>{}</small></h1><p>{}</p>\
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a>. Clients for Python, TypeScript \
         and others can be generated from it.</p><dl>",
        Escaped(text(info, "version")),
        Prose(text(info, "description")),
    )?;
    for (status, about) in COMMON_PROBLEMS {
        write!(out, "<dt><code>{status}</code></dt><dd>{}.</dd>", Prose(about))?;
    }
    out.push_str("</dl></header><nav><ul>");
    for tag in items(document, "tags") {
        let name = Escaped(text(tag, "name"));
        write!(out, "<li><a href=\"#{name}\">{name}</a></li>")?;
    }
    out.push_str("<li><a href=\"#objects\">objects</a></li></ul></nav><main>");
    for tag in items(document, "tags") {
        let name = text(tag, "name");
        let about = Prose(text(tag, "description"));
        write!(out, "<section id=\"{0}\"><h2>{0}</h2><p>{about}.</p>", Escaped(name))?;
        write_operations(out, document, name)?;
        out.push_str("</section>");
    }
    out.push_str("<section id=objects><h2>objects</h2>");
    for (name, schema) in members(document, "/components/schemas") {
        write_schema(out, name, schema)?;
    }
    out.push_str("</section></main></body></html>");
    Ok(())
}

fn write_operations(out: &mut String, document: &Value, tag: &str) -> std::fmt::Result {
    for (path, methods) in members(document, "/paths") {
        for (method, operation) in members(methods, "") {
            if items(operation, "tags").any(|one| one.as_str() == Some(tag)) {
                write_operation(out, (path, method), operation)?;
            }
        }
    }
    Ok(())
}

fn write_operation(
    out: &mut String,
    (path, method): (&str, &str),
    operation: &Value,
) -> std::fmt::Result {
    let id = Escaped(text(operation, "operationId"));
    write!(
        out,
        "<details><summary><b>{}</b> <code>{}</code> <span>{}</span></summary><div id=\"{id}\">",
        Escaped(&method.to_uppercase()),
        Escaped(path),
        Prose(text(operation, "summary")),
    )?;
    for paragraph in text(operation, "description").split("\n\n").filter(|text| !text.is_empty()) {
        write!(out, "<p>{}</p>", Prose(paragraph))?;
    }
    out.push_str("<dl>");
    for parameter in items(operation, "parameters") {
        write_parameter(out, parameter)?;
    }
    for (_, content) in members(operation, "/requestBody/content") {
        out.push_str("<dt>body</dt><dd>");
        write_type(out, content.get("schema").unwrap_or(&Value::Null))?;
        let about = operation.pointer("/requestBody/description").and_then(Value::as_str);
        write!(out, " {}</dd>", Prose(about.unwrap_or_default()))?;
    }
    for (status, response) in members(operation, "/responses").filter(|(_, one)| !is_common(one)) {
        let about = Prose(text(response, "description"));
        write!(out, "<dt><code>{}</code></dt><dd>{about}. ", Escaped(status))?;
        for (_, content) in members(response, "/content") {
            write_type(out, content.get("schema").unwrap_or(&Value::Null))?;
        }
        out.push_str("</dd>");
    }
    out.push_str("</dl>");
    write_example(out, (path, method), operation)?;
    out.push_str("</div></details>");
    Ok(())
}

/// True if operations of every kind may answer so; the page says it once.
fn is_common(response: &Value) -> bool {
    COMMON_PROBLEMS.iter().any(|(_, about)| *about == text(response, "description"))
}

fn write_parameter(out: &mut String, parameter: &Value) -> std::fmt::Result {
    let needed = if parameter.get("required") == Some(&true.into()) { ", required" } else { "" };
    write!(
        out,
        "<dt><code>{}</code> <i>{}{needed}</i></dt><dd>{}",
        Escaped(text(parameter, "name")),
        Escaped(text(parameter, "in")),
        Prose(text(parameter, "description")),
    )?;
    write_words(out, parameter.get("schema").unwrap_or(&Value::Null), ": ")?;
    out.push_str("</dd>");
    Ok(())
}

/// Writes the words that a value can be, if there are such, behind `before`.
fn write_words(out: &mut String, schema: &Value, before: &str) -> std::fmt::Result {
    let words: Vec<_> = items(schema, "enum").filter_map(Value::as_str).collect();
    if words.is_empty() {
        return Ok(());
    }
    write!(out, "{before}<code>{}</code>", Escaped(&words.join(", ")))
}

/// Writes a command that sends the example of an operation, and the answer to it.
fn write_example(
    out: &mut String,
    (path, method): (&str, &str),
    operation: &Value,
) -> std::fmt::Result {
    write!(out, "<pre tabindex=0>{}</pre>", Escaped(&curl((path, method), operation)))?;
    let answers = members(operation, "/responses").filter(|(status, _)| status.starts_with('2'));
    for (status, response) in answers {
        let Some(example) = response.pointer("/content/application~1json/example") else {
            continue;
        };
        let pretty = serde_json::to_string_pretty(example).unwrap_or_default();
        write!(out, "<pre tabindex=0><b>{}</b>\n{}</pre>", Escaped(status), Escaped(&pretty))?;
    }
    Ok(())
}

/// The command in a shell; the parameters are those of the example.
fn curl((path, method): (&str, &str), operation: &Value) -> String {
    let mut address = path.to_owned();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut headers = String::new();
    for parameter in items(operation, "parameters") {
        let name = text(parameter, "name");
        let Some(example) = parameter.get("example") else { continue };
        let value = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        match text(parameter, "in") {
            "path" => address = address.replace(&format!("{{{name}}}"), &value),
            "query" => {
                query.append_pair(name, &value);
            }
            _ => headers.extend([" -H '", name, ": ", &value, "'"]),
        }
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    let body = members(operation, "/requestBody/content").find_map(|(_, it)| it.get("example"));
    let method = match (method, body) {
        ("get", _) | ("post", Some(_)) => String::new(),
        (method, _) => format!(" -X {}", method.to_uppercase()),
    };
    let body = body.map(|body| format!(" --json '{}'", body.to_string().replace('\'', "'\\''")));
    format!(
        "curl{method}{headers}{} 'http://127.0.0.1:8080{address}{mark}{query}'",
        body.unwrap_or_default()
    )
}

fn write_schema(out: &mut String, name: &str, schema: &Value) -> std::fmt::Result {
    let about = Prose(text(schema, "description"));
    write!(
        out,
        "<details><summary><b>{0}</b> <span>{about}</span></summary><dl id=\"object-{0}\">",
        Escaped(name)
    )?;
    write_fields(out, schema)?;
    write_words(out, schema, "<dt>one of</dt><dd>")?;
    out.push_str("</dl></details>");
    Ok(())
}

fn write_fields(out: &mut String, schema: &Value) -> std::fmt::Result {
    for part in items(schema, "allOf") {
        if part.get("$ref").is_some() {
            out.push_str("<dt>all of</dt><dd>");
            write_type(out, part)?;
            out.push_str("</dd>");
        }
        write_fields(out, part)?;
    }
    for (name, field) in members(schema, "/properties") {
        write!(out, "<dt><code>{}</code> <i>", Escaped(name))?;
        write_type(out, field)?;
        write!(out, "</i></dt><dd>{}</dd>", Prose(text(field, "description")))?;
    }
    Ok(())
}

/// Writes the type of a value, with a link to its object.
fn write_type(out: &mut String, schema: &Value) -> std::fmt::Result {
    if let Some(name) = text(schema, "$ref").strip_prefix("#/components/schemas/") {
        return write!(out, "<a href=\"#object-{0}\">{0}</a>", Escaped(name));
    }
    for alternative in items(schema, "oneOf").filter(|one| text(one, "type") != "null") {
        write_type(out, alternative)?;
    }
    let one = schema.get("type").and_then(Value::as_str).into_iter();
    let several = items(schema, "type").filter_map(Value::as_str);
    let names: Vec<_> = one.chain(several).filter(|name| *name != "null").collect();
    write!(out, "{}", Escaped(&names.join(" or ")))?;
    if let Some(of) = schema.get("items") {
        out.push_str(" of ");
        write_type(out, of)?;
    }
    Ok(())
}
