//! Replays that are stopped, whose worker dies, or whose events go while they are read.

use std::collections::BTreeSet;

use homing_delivery::archive::ArchiveError;
use homing_domain::{
    id::SubscriptionId,
    replay::{Replay, ReplayState},
};
use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};

use super::{ON, Past, ids, next_second, numbered, once, publish, replayed, wait_for_replayed};
use crate::support::{
    broker::Raw,
    eventually, holds,
    process::Site,
    receiver::{Receiver, Recorded},
};

/// The requests of `replay`.
fn sent_by(past: &Past, replay: &Replay) -> Vec<Recorded> {
    let header = replay.id.to_string();
    let mut requests = replayed(&past.receiver);
    requests.retain(|it| it.header("x-homing-replay") == Some(header.as_str()));
    requests
}

/// Goal: only a death repeats what was sent, and one worker at a time has a replay. Method: two
/// workers and two replays; the workers stop one after the other, as SIGTERM has it.
#[tokio::test]
async fn a_polite_stop_repeats_nothing() {
    let mut past = Past::of(60).await;
    let other = past.installation.start();
    past.installation.wait_for_consumers(2).await;
    let id = past.subscribe("/").await;
    let replays = [past.begin(json!({"rate": 20})).await, past.begin(json!({"rate": 40})).await];
    past.receiver.wait_for(15).await;
    // One of the two has the replay.
    other.stop().await;
    let another = past.installation.start();
    past.installation.wait_for_consumers(2).await;
    past.stop().await;
    for replay in &replays {
        let replay = past.ended(replay).await;
        assert_eq!((replay.state, replay.progress.sent), (ReplayState::Done, 60));
    }
    wait_for_replayed(&past.receiver, 120).await;
    another.stop().await;
    for replay in &replays {
        assert_eq!(once(&sent_by(&past, replay)), past.ids(id));
    }
}

/// Goal: events of today are not sent as those of the past. Method: the archive is deleted and
/// declared anew while a replay is stopped, so that its positions begin again.
#[tokio::test]
async fn a_replay_does_not_go_on_in_another_archive() {
    let mut past = Past::of(40).await;
    let id = past.subscribe("/").await;
    let replay = past.begin(json!({"rate": 10})).await;
    past.receiver.wait_for(4).await;
    past.archive().stop(replay.id).await.expect("it runs");
    let installation = &past.installation;
    let name = installation.names().archive();
    let deleted = installation
        .publisher
        .channel()
        .queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    installation.parts.broker.restore_topology().await.expect("it is declared");
    publish(installation, "order.paid", numbered("today", 60)).await;
    past.archive().resume(replay.id).await.expect("it was stopped");
    let ended = past.ended(&replay).await;
    assert_eq!(ended.state, ReplayState::Failed, "{ended:?}");
    let today = ids(numbered("today", 60), id);
    assert!(sent_by(&past, &replay).iter().all(|it| !today.contains(&it.id())));
    past.stop().await;
}

/// Goal: a stopped replay goes on where it ended. Method: a slow one is stopped in its middle.
#[tokio::test]
async fn a_stopped_replay_is_resumed_where_it_was() {
    let mut past = Past::of(60).await;
    let id = past.subscribe("/").await;
    let replay = past.begin(json!({"rate": 20})).await;
    past.receiver.wait_for(10).await;
    past.archive().stop(replay.id).await.expect("it runs");
    let stopped = eventually(async || {
        let stopped = past.archive().get(replay.id).await.expect("the store answers");
        let sent = u64::try_from(sent_by(&past, &replay).len()).expect("few");
        let rest = sent.abs_diff(stopped.progress.sent);
        holds(rest == 0, format!("{rest} are not counted yet"))?;
        Ok::<_, String>(stopped)
    })
    .await;
    assert_eq!(stopped.state, ReplayState::Stopped);
    assert!(stopped.progress.sent < 60, "{stopped:?}");
    assert!(matches!(past.archive().stop(replay.id).await, Err(ArchiveError::State { .. })));
    past.archive().resume(replay.id).await.expect("it was stopped");
    let ended = past.ended(&replay).await;
    assert_eq!((ended.state, ended.progress.sent), (ReplayState::Done, 60));
    wait_for_replayed(&past.receiver, 60).await;
    assert_eq!(once(&sent_by(&past, &replay)), past.ids(id));
    past.stop().await;
}

/// Goal: what the broker removes during a replay is counted, and said at the end. Method: more is
/// archived than it keeps, while a replay is stopped in its middle.
#[tokio::test]
async fn what_is_removed_during_a_replay_counts_as_gone() {
    const FLOOD: usize = 120;
    let bound = "archive.max_bytes = 16777216\n";
    let mut past = Past::with(40, bound, Receiver::accepting().await).await;
    past.subscribe("/").await;
    let replay = past.begin(json!({"rate": 4})).await;
    past.receiver.wait_for(4).await;
    past.archive().stop(replay.id).await.expect("it runs");
    let body = "x".repeat(200_000);
    for id in numbered("flood", FLOOD) {
        past.installation.publisher.publish(Raw::new("flood", &id, body.as_bytes())).await;
    }
    // It is removed some time after the last segment began.
    eventually(async || {
        let oldest = past.installation.parts.broker.archive_oldest().await.expect("an answer");
        holds(oldest >= Some(60), format!("the archive begins with {oldest:?}"))
    })
    .await;
    past.archive().resume(replay.id).await.expect("it was stopped");
    let ended = past.ended(&replay).await;
    let progress = &ended.progress;
    assert_eq!(ended.state, ReplayState::Done, "{ended:?}");
    assert!(progress.sent < 40 && progress.gone >= 40 - progress.sent, "{progress:?}");
    // The broker may count an entry of its own.
    let events = progress.events.expect("the window is known");
    assert!(events - progress.read - progress.gone <= 2, "{progress:?}");
    let note = progress.note.as_deref().expect("a note");
    assert!(note.contains("removed by the broker"), "{note}");
    past.stop().await;
}

/// Goal: a subscription that is deleted gets no more, and the others all. Method: one of two that
/// are chosen is deleted in the middle.
#[tokio::test]
async fn a_subscription_that_is_deleted_in_a_replay_gets_no_more() {
    let mut past = Past::of(60).await;
    let (kept, deleted) = (past.subscribe("/kept").await, past.subscribe("/deleted").await);
    let replay = past.begin(json!({"rate": 40, "subscriptions": [kept, deleted]})).await;
    past.receiver.wait_for_at("/deleted", 10).await;
    past.installation.parts.registry.delete(deleted).await.expect("it is there");
    let ended = past.ended(&replay).await;
    assert_eq!(ended.state, ReplayState::Done, "{ended:?}");
    past.receiver.wait_for_at("/kept", 60).await;
    past.stop().await;
    assert_eq!(once(&past.receiver.requests_at("/kept")), past.ids(kept));
    let before = past.receiver.count_at("/deleted");
    assert!(before < 60, "{before} although it was deleted");
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
