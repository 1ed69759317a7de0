//! The catalogue of events and metrics about sources.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, error, info, warn};

use homing_domain::source::Reset;

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// One connection of a source, with its name in logs.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// The source's name.
    pub source: &'a str,
    /// From 1.
    pub slot: u8,
}

/// A record came; compressed bytes are counted separately.
pub fn record(source: &str) {
    counter!("homing_source_records_total", "source" => source.to_owned()).increment(1);
}

/// Compressed bytes came.
pub fn received(source: &str, bytes: usize) {
    let bytes = count(bytes);
    counter!("homing_source_bytes_total", "source" => source.to_owned()).increment(bytes);
}

/// A record had come before, and is not published again.
pub fn duplicate(source: &str) {
    counter!("homing_source_duplicates_total", "source" => source.to_owned()).increment(1);
}

/// Records the time from the service's receipt of a hit to its publication here, in whole seconds.
pub fn lag(source: &str, lag: Duration) {
    histogram!("homing_source_lag_seconds", "source" => source.to_owned())
        .record(lag.as_secs_f64());
}

/// Sets the connections of a source that this process holds, and counts a second for each.
pub fn connected(source: &str, connections: usize) {
    let gauge = gauge!("homing_source_connections", "source" => source.to_owned());
    gauge.set(f64::from(u32::try_from(connections).unwrap_or(u32::MAX)));
    counter!("homing_source_connected_seconds_total", "source" => source.to_owned())
        .increment(count(connections));
}

/// Sets the status of a source, as far as this process knows: 1 for its status, 0 for the others.
pub fn status(source: &str, status: &str) {
    for name in ["running", "paused", "stopped"] {
        let value = f64::from(u8::from(name == status));
        gauge!("homing_source_status", "source" => source.to_owned(), "status" => name).set(value);
    }
}

/// An attempt to connect had this answer: a status, `unreachable`, `redirect` or `token`.
pub fn connect(source: &str, answer: &str) {
    counter!("homing_source_connects_total", "source" => source.to_owned(), "answer" => answer.to_owned())
        .increment(1);
}

/// A record was too large.
pub fn oversized(Slot { source, slot }: Slot<'_>, bytes: u64) {
    counter!("homing_source_oversized_total", "source" => source.to_owned()).increment(1);
    warn!(source, slot, bytes, "source.record_skipped: larger than `source.max_record_bytes`");
}

/// A line of the stream was no record; its beginning is logged.
pub fn not_a_record(Slot { source, slot }: Slot<'_>, line: &[u8]) {
    counter!("homing_source_not_records_total", "source" => source.to_owned()).increment(1);
    let begin = line.get(..200).unwrap_or(line).escape_ascii();
    warn!(source, slot, bytes = line.len(), %begin, "source.line_skipped: it is no JSON object");
}

/// This process holds the slot.
pub fn slot_taken(Slot { source, slot }: Slot<'_>, first_wait: Duration) {
    info!(source, slot, wait_s = first_wait.as_secs(), "source.slot_taken");
}

/// This process no longer holds the slot.
pub fn slot_left(Slot { source, slot }: Slot<'_>, is_lost: bool) {
    if is_lost {
        warn!(source, slot, "source.slot_lost: reading has stopped, another process may go on");
    } else {
        info!(source, slot, "source.slot_left");
    }
}

/// The stream is read.
pub fn stream_connected(Slot { source, slot }: Slot<'_>, reset: Option<Reset>) {
    info!(source, slot, reset = reset.map(Reset::as_str), "source.connected");
}

/// There is no connection for a while.
pub fn waiting(Slot { source, slot }: Slot<'_>, wait: Duration, why: &str, is_suspicious: bool) {
    let wait_s = wait.as_secs();
    if is_suspicious {
        error!(
            source,
            slot,
            wait_s,
            why,
            "source.refused_again: `max_connections` is probably not what was agreed, or another process \
             reads this stream"
        );
    } else {
        warn!(source, slot, wait_s, why, "source.disconnected");
    }
}

/// Nothing came for a while, which may mean nothing.
pub fn silent(Slot { source, slot }: Slot<'_>) {
    info!(source, slot, "source.silent: no byte for a minute");
}

/// The token was refused; a new one is requested.
pub fn renewing(Slot { source, slot }: Slot<'_>) {
    info!(source, slot, "source.token_refused: requesting a new one");
}

/// The service refused for good.
pub fn stopped(source: &str, reason: &str) {
    error!(source, reason, "source.stopped: correct its settings, or `homing source resume` it");
}

/// An operator changed the status of a source.
pub fn changed(source: &str, status: &str) {
    info!(source, status, "source.changed");
}

/// The locks of the slots are unavailable.
pub fn seeking_failed(error: &str) {
    warn!(error, "source.locks_unavailable: trying again until it works");
}

/// Records that were read could not be published before the end.
pub fn unpublished(Slot { source, slot }: Slot<'_>) {
    warn!(source, slot, "source.records_lost: not confirmed within `worker.drain_grace`");
}

/// A record was not published, because the process is about to end.
pub fn not_published(source: &str, error: &str) {
    debug!(source, error, "source.record_not_published");
}
