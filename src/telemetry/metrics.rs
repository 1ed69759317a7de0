//! The catalogue of metrics.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::domain::{circuit::StateName, outcome::Outcome, verdict::ParkReason};

/// A message came from the primary or the retry queue.
pub fn received(lane: &'static str) {
    counter!("homing_messages_received_total", "lane" => lane).increment(1);
}

/// An event was wanted by so many subscriptions.
pub fn matched(subscriptions: usize) {
    let deliveries = u64::try_from(subscriptions).unwrap_or(u64::MAX);
    counter!("homing_deliveries_made_total").increment(deliveries);
    if subscriptions == 0 {
        counter!("homing_events_unwanted_total").increment(1);
    }
}

/// A filter met a body that is not JSON.
pub fn event_not_json() {
    counter!("homing_events_not_json_total").increment(1);
}

/// An attempt ended.
pub fn attempted(outcome: &Outcome, duration: Duration) {
    counter!("homing_attempts_total", "outcome" => outcome.class()).increment(1);
    histogram!("homing_attempt_duration_seconds").record(duration.as_secs_f64());
}

/// A message went to the parking queue.
pub fn parked(reason: ParkReason) {
    counter!("homing_parked_total", "reason" => reason.as_str()).increment(1);
}

/// A delivery was put back without an attempt.
pub fn held() {
    counter!("homing_holds_total").increment(1);
}

/// So many subscriptions are in force.
pub fn subscriptions(count: usize) {
    gauge!("homing_subscriptions").set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// A circuit went over to this state.
pub fn circuit_changed(to: StateName) {
    counter!("homing_circuit_changes_total", "to" => to.as_str()).increment(1);
}

/// So many records of attempts were written to the store.
pub fn records_written(records: usize) {
    counter!("homing_attempt_records_written_total")
        .increment(u64::try_from(records).unwrap_or(u64::MAX));
}

/// So many records of attempts were given up, because the store did not take them in time.
pub fn records_missed(records: u64) {
    counter!("homing_attempt_records_missed_total").increment(records);
}

/// A delivery found its endpoint busy.
pub fn turned_away() {
    counter!("homing_turned_away_total").increment(1);
}

/// How many circuits are in which state; those that are closed are not counted.
pub fn unsettled_circuits(states: impl Iterator<Item = StateName>) {
    let (mut open, mut frozen) = (0_u32, 0_u32);
    for state in states {
        match state {
            StateName::Closed => {}
            StateName::Open => open = open.saturating_add(1),
            StateName::Frozen => frozen = frozen.saturating_add(1),
        }
    }
    gauge!("homing_circuits", "state" => "open").set(f64::from(open));
    gauge!("homing_circuits", "state" => "frozen").set(f64::from(frozen));
}

/// So many log lines were lost since the start, because nobody read them.
pub fn log_lines_lost(lines: u64) {
    counter!("homing_log_lines_lost_total").absolute(lines);
}
