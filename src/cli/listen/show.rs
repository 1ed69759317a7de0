//! A request as it is shown.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{endpoint::Arrived, verify::Signature};
use crate::cli::{failure::Failure, output::Output, table::Tone, words};
use homing_domain::signature::SigningSecret;

/// Bytes of a body that are shown as text; with `--json` all of it is.
const MAX_SHOWN: usize = 4_096;

/// A request for programs.
#[derive(Serialize)]
struct Document<'a> {
    at: String,
    method: &'a str,
    path: &'a str,
    topic: Option<&'a str>,
    #[serde(rename = "delivery")]
    webhook_id: Option<&'a str>,
    attempt: Option<u32>,
    signature: Signature,
    /// The status of the answer.
    status: u16,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Writes a request as it comes.
pub(in crate::cli) fn write(
    arrived: &Arrived,
    secret: Option<&SigningSecret>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let signature = Signature::of(arrived, secret);
    if output.json {
        return output.line_of_json(&document(arrived, signature));
    }
    let topic = arrived.header("x-homing-topic").unwrap_or("(no topic)");
    let attempt = arrived.header("x-homing-attempt").unwrap_or("?");
    let id = arrived.header("webhook-id").unwrap_or("(no webhook-id)");
    let accepted = arrived.status.is_success();
    let tone = if accepted && signature.is_good() { Tone::Good } else { Tone::Bad };
    let path = if arrived.path == "/" { "" } else { &arrived.path };
    let at = words::to_seconds(&arrived.at.to_string());
    let line = format!(
        "{topic} {path}{}attempt {attempt}, {}, answered {}, {id}",
        if path.is_empty() { "" } else { " " },
        signature.report(),
        arrived.status.as_u16(),
    );
    output.toned_line(&at, tone, &line)?;
    body(arrived, output)
}

fn body(arrived: &Arrived, output: &mut Output<'_>) -> Result<(), Failure> {
    let Ok(text) = std::str::from_utf8(&arrived.body) else {
        let bytes = arrived.body.len();
        return output.line(format_args!("  ({bytes} bytes that are no text; --json has them)"));
    };
    let end = (0..=MAX_SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let shown = end.and_then(|end| text.get(..end)).unwrap_or_default();
    if !shown.is_empty() {
        output.quote(shown)?;
    }
    if shown.len() < text.len() {
        output.line(format_args!("  … {} bytes; --json has all of them", text.len()))?;
    }
    Ok(())
}

fn document(arrived: &Arrived, signature: Signature) -> Document<'_> {
    let text = |value: &hyper::header::HeaderValue| {
        Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = arrived.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let body = std::str::from_utf8(&arrived.body).ok();
    Document {
        at: arrived.at.to_string(),
        method: &arrived.method,
        path: &arrived.path,
        topic: arrived.header("x-homing-topic"),
        webhook_id: arrived.header("webhook-id"),
        attempt: arrived.header("x-homing-attempt").and_then(|number| number.parse().ok()),
        signature,
        status: arrived.status.as_u16(),
        headers: headers.collect(),
        body,
        body_base64: body.is_none().then(|| BASE64_STANDARD.encode(&arrived.body)),
    }
}
