//! An event that is answered with 202 is in the queue, byte for byte; events are listed with the states
//! of their deliveries.

use homing_broker::message::header;
use lapin::{message::BasicGetMessage, options::BasicGetOptions, types::ShortString};
use reqwest::Method;
use serde_json::json;

use super::{Answer, Running, start, start_with};
use crate::support::{
    broker::Raw,
    eventually, holds,
    receiver::{Receiver, Reply},
};

/// The next message of the primary queue.
pub(super) async fn next(running: &Running) -> BasicGetMessage {
    let options = BasicGetOptions { no_ack: true };
    let primary = running.installation.names().primary();
    let got = running.installation.publisher.channel().basic_get(primary.into(), options).await;
    got.expect("the queue is there").expect("a message")
}

#[tokio::test]
async fn what_was_answered_is_in_the_queue() {
    let running = start().await;
    running.installation.parts.subscriptions.refresh().await.expect("the store answers");
    // Written anew, this would look different: blanks, an order, a number, a key there twice.
    let body = " {\"b\":1.0, \"a\":1e400,\"a\":\"\\u0041\"}\n";
    let path = "/v1/events?topic=order.paid&id=event%201";
    let answer = running.send(Method::POST, path, body).await.expect(202);
    assert_eq!(answer.body, json!({"id": "event 1", "topic": "order.paid", "wanted_by": 0}));

    let message = next(&running).await;
    assert_eq!(message.delivery.data, body.as_bytes());
    assert_eq!(message.delivery.routing_key.as_str(), "order.paid");
    assert_eq!(message.delivery.exchange.as_str(), running.installation.names().events());
    let properties = &message.delivery.properties;
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("event 1"));
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("order.paid"));
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    assert_eq!(content_type, Some("application/json"));
    assert_eq!(*properties.delivery_mode(), Some(2));
}

#[tokio::test]
async fn any_bytes_can_be_an_event() {
    let running = start().await;
    let bytes = vec![0_u8, 255, 10, 13, 0];
    let request = running.request(Method::POST, "/v1/events?topic=scan");
    let request = request.header("content-type", "image/x-scan").body(bytes.clone());
    let answer = Answer::of(request.send().await.expect("an answer")).await.expect(202);
    let id = answer.body["id"].as_str().expect("an id was made");
    let version = uuid::Uuid::parse_str(id).expect("a UUID").get_version_num();
    assert_eq!(version, 7);

    let message = next(&running).await;
    assert_eq!(message.delivery.data, bytes);
    let properties = &message.delivery.properties;
    assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some(id));
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    assert_eq!(content_type, Some("image/x-scan"));

    let untyped = running.request(Method::POST, "/v1/events?topic=scan");
    Answer::of(untyped.send().await.expect("an answer")).await.expect(202);
    let message = next(&running).await;
    let content_type = message.delivery.properties.content_type().clone();
    assert_eq!(content_type.as_ref().map(ShortString::as_str), Some("application/json"));
    assert!(message.delivery.data.is_empty());
}

#[tokio::test]
async fn a_packed_body_is_published_packed_and_says_so() {
    let running = start().await;
    let coding = |message: &BasicGetMessage| {
        let coding = message.delivery.properties.content_encoding().clone();
        coding.map(|coding| coding.as_str().to_owned())
    };
    let packed = running.request(Method::POST, "/v1/events?topic=t").body(&b"\x1f\x8b"[..]);
    let answer = packed.header("content-encoding", "GZIP").send().await.expect("an answer");
    Answer::of(answer).await.expect(202);
    let message = next(&running).await;
    assert_eq!(message.delivery.data, b"\x1f\x8b");
    assert_eq!(coding(&message).as_deref(), Some("gzip"));

    let batch = json!({"events": [
        {"topic": "t", "body_base64": "H4s=", "content_encoding": "gzip"},
        {"topic": "t", "body": 1},
    ]});
    running.send(Method::POST, "/v1/batches", batch.to_string()).await.expect(202);
    assert_eq!(coding(&next(&running).await).as_deref(), Some("gzip"));
    assert_eq!(coding(&next(&running).await), None);

    let unknown = running.request(Method::POST, "/v1/events?topic=t").body("{}");
    let answer = unknown.header("content-encoding", "utf-8").send().await.expect("an answer");
    Answer::of(answer).await.expect(400);
}

#[tokio::test]
async fn an_event_can_be_for_one_subscription() {
    let running = start().await;
    let id = running.installation.subscribe_all("https://example.com/").await;
    let path = format!("/v1/events?topic=t&subscription={id}");
    running.send(Method::POST, &path, "{}").await.expect(202);
    let message = next(&running).await;
    let headers = message.delivery.properties.headers().clone().expect("headers");
    let named = headers.inner().get(header::SUBSCRIPTION).expect("the header");
    assert_eq!(named.as_long_string().map(ToString::to_string), Some(id.to_string()));

    let unknown = "/v1/events?topic=t&subscription=01931f5a-9c4e-7000-8000-000000000001";
    assert_eq!(running.send(Method::POST, unknown, "{}").await.field(), "subscription");
}

