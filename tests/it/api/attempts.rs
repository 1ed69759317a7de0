//! `/v1/attempts` and `/v1/events/{id}`

use homing_domain::{clock, record::Gap};
use serde_json::json;

use super::{Running, start};
use crate::{
    attempts::wait_for_records,
    support::{
        broker::Raw,
        receiver::{Receiver, Reply},
    },
};

/// Three events, of which one fails for ever and one at first.
async fn past() -> (Running, Receiver) {
    let api = start().await;
    let receiver = Receiver::answering(|request| {
        let is_well = request.path == "/well" || request.attempt() > 1;
        Reply::status(if is_well { 200 } else { 503 })
    })
    .await;
    let installation = &api.installation;
    for path in ["/well", "/recovers"] {
        installation.subscribe(json!({"url": receiver.url(path), "topics": ["a"]})).await;
    }
    let worker = installation.start();
    for id in ["e1", "e2/x"] {
        installation.publisher.publish(Raw::new("a", id, "{}")).await;
    }
    wait_for_records(&*installation.parts.store, 6).await;
    worker.stop().await;
    (api, receiver)
}

#[tokio::test]
async fn attempts_are_listed_by_filter_and_page_newest_first() {
    let (api, receiver) = Box::pin(past()).await;
    let failed = api.get("/v1/attempts?outcome=failed&status=503").await.expect(200).body;
    let attempts = failed["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        assert_eq!(attempt["outcome"], "refused 503");
        assert_eq!(attempt["class"], "refused");
        assert_eq!((&attempt["attempt"], &attempt["verdict"]), (&json!(1), &json!("waits")));
        assert_eq!((&attempt["response"], &attempt["response_cut"]), (&json!("ok"), &json!(false)));
        assert_eq!(attempt["url"], receiver.url("/recovers"));
        assert!(attempt["due"].is_string() && attempt["duration_ms"].is_u64(), "{attempt}");
    }
    assert_eq!((&failed["next"], &failed["gaps"]), (&json!(null), &json!([])));

    let delivery = attempts[0]["delivery"].as_str().expect("an id");
    let same = api.get(&format!("/v1/attempts?delivery={delivery}")).await.expect(200).body;
    assert_eq!(same["attempts"].as_array().map(Vec::len), Some(2));
    let url = receiver.url("/well");
    let well = api.get(&format!("/v1/attempts?url={url}&event=e1")).await.expect(200).body;
    assert_eq!(well["attempts"].as_array().map(Vec::len), Some(1));

    let mut seen = Vec::new();
    let mut path = "/v1/attempts?limit=4".to_owned();
    loop {
        let page = api.get(&path).await.expect(200).body;
        let attempts = page["attempts"].as_array().expect("a list");
        seen.extend(attempts.iter().map(|attempt| attempt["id"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/attempts?limit=4&after={next}");
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
}

#[tokio::test]
async fn a_gap_is_on_the_pages_of_its_time() {
    let api = start().await;
    let now = clock::now();
    let gap = Gap { id: clock::new_id(), from: now, until: now, missed: 12 };
    api.installation.parts.store.record_attempts(&[], Some(&gap)).await.expect("it is written");
    let reported = json!([{"from": now.to_string(), "until": now.to_string(), "missed": 12}]);
    assert_eq!(api.get("/v1/attempts").await.expect(200).body["gaps"], reported);
    let until = format!("/v1/attempts?until_ms={}", now.get());
    assert_eq!(api.get(&until).await.expect(200).body["gaps"], json!([]));
    let explained = api.get("/v1/events/e1").await.expect(200).body;
    assert_eq!(explained["gaps"], reported);
}

#[tokio::test]
async fn an_event_is_explained() {
    let (api, receiver) = Box::pin(past()).await;
    let explained = api.get("/v1/events/e2%2Fx").await.expect(200).body;
    assert_eq!((&explained["event"], &explained["topic"]), (&json!("e2/x"), &json!("a")));
    let deliveries = explained["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 2);
    for delivery in deliveries {
        assert_eq!(delivery["state"], "delivered");
        let expected = if delivery["url"] == receiver.url("/well") { 1 } else { 2 };
        assert_eq!(delivery["attempts"].as_array().map(Vec::len), Some(expected));
    }
    let unknown = api.get("/v1/events/e9?topic=a").await.expect(200).body;
    assert_eq!(unknown["deliveries"], json!([]));
    assert_eq!(unknown["unsent"].as_array().map(Vec::len), Some(2));
    assert!(unknown["notes"][0].as_str().is_some_and(|note| note.contains("goes back to")));
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let api = start().await;
    for (query, field) in [
        ("outcome=dead", "outcome"),
        ("status=99", "status"),
        ("since_ms=soon", "since_ms"),
        ("subscription=x", "subscription"),
        ("delivery=x", "delivery"),
        ("url=example.com", "url"),
        ("after=x", "after"),
        ("limit=1001", "limit"),
        ("topic=a", "topic"),
    ] {
        let answer = api.get(&format!("/v1/attempts?{query}")).await;
        assert_eq!(answer.field(), field);
    }
    assert_eq!(api.get("/v1/events/e1?limit=1").await.field(), "limit");
    assert_eq!(api.get("/v1/events/%0a").await.status, 404);
}
