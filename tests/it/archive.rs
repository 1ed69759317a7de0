//! Events of the archive are sent again exactly as selected, though workers die.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use homing_delivery::archive::ArchiveError;
use homing_domain::{
    clock,
    id::{DeliveryId, EventId, SubscriptionId},
    replay::{Replay, ReplaySelection, ReplayState},
    time::UnixMillis,
};
use homing_store::Page;
use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};

use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Recorded},
};

const ON: &str = "archive.enabled = true\n";

/// Waits for the next second by the clock, which the broker has too, and returns it.
async fn next_second() -> UnixMillis {
    let now = clock::now().get();
    let next = UnixMillis::new(now - now.rem_euclid(1_000) + 1_000);
    // Until that second has begun.
    tokio::time::sleep(next.since(UnixMillis::new(now))).await;
    next
}

async fn publish(installation: &Installation, topic: &str, ids: impl Iterator<Item = String>) {
    for id in ids {
        installation.publisher.publish(Raw::new(topic, &id, "{}")).await;
    }
}

fn numbered(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}{number}"))
}

/// A window of `count` events with others around it.
async fn published_window(installation: &Installation, count: usize) -> (UnixMillis, UnixMillis) {
    publish(installation, "order.paid", numbered("before", 5)).await;
    let since = next_second().await;
    publish(installation, "order.paid", numbered("in", count)).await;
    let until = next_second().await;
    publish(installation, "order.paid", numbered("after", 5)).await;
    (since, until)
}

fn select(since: UnixMillis, until: UnixMillis, changes: Value) -> ReplaySelection {
    let mut selection = json!({"since_ms": since, "until_ms": until, "rate": 5_000});
    let Value::Object(changes) = changes else { unreachable!("an object") };
    selection.as_object_mut().expect("an object").extend(changes);
    serde_json::from_value(selection).expect("a selection")
}

async fn ended(installation: &Installation, replay: &Replay) -> Replay {
    eventually(async || {
        let replay = installation.parts.archive.get(replay.id).await.expect("the store answers");
        if replay.state.is_over() { Ok(replay) } else { Err(format!("{replay:?}")) }
    })
    .await
}

/// `webhook-id` of each event for a subscription.
fn ids(events: impl Iterator<Item = String>, subscription: SubscriptionId) -> BTreeSet<String> {
    let id = |event: String| DeliveryId::of(&EventId::new(&event).expect("an id"), subscription);
    events.map(|event| id(event).to_string()).collect()
}

fn received(receiver: &Receiver, path: &str) -> Vec<Recorded> {
    receiver.requests().into_iter().filter(|request| request.path == path).collect()
}

/// Goal: an event that finds no primary queue is delivered, though the archive takes it. Method: the
/// queue is deleted while events are published, as an operator may do it.
#[tokio::test]
async fn what_finds_no_primary_queue_is_not_in_the_archive_only() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let primary = installation.names().primary();
    let deleted = installation
        .publisher
        .channel()
        .queue_delete(primary.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    publish(&installation, "order.paid", numbered("e", 3)).await;
    installation.wait_for_depth(&installation.names().unrouted(), 3).await;
    let since = UnixMillis::new(clock::now().get() - 60_000);
    let running = installation.start();
    receiver.wait_for(3).await;
    // What had no route was published again: the archive has it twice, a replay sends it once.
    let archive = &installation.parts.archive;
    let replay = archive.begin(select(since, clock::now(), json!({}))).await.expect("it begins");
    assert_eq!(ended(&installation, &replay).await.progress.sent, 3);
    receiver.wait_for(6).await;
    running.stop().await;
}

