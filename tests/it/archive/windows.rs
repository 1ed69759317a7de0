//! Exactly what was selected is sent, whatever the archive has besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use homing_delivery::archive::ArchiveError;
use homing_domain::{clock, id::SubscriptionId, replay::ReplayState, time::UnixMillis};
use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};

use super::{
    ON, ended, ids, next_second, numbered, once, publish, published_window, select,
    wait_for_replayed,
};
use crate::support::{
    broker::Raw,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Recorded},
};

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

    let sent = receiver.requests_at("/new");
    let found: BTreeSet<_> = sent.iter().map(Recorded::id).collect();
    assert_eq!((sent.len(), found), (40, ids(numbered("in", 40), new)));
    let header = replay.id.to_string();
    assert!(sent.iter().all(|it| it.header("x-homing-replay") == Some(header.as_str())));
    let live = receiver.requests_at("/old");
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
    assert_eq!(receiver.requests_at("/other").len(), 1);

    let gone = json!({"subscriptions": [SubscriptionId::new(uuid::Uuid::nil())]});
    let replay = archive.begin(select(since, until, gone)).await.expect("it begins");
    let replay = ended(&installation, &replay).await;
    assert_eq!(replay.state, ReplayState::Failed);
    assert_eq!(replay.progress.note.as_deref(), Some("none of the chosen subscriptions exists"));
    running.stop().await;
}

/// Goal: an event without an id has the same `webhook-id` each time that it is replayed, and another
/// than any other event. Method: equal events without ids are replayed twice.
#[tokio::test]
async fn events_without_ids_have_the_same_id_in_each_replay() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let since = next_second().await;
    for _ in 0..10 {
        let raw = Raw { id: None, ..Raw::new("order.paid", "", "{}") };
        installation.publisher.publish(raw).await;
    }
    let until = next_second().await;
    let running = installation.start();
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let mut found = Vec::new();
    for times in 1..=2 {
        let replay = installation.parts.archive.begin(select(since, until, json!({}))).await;
        let replay = ended(&installation, &replay.expect("it begins")).await;
        assert_eq!(replay.progress.sent, 10, "{replay:?}");
        let requests = wait_for_replayed(&receiver, 10 * times).await;
        found.push(once(&requests[10 * (times - 1)..]));
    }
    running.stop().await;
    assert_eq!(found[0], found[1]);
}

/// Goal: large events are sent within the bounds of a step, and those that are too large are counted.
/// Method: events of which few fit into one step, and one beyond `worker.max_event_bytes`.
#[tokio::test]
async fn large_events_are_sent_and_too_large_ones_are_counted() {
    let receiver = Receiver::accepting().await;
    let installation = Installation::with(&[50], ON).await;
    let since = next_second().await;
    let body = "x".repeat(1_000_000);
    for id in numbered("large", 20) {
        installation.publisher.publish(Raw::new("order.paid", &id, body.as_bytes())).await;
    }
    let too_large = "x".repeat(1_048_577);
    installation.publisher.publish(Raw::new("order.paid", "huge", too_large)).await;
    let until = next_second().await;
    let running = installation.start();
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let replay = installation.parts.archive.begin(select(since, until, json!({}))).await;
    let replay = ended(&installation, &replay.expect("it begins")).await;
    let progress = &replay.progress;
    assert_eq!((replay.state, progress.sent, progress.unreadable), (ReplayState::Done, 20, 1));
    assert!(progress.note.is_some(), "{progress:?}");
    let requests = wait_for_replayed(&receiver, 20).await;
    running.stop().await;
    assert_eq!(once(&requests), ids(numbered("large", 20), id));
    assert!(requests.iter().all(|it| it.body.len() == 1_000_000));
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