#[tokio::test]
async fn topics_that_are_reserved_or_match_nothing_are_refused() {
    let running = start().await;
    for (topic, why) in [
        ("homing.endpoint.frozen", "homing's own"),
        ("order..paid", "word 2"),
        ("order.paid%20", "blanks"),
        (".order", "word 1"),
    ] {
        let answer = running.send(Method::POST, &format!("/v1/events?topic={topic}"), "{}").await;
        let answer = answer.expect(400);
        assert_eq!(answer.field(), "topic", "{topic}");
        assert!(answer.body.to_string().contains(why), "{topic}: {}", answer.body);
    }
    let batch = json!({"events": [{"topic": "a"}, {"topic": "homing.endpoint.frozen"}]});
    let answer = running.send(Method::POST, "/v1/batches", batch.to_string()).await.expect(400);
    assert_eq!(answer.field(), "events[1].topic");
}

#[tokio::test]
async fn larger_events_are_refused_by_the_name_of_the_setting() {
    let running = start_with("worker.max_event_bytes = 100000\n").await;
    let path = "/v1/events?topic=t";
    running.send(Method::POST, path, vec![b'x'; 100_000]).await.expect(202);
    for bytes in [100_001, 5_000_000] {
        let problem = running.send(Method::POST, path, vec![b'x'; bytes]).await.expect(413);
        let detail = problem.body["detail"].as_str().expect("a detail");
        assert!(detail.contains("worker.max_event_bytes"), "{detail}");
    }
    let primary = running.installation.names().primary();
    running.installation.wait_for_depth(&primary, 1).await;
}

#[tokio::test]
async fn wrong_parameters_of_an_event_are_named() {
    let running = start().await;
    for (query, field) in [
        ("", "topic"),
        ("?topic=", "topic"),
        ("?topic=a%0Ab", "topic"),
        ("?topic=t&id=", "id"),
        ("?topic=t&id=%00", "id"),
        ("?topic=t&subscription=x", "subscription"),
        ("?topic=t&topic=u", "topic"),
        ("?topic=t&key=x", "key"),
    ] {
        let answer = running.send(Method::POST, &format!("/v1/events{query}"), "{}").await;
        assert_eq!(answer.field(), field, "{query}");
    }
    let packed = running.request(Method::POST, "/v1/events?topic=t");
    let packed = packed.header("content-encoding", "rot 13").body("x").send().await;
    let refused = Answer::of(packed.expect("an answer")).await;
    assert_eq!(refused.field(), "content-encoding");
    let primary = running.installation.names().primary();
    running.installation.wait_for_depth(&primary, 0).await;
}

#[tokio::test]
async fn idempotency_keys_are_of_one_token() {
    let tokens = ["a-token-of-one-client-0123", "a-token-of-another-0123456"];
    let running = start_with(&format!("api.tokens = {tokens:?}\n")).await;
    let publish = async |token: &str| {
        let with = |request: reqwest::RequestBuilder| {
            request.bearer_auth(token).header("idempotency-key", "k-1").body("{}")
        };
        let answer = running.answer(Method::POST, "/v1/events?topic=a.b", with).await.expect(202);
        let is_repeated = answer.header("idempotency-replayed").is_some();
        (answer.body["id"].clone(), is_repeated)
    };
    let first = publish(tokens[0]).await;
    let other = publish(tokens[1]).await;
    assert!(first.0 != other.0 && !other.1, "{first:?} {other:?}");
    assert_eq!(publish(tokens[0]).await, (first.0, true));
    assert_eq!(publish(tokens[1]).await, (other.0, true));
}

/// Goal: an event is on one page, be its deliveries on several, and none of them is left out.
#[tokio::test]
async fn each_event_is_listed_once_with_the_states_of_all_its_deliveries() {
    let api = start().await;
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/fails" => Reply::status(503),
        _ => Reply::status(200),
    })
    .await;
    let (well, fails) = (receiver.url("/well"), receiver.url("/fails"));
    api.installation.subscribe(json!({"url": well, "topics": ["order.*"]})).await;
    api.installation.subscribe(json!({"url": fails, "topics": ["order.paid"]})).await;
    let worker = api.installation.start();
    for (topic, id) in [("order.paid", "e1"), ("order.cancelled", "e2"), ("order.paid", "e3")] {
        api.installation.publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    let list = async |query: &str| api.get(&format!("/v1/events?{query}")).await.expect(200).body;
    let both = json!({"delivered": 1, "parked": 1});
    eventually(async || {
        let events = list("state=parked").await["events"].clone();
        let ended = events.as_array().filter(|events| events.len() == 2);
        holds(ended.is_some_and(|ended| ended.iter().all(|it| it["states"] == both)), events)
    })
    .await;
    worker.stop().await;

    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("limit=1{after}")).await;
        found.extend(page["events"].as_array().expect("a list").iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let mut ids: Vec<_> = found.iter().filter_map(|event| event["event"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["e1", "e2", "e3"]);
    for event in &found {
        let expected = if event["event"] == "e2" { json!({"delivered": 1}) } else { both.clone() };
        assert_eq!(event["states"], expected, "{event}");
    }
    let of = |events: &serde_json::Value| events["events"].as_array().map(Vec::len);
    assert_eq!(of(&list("topic=order.cancelled").await), Some(1));
    assert_eq!(of(&list(&format!("url={fails}&state=delivered")).await), Some(0));
    assert_eq!(of(&list("state=pending").await), Some(0));
}