/// Goal: only a death repeats what was sent. Method: a worker stops in the middle, as SIGTERM has it.
#[tokio::test]
async fn a_polite_stop_repeats_nothing() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let running = installation.start();
    let (since, until) = published_window(&installation, 60).await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let archive = &installation.parts.archive;
    let replay = archive.begin(select(since, until, json!({"rate": 20}))).await.expect("it begins");
    receiver.wait_for(15).await;
    running.stop().await;
    let running = installation.start();
    let replay = ended(&installation, &replay).await;
    assert_eq!((replay.state, replay.progress.sent), (ReplayState::Done, 60));
    receiver.wait_for(60).await;
    running.stop().await;
    let found: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    assert_eq!(found.len(), 60);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids(numbered("in", 60), id));
}

/// Goal: events of today are not sent as those of the past. Method: the archive is deleted and
/// declared anew while a replay is stopped, so that its positions begin again.
#[tokio::test]
async fn a_replay_does_not_go_on_in_another_archive() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let running = installation.start();
    let (since, until) = published_window(&installation, 40).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let archive = &installation.parts.archive;
    let replay = archive.begin(select(since, until, json!({"rate": 10}))).await.expect("it begins");
    receiver.wait_for(4).await;
    archive.stop(replay.id).await.expect("it runs");
    let name = installation.names().archive();
    let deleted = installation
        .publisher
        .channel()
        .queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    installation.parts.broker.restore_topology().await.expect("it is declared");
    publish(&installation, "order.paid", numbered("today", 60)).await;
    archive.resume(replay.id).await.expect("it was stopped");
    let replay = ended(&installation, &replay).await;
    assert_eq!(replay.state, ReplayState::Failed, "{replay:?}");
    running.stop().await;
    let today = ids(numbered("today", 60), subscription_of(&installation).await);
    let is_replayed = |it: &&Recorded| it.header("x-homing-replay").is_some();
    let requests = receiver.requests();
    assert!(requests.iter().filter(is_replayed).all(|it| !today.contains(&it.id())));
}

async fn subscription_of(installation: &Installation) -> SubscriptionId {
    let page = Page { after: None, limit: 1 };
    let listed = installation.parts.registry.page(page).await.expect("the store answers");
    listed.subscriptions.first().expect("there is one").id
}

/// Goal: no event goes to those that its publisher did not mean. Method: the header that names them
/// is accepted, which the broker may not keep.
#[tokio::test]
async fn where_publishers_name_recipients_a_replay_is_refused() {
    let settings = "archive.enabled = true\nevents.subscription_header = \"accept\"\n";
    let installation = Installation::with(&[50], settings).await;
    let (since, until) = (UnixMillis::new(0), clock::now());
    let refused = installation.parts.archive.begin(select(since, until, json!({}))).await;
    assert!(matches!(refused, Err(ArchiveError::RecipientsUnknown)), "{refused:?}");
}

/// Goal: exactly the window, to a subscription that is newer than its events. Method: events before
/// and after it, and other topics in it.
#[tokio::test]
async fn a_new_subscription_gets_exactly_the_window() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let old = installation.subscribe_all(&receiver.url("/old")).await;
    let running = installation.start();
    let (since, until) = published_window(&installation, 40).await;
    receiver.wait_for(50).await;
    let draft = json!({"url": receiver.url("/new"), "topics": ["order.*"]});
    let new = installation.subscribe(draft).await.subscription.id;

    let archive = &installation.parts.archive;
    let preview = archive.preview(select(since, until, json!({}))).await.expect("a preview");
    assert_eq!((preview.events, preview.read, preview.selected), (40, 40, 40));
    assert_eq!(preview.topics, BTreeMap::from([("order.paid".to_owned(), 40)]));
    assert_eq!(preview.archive_begins_ms, None);
    let replay = archive.begin(select(since, until, json!({"subscriptions": [new]}))).await;
    let replay = ended(&installation, &replay.expect("it begins")).await;
    assert_eq!(replay.state, ReplayState::Done);
    assert_eq!((replay.progress.read, replay.progress.sent), (40, 40));
    receiver.wait_for(90).await;
    running.stop().await;

    let sent = received(&receiver, "/new");
    let found: BTreeSet<_> = sent.iter().map(Recorded::id).collect();
    assert_eq!((sent.len(), found), (40, ids(numbered("in", 40), new)));
    let header = replay.id.to_string();
    assert!(sent.iter().all(|it| it.header("x-homing-replay") == Some(header.as_str())));
    let live = received(&receiver, "/old");
    assert!(live.iter().all(|it| it.header("x-homing-replay").is_none()));
    assert_eq!(live.len(), 50, "{old} gets nothing twice");
}

