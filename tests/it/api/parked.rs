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
    running.installation.wait_for_parked(3).await;
}

/// Nothing waits in the queue.
fn none() -> Value {
    json!({"messages": 0, "limit": null})
}

/// Goal: an action on one entry concerns that one. Method: two that are equal in all but their ids.
#[tokio::test]
async fn equal_messages_are_acted_on_one_by_one() {
    let running = start().await;
    for _ in 0..2 {
        park(&running, "e1", "t", (ParkReason::Gone, 1_000)).await;
    }
    running.installation.wait_for_parked(2).await;
    let listing = running.get("/v1/parked").await.expect(200).body;
    let [first, second] = [0, 1].map(|index| listing["entries"][index]["id"].clone());
    assert_ne!(first, second);
    let tally = running.post("/v1/parked/drop", &json!({"id": first})).await.expect(200).body;
    assert_eq!(tally["matched"], 1);
    let left = running.get("/v1/parked").await.expect(200).body;
    assert_eq!(left["entries"][0]["id"], second);
    assert_eq!(left["total"], 1);
}

/// The ids of the events listed.
async fn listed(running: &Running, query: &str) -> Vec<String> {
    let answer = running.get(&format!("/v1/parked{query}")).await.expect(200);
    let entries = answer.body.get("entries").and_then(Value::as_array).expect("a list");
    let id = |entry: &Value| entry.get("event").and_then(Value::as_str).map(str::to_owned);
    let ids = entries.iter().map(|entry| id(entry).expect("an id"));
    ids.collect()
}

#[tokio::test]
async fn what_is_parked_is_listed_by_every_condition() {
    let running = start().await;
    park_three(&running).await;
    for (query, ids) in [
        ("", &["e3", "e2", "e1"][..]),
        ("?limit=1000", &["e3", "e2", "e1"]),
        ("?reason=exhausted", &["e3", "e1"]),
        ("?topic=order.*", &["e2", "e1"]),
        ("?text=order", &["e2", "e1"]),
        ("?text=nothing", &[]),
        ("?event=e3", &["e3"]),
        ("?parked_after=1970-01-01T00:00:02Z", &["e3", "e2"]),
        ("?parked_before_ms=2000", &["e1"]),
        ("?reason=exhausted&topic=order.*", &["e1"]),
        ("?subscription=01931f5a-9c4e-7000-8000-000000000001", &["e3", "e2", "e1"]),
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
    assert_eq!(entry["subscription"], SUBSCRIPTION);
    assert_eq!(entry["reason"], "exhausted");
    assert_eq!(entry["attempts"], 2);
    assert_eq!(entry["body_bytes"], 8);
    assert_eq!((entry.get("body"), entry.get("body_base64")), (None, None));

    let listing = running.get("/v1/parked?body=true").await.expect(200).body;
    assert_eq!(listing["entries"][2]["body"], "{\"n\": 1}");
    assert_eq!(listing["entries"][0]["body_base64"], "/wA=");
    assert_eq!(listing["entries"][0].get("body"), None);
}

#[tokio::test]
async fn exactly_what_is_meant_is_sent_again_and_dropped() {
    let running = start().await;
    park_three(&running).await;
    let names = running.installation.names();

    let dry = json!({"topic": "order.*", "dry_run": true});
    let tally = running.post("/v1/parked/replay", &dry).await.expect(200).body;
    assert_eq!(tally, json!({"matched": 2, "total": 3, "arriving": none(), "stopped": []}));
    assert_eq!(listed(&running, "").await, ["e3", "e2", "e1"]);

    let tally = running.post("/v1/parked/replay", &json!({"event": "e1"})).await.expect(200).body;
    assert_eq!(tally, json!({"matched": 1, "total": 3, "arriving": none(), "stopped": []}));
    assert_eq!(listed(&running, "").await, ["e3", "e2"]);
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
    assert_eq!(tally.body, json!({"matched": 2, "total": 3, "arriving": none()}));
    assert_eq!(listed(&running, "").await.len(), 1);
    let none = json!({"all": true, "limit": 0});
    assert_eq!(running.post("/v1/parked/drop", &none).await.field(), "limit");
    assert_eq!(listed(&running, "").await.len(), 1);
}

#[tokio::test]
async fn lists_at_the_same_time_all_see_everything() {
    let running = start().await;
    park_three(&running).await;
    let lists = [(); 4].map(|()| listed(&running, ""));
    for ids in futures_util::future::join_all(lists).await {
        assert_eq!(ids, ["e3", "e2", "e1"]);
    }
}

#[tokio::test]
async fn pages_follow_each_other_from_the_newest_to_the_oldest() {
    let running = start().await;
    for number in 0..30 {
        park(&running, &format!("e{number}"), "t", (ParkReason::Gone, number)).await;
    }
    running.installation.wait_for_parked(30).await;
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = running.get(&format!("/v1/parked?limit=7{after}")).await.expect(200).body;
        assert_eq!((&page["matched"], &page["total"]), (&json!(30), &json!(30)));
        let entries = page["entries"].as_array().expect("a list").clone();
        let id = |entry: &Value| entry["event"].as_str().expect("an id").to_owned();
        ids.extend(entries.iter().map(id));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let expected: Vec<_> = (0..30).rev().map(|number| format!("e{number}")).collect();
    assert_eq!(ids, expected);
}
