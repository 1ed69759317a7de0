//! Figures, not tests: a million parked deliveries in both stores, how fast the keeper moves them there
//! and a replay takes them out, and how long an operator waits for a search, and for a page.
//!
//! `make bench-parked` starts a broker and a database for it; `ARGS=100000` is another number, and
//! `ARGS="100000 sqlite"` leaves the database out.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    unused_crate_dependencies,
    dead_code,
    reason = "a program that prints figures, with the parts of the tests"
)]

#[path = "../../tests/it/support/mod.rs"]
mod support;
mod pages;

use std::time::Duration;

use futures_util::future::join_all;
use homing_broker::{Message, Route};
use homing_delivery::parking::{Action, Bodies, Selection};
use homing_domain::{
    clock,
    delivery::Progress,
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
    topic::Topic,
    verdict::ParkReason,
};
use homing_store::{Intake, ParkedBounds, ParkedDelivery, ParkedId, ParkedMessage, Store};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use support::{database::Database, installation::Installation};

const PARKED: u32 = 1_000_000;
/// Messages that the keeper moves, and those among them that are replayed.
const KEPT: u32 = 50_000;
const REPLAYED: u32 = 10_000;
const SUBSCRIPTIONS: u32 = 1_000;
const URLS: u32 = 100;
const TOPICS: u32 = 200;
const BATCH: u32 = 1_000;
/// A key of zeros: nothing that is stored here is a secret.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const BODY: [u8; 1_000] = [b'x'; 1_000];
/// Pages of each search, of so many deliveries.
const PAGES: u32 = 20;
const PAGE: u32 = 50;
/// Of an installation of so many subscriptions.
const QUOTA: &str = "store.max_subscriptions = 1000000\n";
const AMPLE: ParkedBounds = ParkedBounds { rows: u64::MAX >> 1, bytes: u64::MAX >> 1 };

#[tokio::main]
async fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let parked = asked.unwrap_or(PARKED);
    println!("SQLite");
    measure(&Installation::with(&[1_000], QUOTA).await, parked).await;
    if std::env::args().any(|argument| argument == "sqlite") {
        return;
    }
    let database = Database::new().await;
    println!("\nPostgreSQL");
    let store = format!("store.url = \"{}\"\n", database.url());
    let settings = format!("{QUOTA}{store}store.encryption_keys = [\"{KEY}\"]\n");
    measure(&Installation::with(&[1_000], &settings).await, parked).await;
    println!("the database has {} MB", bytes(&database).await / 1_000_000);
}

async fn bytes(database: &Database) -> i64 {
    let mut connection = PgConnection::connect(&database.url()).await.expect("it answers");
    let size = sqlx::query_scalar("SELECT pg_database_size(current_database())");
    size.fetch_one(&mut connection).await.expect("its size")
}

async fn measure(installation: &Installation, parked: u32) {
    let store = &*installation.parts.store;
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        let url = format!("https://hooks.example.com/receivers/{}/events", number % URLS);
        let draft = json!({"url": url, "topics": [format!("shop.{number}")]});
        subscriptions.push(installation.subscribe(draft).await.subscription.id);
    }
    keep(installation, &subscriptions).await;
    replay(installation).await;
    fill(store, &subscriptions, parked).await;
    if let Some(file) = installation.settings.store.url.strip_prefix("sqlite:") {
        let bytes = std::fs::metadata(file).map(|file| file.len()).unwrap_or_default();
        println!("the file has {} MB", bytes / 1_000_000);
    }
    search(installation, &subscriptions).await;
    pages::measure(installation, parked).await;
}

fn rate(what: &str, count: u32, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{count} {what} in {seconds:.1} s: {:.0}/s", f64::from(count) / seconds);
}

/// One of the subscriptions, all of them in turn.
fn of(subscriptions: &[SubscriptionId], number: u32) -> SubscriptionId {
    let index = usize::try_from(number).unwrap_or_default() % subscriptions.len();
    subscriptions.get(index).copied().expect("there are some")
}

/// Moves messages of 1 kB from the parking queue into the store.
async fn keep(installation: &Installation, subscriptions: &[SubscriptionId]) {
    let broker = &installation.parts.broker;
    for part in (0..KEPT).collect::<Vec<_>>().chunks(5_000) {
        let published = part.iter().map(|number| {
            let event = Event {
                id: EventId::from(clock::new_id()),
                topic: Topic::new("shop.paid").expect("a topic"),
                content_type: String::new(),
                content_encoding: None,
                body: BODY.to_vec().into(),
            };
            let message = Message::of_event(event);
            let message = message.for_subscription(of(subscriptions, *number), Progress::default());
            let message = message.parked(ParkReason::Exhausted, clock::now()).outgoing();
            async move { broker.publish(&message, Route::Parked).await }
        });
        assert!(join_all(published).await.iter().all(Result::is_ok), "the broker confirms");
    }
    let (stop, begun) = (CancellationToken::new(), Instant::now());
    let all_are_kept = async {
        let store = &installation.parts.store;
        while store.parked_totals().await.expect("the totals").deliveries < u64::from(KEPT) {
            // The pause between two looks.
            sleep(Duration::from_millis(20)).await;
        }
        rate("messages moved by the keeper", KEPT, begun);
        stop.cancel();
    };
    tokio::join!(installation.parts.parking.keep(stop.clone()), all_are_kept);
}

