//! Health, counts of queues, and who may ask for them.

use homing::services::Services;
use homing_broker::topology::THROTTLE_WAITS;
use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest},
    clock,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, serve, start, start_with};
use crate::support::{broker::Raw, eventually, holds, installation::Installation};

#[tokio::test]
async fn readiness_reports_every_part_and_what_was_caught() {
    let running = start().await;
    let answer = running.get("/readyz").await.expect(200).body;
    let parts = json!([
        {"name": "broker.publishing", "ready": true},
        {"name": "broker.consuming", "ready": true},
        {"name": "store", "ready": true},
    ]);
    assert_eq!(answer, json!({"status": "ready", "parts": parts, "warnings": []}));

    let names = running.installation.names();
    let (unrouted, net) = (names.unrouted(), names.alternate());
    running.installation.publisher.publish_to(&net, Raw::new("t", "e", "{}")).await;
    running.installation.wait_for_depth(&unrouted, 1).await;
    let answer = running.get("/readyz").await.expect(200).body;
    let warning = answer["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("1 messages") && warning.contains(&unrouted), "{warning}");

    running.installation.parts.store.close().await;
    let answer = running.get("/readyz").await.expect(503);
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.body["parts"][2]["ready"], false);
    assert_eq!(answer.body["parts"][0]["ready"], true);
    running.get("/healthz").await.expect(200);
    running.get("/v1/subscriptions").await.expect(503);
}

#[tokio::test]
async fn a_lost_broker_makes_nothing_ready_and_confirms_nothing() {
    let running = start().await;
    running.installation.parts.broker.close().await;
    running.get("/readyz").await.expect(503);
    let answer = running.send(Method::POST, "/v1/events?topic=t&id=e1", "{}").await.expect(503);
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.body["id"], "e1");
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("not confirmed"), "{detail}");
}

#[tokio::test]
async fn queues_are_listed_with_what_is_in_them() {
    let running = start().await;
    running.send(Method::POST, "/v1/events?topic=t", "{}").await.expect(202);
    let primary = running.installation.names().primary();
    running.installation.wait_for_depth(&primary, 1).await;

    let answer = running.get("/v1/queues").await.expect(200).body;
    let queues = answer["queues"].as_array().expect("a list");
    let first = json!({
        "name": primary, "kind": "primary", "wait_ms": null, "messages": 1, "consumers": 0,
        "in_force": true, "advice": null,
    });
    assert_eq!(queues[0], first);
    let kinds: Vec<_> = queues.iter().map(|queue| queue["kind"].as_str().expect("text")).collect();
    let mut expected = vec!["primary", "retry"];
    expected.extend(vec!["wait"; 1 + THROTTLE_WAITS.len()]);
    expected.extend(["parked", "unrouted"]);
    assert_eq!(kinds, expected);
    assert_eq!(queues[2]["wait_ms"], 50);

    let channel = running.installation.publisher.channel();
    let options = lapin::options::QueueDeleteOptions::default();
    let deleted = channel.queue_delete(primary.into(), options).await;
    deleted.expect("an operator deletes a queue");
    let answer = running.get("/v1/queues").await.expect(200).body;
    assert_eq!(answer["queues"][0]["messages"], Value::Null);
}

/// Goal: what a former, larger number of shards left is listed, with what is in it and what to do.
#[tokio::test]
async fn a_shard_that_is_left_over_is_listed_as_no_longer_in_force() {
    let mut installation = Installation::with(&[50], "broker.shards = 2").await;
    let (left, present) = (installation.names().primary_shard(1), installation.names().primary());
    installation.publisher.publish_to("", Raw::new(&left, "e1", "{}")).await;
    installation.wait_for_depth(&left, 1).await;
    installation.settings.broker.shards = 1;
    let fewer = Services::open(installation.settings.clone());
    installation.parts = Box::pin(fewer).await.expect("the parts open");

    let running = serve(installation).await;
    let answer = running.get("/v1/queues").await.expect(200).body;
    let queues = answer["queues"].as_array().expect("a list");
    let named = |name: &str| queues.iter().find(|queue| queue["name"] == name).expect("listed");
    assert_eq!(named(&present)["in_force"], true);
    assert_eq!(named(&present)["advice"], Value::Null);
    let left = named(&left);
    assert_eq!((&left["in_force"], &left["kind"]), (&json!(false), &json!("primary")));
    assert_eq!(left["messages"], 1);
    let advice = "the settings do not need it; a running worker empties it";
    assert_eq!(left["advice"], advice);
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_configured() {
    let running = start_with("api.tokens = [\"first-0123456789\", \"other-0123456789\"]\n").await;
    let ask = async |shown: Option<&str>| {
        let mut request = running.request(Method::GET, "/v1/queues");
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        Answer::of(request.send().await.expect("an answer")).await
    };
    for shown in [None, Some("Bearer wrong"), Some("Basic first-0123456789"), Some("Bearer ")] {
        let refused = ask(shown).await.expect(401);
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    ask(Some("Bearer first-0123456789")).await.expect(200);
    ask(Some("bearer other-0123456789")).await.expect(200);

    let token = |name: &str, scope| ApiToken {
        name: name.parse().expect("a name"),
        digest: TokenDigest::of(name.as_bytes()),
        scope,
        created: clock::now(),
    };
    let store = &running.installation.parts.store;
    let added = store.insert_token(&token("homing_reader", Scope::Read)).await;
    assert!(added.expect("the store works"));
    let answers = async |status: u16| {
        eventually(async || {
            let answer = ask(Some("Bearer homing_reader")).await.status;
            holds(answer == status, format!("the token's answer is {answer}, not {status}"))
        })
        .await;
    };
    answers(200).await;
    let publish = running.request(Method::POST, "/v1/events?topic=t");
    let publish = publish.header("authorization", "Bearer homing_reader").send().await;
    let refused = Answer::of(publish.expect("an answer")).await.expect(403).body;
    let expected = "the token `homing_reader` has scope `read`; this needs scope `write`";
    assert_eq!(refused["detail"], expected);

    assert!(store.remove_token("homing_reader").await.expect("the store works"));
    answers(401).await;
    running.get("/healthz").await.expect(200);
    running.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn without_tokens_other_hosts_and_pages_are_refused() {
    let running = start().await;
    for (name, value) in [("host", "rebound.example"), ("origin", "https://evil.example")] {
        let request = running.request(Method::POST, "/v1/events?topic=t").header(name, value);
        let refused = Answer::of(request.send().await.expect("an answer")).await.expect(403);
        let detail = refused.body["detail"].as_str().expect("a detail");
        assert!(detail.contains("homing tokens create"), "{detail}");
    }
}
