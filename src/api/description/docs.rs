//! The description of the API as one page, without scripts and without anything fetched from
//! elsewhere.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

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
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a>.</p></header><nav><ul>",
        Escaped(text(info, "version")),
        Prose(text(info, "description")),
    )?;
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
    let method = method.to_uppercase();
    write!(
        out,
        "<article id=\"{id}\"><h3><b>{}</b> <code>{}</code></h3><p>{}</p>",
        Escaped(&method),
        Escaped(path),
        Prose(text(operation, "summary")),
    )?;
    for paragraph in text(operation, "description").split("\n\n").filter(|text| !text.is_empty()) {
        write!(out, "<p>{}</p>", Prose(paragraph))?;
    }
    out.push_str("<dl>");
    for parameter in items(operation, "parameters") {
        let needed =
            if parameter.get("required") == Some(&true.into()) { ", required" } else { "" };
        write!(
            out,
            "<dt><code>{}</code> <i>{}{needed}</i></dt><dd>{}</dd>",
            Escaped(text(parameter, "name")),
            Escaped(text(parameter, "in")),
            Prose(text(parameter, "description")),
        )?;
    }
    for (_, content) in members(operation, "/requestBody/content") {
        out.push_str("<dt>body</dt><dd>");
        write_type(out, content.get("schema").unwrap_or(&Value::Null))?;
        let about = operation.pointer("/requestBody/description").and_then(Value::as_str);
        write!(out, " {}</dd>", Prose(about.unwrap_or_default()))?;
    }
    for (status, response) in members(operation, "/responses") {
        let about = Prose(text(response, "description"));
        write!(out, "<dt><code>{}</code></dt><dd>{about}. ", Escaped(status))?;
        for (_, content) in members(response, "/content") {
            write_type(out, content.get("schema").unwrap_or(&Value::Null))?;
        }
        out.push_str("</dd>");
    }
    out.push_str("</dl></article>");
    Ok(())
}

fn write_schema(out: &mut String, name: &str, schema: &Value) -> std::fmt::Result {
    let about = Prose(text(schema, "description"));
    write!(out, "<article id=\"object-{0}\"><h3>{0}</h3><p>{about}</p><dl>", Escaped(name))?;
    write_fields(out, schema)?;
    let words: Vec<_> = items(schema, "enum").filter_map(Value::as_str).collect();
    if !words.is_empty() {
        write!(out, "<dt>one of</dt><dd><code>{}</code></dd>", Escaped(&words.join(", ")))?;
    }
    out.push_str("</dl></article>");
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