async fn replay(installation: &Installation) {
    let (parking, everything) = (&installation.parts.parking, Selection::default());
    let begun = Instant::now();
    let replayed = parking.act(Action::Replay, &everything, Some(REPLAYED), |_| ()).await;
    assert_eq!(replayed.expect("a replay").matched, REPLAYED);
    rate("deliveries replayed", REPLAYED, begun);
}

/// Adds rows until there are so many.
async fn fill(store: &dyn Store, subscriptions: &[SubscriptionId], parked: u32) {
    let there = store.parked_totals().await.expect("the totals").deliveries;
    let missing = parked.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
    let intake = clock::new_id();
    let begun = Instant::now();
    for batch in 0..missing / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let messages: Vec<_> =
            numbers.map(|number| message(number, of(subscriptions, number))).collect();
        let intake = Intake { queue: "q", id: intake, batch: batch.into() };
        store.park(intake, &messages, AMPLE).await.expect("they can be added");
    }
    rate("rows added", missing, begun);
}

fn message(number: u32, subscription: SubscriptionId) -> ParkedMessage {
    let now = clock::now();
    let id = ParkedId::of_message(Some(now), fastrand::u64(..));
    let event = EventId::from(clock::new_id());
    let (reason, status) = match number % 100 {
        0 => (ParkReason::Frozen, 503),
        1..5 => (ParkReason::Gone, 410),
        _ => (ParkReason::Exhausted, 500 + u16::try_from(number % 5).unwrap_or_default()),
    };
    let delivery = ParkedDelivery {
        id,
        event: event.to_string(),
        topic: Some(format!("shop.{}.paid", number % TOPICS)),
        recipient: Some((subscription, DeliveryId::of(&event, subscription))),
        url: None,
        reason,
        status: Some(status),
        attempts: 12,
        replays: 0,
        parked: Some(now),
        received: Some(now),
        first_failure: Some(now),
        last_outcome: Some(format!("refused {status}")),
        error: None,
        content_type: "application/json".to_owned(),
        content_encoding: None,
        body_bytes: 120,
    };
    let digest = Some(std::array::from_fn(|_| fastrand::u8(..)));
    let payload: Vec<_> = (0..400).map(|_| fastrand::alphanumeric()).map(|it| it as u8).collect();
    let payload = payload.into();
    ParkedMessage { id, digest, is_redelivered: false, payload, deliveries: vec![delivery] }
}

/// Milliseconds of pages, of counts, and how many match.
async fn search(installation: &Installation, subscriptions: &[SubscriptionId]) {
    let (parking, store) = (&installation.parts.parking, &installation.parts.store);
    let some = parking.list(&Selection::default(), 1, Bodies::Omitted).await.expect("a page");
    let some = some.entries.into_iter().next().expect("one");
    let url = "https://hooks.example.com/receivers/7/events";
    println!(
        "{:<28} {:>10} {:>10} {:>10} {:>8}",
        "a page of 50, by", "median", "longest", "count", "match"
    );
    for (name, conditions) in [
        ("none", json!({})),
        ("event", json!({"event": some.event_id})),
        ("webhook-id", json!({"delivery": some.delivery_id})),
        ("subscription", json!({"subscription": of(subscriptions, 7)})),
        ("URL", json!({"url": url})),
        ("topic", json!({"topic": "shop.7.paid"})),
        ("pattern of 200 topics", json!({"topic": "shop.*.paid"})),
        ("pattern, frozen", json!({"topic": "shop.*.paid", "reason": "frozen"})),
        ("exhausted", json!({"reason": "exhausted"})),
        ("too_large (none is)", json!({"reason": "too_large"})),
        ("status 503", json!({"status": "503"})),
        ("status 418 (none is)", json!({"status": "418"})),
        ("text of a URL", json!({"text": "receivers/7/"})),
        ("text of all URLs", json!({"text": "hooks.example"})),
        ("text of a topic", json!({"text": "shop.42"})),
        ("text of an outcome", json!({"text": "refused 410"})),
        ("text (none has it)", json!({"text": "nowhere to be found"})),
        ("URL, 410, pattern", json!({"url": url, "status": "410", "topic": "shop.#"})),
        ("since the last minute", json!({"parked_after_ms": since(60)})),
    ] {
        let selection: Selection = serde_json::from_value(conditions).expect("a selection");
        let (median, longest) = pages(installation, &selection).await;
        let begun = Instant::now();
        let count = store.count_parked(&selection, 10_000).await.expect("a count");
        let counting = millis(begun);
        println!("{name:<28} {median:>10.1} {longest:>10.1} {counting:>10.1} {count:>8}");
    }
}

fn since(seconds: u64) -> String {
    clock::now().minus(Duration::from_secs(seconds)).get().to_string()
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}

/// Milliseconds of a page: the median and the longest.
async fn pages(installation: &Installation, selection: &Selection) -> (f64, f64) {
    let mut took = Vec::new();
    let mut after = None;
    for _ in 0..PAGES {
        let begun = Instant::now();
        let page = installation.parts.parking.page(selection, after.into(), PAGE, Bodies::Omitted);
        after = page.await.expect("a page").next;
        took.push(millis(begun));
        if after.is_none() {
            break;
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |index: usize| took.get(index).copied().unwrap_or_default();
    (at(took.len() / 2), at(took.len().saturating_sub(1)))
}
