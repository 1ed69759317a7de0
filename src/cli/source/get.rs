//! `homing source list` and `get`

use crate::{
    api::forms::Sources,
    cli::{
        failure::{Exit, Failure},
        output::Output,
        table::{Rows, Tone},
        words,
    },
};
use homing_domain::clock;
use homing_livestream::{SlotView, View};

const HEADER: [&str; 6] = ["NAME", "CONNECTED", "TOPIC", "SINCE", "REASON", "STATE"];

pub(super) fn list(all: &Sources, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(all)?;
        return Ok(Exit::Done);
    }
    if all.sources.is_empty() {
        output.aside("No source is configured; each is a section [source.livestream.NAME].");
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &HEADER);
    for view in &all.sources {
        let tone = if view.state == "stopped" { Tone::Bad } else { Tone::Good };
        let row = [
            view.name.clone(),
            format!("{} of {}", view.connected, view.max_connections),
            format!("{}.*", view.topic),
            view.since.as_deref().map(words::to_seconds).unwrap_or_default(),
            view.reason.clone().unwrap_or_default(),
            view.state.to_owned(),
        ];
        rows.add_toned(&row, tone);
    }
    rows.write(output, &[])?;
    Ok(Exit::Done)
}

pub(super) fn one(view: &View, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(view)?;
        return Ok(Exit::Done);
    }
    let fields = [
        ("name", Some(view.name.clone())),
        ("state", Some(view.state.to_owned())),
        ("since", view.since.clone()),
        ("reason", view.reason.clone()),
        ("connected", Some(format!("{} of {}", view.connected, view.max_connections))),
        ("url", Some(view.url.clone())),
        ("topic", Some(format!("{}.*", view.topic))),
        ("next reset", view.reset.map(|reset| reset.to_string())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            output.line(format_args!("{name:<14}{value}"))?;
        }
    }
    output.line("")?;
    let header = ["SLOT", "PHASE", "SINCE", "RECORDS", "NEXT CONNECT", "HOLDER", "DETAIL"];
    let mut rows = Rows::new(output, &header);
    for slot in &view.slots {
        rows.add(row(slot));
    }
    rows.write(output, &[0, 3])?;
    Ok(Exit::Done)
}

fn row(slot: &SlotView) -> [String; 7] {
    let instant = |text: &Option<String>| text.as_deref().map(words::to_seconds);
    let next_connect = slot.next_connect.as_deref().map(|at| words::due(at, clock::now()));
    [
        slot.slot.to_string(),
        slot.phase.to_owned(),
        instant(&slot.since).unwrap_or_default(),
        slot.records.to_string(),
        next_connect.map(|at| words::to_seconds(&at)).unwrap_or_default(),
        slot.holder.clone().unwrap_or_default(),
        slot.detail.clone().unwrap_or_default(),
    ]
}
