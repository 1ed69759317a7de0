//! Parked messages are listed, replayed and dropped, exactly as selected.

use bytes::Bytes;
use homing_broker::{Message, Route};
use homing_domain::{
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    subscription::{Draft, Subscription},
    time::UnixMillis,
    topic::Topic,
    verdict::ParkReason,
};
use homing_store::Intervention;
use serde_json::{Value, json};

use super::{Running, start};

const SUBSCRIPTION: &str = "01931f5a-9c4e-7000-8000-000000000001";

/// Parks the delivery of an event called `id` at the instant `at`.
async fn park(running: &Running, id: &str, topic: &str, (reason, at): (ParkReason, i64)) {
    let subscription: SubscriptionId = SUBSCRIPTION.parse().expect("an id");
    let body: &'static [u8] = if topic == "scan" { b"\xff\x00" } else { b"{\"n\": 1}" };
    let event = Event {
        id: EventId::new(id).expect("an id"),
        topic: Topic::new(topic).expect("a topic"),
        content_type: "application/json".to_owned(),
        content_encoding: None,
        body: Bytes::from_static(body),
    };
    let message = Message::of_event(event)
        .for_subscription(subscription, Progress { attempts: 2, ..Progress::default() })
        .parked(reason, UnixMillis::new(at));
    let broker = &running.installation.parts.broker;
    broker.publish(&message.outgoing(), Route::Parked).await.expect("it is parked");
}

/// Three: two of `order.*`, one of them gone.
async fn park_three(running: &Running) {
    park(running, "e1", "order.paid", (ParkReason::Exhausted, 1_000)).await;
    park(running, "e2", "order.sent", (ParkReason::Gone, 2_000)).await;
    park(running, "e3", "scan", (ParkReason::Exhausted, 3_000)).await;
    let parked = running.installation.names().parked();
    running.installation.wait_for_depth(&parked, 3).await;
}

/// The ids of the events listed.
async fn listed(running: &Running, query: &str) -> Vec<String> {
    let answer = running.get(&format!("/v1/parked{query}")).await.expect(200);
    let entries = answer.body.get("entries").and_then(Value::as_array).expect("a list");
    let id = |entry: &Value| entry.get("event_id").and_then(Value::as_str).map(str::to_owned);
    let ids = entries.iter().map(|entry| id(entry).expect("an id"));
    ids.collect()
}

#[tokio::test]
async fn what_is_parked_is_listed_by_every_condition() {
    let running = start().await;
    park_three(&running).await;
    for (query, ids) in [
        ("", &["e1", "e2", "e3"][..]),
        ("?limit=1000", &["e1", "e2", "e3"]),
        ("?reason=exhausted", &["e1", "e3"]),
        ("?topic=order.*", &["e1", "e2"]),
        ("?event=e3", &["e3"]),
        ("?parked_after_ms=2000", &["e2", "e3"]),
        ("?parked_before_ms=2000", &["e1"]),
        ("?reason=exhausted&topic=order.*", &["e1"]),
        ("?subscription=01931f5a-9c4e-7000-8000-000000000001", &["e1", "e2", "e3"]),
        ("?subscription=01931f5a-9c4e-7000-8000-000000000002", &[]),
    ] {
        assert_eq!(listed(&running, query).await, ids, "{query}");
    }
    assert_eq!(listed(&running, "?limit=2").await.len(), 2);
}

#[tokio::test]
async fn bodies_are_shown_where_they_are_asked_for() {
    let running = start().await;
    park_three(&running).await;
    let listing = running.get("/v1/parked?event=e1").await.expect(200).body;
    assert_eq!(listing["total"], 3);
    let entry = &listing["entries"][0];
    assert_eq!(entry["subscription_id"], SUBSCRIPTION);
    assert_eq!(entry["reason"], "exhausted");
    assert_eq!(entry["attempts"], 2);
    assert_eq!(entry["body_bytes"], 8);
    assert_eq!((entry.get("body"), entry.get("body_base64")), (None, None));

    let listing = running.get("/v1/parked?body=true").await.expect(200).body;
    assert_eq!(listing["entries"][0]["body"], "{\"n\": 1}");
    assert_eq!(listing["entries"][2]["body_base64"], "/wA=");
    assert_eq!(listing["entries"][2].get("body"), None);
}

