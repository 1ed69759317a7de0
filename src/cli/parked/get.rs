//! `homing parked list` and `get`

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{filters::Filters, write_arriving, write_without_error};
use crate::cli::{
    failure::{Exit, Failure},
    output::Output,
    table::Rows,
    target::Target,
    words,
};
use homing_delivery::parking::{Bodies, Entry, Listing, Selection, Unreadable};
use homing_domain::time::UnixMillis;

const LIST_EXAMPLES: &str = "\
Examples:
  homing parked list
  homing parked list --reason exhausted --parked-after 2h
  homing parked list --topic 'order.*' --json";

const EXAMPLES: &str = "\
Examples:
  homing parked get 01a1fe0d-13ed-73d1-821d-0c229fa06364
  homing parked get o-7 --json
  homing parked get o-7 --raw >body.json

Control characters and invisible ones are escaped, and the lines of the body are indented. --raw
writes the bytes of the body unchanged, and nothing else.";

#[derive(clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    filters: Filters,
    /// Show this many at most
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl ListArguments {
    pub(super) fn check(self) -> Result<List, Failure> {
        Ok(List { selection: self.filters.selection()?, limit: self.limit })
    }
}

/// `homing parked list`
pub(super) struct List {
    selection: Selection,
    limit: u32,
}

impl List {
    pub(super) async fn run(
        self,
        target: Target<'_>,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        let listing = target.parked(&self.selection, self.limit, Bodies::Omitted).await?;
        if output.json {
            output.document(&listing)?;
        } else {
            write(&listing, output)?;
        }
        if listing.entries.is_empty() && listing.arriving.is_nothing() {
            write_without_error(&self.selection, output);
        }
        Ok(Exit::Done)
    }
}

fn write(listing: &Listing, output: &mut Output<'_>) -> Result<(), Failure> {
    let Listing { entries, next, total, arriving, matched: _ } = listing;
    if !entries.is_empty() {
        let header =
            ["PARKED", "REASON", "TOPIC", "EVENT", "SUBSCRIPTION", "ATTEMPTS", "LAST OUTCOME"];
        let mut rows = Rows::new(output, &header);
        for entry in entries {
            rows.add(row(entry));
        }
        rows.write(output, &[5])?;
    }
    let more = if next.is_some() { "; there are more, see --limit" } else { "" };
    output.aside(format_args!("{} shown, of {total} parked{more}", entries.len()));
    write_arriving(*arriving, output);
    Ok(())
}

fn row(entry: &Entry) -> [String; 7] {
    [
        entry.parked_ms.map(|at| words::to_seconds(&at.to_string())).unwrap_or_default(),
        entry.reason.to_string(),
        entry.topic.clone().unwrap_or_default(),
        entry.event_id.clone(),
        entry.subscription_id.map(|id| id.to_string()).unwrap_or_default(),
        entry.attempts.to_string(),
        entry.last_outcome.clone().unwrap_or_default(),
    ]
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// The event's id
    event: String,
    /// Show this many messages at most; there may be one for each subscription
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only the body, byte for byte
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl Arguments {
    pub(super) async fn run(
        self,
        target: Target<'_>,
        output: &mut Output<'_>,
    ) -> Result<Exit, Failure> {
        let selection = Selection { event: Some(self.event.clone()), ..Selection::default() };
        let listing = target.parked(&selection, self.limit, Bodies::Included).await?;
        if listing.entries.is_empty() {
            write_arriving(listing.arriving, output);
            return Err(Failure::NotFound(format!(
                "nothing of event `{}` is parked; `homing parked list` shows what is",
                self.event
            )));
        }
        let unreadable: Vec<_> =
            listing.entries.iter().filter_map(|entry| entry.unreadable.clone()).collect();
        if self.raw {
            if let Some(why) = unreadable.first().cloned() {
                return Err(Failure::Parking(Unreadable(why).into()));
            }
            output.bytes(the_body(&listing.entries)?)?;
        } else if output.json {
            let documents: Vec<_> = listing.entries.iter().map(Document::of).collect();
            output.document(&documents)?;
        } else {
            for (index, entry) in listing.entries.iter().enumerate() {
                if index > 0 {
                    output.line("")?;
                }
                write_one(entry, output)?;
            }
        }
        for why in &unreadable {
            output.notice(why);
        }
        if listing.next.is_some() {
            output.notice("there are more; `homing parked export --event ID` writes all of them");
        }
        Ok(if unreadable.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

/// The body that all entries share, because they come from one event.
fn the_body(entries: &[Entry]) -> Result<&[u8], Failure> {
    let mut bodies = entries.iter().map(|entry| entry.body.as_deref().unwrap_or_default());
    let first = bodies.next().unwrap_or_default();
    if bodies.all(|body| body == first) {
        return Ok(first);
    }
    let text = "several events with this id and different bodies are parked; `homing parked export \
                --event ID` writes all of them";
    Err(Failure::Usage(text.to_owned()))
}

/// The entry with its body: the bytes, and the parsed value if they are JSON.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Written as it was: numbers keep their digits, names their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Document<'a> {
    fn of(entry: &'a Entry) -> Self {
        let Some(bytes) = entry.body.as_deref() else {
            return Self { entry, body: None, body_base64: None, data: None };
        };
        let body = std::str::from_utf8(bytes).ok();
        let body_base64 = body.is_none().then(|| BASE64_STANDARD.encode(bytes));
        Self { entry, body, body_base64, data: serde_json::from_slice(bytes).ok() }
    }
}

fn write_one(entry: &Entry, output: &mut Output<'_>) -> Result<(), Failure> {
    let instant = |at: Option<UnixMillis>| at.map(|at| at.to_string()).unwrap_or_default();
    let id = |id: Option<String>| id.unwrap_or_default();
    let fields = [
        ("event", entry.event_id.clone()),
        ("topic", entry.topic.clone().unwrap_or_default()),
        ("subscription", id(entry.subscription_id.map(|id| id.to_string()))),
        ("delivery", id(entry.delivery_id.map(|id| id.to_string()))),
        ("url", entry.url.clone().unwrap_or_default()),
        ("reason", entry.reason.to_string()),
        ("parked", instant(entry.parked_ms)),
        ("received", instant(entry.received_ms)),
        ("first failure", instant(entry.first_failure_ms)),
        ("attempts", entry.attempts.to_string()),
        ("replays", entry.replays.to_string()),
        ("last outcome", entry.last_outcome.clone().unwrap_or_default()),
        ("error", id(entry.error.map(|id| id.to_string()))),
        ("content type", entry.content_type.clone()),
        ("packed", entry.content_encoding.clone().unwrap_or_default()),
        ("body", format!("{} bytes", entry.body_bytes)),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format_args!("{name:<15}{value}"))?;
    }
    output.line("")?;
    let Some(body) = entry.body.as_deref() else { return output.line("(cannot be read)") };
    match std::str::from_utf8(body) {
        Ok(text) => output.quote(text),
        Err(_) => output.line("(not text; --raw writes its bytes, `homing parked export` base64)"),
    }
}
