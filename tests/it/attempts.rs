//! Every attempt is recorded for operators; no delivery waits for that, and what is missing is
//! counted.

use std::{path::Path, time::Duration};

use homing_domain::{
    record::{AttemptEvent, Attempted, Class, Gap, NextState, Record},
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::{Intervention, RecordFilter, RecordPage, Store};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::support::{
    broker::Raw,
    eventually,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// All records, the oldest first.
pub(crate) async fn recorded(store: &dyn Store) -> Vec<Record> {
    let mut records = Vec::new();
    let mut page = RecordPage { filter: RecordFilter::default(), after: None, limit: 1_000 };
    loop {
        let listing = store.attempts(&page).await.expect("the log can be read");
        records.extend(listing.records);
        match listing.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    records.reverse();
    records
}

async fn gaps(store: &dyn Store) -> Vec<Gap> {
    let everything = store.attempt_gaps(UnixMillis::new(0), UnixMillis::new(i64::MAX)).await;
    everything.expect("gaps can be read")
}

/// Waits until the log has `count` records.
pub(crate) async fn wait_for_records(store: &dyn Store, count: usize) -> Vec<Record> {
    eventually(async || {
        let records = recorded(store).await;
        if records.len() >= count { Ok(records) } else { Err(format!("{records:#?}")) }
    })
    .await
}

fn made(record: &Record) -> &Attempted {
    match &record.happened {
        AttemptEvent::Attempted(attempted) => attempted,
        AttemptEvent::NotAttempted(why) => panic!("not attempted: {why}"),
    }
}

/// Another process that has the store for itself.
struct Lock(SqliteConnection);

impl Lock {
    async fn take(store_url: &str) -> Self {
        let file = Path::new(store_url.strip_prefix("sqlite:").expect("a file"));
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.expect("the store is there");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("it can be locked");
        Self(connection)
    }

    async fn release(self) {
        self.0.close().await.expect("it can be given back");
    }
}

#[tokio::test]
async fn an_event_that_fails_twice_is_recorded_attempt_by_attempt() {
    const WAITS: [u64; 3] = [150, 250, 60_000];
    let installation = Installation::new(&WAITS).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() <= 2 { 503 } else { 202 })
            .after(Duration::from_millis(20))
    })
    .await;
    let draft = json!({
        "url": receiver.url("/hook"),
        "topics": ["#"],
        "auth_token": "token-that-stays-secret",
        "headers": {"x-key": "header-that-stays-secret"},
    });
    let made_subscription = installation.subscribe(draft).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "event-1", "{}")).await;

    let requests = receiver.wait_for(3).await;
    let records = wait_for_records(&*installation.parts.store, 3).await;
    running.stop().await;
    assert_eq!(records.len(), 3);
    for (index, record) in records.iter().enumerate() {
        let attempt = made(record);
        let (subscription, delivery) = record.recipient.expect("it has a recipient");
        assert_eq!(subscription, made_subscription.subscription.id);
        assert_eq!(delivery.to_string(), requests[index].id());
        assert_eq!((record.event.as_str(), record.topic.as_str()), ("event-1", "order.paid"));
        assert_eq!(record.url.as_deref(), Some(receiver.url("/hook").as_str()));
        assert_eq!(record.step as usize, index);
        assert_eq!(attempt.attempt as usize, index + 1);
        assert_eq!((attempt.response.as_slice(), attempt.cut), (b"ok".as_slice(), false));
        assert!(attempt.duration >= Duration::from_millis(20), "{:?}", attempt.duration);
        let ended = record.started().plus(attempt.duration);
        if index < 2 {
            assert_eq!((attempt.status, attempt.class), (Some(503), Class::Refused));
            let NextState::Waits(due) = record.next_state else {
                panic!("{:?}", record.next_state)
            };
            let wait = due.since(ended);
            let expected = Duration::from_millis(WAITS[index]);
            assert!(wait >= expected && wait < expected + Duration::from_secs(1), "{wait:?}");
            assert!(
                records[index + 1].started() >= due,
                "it is not attempted sooner than recorded"
            );
        } else {
            assert_eq!((attempt.status, attempt.class), (Some(202), Class::Accepted));
            assert_eq!(record.next_state, NextState::Done);
        }
    }
    let reported = format!("{records:?}");
    let signature = requests[0].header("webhook-signature").expect("it is signed");
    let secret = made_subscription.secret.expect("a secret was made").reveal();
    for hidden in ["stays-secret", signature, &secret] {
        assert!(!reported.contains(hidden), "{reported}");
    }
}

#[tokio::test]
async fn responses_are_kept_up_to_the_bound_and_causes_in_words() {
    let settings = "attempts.response_bytes = 700";
    let installation = Installation::with(&[60_000], settings).await;
    let receiver = Receiver::answering(|_| Reply::status(500).endless()).await;
    installation.subscribe_all(&receiver.url("/")).await;
    installation.subscribe_all("http://127.0.0.1:1/").await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let records = wait_for_records(&*installation.parts.store, 2).await;
    running.stop().await;
    let of = |class| records.iter().find(|record| record.class() == class).expect("one");
    let refused = made(of(Class::Refused));
    assert_eq!((refused.response.as_slice(), refused.cut), ([b'x'; 700].as_slice(), true));
    let unreachable = made(of(Class::Unreachable));
    assert_eq!(unreachable.outcome, "unreachable connection_refused");
    assert!(unreachable.cause.as_ref().is_some_and(|cause| cause.contains("refused")));
    assert_eq!((unreachable.status, unreachable.response.len()), (None, 0));
}