#[tokio::test]
async fn exactly_what_is_meant_is_sent_again_and_dropped() {
    let running = start().await;
    park_three(&running).await;
    let names = running.installation.names();

    let dry = json!({"topic": "order.*", "dry_run": true});
    let tally = running.post("/v1/parked/replay", &dry).await.expect(200).body;
    assert_eq!(tally, json!({"matched": 2, "scanned": 3, "total": 3, "stopped": []}));
    assert_eq!(listed(&running, "").await, ["e1", "e2", "e3"]);

    let tally = running.post("/v1/parked/replay", &json!({"event": "e1"})).await.expect(200).body;
    assert_eq!(tally, json!({"matched": 1, "scanned": 3, "total": 3, "stopped": []}));
    assert_eq!(listed(&running, "").await, ["e2", "e3"]);
    running.installation.wait_for_depth(&names.retry(), 1).await;

    let tally = running.post("/v1/parked/drop", &json!({"reason": "gone"})).await.expect(200).body;
    assert_eq!(tally["matched"], 1);
    assert_eq!(listed(&running, "").await, ["e3"]);

    assert_eq!(running.post("/v1/parked/drop", &json!({})).await.field(), "all");
    assert_eq!(running.post("/v1/parked/drop", &json!({"dry_run": true})).await.field(), "all");
    assert_eq!(listed(&running, "").await, ["e3"]);
    let tally = running.post("/v1/parked/drop", &json!({"all": true})).await.expect(200).body;
    assert_eq!(tally["matched"], 1);
    assert!(listed(&running, "").await.is_empty());
    running.installation.wait_for_depth(&names.retry(), 1).await;
}

#[tokio::test]
async fn a_replay_says_what_goes_to_endpoints_that_are_stopped() {
    let running = start().await;
    park_three(&running).await;
    let draft = json!({"url": "https://example.com/", "topics": ["#"]});
    let draft: Draft = serde_json::from_value(draft).expect("a draft");
    let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
    let spec = draft.build(&[]).expect("sound");
    let url = spec.url.clone();
    let id = SUBSCRIPTION.parse().expect("an id");
    let store = &running.installation.parts.store;
    let subscription = Subscription { id, spec, created, updated };
    store.insert_subscription(&subscription).await.expect("it is the first");
    store.set_circuit(&url, Intervention::Disable, updated).await.expect("the store answers");

    for (wanted, messages) in
        [(json!({"topic": "order.*", "dry_run": true}), 2), (json!({"event": "e1"}), 1)]
    {
        let done = running.post("/v1/parked/replay", &wanted).await.expect(200).body;
        let url = "https://example.com/";
        let stopped = json!([{"url": url, "state": "frozen", "messages": messages}]);
        assert_eq!((&done["matched"], &done["stopped"]), (&json!(messages), &stopped));
    }
}

#[tokio::test]
async fn no_more_is_done_than_the_limit_says() {
    let running = start().await;
    park_three(&running).await;
    let few = json!({"reason": "exhausted", "limit": 1, "dry_run": true});
    let tally = running.post("/v1/parked/replay", &few).await.expect(200).body;
    assert_eq!(tally["matched"], 1);
    let tally =
        running.post("/v1/parked/drop", &json!({"all": true, "limit": 2})).await.expect(200);
    assert_eq!(tally.body, json!({"matched": 2, "scanned": 2, "total": 3}));
    assert_eq!(listed(&running, "").await.len(), 1);
    let none = json!({"all": true, "limit": 0});
    assert_eq!(running.post("/v1/parked/drop", &none).await.field(), "limit");
    assert_eq!(listed(&running, "").await.len(), 1);
}

#[tokio::test]
async fn two_scans_at_a_time_both_see_everything() {
    let running = start().await;
    park_three(&running).await;
    let lists = [(); 4].map(|()| listed(&running, ""));
    for ids in futures_util::future::join_all(lists).await {
        assert_eq!(ids, ["e1", "e2", "e3"]);
    }
}

/// Goal: a client that goes away in the middle of a list hides nothing from the next one.
#[tokio::test]
async fn a_scan_that_is_abandoned_puts_everything_back() {
    let running = start().await;
    for number in 0..300 {
        park(&running, &format!("e{number}"), "t", (ParkReason::Gone, number)).await;
    }
    let parked = running.installation.names().parked();
    running.installation.wait_for_depth(&parked, 300).await;

    let dry = json!({"all": true, "dry_run": true});
    let begun = async { while running.installation.publisher.depth(&parked).await == 300 {} };
    tokio::select! {
        _answer = running.post("/v1/parked/replay", &dry) => {}
        () = begun => {}
    }

    running.installation.wait_for_depth(&parked, 300).await;
    assert_eq!(listed(&running, "?limit=1000").await.len(), 300);
}