#[tokio::test]
async fn one_event_is_sent_again_to_all_that_match_and_no_other() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let all = installation.subscribe_all(&receiver.url("/all")).await;
    let draft = json!({"url": receiver.url("/other"), "topics": ["other.#"]});
    let other = installation.subscribe(draft).await.subscription.id;
    let running = installation.start();
    let (since, until) = published_window(&installation, 5).await;
    receiver.wait_for(15).await;

    let archive = &installation.parts.archive;
    let replay = archive.begin(select(since, until, json!({"event": "in3"}))).await;
    let replay = ended(&installation, &replay.expect("it begins")).await;
    assert_eq!((replay.state, replay.progress.sent), (ReplayState::Done, 1));
    receiver.wait_for(16).await;
    assert_eq!(
        ids(["in3".to_owned()].into_iter(), all),
        BTreeSet::from([receiver.requests().pop().expect("a request").id()])
    );

    let unfiltered = json!({"event": "in3", "subscriptions": [other], "unfiltered": true});
    let replay = archive.begin(select(since, until, unfiltered)).await.expect("it begins");
    assert_eq!(ended(&installation, &replay).await.progress.sent, 1);
    receiver.wait_for(17).await;
    assert_eq!(received(&receiver, "/other").len(), 1);

    let gone = json!({"subscriptions": [SubscriptionId::new(uuid::Uuid::nil())]});
    let replay = archive.begin(select(since, until, gone)).await.expect("it begins");
    let replay = ended(&installation, &replay).await;
    assert_eq!(replay.state, ReplayState::Failed);
    assert_eq!(replay.progress.note.as_deref(), Some("none of the chosen subscriptions exists"));
    running.stop().await;
}

/// Goal: a stopped replay goes on where it ended. Method: a slow one is stopped in its middle.
#[tokio::test]
async fn a_stopped_replay_is_resumed_where_it_was() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let running = installation.start();
    let (since, until) = published_window(&installation, 60).await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let archive = &installation.parts.archive;
    let replay = archive.begin(select(since, until, json!({"rate": 20}))).await.expect("it begins");
    receiver.wait_for(10).await;
    archive.stop(replay.id).await.expect("it runs");
    let stopped = eventually(async || {
        let stopped = archive.get(replay.id).await.expect("the store answers");
        let rest = u64::try_from(receiver.requests().len()).expect("few") - stopped.progress.sent;
        holds(rest == 0, format!("{rest} are not counted yet"))?;
        Ok::<_, String>(stopped)
    })
    .await;
    assert_eq!(stopped.state, ReplayState::Stopped);
    assert!(stopped.progress.sent < 60, "{stopped:?}");
    assert!(matches!(archive.stop(replay.id).await, Err(ArchiveError::State { .. })));
    archive.resume(replay.id).await.expect("it was stopped");
    let replay = ended(&installation, &replay).await;
    assert_eq!((replay.state, replay.progress.sent), (ReplayState::Done, 60));
    receiver.wait_for(60).await;
    running.stop().await;
    let found: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    assert_eq!(found.len(), 60);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids(numbered("in", 60), id));
}

