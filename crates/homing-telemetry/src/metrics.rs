//! The catalogue of metrics.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use homing_domain::{circuit::StateName, outcome::Outcome, time::UnixMillis, verdict::ParkReason};

/// A message came from the primary or the retry queue.
pub fn received(lane: &'static str) {
    counter!("homing_messages_received_total", "lane" => lane).increment(1);
}

/// An event matched this many subscriptions.
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

/// The filters of a subscription cost more on an event than they may.
pub fn filter_over_budget() {
    counter!("homing_filters_over_budget_total").increment(1);
}

/// An attempt ended.
pub fn attempted(outcome: &Outcome, duration: Duration) {
    counter!("homing_attempts_total", "outcome" => outcome.class()).increment(1);
    histogram!("homing_attempt_duration_seconds").record(duration.as_secs_f64());
}

/// A delivery ended as it should.
pub fn delivered() {
    counter!("homing_deliveries_total", "outcome" => "delivered").increment(1);
}

/// A message went to the parking queue; for a delivery that is the end.
pub fn parked(reason: ParkReason, is_delivery: bool) {
    counter!("homing_parked_total", "reason" => reason.as_str()).increment(1);
    if is_delivery {
        counter!("homing_deliveries_total", "outcome" => "parked").increment(1);
    }
}

/// Sets the age of the oldest delivery that waits.
pub fn oldest_undelivered(age: Duration) {
    gauge!("homing_oldest_undelivered_seconds").set(age.as_secs_f64());
}

/// Sets the messages and consumers of a queue; `None`: not known.
pub fn queue(name: &str, depth: Option<(u32, u32)>) {
    let (messages, consumers) = depth.unzip();
    let known = |count: Option<u32>| count.map_or(f64::NAN, f64::from);
    gauge!("homing_queue_messages", "queue" => name.to_owned()).set(known(messages));
    gauge!("homing_queue_consumers", "queue" => name.to_owned()).set(known(consumers));
}

/// Sets the number of parked deliveries in the store; `None`: not known.
pub fn parked_deliveries(count: Option<u64>) {
    // The store keeps fewer.
    let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    gauge!("homing_parked_deliveries").set(count.map_or(f64::NAN, f64::from));
}

/// Sets the expiry of the client certificate that expires first; `None`: there is none, or it is not
/// known.
pub fn client_certificate_expires(expires: Option<UnixMillis>, now: UnixMillis) {
    let left =
        expires.map(|expires| expires.since(now).as_secs_f64() - now.since(expires).as_secs_f64());
    gauge!("homing_client_certificate_expires_seconds").set(left.unwrap_or(f64::NAN));
}

/// An OAuth 2.0 token was asked for.
pub fn token_request(result: &'static str) {
    counter!("homing_oauth2_token_requests_total", "result" => result).increment(1);
}

/// Sets the number of workers that the present load needs.
pub fn workers_wanted(count: u32) {
    gauge!("homing_workers_wanted").set(f64::from(count));
}

/// Sets the state of the proxy for endpoints; `None`: there is none.
pub fn proxy_up(is_up: Option<bool>) {
    gauge!("homing_proxy_up").set(is_up.map_or(f64::NAN, |is_up| f64::from(u8::from(is_up))));
}

/// Sets the state of a connection to the broker.
pub fn broker_connected(link: &'static str, is_connected: bool) {
    gauge!("homing_broker_connected", "link" => link).set(f64::from(u8::from(is_connected)));
}

/// Sets the state of the broker's block on messages.
pub fn broker_blocked(is_blocked: bool) {
    gauge!("homing_broker_blocked").set(f64::from(u8::from(is_blocked)));
}

/// Notes if nothing is archived although there is to be an archive; `None`: not known.
pub fn archive_missing(is_missing: Option<bool>) {
    let value = is_missing.map_or(f64::NAN, |is_missing| f64::from(u8::from(is_missing)));
    gauge!("homing_archive_missing").set(value);
}

/// Sets the availability of the store.
pub fn store_up(is_up: bool) {
    gauge!("homing_store_up").set(f64::from(u8::from(is_up)));
}

/// The API answered a request.
pub fn api_request(status: u16) {
    counter!("homing_api_requests_total", "status" => status.to_string()).increment(1);
}

/// Spans were given up.
pub fn traces_lost(spans: usize) {
    counter!("homing_traces_lost_total").increment(u64::try_from(spans).unwrap_or(u64::MAX));
}

/// A delivery was put back without an attempt.
pub fn held() {
    counter!("homing_holds_total").increment(1);
}

/// Sets the numbers of all subscriptions and of those that cannot be read.
pub fn subscriptions(count: usize, unreadable: usize) {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!("homing_subscriptions").set(number(count));
    gauge!("homing_subscriptions_unreadable").set(number(unreadable));
}

/// A circuit changed to this state.
pub fn circuit_changed(to: StateName) {
    counter!("homing_circuit_changes_total", "to" => to.as_str()).increment(1);
}

/// Records of attempts were written to the store.
pub fn records_written(records: usize) {
    counter!("homing_attempt_records_written_total")
        .increment(u64::try_from(records).unwrap_or(u64::MAX));
}

/// Records of attempts were given up, because the store did not take them in time.
pub fn records_missed(records: u64) {
    counter!("homing_attempt_records_missed_total").increment(records);
}

/// Payloads of attempts were given up, because they did not fit into memory or the store did not
/// take them.
pub fn payloads_missed(payloads: u64) {
    counter!("homing_attempt_payloads_missed_total").increment(payloads);
}

/// A delivery found its endpoint busy.
pub fn throttled() {
    counter!("homing_throttled_total").increment(1);
}

/// Counts a delivery that left its lane for a held queue, because its endpoint is slow.
pub fn held_as_slow() {
    counter!("homing_held_as_slow_total").increment(1);
}

/// Sets the number of slow URLs.
pub fn slow_urls(urls: usize) {
    gauge!("homing_slow_urls").set(f64::from(u32::try_from(urls).unwrap_or(u32::MAX)));
}

/// Sets the numbers of held queues that a URL has and that none has, and since when the first has it.
pub fn held_slots(taken: usize, free: usize, longest: Duration) {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!("homing_held_slots", "state" => "taken").set(number(taken));
    gauge!("homing_held_slots", "state" => "free").set(number(free));
    gauge!("homing_held_seconds").set(longest.as_secs_f64());
}

/// Sets the numbers of open and of frozen circuits; closed ones are not counted.
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

/// A token was wrong, or came from an address with too many wrong ones.
pub fn wrong_token() {
    counter!("homing_api_wrong_tokens_total").increment(1);
}

/// Sets the number of log lines lost since the start, because standard error is read too slowly.
pub fn log_lines_lost(lines: u64) {
    counter!("homing_log_lines_lost_total").absolute(lines);
}
