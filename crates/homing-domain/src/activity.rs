//! The pool's recent work in figures: kept as it happens, never counted afterwards.

use std::{cmp::Reverse, collections::BTreeMap, ops::AddAssign, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    id::SubscriptionId,
    time::{UnixMillis, iso8601},
};

/// The figures of a minute are kept this long.
pub const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// A subscription counts as costly for this long after an event was parked because of its filters.
pub const COSTLY_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A worker reports this often.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A worker that has not reported for this long has probably ended.
pub const SILENT_AFTER: Duration = Duration::from_secs(20);

/// A worker reports at most this many URLs with requests in flight: those with the most.
pub const MAX_REQUEST_URLS: usize = 100;

const MINUTE_MS: i64 = 60_000;

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Figures {
    /// Events taken from the primary queue.
    pub events: u64,
    /// Attempts that the endpoint accepted.
    pub accepted: u64,
    /// Attempts answered with anything but 2xx.
    pub refused: u64,
    /// Attempts without a complete answer in time.
    pub timed_out: u64,
    /// Attempts without any answer.
    pub unreachable: u64,
    /// Deliveries deferred without an attempt.
    pub held: u64,
    /// Messages sent to the parking queue.
    pub parked: u64,
}

impl Figures {
    /// Attempts that failed, for any reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.refused.saturating_add(self.timed_out).saturating_add(self.unreachable)
    }

    /// The growth since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            events: self.events.saturating_sub(earlier.events),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            refused: self.refused.saturating_sub(earlier.refused),
            timed_out: self.timed_out.saturating_sub(earlier.timed_out),
            unreachable: self.unreachable.saturating_sub(earlier.unreachable),
            held: self.held.saturating_sub(earlier.held),
            parked: self.parked.saturating_sub(earlier.parked),
        }
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.events = self.events.saturating_add(more.events);
        self.accepted = self.accepted.saturating_add(more.accepted);
        self.refused = self.refused.saturating_add(more.refused);
        self.timed_out = self.timed_out.saturating_add(more.timed_out);
        self.unreachable = self.unreachable.saturating_add(more.unreachable);
        self.held = self.held.saturating_add(more.held);
        self.parked = self.parked.saturating_add(more.parked);
    }
}

/// The figures of one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Minute {
    /// Its beginning.
    #[serde(rename = "start", alias = "start_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub start_ms: UnixMillis,
    /// The counts of that minute.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The beginning of the minute that contains `instant`.
#[must_use]
pub fn minute_of(instant: UnixMillis) -> UnixMillis {
    let into = instant.get().rem_euclid(MINUTE_MS);
    UnixMillis::new(instant.get().saturating_sub(into))
}

/// A worker's last report about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerReport {
    /// Made at its start.
    pub id: Uuid,
    /// The name of its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The version of homing.
    pub version: String,
    /// The time of its start.
    #[serde(rename = "started", alias = "started_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub started_ms: UnixMillis,
    /// The time of this report.
    #[serde(rename = "seen", alias = "seen_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub seen_ms: UnixMillis,
    /// Deliveries in flight.
    pub in_flight: u32,
    /// True if it runs replays of the archive; `None`: its version sends what was replayed without
    /// `x-homing-replay`.
    pub runs_replays: Option<bool>,
    /// The reason why it makes no attempts now, or not all: the proxy fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl WorkerReport {
    /// True if it reported recently.
    #[must_use]
    pub fn is_alive(&self, now: UnixMillis) -> bool {
        now.since(self.seen_ms) <= SILENT_AFTER
    }
}

/// Requests in flight, by URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    by_url: BTreeMap<String, u32>,
    /// True if a URL that is not listed has none.
    whole: bool,
}

impl Default for Requests {
    /// None.
    fn default() -> Self {
        Self { by_url: BTreeMap::new(), whole: true }
    }
}

impl Requests {
    /// The requests of one worker: all URLs, or the [`MAX_REQUEST_URLS`] with the most.
    #[must_use]
    pub fn most_of(mut by_url: Vec<(String, u32)>) -> Self {
        by_url.sort_unstable_by_key(|(_, requests)| Reverse(*requests));
        let whole = by_url.len() <= MAX_REQUEST_URLS;
        Self { by_url: by_url.into_iter().take(MAX_REQUEST_URLS).collect(), whole }
    }