/// Goal: the death of a worker costs at most one step twice. Method: kill -9 in the middle of a
/// replay, and another process that takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_survives_kill_9_of_its_worker() {
    const EVENTS: usize = 600;
    let receiver = Receiver::accepting().await;
    let site = Site::new(&[50], ON);
    site.run(&["topology", "apply"]);
    let publisher = site.publisher().await;
    let since = next_second().await;
    for id in numbered("in", EVENTS) {
        publisher.publish(Raw::new("order.paid", &id, "{}")).await;
    }
    let worker = site.start();
    site.wait_until_settled().await;
    next_second().await;
    let id: SubscriptionId =
        site.subscribe(&receiver.url("/"), "order.*", &[]).parse().expect("an id");
    let since = since.to_string();
    let command = ["--json", "replay", "--since", &since, "--rate", "200", "--detach"];
    let begun: Value = serde_json::from_str(&site.run(&command)).expect("JSON");
    let replay = begun["id"].as_str().expect("an id").to_owned();
    receiver.wait_for(150).await;
    worker.kill_9();
    let _second = site.start();
    let done = eventually(async || {
        let shown = site.run(&["--json", "replay", "get", &replay]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        if shown["state"] == "done" { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(done["progress"]["events"], EVENTS);
    site.wait_until_settled().await;
    let requests = receiver.requests();
    let found: BTreeSet<_> = requests.iter().map(Recorded::id).collect();
    assert_eq!(found, ids(numbered("in", EVENTS), id));
    // A step of a fourth of a second, and what the killed worker had in flight.
    let repeated = requests.len() - EVENTS;
    println!("fault: worker killed in a replay | {EVENTS} events | {repeated} requests repeated");
    assert!(repeated <= 50 + 128, "{repeated} requests are repeated");
}

/// Goal: what the broker has removed is known. Method: more bytes than the archive keeps.
#[tokio::test]
async fn an_archive_is_bounded_and_says_where_it_begins() {
    let settings = "archive.enabled = true\narchive.max_bytes = 16777216\n";
    let installation = Installation::with(&[50], settings).await;
    let since = next_second().await;
    let body = "x".repeat(200_000);
    for half in 0..2 {
        for number in 0..70 {
            let id = format!("{half}-{number}");
            installation.publisher.publish(Raw::new("order.paid", &id, body.as_bytes())).await;
        }
        next_second().await;
    }
    let until = next_second().await;
    let archive = &installation.parts.archive;
    let preview = archive.preview(select(since, until, json!({}))).await.expect("a preview");
    assert!(preview.complete && preview.read < 140 && preview.read >= 40, "{preview:?}");
    assert!(preview.archive_begins_ms.is_some_and(|begins| begins >= since), "{preview:?}");
    let kept = preview.read * 200_000;
    assert!(kept <= 16_777_216, "{kept} bytes are kept");
}

/// Goal: an archive with other bounds harms nothing, and its difference is reported. Method: the settings
/// change once it is declared.
#[tokio::test]
async fn other_bounds_take_effect_once_the_archive_is_deleted() {
    let site = Site::new(&[50], ON);
    site.run(&["topology", "apply"]);
    let shorter = ["--set", "archive.keep=2h"];
    let check = |further: &[&str]| {
        let mut check = site.command(&[&["--json", "topology", "check"], further].concat());
        let output = check.output().expect("the program can be run");
        let checked: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let name = site.corner.topology.names().archive();
        let objects = checked["objects"].as_array().expect("a list").clone();
        objects.into_iter().find(|object| object["name"] == name.as_str()).expect("it is there")
    };
    assert_eq!(check(&[])["state"], "present");
    let different = check(&shorter);
    assert_eq!(different["state"], "different", "{different}");
    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/"), "#", &[]);
    let _worker = site.start_as(
        &["run", "--role", "worker", "--set", "archive.keep=2h"],
        Stdio::null(),
        Stdio::null(),
    );
    site.publisher().await.publish(Raw::new("order.paid", "e", "{}")).await;
    receiver.wait_for(1).await;
    let off = check(&["--set", "archive.enabled=false"]);
    assert_eq!(off["state"], "left over", "{off}");
    assert!(off["detail"].as_str().expect("a text").contains("still takes every event"), "{off}");
}