#[tokio::test]
async fn what_is_not_attempted_says_why() {
    let settings = "circuit.open_above_percent = 100\n\
                    circuit.open_at_consecutive_failures = 50000\n\
                    worker.max_event_bytes = 100";
    let installation = Installation::with(&[60_000], settings).await;
    let frozen = "http://127.0.0.1:1/frozen";
    installation.subscribe_all(frozen).await;
    let url = frozen.parse().expect("a URL");
    let store = &installation.parts.store;
    let now = homing_domain::clock::now();
    store.set_circuit(&url, Intervention::Disable, now).await.expect("it can be set");
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    installation.publisher.publish(Raw::new("t", "large", vec![b'x'; 101])).await;

    let records = wait_for_records(&**store, 2).await;
    running.stop().await;
    let of = |event| records.iter().find(|record| record.event == event).expect("a record");
    let held = of("event-1");
    assert_eq!(
        held.happened,
        AttemptEvent::NotAttempted("the circuit of its URL is frozen".to_owned())
    );
    assert!(matches!(held.next_state, NextState::Held(_)), "{held:?}");
    assert_eq!(held.url.as_deref(), Some(frozen));
    assert_eq!(of("large").next_state, NextState::Parked(ParkReason::TooLarge));
    assert_eq!(of("large").recipient, None);
}

/// Goal: a hold is in the log while it lasts, and in the record of what ended it from then on.
#[tokio::test]
async fn what_was_held_has_one_record_which_says_since_when() {
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let url = receiver.url("/").parse().expect("a URL");
    let store = &installation.parts.store;
    let change = async |intervention| {
        let changed = installation.parts.circuits.set(&url, intervention).await;
        changed.expect("it can be set");
    };
    change(Intervention::Disable).await;
    let running = installation.start();
    for event in ["event-1", "event-2", "event-3"] {
        installation.publisher.publish(Raw::new("t", event, "{}")).await;
    }
    let held = wait_for_records(&**store, 3).await;
    assert!(held.iter().all(|record| matches!(record.next_state, NextState::Held(_))), "{held:?}");

    change(Intervention::Enable).await;
    receiver.wait_for(3).await;
    let records = eventually(async || {
        let records = recorded(&**store).await;
        let is_made = |record: &Record| matches!(record.happened, AttemptEvent::Attempted(_));
        if records.iter().all(is_made) { Ok(records) } else { Err(format!("{records:#?}")) }
    })
    .await;
    running.stop().await;
    assert_eq!(records.len(), 3);
    for record in records {
        let wait = record.hold.expect("it was held");
        assert_eq!(wait.reason, ParkReason::Frozen);
        let was = held.iter().find(|held| held.event == record.event).expect("it was recorded");
        assert_eq!(was.started(), wait.since);
    }
}

#[tokio::test]
async fn nothing_is_logged_where_that_is_turned_off() {
    let installation = Installation::with(&[60_000], "attempts.enabled = false").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    receiver.wait_for(1).await;
    running.stop().await;
    assert_eq!(recorded(&*installation.parts.store).await, []);
}

/// Goal: a store that takes nothing for a while costs records and no delivery, and how many is recorded.
/// Method: another process keeps it locked while more deliveries are made than can wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_locked_under_load_leaves_a_gap_that_is_counted() {
    const SUBSCRIPTIONS: usize = 50;
    const EVENTS: usize = 130;
    const DELIVERIES: usize = SUBSCRIPTIONS * EVENTS;
    // Every delivery is one attempt, however busy the machine is.
    let settings = "endpoint.deadline = \"60s\"\nendpoint.connect_deadline = \"30s\"";
    let installation = Installation::with(&[60_000], settings).await;
    let receiver = Receiver::accepting().await;
    for number in 0..SUBSCRIPTIONS {
        installation.subscribe_all(&receiver.url(&format!("/{number}"))).await;
    }
    let running = installation.start();
    installation.wait_for_consumers(1).await;

    let lock = Lock::take(&installation.settings.store.url).await;
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    receiver.wait_for(DELIVERIES).await;
    installation.assert_nothing_waits().await;
    lock.release().await;

    let store = &*installation.parts.store;
    let (records, gaps) = eventually(async || {
        let (records, gaps) = (recorded(store).await, gaps(store).await);
        let missed: u64 = gaps.iter().map(|gap| gap.missed).sum();
        let reported = records.len() + usize::try_from(missed).expect("few");
        let found = format!("{} records and {gaps:?}", records.len());
        assert!(reported <= DELIVERIES, "{found}");
        if reported == DELIVERIES { Ok((records, gaps)) } else { Err(found) }
    })
    .await;
    running.stop().await;
    assert!(!gaps.is_empty(), "more was made than can wait");
    for Gap { from, until, .. } in &gaps {
        assert!(records[0].started() <= *until && from <= until, "{gaps:?}");
    }
    assert_eq!(receiver.requests().len(), DELIVERIES);
    assert_eq!(recorded(store).await.len(), records.len());
}

/// Goal: a stop waits for the log as long as it may, and no longer; what is written then is there.
#[tokio::test]
async fn a_stop_writes_what_waits_or_gives_it_up_in_time() {
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let store = &*installation.parts.store;

    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "first", "{}")).await;
    receiver.wait_for(1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(recorded(store).await.len(), 1);

    let running = installation.start();
    installation.wait_for_consumers(1).await;
    let lock = Lock::take(&installation.settings.store.url).await;
    installation.publisher.publish(Raw::new("t", "second", "{}")).await;
    receiver.wait_for(2).await;
    let reported = Instant::now();
    running.stop().await;
    assert!(reported.elapsed() < Duration::from_secs(20), "stopped after {:?}", reported.elapsed());
    lock.release().await;
    assert_eq!(recorded(store).await.len(), 1);
}
