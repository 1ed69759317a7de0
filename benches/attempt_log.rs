//! Figures, not tests: the cost of a full attempt log, a million records in a store of its own, or as
//! many as `RECORDS` says. `STORE` names an empty store in place of a new file.

#![expect(
    clippy::print_stdout,
    unused_crate_dependencies,
    reason = "a program that prints figures"
)]

use std::time::Duration;

use homing::config::Settings;
use homing_domain::{
    clock,
    encryption_key::EncryptionKey,
    id::{DeliveryId, EventId, SubscriptionId},
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, NextState, Record},
    time::UnixMillis,
};
use homing_store::{DeliveryFilter, DeliveryPage, RecordFilter, RecordPage, Store};
use tokio::time::Instant;

const RECORDS: u32 = 1_000_000;
const BATCH: u32 = 1_000;
const SUBSCRIPTIONS: u32 = 200;
/// One of so many attempts fails.
const FAILS: u32 = 20;
/// All attempts at this URL fail.
const NEVER_ACCEPTS: u32 = 2 * FAILS;
/// A delivery that failed is accepted so many records later.
const LATER: u32 = 100_000;
const PAGES: u32 = 20;

fn subscription(number: u32) -> SubscriptionId {
    SubscriptionId::new(uuid::Uuid::from_u128(u128::from(number % SUBSCRIPTIONS)))
}

fn url(number: u32) -> String {
    format!("https://hooks.example.com/receivers/{}/events", number % SUBSCRIPTIONS)
}

