//! `homing parked`

use std::{
    process::{Child, Command},
    time::Duration,
};

use bytes::Bytes;
use homing_broker::{Message, Route};
use homing_domain::{
    clock,
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    topic::Topic,
    verdict::ParkReason,
};
use serde_json::Value;

use super::{Answer, Home};
use crate::support::{eventually, holds};

impl Home {
    pub(super) async fn park(
        &self,
        parked: &[(&str, &'static str, Option<SubscriptionId>, ParkReason)],
    ) {
        let broker = self.broker();
        for (id, body, subscription, reason) in parked {
            let message = Message::of_event(Event {
                id: EventId::new(id).expect("it is short"),
                topic: Topic::new("order.paid").expect("it is one"),
                content_type: "application/json".to_owned(),
                content_encoding: None,
                body: Bytes::from_static(body.as_bytes()),
            });
            let message = match subscription {
                Some(subscription) => message.for_subscription(*subscription, Progress::default()),
                None => message,
            };
            let outgoing = message.parked(*reason, clock::now()).outgoing();
            broker.publish(&outgoing, Route::Parked).await.expect("the broker takes it");
        }
        broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_are_listed_shown_exported_replayed_and_dropped() {
    let home = Home::new();
    let subscription: SubscriptionId = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    home.park(&[
        ("e1", "{\"n\": 1}", Some(subscription), ParkReason::Exhausted),
        ("e2", "{\n}", Some(subscription), ParkReason::Gone),
        ("e3", "{\"n\": 3}", None, ParkReason::TooLarge),
    ])
    .await;

    let listed = home.run(&["parked", "list", "--reason", "gone"]);
    assert!(listed.stderr.contains("1 shown, 3 of 3 parked scanned"), "{}", listed.stderr);
    assert!(listed.done().contains("e2"));
    assert_eq!(
        home.run(&["parked", "list", "--parked-before", "1h", "--json"]).json()["entries"],
        Value::Array(Vec::new())
    );
    let shown = home.run(&["parked", "get", "e1"]).done();
    assert!(
        shown.contains("reason         exhausted") && shown.ends_with("{\"n\": 1}\n"),
        "{shown}"
    );
    assert_eq!(home.run(&["parked", "get", "e9"]).code, 1);

    let dry = home.run(&["parked", "replay", "--all", "--dry-run"]).done();
    assert_eq!(dry, "would replay 3 of 3 parked\n");
    let dry = home.run(&["parked", "drop", "--all", "--limit", "2", "--dry-run"]).done();
    assert_eq!(dry, "would drop 2 of 3 parked\n");
    assert_eq!(home.run(&["parked", "replay", "--all", "--limit", "0"]).code, 2);
    assert_eq!(home.run(&["parked", "replay"]).code, 2);
    let refused = home.run(&["parked", "drop", "--reason", "gone"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("say --yes"), "{}", refused.stderr);
    assert_eq!(home.depth("parked").await, 3);

    let exported = home.run(&["parked", "export", "parked.jsonl"]).done();
    assert_eq!(exported, "exported 3 of 3 parked to parked.jsonl\n");
    assert_eq!(home.run(&["parked", "export", "parked.jsonl"]).code, 1);
    let first = home.run(&["parked", "export", "--limit", "1"]).done();
    let all = std::fs::read_to_string(home.folder.path().join("parked.jsonl")).unwrap();
    assert_eq!((first.lines().count(), all.lines().count()), (1, 3));
    assert!(all.starts_with(&first), "{first}{all}");

    let replay = ["parked", "replay", "--subscription", &subscription.to_string(), "--limit", "1"];
    let replayed = home.run(&replay).done();
    assert_eq!(replayed, "replayed 1 of 3 parked\n");
    assert_eq!(home.depth("retry").await, 1);
    let dropped = home.run(&["parked", "drop", "--all", "--yes", "--json"]).json();
    assert_eq!(dropped["matched"], 2);
    assert_eq!(home.depth("parked").await, 0);

    let published = home.run(&["publish", "parked.jsonl"]).done();
    assert_eq!(published, "published 3\n");
    assert_eq!(home.depth("primary").await, 3);
}

/// Goal: a scan of the parking queue never finds nothing because another one is under way.
/// Method: another process that holds the scan lock, for good and for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_another_one_waits_or_fails_and_never_finds_nothing() {
    let home = Home::new();
    home.park(&[("e1", "{}", None, ParkReason::Exhausted), ("e2", "{}", None, ParkReason::Gone)])
        .await;
    let other = home.broker();
    let lock = other.scan_lock().await.unwrap().expect("the lock is free");
    let waiting = home.command(&["parked", "replay", "--all"]).spawn().unwrap();
    let list = home.command(&["parked", "list"]).spawn().unwrap();
    for waiting in [waiting, list] {
        let refused = Answer::from(waiting.wait_with_output().unwrap());
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        assert!(
            refused.stderr.contains("another process scans the parking queue"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(home.depth("parked").await, 2);

    let waiting = home.command(&["parked", "replay", "--all"]).spawn().unwrap();
    // It gives no sign that it waits; where it has not begun by then, this shows less, and holds.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(lock);
    let replayed = Answer::from(waiting.wait_with_output().unwrap());
    assert_eq!(replayed.done(), "replayed 2 of 2 parked\n");
    other.close().await;
}

/// True if SIGINT does not end the process at once any more. Source: proc(5), `SigCgt`.
fn catches_interrupts(child: &Child) -> bool {
    const SIGINT: u64 = 1 << 1;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
    u64::from_str_radix(caught.trim(), 16).expect("a mask") & SIGINT != 0
}

fn interrupt(child: &Child) {
    let reported = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(reported.is_ok_and(|status| status.success()));
}

/// Goal: Ctrl-C says how far it was, and what it says is so. Method: as many messages as take a while.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_says_how_far_it_came() {
    const PARKED: usize = 1_500;
    let home = Home::new();
    let ids: Vec<_> = (0..PARKED).map(|number| format!("e{number}")).collect();
    let parked = ids.iter().map(|id| (id.as_str(), "{}", None, ParkReason::Gone));
    home.park(&parked.collect::<Vec<_>>()).await;
    let mut left = u32::try_from(PARKED).unwrap();
    for (command, past) in [("replay", "replayed"), ("drop", "dropped")] {
        let all = ["parked", command, "--all", "--yes"];
        let child = home.command(&all).spawn().unwrap();
        while home.depth("parked").await == left {}
        interrupt(&child);
        let answer = Answer::from(child.wait_with_output().unwrap());
        let reported = answer.stdout.strip_prefix(&format!("interrupted: {past} "));
        let reported = reported.unwrap_or_else(|| panic!("{}{}", answer.stdout, answer.stderr));
        let done: u32 = reported.split(' ').next().unwrap().parse().unwrap();
        let rest =
            format!("{done} of the first {done} of {left} parked; the others are still parked\n");
        assert_eq!((answer.code, reported), (1, rest.as_str()));
        left -= done;
        assert!(done > 0 && left > 0, "{reported}");
        home.wait_for_depth("parked", left).await;
    }

    let other = home.broker();
    let lock = other.scan_lock().await.unwrap().expect("the lock is free");
    let child = home.command(&["parked", "export", "some.jsonl"]).spawn().unwrap();
    eventually(async || holds(catches_interrupts(&child), "it does not begin")).await;
    interrupt(&child);
    let answer = Answer::from(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
    assert_eq!(answer.stderr, "homing: interrupted: exported 0 to some.jsonl\n");
    drop(lock);
    other.close().await;
}

/// Goal: who replays to an endpoint to which nothing is sent learns of it first.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_a_frozen_endpoint_is_said_before_it_is_replayed() {
    const HOOK: &str = "https://example.com/frozen";
    let home = Home::new();
    let subscribe = |url: &str| {
        let add = ["subscriptions", "create", "--url", url, "--topic", "#", "--json"];
        let id = home.run(&add).json()["subscription"]["id"].clone();
        Some(id.as_str().unwrap().parse().unwrap())
    };
    let (frozen, well) = (subscribe(HOOK), subscribe("https://example.com/well"));
    home.run(&["endpoints", "disable", HOOK]).done();
    home.park(&[
        ("e1", "{}", frozen, ParkReason::Exhausted),
        ("e2", "{}", frozen, ParkReason::Exhausted),
        ("e3", "{}", well, ParkReason::Exhausted),
    ])
    .await;
    let notice = format!(
        "homing: 2 go to {HOOK}, which is frozen: they are held until it is enabled; run `homing endpoints enable \
         {HOOK}` first\n"
    );
    let dry = home.run(&["parked", "replay", "--all", "--dry-run"]);
    assert_eq!(
        (dry.stderr.as_str(), dry.stdout.as_str()),
        (notice.as_str(), "would replay 3 of 3 parked\n")
    );
    let one = home.run(&["parked", "replay", "--event", "e3"]);
    assert_eq!((one.stderr.as_str(), one.stdout.as_str()), ("", "replayed 1 of 3 parked\n"));
    let all = home.run(&["parked", "replay", "--all"]);
    assert_eq!(
        (all.stderr.as_str(), all.stdout.as_str()),
        (notice.as_str(), "replayed 2 of 2 parked\n")
    );
}