    /// The number in flight at a normalised URL; `None`: a worker is busy with so many URLs that it
    /// did not report all.
    #[must_use]
    pub fn at(&self, url: &str) -> Option<u32> {
        self.by_url.get(url).copied().or(self.whole.then_some(0))
    }
}

impl AddAssign for Requests {
    fn add_assign(&mut self, more: Self) {
        self.whole = self.whole && more.whole;
        for (url, requests) in more.by_url {
            let sum = self.by_url.entry(url).or_default();
            *sum = sum.saturating_add(requests);
        }
    }
}

/// Filters that cost more on an event than allowed, so that it was parked for their subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostlyFilters {
    /// The subscription with the filters.
    pub subscription: SubscriptionId,
    /// `updated` of the subscription version that they come from.
    pub updated: UnixMillis,
    /// The last time that an event was parked because of them.
    pub seen: UnixMillis,
}

/// The instant at which deliveries with a certain wait are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The length of the wait, which identifies the queue.
    pub wait: Duration,
    /// The end of the wait.
    pub at: UnixMillis,
}

impl Due {
    /// The slice of time that the instant falls into. One due is kept per slice, and a wait has at
    /// most 257 slices ahead, however many deliveries wait.
    #[must_use]
    pub fn slice(&self) -> i64 {
        let wait = i64::try_from(self.wait.as_millis()).unwrap_or(i64::MAX);
        self.at.get().div_euclid((wait / 256).max(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_growth_and_the_earlier_figures_add_up() {
        let earlier = Figures { events: 3, accepted: 2, refused: 1, ..Figures::default() };
        let later = Figures {
            events: 10,
            accepted: 2,
            refused: 4,
            timed_out: 5,
            unreachable: 6,
            held: 7,
            parked: 8,
        };
        let mut sum = earlier;
        sum += later.since(&earlier);
        assert_eq!(sum, later);
        assert_eq!(later.failed(), 15);
    }

    #[test]
    fn requests_of_workers_add_up_and_unlisted_urls_are_unknown() {
        let worker = |urls: u32| {
            let url = |number| (format!("https://example.com/{number:03}"), 200 - number);
            Requests::most_of((0..urls).map(url).collect())
        };
        let mut sum = Requests::default();
        assert_eq!(sum.at("https://example.com/000"), Some(0));
        sum += worker(100);
        sum += worker(1);
        assert_eq!(sum.at("https://example.com/000"), Some(400));
        assert_eq!(sum.at("https://example.com/099"), Some(101));
        assert_eq!(sum.at("https://example.com/100"), Some(0));
        sum += worker(101);
        assert_eq!(sum.at("https://example.com/099"), Some(202));
        assert_eq!(sum.at("https://example.com/100"), None);
    }

    #[test]
    fn minutes_begin_at_the_whole_minute() {
        assert_eq!(minute_of(UnixMillis::new(119_999)), UnixMillis::new(60_000));
        assert_eq!(minute_of(UnixMillis::new(120_000)), UnixMillis::new(120_000));
    }

    #[test]
    fn a_wait_has_few_slices_and_none_is_below_a_second() {
        let day = Duration::from_secs(86_400);
        let slice = |wait, at| Due { wait, at: UnixMillis::new(at) }.slice();
        assert_eq!(slice(day, 86_400_000), 256);
        assert_eq!(slice(Duration::from_millis(50), 999), 0);
        assert_eq!(slice(Duration::from_millis(50), 1_000), 1);
    }

    #[test]
    fn a_worker_is_alive_while_it_reports() {
        let report = WorkerReport {
            runs_replays: None,
            problem: None,
            id: Uuid::nil(),
            host: "h".to_owned(),
            pid: 1,
            version: "1".to_owned(),
            started_ms: UnixMillis::new(0),
            seen_ms: UnixMillis::new(1_000),
            in_flight: 0,
        };
        assert!(report.is_alive(UnixMillis::new(21_000)));
        assert!(!report.is_alive(UnixMillis::new(21_001)));
    }
}
