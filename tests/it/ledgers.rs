//! A receiver can prove that it has what was delivered, and learns where that is not known.

use std::{fs, process::Command};

use homing_domain::{
    clock,
    encryption_key::EncryptionKey,
    id::{DeliveryId, SubscriptionId},
    ledger::{Checksum, HourState},
    time::{HOUR_MS, UnixMillis, hour_of, next_hour},
};
use homing_store::LedgerReport;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use crate::{
    faults::clock_library,
    support::{
        broker::Raw,
        database::Database,
        eventually, holds,
        installation::Installation,
        process::{Process, Site},
        receiver::{Receiver, Recorded},
    },
};

/// A worker whose clock is an hour behind: what it delivers is in an hour that is over.
fn start_an_hour_ago(site: &Site) -> Process {
    start_hours_ago(site, 1)
}

fn start_hours_ago(site: &Site, hours: u32) -> Process {
    site.start_with(&[
        ("LD_PRELOAD", clock_library().to_str().expect("a plain path")),
        ("FAKETIME", &format!("-{}", hours * 3_600)),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
}

async fn publish(site: &Site, ids: std::ops::Range<u32>) {
    let publisher = site.publisher().await;
    for number in ids {
        publisher.publish(Raw::new("order.paid", &format!("e{number}"), "{}")).await;
    }
}

/// The log of the receiver: id and timestamp of each request.
fn log(requests: &[Recorded]) -> Vec<String> {
    let line = |request: &Recorded| {
        let timestamp = request.header("webhook-timestamp").expect("every request has one");
        format!("{} {timestamp}", request.id())
    };
    requests.iter().map(line).collect()
}

/// The exit code of a comparison with `lines`, and its answer.
fn compare(site: &Site, id: &str, lines: &[String]) -> (Option<i32>, Value) {
    fs::write(site.folder.path().join("received"), lines.join("\n")).expect("it can be written");
    let compare = ["ledger", "compare", id, "received", "--json"];
    let output = site.command(&compare).output().expect("the program can be run");
    let answer = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), answer.unwrap_or_else(|_| panic!("no JSON: {errors}")))
}