fn record(number: u32, now: UnixMillis) -> Record {
    // As many a second as would fill the log in a day; event ids as publishers make them.
    let started = now.plus(Duration::from_millis(u64::from(number) * 86));
    let fails = number.is_multiple_of(FAILS);
    let is_second = number % FAILS == 1 && number > LATER;
    let number = if is_second { number - 1 - LATER } else { number };
    let fails = fails || number % SUBSCRIPTIONS == NEVER_ACCEPTS;
    let mixed = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let event = EventId::from(uuid::Uuid::from_u128(mixed));
    let recipient = subscription(number);
    let status = if fails { 503 } else { 200 };
    let class = if fails { Class::Refused } else { Class::Accepted };
    Record {
        id: clock::new_record_id(started),
        topic: "order.paid".to_owned(),
        recipient: Some((recipient, DeliveryId::of(&event, recipient))),
        event: event.to_string(),
        url: Some(url(number)),
        step: 0,
        replays: 0,
        order: Some(i64::from(is_second) << 32),
        happened: AttemptEvent::Attempted(Attempted {
            attempt: 1,
            duration: Duration::from_millis(12),
            class,
            outcome: format!("{} {status}", class.as_str()),
            status: Some(status),
            response: vec![b'x'; if fails { 1_024 } else { 2 }],
            cut: fails,
            cause: None,
        }),
        next_state: if fails { NextState::Waits(started) } else { NextState::Done },
        hold: None,
        turn: None,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

/// Milliseconds of a page: the median and the longest.
async fn pages(store: &dyn Store, filter: &RecordFilter) -> (f64, f64) {
    let mut took = Vec::new();
    let mut page = RecordPage { filter: filter.clone(), after: None, limit: 100 };
    for _ in 0..PAGES {
        let begun = Instant::now();
        let listing = store.attempts(&page).await.expect("a page");
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        page.after = listing.next;
    }
    median_and_longest(took)
}

/// The same of deliveries.
async fn delivery_pages(store: &dyn Store, filter: &DeliveryFilter) -> (f64, f64) {
    let mut took = Vec::new();
    let mut page = DeliveryPage { filter: filter.clone(), after: None, limit: 100 };
    for _ in 0..PAGES {
        let begun = Instant::now();
        let listing = store.deliveries(&page).await.expect("a page");
        store.records_of(&listing.last, 5_000).await.expect("their records");
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        page.after = listing.next;
    }
    median_and_longest(took)
}

fn median_and_longest(mut took: Vec<f64>) -> (f64, f64) {
    took.sort_by(f64::total_cmp);
    let at = |index: usize| took.get(index).copied().unwrap_or_default();
    (at(took.len() / 2), at(took.len() - 1))
}

#[expect(clippy::disallowed_methods, reason = "a bench has no settings of its own")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("homing.db");
    let url = variable("STORE").unwrap_or_else(|| format!("sqlite:{}", file.display()));
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    let settings = format!("store.url = \"{url}\"\nstore.encryption_keys = [\"{key}\"]");
    let settings = Settings::from_toml(&settings).expect("settings");
    let store = homing_store::open(&settings.store).await.expect("a store");
    let records = variable("RECORDS").and_then(|number| number.parse().ok());
    let records = records.unwrap_or(RECORDS);
    let now = clock::now();
    let some = fill(&*store, records, now).await;
    let bytes = std::fs::metadata(&file).map(|file| file.len()).unwrap_or_default();
    println!("the file has {} MB", bytes / 1_000_000);
    println!("{:<38} {:>10} {:>10}", "a page of 100, by", "median ms", "longest ms");
    let half = now.plus(Duration::from_millis(u64::from(records) * 43));
    for (name, filter) in attempts(&some, half) {
        let (median, longest) = pages(&*store, &filter).await;
        println!("{name:<38} {median:>10.1} {longest:>10.1}");
    }
    for (name, filter) in deliveries(&some) {
        let (median, longest) = delivery_pages(&*store, &filter).await;
        println!("{name:<38} {median:>10.1} {longest:>10.1}");
    }
    let begun = Instant::now();
    store.prune_attempts(UnixMillis::new(0), u64::from(records - 1_000)).await.expect("pruned");
    println!("pruning a thousand took {:.0?}", begun.elapsed());
    store.close().await;
}

/// Writes as many records; returns one of the last.
async fn fill(store: &dyn Store, number: u32, now: UnixMillis) -> Record {
    let begun = Instant::now();
    let mut some = None;
    let mut last = Duration::ZERO;
    for batch in 0..number / BATCH {
        let records: Vec<_> =
            (0..BATCH).map(|number| record(batch * BATCH + number, now)).collect();
        let written = Instant::now();
        store.record_attempts(&records, None).await.expect("they can be written");
        last = written.elapsed();
        some = records.into_iter().nth(500).or(some);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{number} records in {seconds:.0} s: {:.0}/s; the last thousand took {last:.0?}",
        f64::from(number) / seconds
    );
    some.expect("there is one")
}

fn attempts(some: &Record, half: UnixMillis) -> Vec<(&'static str, RecordFilter)> {
    let none = RecordFilter::default;
    let of = |word: &str| word.parse().ok();
    vec![
        ("none", none()),
        ("event", RecordFilter { event: Some(some.event.clone()), ..none() }),
        ("delivery", RecordFilter { delivery: some.recipient.map(|(_, id)| id), ..none() }),
        ("subscription", RecordFilter { subscription: Some(subscription(7)), ..none() }),
        ("url", RecordFilter { url: Some(url(7)), ..none() }),
        ("failed", RecordFilter { classes: of("failed"), ..none() }),
        ("accepted", RecordFilter { classes: of("accepted"), ..none() }),
        ("timed_out (there are none)", RecordFilter { classes: of("timed_out"), ..none() }),
        ("status 503", RecordFilter { status: Some(503.into()), ..none() }),
        ("status 418 (there are none)", RecordFilter { status: Some(418.into()), ..none() }),
        ("status 204 (there are none)", RecordFilter { status: Some(204.into()), ..none() }),
        ("until the middle", RecordFilter { until: Some(half), ..none() }),
        (
            "subscription, failed",
            RecordFilter {
                subscription: Some(subscription(FAILS)),
                classes: of("failed"),
                ..none()
            },
        ),
    ]
}

fn deliveries(some: &Record) -> Vec<(&'static str, DeliveryFilter)> {
    let none = DeliveryFilter::default;
    let of = |word: &str| word.parse().ok();
    let failing = subscription(FAILS);
    vec![
        ("deliveries", none()),
        ("deliveries, event", DeliveryFilter { event: Some(some.event.clone()), ..none() }),
        ("deliveries, delivered", DeliveryFilter { states: of("delivered"), ..none() }),
        ("deliveries, waits", DeliveryFilter { states: of("waits"), ..none() }),
        ("deliveries, held (there are none)", DeliveryFilter { states: of("held"), ..none() }),
        ("deliveries, pending", DeliveryFilter { states: of("pending"), ..none() }),
        ("deliveries, url", DeliveryFilter { url: Some(url(7)), ..none() }),
        (
            "deliveries, url that never accepts",
            DeliveryFilter { url: Some(url(NEVER_ACCEPTS)), ..none() },
        ),
        (
            "deliveries, the same, delivered",
            DeliveryFilter { url: Some(url(NEVER_ACCEPTS)), states: of("delivered"), ..none() },
        ),
        (
            "deliveries, url, another topic (none)",
            DeliveryFilter { url: Some(url(7)), topic: Some("none".to_owned()), ..none() },
        ),
        (
            "deliveries, url, waits",
            DeliveryFilter { url: Some(url(FAILS)), states: of("waits"), ..none() },
        ),
        (
            "deliveries, subscription, waits",
            DeliveryFilter { subscription: Some(failing), states: of("waits"), ..none() },
        ),
        (
            "deliveries, url, held (none)",
            DeliveryFilter { url: Some(url(7)), states: of("held"), ..none() },
        ),
        (
            "deliveries, another topic (none)",
            DeliveryFilter { topic: Some("none".to_owned()), ..none() },
        ),
    ]
}
