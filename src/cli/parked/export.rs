//! `homing parked export`

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::filters::Filters;
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
    },
    domain::id::SubscriptionId,
    parking::{Entry, Parking, Selection, Tally},
};

const EXAMPLES: &str = "\
Examples:
  homing parked export parked.jsonl
  homing parked export --reason exhausted | jq -r .id
  homing parked export | homing publish --broker amqp://elsewhere

One JSON object a line: topic, id, subscription, content_type, data (body_base64 where the body is
not JSON on one line), and what is known of its way under `parked`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Where to; it must not exist yet; `-` or nothing: standard output
    #[arg(default_value = "-", hide_default_value = true)]
    file: String,
    #[command(flatten)]
    filters: Filters,
    /// How many at most
    #[arg(long)]
    limit: Option<u32>,
}

impl Arguments {
    pub(super) fn check(self) -> Result<Export, Failure> {
        let selection = self.filters.selection()?;
        Ok(Export { file: self.file, selection, limit: self.limit })
    }
}

/// `homing parked export`
pub(super) struct Export {
    file: String,
    selection: Selection,
    limit: Option<u32>,
}

/// A line, in the form that `homing publish` reads.
#[derive(Serialize)]
struct Line<'a> {
    topic: Option<&'a str>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<SubscriptionId>,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    parked: &'a Entry,
}

impl Export {
    pub(super) async fn run(
        self,
        parking: &Parking,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        if self.file == "-" {
            self.write(parking, |line| output.bytes(line)).await?;
            return Ok(Exit::Done);
        }
        let failed = |source| Failure::Write { what: format!("`{}`", self.file), source };
        let mut file = BufWriter::new(File::create_new(&self.file).map_err(failed)?);
        let tally = self.write(parking, |line| file.write_all(line).map_err(failed)).await?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let Tally { matched, total, .. } = tally;
        if output.json {
            output.document(&json!({ "exported": matched, "file": self.file }))?;
        } else {
            output.line(format_args!("exported {matched} of {total} parked to {}", self.file))?;
        }
        Ok(Exit::Done)
    }

    /// Gives line after line to `write` as it comes from the broker, so that there is never more
    /// than one in memory; the first that cannot be written is the last.
    async fn write(
        &self,
        parking: &Parking,
        mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Tally, Failure> {
        let mut written = Ok(());
        let visited = parking.visit(&self.selection, self.limit, |entry| {
            written = write(&line(&entry));
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let visited = visited.await;
        written?;
        visited.map_err(Failure::Broker)
    }
}

fn line(entry: &Entry) -> Vec<u8> {
    let body = entry.body.as_deref().unwrap_or_default();
    let data = json_line(body);
    let line = Line {
        topic: entry.topic.as_deref(),
        id: &entry.event_id,
        subscription: entry.subscription_id,
        content_type: &entry.content_type,
        data,
        body_base64: data.is_none().then(|| BASE64_STANDARD.encode(body)),
        parked: entry,
    };
    // Texts, numbers and checked JSON: nothing that cannot be written.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The body as JSON, where writing it into a line leaves every byte as it is.
fn json_line(body: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let is_whole = raw.get().len() == body.len();
    (is_whole && !body.iter().any(|byte| matches!(byte, b'\n' | b'\r'))).then_some(raw)
}

/// The body as a field: its JSON, or its bytes.
pub(super) fn body_value(body: &[u8]) -> (&'static str, Value) {
    match serde_json::from_slice(body) {
        Ok(value) => ("data", value),
        Err(_) => ("body_base64", Value::String(BASE64_STANDARD.encode(body))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{time::UnixMillis, verdict::ParkReason};

    fn exported(body: &'static str) -> String {
        let entry = Entry {
            event_id: "o-7".to_owned(),
            topic: Some("order.paid".to_owned()),
            subscription_id: None,
            delivery_id: None,
            reason: ParkReason::TooLarge,
            parked_ms: Some(UnixMillis::new(1_700_000_000_000)),
            received_ms: None,
            first_failure_ms: None,
            attempts: 0,
            replays: 0,
            last_outcome: None,
            content_type: "application/json".to_owned(),
            body_bytes: body.len(),
            body: Some(Bytes::from_static(body.as_bytes())),
        };
        String::from_utf8(line(&entry)).unwrap()
    }

    #[test]
    fn json_on_one_line_is_exported_as_it_is_written() {
        insta::assert_snapshot!(exported(r#"{"b" :1.50, "a":2}"#), @r#"{"topic":"order.paid","id":"o-7","content_type":"application/json","data":{"b" :1.50, "a":2},"parked":{"event_id":"o-7","topic":"order.paid","subscription_id":null,"delivery_id":null,"reason":"too_large","parked_ms":1700000000000,"received_ms":null,"first_failure_ms":null,"attempts":0,"replays":0,"last_outcome":null,"content_type":"application/json","body_bytes":18}}"#);
    }

    #[test]
    fn what_a_line_would_change_is_exported_as_bytes() {
        for body in ["{\n}", "{} ", "plain", ""] {
            let line = exported(body);
            let value: Value = serde_json::from_str(&line).unwrap();
            let bytes = BASE64_STANDARD.decode(value["body_base64"].as_str().unwrap()).unwrap();
            assert_eq!(bytes, body.as_bytes());
            assert!(value.get("data").is_none());
        }
    }
}
