//! All metrics: their names, labels and meaning. Labels have few values each: no URL, no id.

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};

/// A metric as Prometheus sees it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `homing_…`, with its unit, and `_total` where it only rises.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts values by upper bounds.
    Histogram,
}

type Labels = &'static [&'static str];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

/// All of them.
pub const METRICS: [Metric; 49] = [
    counter(
        "homing_messages_received_total",
        &["lane"],
        "Messages taken from the primary or the retry queue.",
    ),
    counter(
        "homing_deliveries_made_total",
        &[],
        "Deliveries created from events: one for each subscription that matches.",
    ),
    counter("homing_events_unwanted_total", &[], "Events that matched no subscription."),
    counter(
        "homing_events_not_json_total",
        &[],
        "Events whose body a filter could not read as JSON; parked for subscriptions with filters.",
    ),
    counter(
        "homing_filters_over_budget_total",
        &[],
        "Deliveries that were parked because their filters cost too much; the log names the subscription.",
    ),
    counter("homing_deliveries_total", &["outcome"], "Deliveries that ended: delivered or parked."),
    counter("homing_attempts_total", &["outcome"], "Attempts, by outcome."),
    histogram(
        "homing_attempt_duration_seconds",
        &[],
        "Duration of attempts, from their start to the end of the exchange.",
    ),
    counter("homing_parked_total", &["reason"], "Messages that went to the parking queue."),
    counter("homing_holds_total", &[], "Deliveries that were put back without an attempt."),
    counter(
        "homing_throttled_total",
        &[],
        "Deliveries that went to a throttle queue, because their endpoint was busy.",
    ),
    counter(
        "homing_held_as_slow_total",
        &[],
        "Deliveries that left their lane for the held queue of their URL, because it is slow.",
    ),
    gauge(
        "homing_slow_urls",
        &[],
        "URLs that take less than what comes for them, or need much of a lane for it, as this process sees it.",
    ),
    gauge(
        "homing_oldest_undelivered_seconds",
        &[],
        "Age of the oldest delivery that this process has put into a wait queue and that is not due again yet; the highest of all workers is that of the pool.",
    ),
    gauge("homing_subscriptions", &[], "Subscriptions, those that cannot be read included."),
    gauge(
        "homing_subscriptions_unreadable",
        &[],
        "Subscriptions that cannot be read; their events wait.",
    ),
    gauge("homing_circuits", &["state"], "Circuits that are open or frozen."),
    gauge(
        "homing_held_slots",
        &["state"],
        "Held queues that a URL has (taken) or none has (free).",
    ),
    gauge(
        "homing_held_seconds",
        &[],
        "Since when the URL that has a held queue for the longest time has it: no delivery there has \
         been held for longer.",
    ),
    counter("homing_circuit_changes_total", &["to"], "Circuits that changed to another state."),
    counter(
        "homing_attempt_records_written_total",
        &[],
        "Records that were written to the attempt log.",
    ),
    counter(
        "homing_attempt_records_missed_total",
        &[],
        "Records that were given up because the store did not take them in time.",
    ),
    counter(
        "homing_attempt_payloads_missed_total",
        &[],
        "Payloads of attempts that were given up: no room in memory, or not taken by the store.",
    ),
    counter(
        "homing_log_lines_lost_total",
        &[],
        "Log lines that were lost because standard error was read too slowly.",
    ),
    gauge(
        "homing_queue_messages",
        &["queue"],
        "Messages that are ready in a queue, as the broker counts them; all processes see the same.",
    ),
    gauge(
        "homing_parked_deliveries",
        &[],
        "Parked deliveries in the store; all processes see the same.",
    ),
    gauge(
        "homing_client_certificate_expires_seconds",
        &[],
        "Time until the first client certificate of a subscription expires, negative afterwards; all processes see the same. NaN: there is none.",
    ),
    counter(
        "homing_oauth2_token_requests_total",
        &["result"],
        "OAuth 2.0 tokens that were asked for: obtained, or not because the token endpoint refused, is unreachable or answered what \
         cannot be read; unsent: its address may not be called.",
    ),
    gauge(
        "homing_proxy_up",
        &[],
        "1 if the proxy of endpoint.proxy works, as far as the requests of this process show; 0 if not. NaN: there is none.",
    ),
    gauge(
        "homing_queue_consumers",
        &["queue"],
        "Consumers of a queue; of the primary queue, the workers alive.",
    ),
    gauge(
        "homing_workers_wanted",
        &[],
        "Workers that the present backlog and rate need, by worker.target_rate and worker.catch_up; all processes see the same. The last number stays while broker or store do not answer.",
    ),
    gauge("homing_broker_connected", &["link"], "1 if this process is connected to the broker."),
    gauge(
        "homing_broker_blocked",
        &[],
        "1 if the broker takes no messages now (a memory or disk alarm).",
    ),
    gauge(
        "homing_archive_missing",
        &[],
        "1 if `archive.enabled` is true and nothing is archived. NaN: the broker does not answer.",
    ),
    gauge("homing_store_up", &[], "1 if the store answers."),
    counter("homing_api_requests_total", &["status"], "Requests that the HTTP API answered."),
    counter(
        "homing_api_wrong_tokens_total",
        &[],
        "API tokens that were wrong, or came from an address with too many wrong ones.",
    ),
    gauge("homing_build_info", &["version"], "Always 1; the version of this process."),
    counter("homing_source_records_total", &["source"], "Records that were received."),
    counter("homing_source_bytes_total", &["source"], "Bytes that were received, compressed."),
    counter(
        "homing_source_duplicates_total",
        &["source"],
        "Records that had been received before and were not published again.",
    ),
    histogram(
        "homing_source_lag_seconds",
        &["source"],
        "Time from the service's receipt of a record to its publication here.",
    ),
    gauge("homing_source_connections", &["source"], "Connections that this process holds."),
    counter(
        "homing_source_connected_seconds_total",
        &["source"],
        "Seconds for which connections were held, summed up.",
    ),
    gauge(
        "homing_source_status",
        &["source", "status"],
        "1 for the status of a source: running, paused or stopped.",
    ),
    counter(
        "homing_source_connects_total",
        &["source", "answer"],
        "Attempts to connect, by answer.",
    ),
    counter("homing_source_oversized_total", &["source"], "Records that were too large."),
    counter("homing_source_not_records_total", &["source"], "Lines that were no records."),
    counter(
        "homing_traces_lost_total",
        &[],
        "Spans that were given up because the collector did not take them in time.",
    ),
];

/// Describes all metrics to the recorder. To be called once it is installed.
pub fn describe() {
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram => describe_histogram!(name, help),
        }
    }
    gauge!("homing_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The metrics that a file of the catalogue records.
    fn recorded(code: &str) -> BTreeSet<&str> {
        code.split('"').filter(|text| text.starts_with("homing_")).collect()
    }

    #[test]
    fn what_is_recorded_is_listed_and_what_is_listed_is_recorded() {
        let mut recorded = recorded(include_str!("metrics.rs"));
        recorded.extend(self::recorded(include_str!("sources.rs")));
        recorded.insert("homing_build_info");
        let listed: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(recorded, listed);
        assert_eq!(listed.len(), METRICS.len(), "each once");
    }

    #[test]
    fn names_show_the_kind_of_a_metric() {
        for Metric { name, kind, labels, help } in METRICS {
            assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
            assert!(help.ends_with('.') && !labels.contains(&"url"), "{name}");
        }
    }
}