/// Goal: a receiver computes what homing has, and finds what it lost. Method: a real worker; the
/// computation is that of docs/ledger.md.
async fn what_was_delivered_is_proved(store: &str) {
    let receiver = Receiver::accepting().await;
    let site = Site::new(&[50], store);
    let id = site.subscribe(&receiver.url("/"), "#", &[]);
    let mut worker = start_an_hour_ago(&site);
    publish(&site, 0..60).await;
    let lines = log(&receiver.wait_for(60).await);
    worker.terminate();
    worker.ended().await;

    let (code, answer) = compare(&site, &id, &lines);
    assert_eq!((code, answer.get("sound")), (Some(0), Some(&json!(true))), "{answer}");
    let hours: Value =
        serde_json::from_str(&site.run(&["ledger", "get", &id, "--since", "3h", "--json"]))
            .expect("JSON");
    let figures = hours_of(&hours).iter().filter(|hour| hour["number"] != 0);
    let figures: Vec<_> = figures
        .map(|hour| format!("{} {} {}", hour["number"], hour["xor"], hour["sum"]).replace('"', ""))
        .collect();
    assert_eq!(python(&site), figures, "docs/ledger.md computes the same");

    // It has lost one, has one twice, and has one of which homing never got the answer.
    let stranger = DeliveryId::new(Uuid::new_v5(&Uuid::nil(), b"stranger"));
    let mut wrong = lines.clone();
    let lost = wrong.remove(7);
    let repeated = wrong.first().expect("a line").clone();
    let unknown = wrong.last().expect("a line").clone();
    wrong.push(repeated.clone());
    wrong.push(unknown.replace(&id_of(&unknown), &stranger.to_string()));
    let (code, answer) = compare(&site, &id, &wrong);
    assert_eq!(code, Some(3), "{answer}");
    let named = |name: &str| -> Vec<String> {
        let ids = hours_of(&answer).iter().flat_map(|hour| hour[name].as_array().expect("ids"));
        ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(named("missing"), [id_of(&lost)]);
    assert_eq!(named("repeated"), [id_of(&repeated)]);
    assert_eq!(named("unknown"), [stranger.to_string()]);
}

/// The id of a line.
fn id_of(line: &str) -> String {
    line.split(' ').next().expect("an id").to_owned()
}

/// The hours of an answer.
fn hours_of(answer: &Value) -> &[Value] {
    answer.get("hours").and_then(Value::as_array).expect("hours")
}

/// Number, xor and sum of each hour by the program in docs/ledger.md.
fn python(site: &Site) -> Vec<String> {
    let document = include_str!("../../docs/ledger.md");
    let program = document.split("```python ").nth(1).and_then(|rest| rest.split("```").next());
    // Behind the rest of the fence's line.
    let program = program.and_then(|program| program.split_once('\n')).map(|(_info, it)| it);
    let file = site.folder.path().join("ledger.py");
    let program = program.expect("a program").replace("received.txt", "received");
    fs::write(&file, program).expect("it can be written");
    let output = Command::new("python3").arg(file).current_dir(site.folder.path()).output();
    let output = output.expect("python3 can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| line.split_once(' ').expect("figures").1.to_owned()).collect()
}

/// Goal: an hour of which not everything was counted says so, whatever its figures.
async fn a_worker_that_is_killed_leaves_its_hour_unproved(store: &str) {
    let receiver = Receiver::accepting().await;
    let site = Site::new(&[50], store);
    let id = site.subscribe(&receiver.url("/"), "#", &[]);
    let killed = start_an_hour_ago(&site);
    publish(&site, 0..20).await;
    receiver.wait_for(20).await;
    killed.kill_9();
    // Others go on, and cannot speak for it.
    let mut worker = start_an_hour_ago(&site);
    publish(&site, 20..40).await;
    site.wait_until_settled().await;
    worker.terminate();
    worker.ended().await;
    let (code, answer) = compare(&site, &id, &log(&receiver.requests()));
    assert_eq!((code, answer.get("sound")), (Some(3), Some(&json!(false))), "{answer}");
    let hours: Value =
        serde_json::from_str(&site.run(&["ledger", "get", &id, "--since", "3h", "--json"]))
            .expect("JSON");
    let states = hours_of(&hours);
    assert!(states.iter().any(|hour| hour["state"] == "not_provable"), "{hours}");
}

/// Goal: another worker of the machine finds that one was killed, so that the hours afterwards are
/// provable.
#[tokio::test]
async fn a_worker_that_was_killed_is_found_to_have_ended() {
    let receiver = Receiver::accepting().await;
    let site = Site::new(&[50], "");
    let id = site.subscribe(&receiver.url("/"), "#", &[]);
    let killed = start_hours_ago(&site, 3);
    publish(&site, 0..20).await;
    receiver.wait_for(20).await;
    killed.kill_9();
    let states = || -> Vec<(String, Value)> {
        let hours = site.run(&["ledger", "get", &id, "--since", "4h", "--json"]);
        let hours: Value = serde_json::from_str(&hours).expect("JSON");
        let of =
            |hour: &Value| (hour["hour"].as_str().expect("text").to_owned(), hour["state"].clone());
        hours_of(&hours).iter().map(of).collect()
    };
    let is_doubtful = |from: UnixMillis| {
        let from = from.to_string();
        states().iter().any(|(hour, state)| *hour >= from && state == "not_provable")
    };
    let last = UnixMillis::new(hour_of(clock::now()).get() - HOUR_MS);
    assert!(is_doubtful(last), "it may deliver without the store: {:?}", states());
    let mut worker = start_hours_ago(&site, 2);
    let file = format!("sqlite:{}", site.folder.path().join("homing.db").display());
    let mut store = SqliteConnection::connect(&file).await.expect("it opens");
    eventually(async || {
        let ended = "SELECT count(*) FROM ledger_workers WHERE ended_ms < 9223372036854775807";
        let ended = sqlx::query_scalar::<_, i64>(ended).fetch_one(&mut store).await;
        holds(ended.expect("the store answers") == 1, "it is not found")
    })
    .await;
    worker.terminate();
    worker.ended().await;
    assert!(!is_doubtful(last), "it has ended: {:?}", states());
    assert!(is_doubtful(UnixMillis::new(0)), "its last hours stay: {:?}", states());
}

#[tokio::test]
async fn what_was_delivered_is_proved_in_sqlite() {
    what_was_delivered_is_proved("").await;
}

#[tokio::test]
async fn what_was_delivered_is_proved_in_postgresql() {
    let database = Database::new().await;
    what_was_delivered_is_proved(&store_settings(&database.url())).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_its_hour_unproved_in_sqlite() {
    a_worker_that_is_killed_leaves_its_hour_unproved("").await;
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_its_hour_unproved_in_postgresql() {
    let database = Database::new().await;
    a_worker_that_is_killed_leaves_its_hour_unproved(&store_settings(&database.url())).await;
}

fn store_settings(url: &str) -> String {
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    format!("store.url = \"{url}\"\nstore.encryption_keys = [\"{key}\"]\n")
}

#[tokio::test]
async fn an_hour_that_is_over_is_announced_to_those_who_name_it() {
    let installation = Installation::with(&[50], "ledger.events = true").await;
    let receiver = Receiver::accepting().await;
    let wanted = json!({"url": receiver.url("/"), "topics": ["homing.ledger.*"]});
    installation.subscribe(wanted).await;
    let subscription = SubscriptionId::new(clock::new_id());
    let hour = UnixMillis::new(hour_of(clock::now()).get() - HOUR_MS);
    let mut checksum = Checksum::default();
    checksum.add(DeliveryId::new(Uuid::from_u128(0xabc)));
    let report = LedgerReport {
        worker: clock::new_id(),
        process: clock::new_id(),
        place: None,
        from: hour,
        closed: next_hour(hour),
        ended: Some(next_hour(hour)),
        rows: vec![(subscription, hour, checksum)],
        gaps: Vec::new(),
    };
    let reported = installation.parts.store.report_ledger(&report, clock::now()).await;
    reported.expect("the store takes it");
    let running = installation.start();
    let requests = receiver.wait_for(1).await;
    let event: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    let expected = json!({
        "subscription": subscription, "hour": hour.to_string(), "number": 1,
        "xor": "0000000000000abc", "sum": "0000000000000abc", "state": "complete",
    });
    assert_eq!(event, expected);
    running.stop().await;
}

#[tokio::test]
async fn the_present_hour_is_open_and_counts_what_was_settled() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for number in 0..10 {
        let raw = Raw::new("order.paid", &format!("e{number}"), "{}");
        installation.publisher.publish(raw).await;
    }
    receiver.wait_for(10).await;
    eventually(async || {
        let now = clock::now();
        let since = UnixMillis::new(hour_of(now).get() - HOUR_MS);
        let listing = installation.parts.store.ledger(id, since, now, now).await;
        let hours = listing.expect("the store answers").hours;
        let number: u64 = hours.iter().map(|hour| hour.checksum.number).sum();
        // Where an hour begins meanwhile, the one before it is complete.
        let is_open = hours.last().is_some_and(|hour| hour.state == HourState::Open);
        holds(number == 10 && is_open, format!("{number} of 10 are counted: {hours:?}"))
    })
    .await;
    running.stop().await;
}

/// Goal: no delivery waits for the ledger, and an hour in which one went before it is not provable.
#[tokio::test]
async fn a_ledger_that_cannot_be_written_stops_no_delivery() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let start = hour_of(clock::now());
    let mut store = SqliteConnection::connect(&installation.settings.store.url).await;
    let store = store.as_mut().expect("it opens");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON ledger_workers BEGIN \
                  SELECT RAISE(ABORT, 'not now'); END";
    sqlx::query(refuse).execute(&mut *store).await.expect("writes can be refused");
    let running = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "e", "{}")).await;
    receiver.wait_for(1).await;
    sqlx::query("DROP TRIGGER refuse").execute(&mut *store).await.expect("it takes writes again");
    let states = async || {
        let (until, later) = (next_hour(next_hour(start)), next_hour(hour_of(clock::now())));
        let listing = installation.parts.store.ledger(id, start, until, later).await;
        listing.expect("the store answers").hours
    };
    eventually(async || {
        let hours = states().await;
        let number: u64 = hours.iter().map(|hour| hour.checksum.number).sum();
        holds(number == 1, format!("it is counted: {hours:?}"))
    })
    .await;
    running.stop().await;
    let hours = states().await;
    assert!(hours.iter().any(|hour| hour.state == HourState::NotProvable), "{hours:?}");
}
