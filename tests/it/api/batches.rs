//! Many events with one request, and requests that are sent again.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Running, start, start_with};

impl Running {
    /// Asks with an idempotency key.
    async fn with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.answer(Method::POST, path, |request| {
            let request = request.header("content-type", "application/json");
            request.header("idempotency-key", key).body(body)
        })
        .await
    }

    async fn events(&self) -> u32 {
        let primary = self.installation.names().primary();
        self.installation.publisher.depth(&primary).await
    }
}

#[tokio::test]
async fn a_thousand_events_are_published_in_one_request() {
    let running = start().await;
    let event = |number: u32| json!({"topic": "order.paid", "body": {"number": number}});
    let events: Vec<_> = (0..1_000).map(event).collect();
    let begin = tokio::time::Instant::now();
    let answer = running.post("/v1/batches", &json!({"events": events})).await.expect(202);
    println!("1,000 events in {:?}", begin.elapsed());
    let reported = answer.body.pointer("/events").and_then(Value::as_array).expect("events");
    assert!(reported.iter().all(|event| event.get("published") == Some(&json!(true))));
    let ids: std::collections::HashSet<_> = reported.iter().map(|event| event.get("id")).collect();
    assert_eq!((reported.len(), ids.len()), (1_000, 1_000));
    running.installation.wait_for_depth(&running.installation.names().primary(), 1_000).await;

    let too_many: Vec<_> = (0..1_001).map(event).collect();
    let answer = running.post("/v1/batches", &json!({"events": too_many})).await;
    assert_eq!(answer.field(), "events");
    assert_eq!(running.post("/v1/batches", &json!({"events": []})).await.field(), "events");
}

#[tokio::test]
async fn bodies_are_those_of_the_batch() {
    let running = start().await;
    let batch = r#"{"events": [
        {"topic": "a", "id": "e1", "body": { "b":1.0,  "a":1e400 }},
        {"topic": "b", "id": "e2", "body_base64": "AP8K", "content_type": "image/x-scan"},
        {"topic": "c", "id": "e3"}
    ]}"#;
    let answer = running.send(Method::POST, "/v1/batches", batch).await.expect(202);
    assert_eq!(answer.body.pointer("/events/1/id"), Some(&json!("e2")));
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let message = super::events::next(&running).await;
        bodies.push((message.delivery.routing_key.to_string(), message.delivery.data));
    }
    bodies.sort();
    let expected = [
        ("a".to_owned(), br#"{ "b":1.0,  "a":1e400 }"#.to_vec()),
        ("b".to_owned(), vec![0, 255, 10]),
        ("c".to_owned(), Vec::new()),
    ];
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn of_a_batch_with_a_mistake_nothing_is_published() {
    let running = start_with("worker.max_event_bytes = 1024\n").await;
    let good = json!({"topic": "a"});
    let large = "x".repeat(1_100);
    for (bad, field) in [
        (json!({"topic": ""}), "events[1].topic"),
        (json!({"topic": "a", "id": ""}), "events[1].id"),
        (json!({"topic": "a", "colour": 1}), "events[1].colour"),
        (json!({"topic": "a", "body": 1, "body_base64": ""}), "events[1].body_base64"),
        (json!({"topic": "a", "body_base64": "?"}), "events[1].body_base64"),
        (json!({"topic": "a", "body": large}), "events[1].body"),
        (json!({"topic": "a", "content_type": large}), "events[1].content_type"),
        (json!({"topic": "a", "subscription": "x"}), "events[1].subscription"),
    ] {
        let answer = running.post("/v1/batches", &json!({"events": [good, bad]})).await;
        assert_eq!(answer.field(), field);
    }
    let unknown = json!({"topic": "a", "subscription": "01931f5a-9c4e-7000-8000-0123456789ab"});
    let answer = running.post("/v1/batches", &json!({"events": [good, unknown]})).await;
    assert_eq!(answer.field(), "subscription");
    assert_eq!(running.events().await, 0);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_again_and_not_published() {
    let running = start().await;
    let (path, body) = ("/v1/events?topic=order.paid", json!({"n": 1}));
    let first = running.with_key(path, "k-1", &body).await.expect(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = running.with_key(path, "\"k-1\"", &body).await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.body, again.body);
    running.installation.wait_for_depth(&running.installation.names().primary(), 1).await;

    let other = running.with_key(path, "k-1", &json!({"n": 2})).await.expect(422);
    assert_eq!(other.body.get("type"), Some(&json!("urn:homing:problem:key-reused")));
    let elsewhere = running.with_key("/v1/events?topic=order.sent", "k-1", &body).await;
    assert_eq!(elsewhere.status, 422);
    let both = running.with_key("/v1/events?topic=a&id=e1", "k-2", &body).await;
    assert_eq!(both.field(), "id");
    let long = running.with_key(path, &"k".repeat(256), &body).await;
    assert_eq!(long.field(), "idempotency-key");
    assert_eq!(running.events().await, 1);
}

#[tokio::test]
async fn a_batch_that_is_sent_again_has_the_same_ids() {
    let running = start().await;
    let batch = json!({"events": [{"topic": "a", "body": 1}, {"topic": "b", "body": 2}]});
    let first = running.with_key("/v1/batches", "b-1", &batch).await.expect(202);
    let again = running.with_key("/v1/batches", "b-1", &batch).await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.body, again.body);
    running.installation.wait_for_depth(&running.installation.names().primary(), 2).await;

    let with_id = json!({"events": [{"topic": "a", "id": "e1"}]});
    let answer = running.with_key("/v1/batches", "b-2", &with_id).await;
    assert_eq!(answer.field(), "events[0].id");
}

/// Events that cannot be remembered are published: that is what the derived id is for.
#[tokio::test]
async fn a_store_that_is_away_does_not_stop_publishing() {
    let running = start().await;
    running.installation.parts.store.close().await;
    let (path, body) = ("/v1/events?topic=order.paid", json!({"n": 1}));
    let first = running.with_key(path, "k-1", &body).await.expect(202);
    let again = running.with_key(path, "k-1", &body).await.expect(202);
    assert_eq!(first.body, again.body, "the same id");
    running.installation.wait_for_depth(&running.installation.names().primary(), 2).await;
}
