//! Replays and previews as text.

use homing_domain::replay::{Replay, ReplayProgress};

use crate::{
    api::forms::Replays,
    cli::{
        failure::{Exit, Failure},
        output::Output,
        table::Rows,
        words,
    },
};
use homing_delivery::archive::Preview;

/// The preview of a replay.
pub(super) fn preview(preview: &Preview, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.json {
        return output.document(preview);
    }
    let (since, until) = (preview.selection.since_ms, preview.selection.until_ms);
    let events = words::count(preview.events, "event");
    output.line(format_args!("about {events} archived from {since} to {until}"))?;
    if let Some(begins) = preview.archive_begins_ms {
        output.line(format_args!(
            "The archive begins at {begins}: what was published earlier is not in it."
        ))?;
    }
    if preview.complete {
        output.line(format_args!("{} of them are selected.", preview.selected))?;
    } else {
        output.line(format_args!(
            "Of these, the oldest {} were looked at; {} of them are selected.",
            preview.read, preview.selected
        ))?;
    }
    for (topic, events) in &preview.topics {
        output.line(format_args!("  {events:>8}  {topic}"))?;
    }
    if preview.others > 0 {
        output.line(format_args!("  {:>8}  of further topics", preview.others))?;
    }
    if preview.unreadable > 0 {
        output.line(format_args!("  {:>8}  are no events", preview.unreadable))?;
    }
    Ok(())
}

/// The latest replays.
pub(super) fn list(list: &Replays, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(list)?;
        return Ok(Exit::Done);
    }
    if list.replays.is_empty() {
        output.aside("There was no replay yet.");
        return Ok(Exit::Done);
    }
    let header = ["ID", "STATE", "SINCE", "UNTIL", "READ", "SENT", "CREATED", "BY"];
    let mut rows = Rows::new(output, &header);
    for replay in &list.replays {
        let selection = &replay.selection;
        rows.add([
            replay.id.to_string(),
            replay.state.as_str().to_owned(),
            words::to_seconds(&selection.since_ms.to_string()),
            words::to_seconds(&selection.until_ms.to_string()),
            read(&replay.progress),
            replay.progress.sent.to_string(),
            words::to_seconds(&replay.created_ms.to_string()),
            replay.actor.clone(),
        ]);
    }
    rows.write(output, &[4, 5])?;
    Ok(Exit::Done)
}

fn read(progress: &ReplayProgress) -> String {
    match progress.events {
        Some(events) => format!("{}/{events}", progress.read),
        None => String::new(),
    }
}

/// One replay.
pub(super) fn one(replay: &Replay, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if output.json {
        output.document(replay)?;
        return Ok(Exit::Done);
    }
    let Replay { id, selection, state, progress, .. } = replay;
    output.line(format_args!("replay {id}: {}", state.as_str()))?;
    output.line(format_args!("  window      {} to {}", selection.since_ms, selection.until_ms))?;
    if let Some(events) = progress.events {
        output.line(format_args!("  read        {} of {events} events", progress.read))?;
    }
    output.line(format_args!("  sent        {} deliveries", progress.sent))?;
    if progress.unreadable > 0 {
        output.line(format_args!("  unreadable  {}", progress.unreadable))?;
    }
    if progress.gone > 0 {
        output.line(format_args!("  removed     {} before they were read", progress.gone))?;
    }
    if progress.left_out > 0 {
        output.line(format_args!("  left out    {} deliveries", progress.left_out))?;
    }
    if let Some(begins) = progress.archive_begins_ms {
        output.line(format_args!("  archive     begins at {begins}"))?;
    }
    if let Some(note) = &progress.note {
        output.line(format_args!("  note        {note}"))?;
    }
    Ok(Exit::Done)
}
