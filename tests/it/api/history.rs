//! `/v1/history` and `/v1/topics`, and who wants what is published.

use std::{sync::Arc, time::Duration};

use homing_domain::encryption_key::EncryptionKey;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::{start, start_with};
use crate::support::{broker::Raw, database::Database, eventually, holds, receiver::Receiver};

#[tokio::test]
async fn figures_and_topics_are_those_of_the_workers() {
    let api = start().await;
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/hook");
    api.installation.subscribe(json!({"url": url, "topics": ["order.*"]})).await;
    let worker = api.installation.start();
    for (topic, id) in [("order.paid", "e1"), ("orders.paid", "e2"), ("z", "e3")] {
        api.installation.publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    receiver.wait_for(1).await;
    api.installation.wait_for_depth(&api.installation.names().primary(), 0).await;
    worker.stop().await;
    api.installation.parts.subscriptions.refresh().await.expect("the store answers");

    let all = api.get("/v1/history").await.expect(200).body;
    assert_eq!((&all["total"]["events"], &all["total"]["unwanted"]), (&json!(3), &json!(2)));
    assert_eq!((&all["total"]["delivered"], &all["url"]), (&json!(1), &json!(null)));
    assert!(all["total"]["response_ms"]["p99"].is_u64(), "{all}");
    assert!(all["hours"][0]["hour"].as_str().is_some_and(|hour| hour.ends_with(":00:00.000Z")));
    let of_url = api
        .get(&format!("/v1/history?url={url}&since=1970-01-01T00:00:00Z"))
        .await
        .expect(200)
        .body;
    assert_eq!((&of_url["total"]["delivered"], &of_url["url"]), (&json!(1), &json!(url)));
    let before = api.get("/v1/history?topic=z&until_ms=3600000&since_ms=0").await.expect(200).body;
    assert_eq!((&before["hours"], &before["total"]["events"]), (&json!([]), &json!(0)));
    api.get(&format!("/v1/history?topic=z&url={url}")).await.expect(400);
    api.get("/v1/history?topic=").await.expect(400);

    let topics = api.get("/v1/topics?limit=2").await.expect(200).body;
    assert_eq!(topics["topics"][0]["topic"], "order.paid");
    assert_eq!(topics["topics"][0]["subscriptions"], 1);
    let last = (&topics["topics"][1]["subscriptions"], &topics["next"]);
    assert_eq!(last, (&json!(0), &json!("orders.paid")));
    let rest = api.get("/v1/topics?after=orders.paid").await.expect(200).body;
    assert_eq!((&rest["topics"][0]["topic"], &rest["next"]), (&json!("z"), &json!(null)));
    let unwanted = api.get("/v1/topics?unwanted=true").await.expect(200).body;
    assert_eq!(unwanted["topics"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_publisher_learns_who_wants_its_events() {
    let api = start().await;
    let filters = json!([{"fieldName": "status", "fieldValue": "CUR", "comparison": "eq"}]);
    let mut ids = Vec::new();
    for (path, topics, filters) in [("a", "order.*", json!([])), ("b", "task.#", filters)] {
        let url = format!("https://example.com/{path}");
        let draft = json!({"url": url, "topics": [topics], "filters": filters});
        ids.push(api.installation.subscribe(draft).await.subscription.id.to_string());
    }
    let publish = async |topic: &str, body: &'static str| {
        let path = format!("/v1/events?topic={topic}&id=e");
        api.send(Method::POST, &path, body).await.expect(202).body
    };
    let unread = json!({
        "id": "e", "topic": "t", "wanted_by": null,
        "not_known": "the subscriptions have not been read yet",
    });
    assert_eq!(publish("t", "{}").await, unread);
    api.installation.parts.subscriptions.refresh().await.expect("the store answers");
    let wanted = publish("order.paid", "{}").await;
    assert_eq!(
        wanted,
        json!({"id": "e", "topic": "order.paid", "wanted_by": 1, "subscriptions": [ids[0]]})
    );
    let why = "one or two letters differ";
    let miss = json!([{"subscription": ids[0], "topic": "order.*", "why": why}]);
    // Where comparing takes longer than an answer waits, the next one has it.
    eventually(async || {
        let answer = publish("orders.paid", "{}").await;
        assert_eq!(answer["wanted_by"], 0);
        holds(answer["near"] == miss, answer)
    })
    .await;
    let refused = publish("task.made", r#"{"status": "PLN"}"#).await;
    assert_eq!(refused["near"][0]["why"], "its filters refuse it: status");
    assert_eq!(publish("task.made", r#"{"status": "CUR"}"#).await["wanted_by"], 1);
    assert_eq!(publish("else", "{}").await, json!({"id": "e", "topic": "else", "wanted_by": 0}));

    let batch = json!({"events": [
        {"topic": "order.paid", "id": "1"},
        {"topic": "else", "id": "2"},
        {"topic": "else", "id": "3", "subscription": ids[1]},
    ]});
    let batch = api.post("/v1/batches", &batch).await.expect(202).body;
    let numbers: Vec<_> =
        batch["events"].as_array().expect("a list").iter().map(|one| &one["wanted_by"]).collect();
    assert_eq!(numbers, [&json!(1), &json!(0), &json!(1)]);
}

/// Goal: a store that hangs delays no publish. Method: a transaction of another connection holds the
/// table of subscriptions, so that the one that reads it waits.
#[tokio::test]
async fn a_store_that_hangs_delays_no_publish() {
    let database = Database::new().await;
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    let url = database.url();
    let settings = format!("store.url = \"{url}\"\nstore.encryption_keys = [\"{key}\"]");
    let api = start_with(&settings).await;
    let subscriptions = Arc::clone(&api.installation.parts.subscriptions);
    let locked = database.lock("homing.subscriptions, homing.versions").await;
    let reading = async {
        // Holds what a reading holds, until its deadline.
        assert!(subscriptions.refresh().await.is_err(), "the table is locked");
    };
    let publishing = async {
        let begun = Instant::now();
        for number in 0..20 {
            let path = format!("/v1/events?topic=t&id=e{number}");
            let answer = api.send(Method::POST, &path, "{}").await.expect(202).body;
            assert_eq!(answer["not_known"], "the subscriptions have not been read yet");
        }
        begun.elapsed()
    };
    let ((), took) = tokio::join!(reading, publishing);
    assert!(took < Duration::from_secs(8), "20 publishes took {took:?}");
    drop(locked);
}
