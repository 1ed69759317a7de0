//! A client of Workfront's API that is pointed at homing gets its events in Workfront's form.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Running, start, start_with};
use crate::support::{
    broker::Raw,
    eventually, holds,
    receiver::{Receiver, Recorded, Reply},
};
use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest},
    clock,
};

pub(super) const SUBSCRIPTIONS: &str = "/attask/eventsubscription/api/v1/subscriptions";
const UPDATE: &str = include_str!("../../samples/workfront-update.json");
const CREATE: &str = include_str!("../../samples/workfront-create.json");

/// Makes a subscription as a client of Workfront's does; its id.
pub(super) async fn make(running: &Running, wanted: Value) -> String {
    let request = running.request(Method::POST, SUBSCRIPTIONS);
    let request = request.header("sessionID", "any").header("content-type", "application/json");
    let response = request.body(wanted.to_string()).send().await.expect("an answer");
    let made = Answer::of(response).await.expect(201);
    made.body.get("id").and_then(Value::as_str).expect("an id").to_owned()
}

pub(super) fn json_of(request: &Recorded) -> Value {
    assert_eq!(request.header("content-type"), Some("application/json"));
    serde_json::from_slice(&request.body).expect("JSON")
}

#[tokio::test]
async fn an_event_arrives_as_workfront_sends_it() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let wanted = |path: &str, more: Value| {
        let mut wanted = json!({
            "objCode": "PROJ", "eventType": "UPDATE", "url": receiver.url(path),
            "authToken": "EauthTokenWorkfrontRocks1234_",
        });
        for (key, value) in more.as_object().expect("an object") {
            wanted[key] = value.clone();
        }
        wanted
    };
    let plain = make(&running, wanted("/plain", json!({}))).await;
    let encoded = make(&running, wanted("/encoded", json!({"base64Encoding": true}))).await;
    let object = json!({"objId": "59d7ddf7000002322d791eb08bafddfb"});
    make(&running, wanted("/object", object)).await;
    make(&running, wanted("/other-object", json!({"objId": "59d7"}))).await;
    make(&running, wanted("/created", json!({"eventType": "CREATE"}))).await;
    let version = format!("{SUBSCRIPTIONS}/{encoded}/version");
    running.send(Method::PUT, &version, r#"{"version": "v1"}"#).await.expect(200);
    let working = running.installation.start();

    let publisher = &running.installation.publisher;
    publisher.publish(Raw::new("PROJ.UPDATE", "update", UPDATE)).await;
    publisher.publish(Raw::new("PROJ.CREATE", "create", CREATE)).await;
    // Two of them at `/encoded`, whose version changed.
    let requests = receiver.wait_for(5).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    assert_eq!(receiver.count_at("/other-object"), 0);
    assert_eq!((receiver.count_at("/object"), receiver.count_at("/created")), (1, 1));
    let at = |path: &str| requests.iter().find(|request| request.path == path).expect(path);

    let mut expected: Value = serde_json::from_str(UPDATE).expect("a sample");
    expected["subscriptionId"] = json!(plain);
    assert_eq!(json_of(at("/plain")), expected);
    let bearer = Some("Bearer EauthTokenWorkfrontRocks1234_");
    assert_eq!(at("/plain").header("authorization"), bearer);

    let both = requests.iter().filter(|request| request.path == "/encoded").map(json_of);
    let is_in_v1 = |sent: &Value| sent["subscriptionVersion"] == "v1";
    let (in_v1, in_v2): (Vec<_>, Vec<_>) = both.partition(is_in_v1);
    assert_eq!(in_v2.len(), 1);
    let [sent] = in_v1.as_slice() else { panic!("{in_v1:?}") };
    assert_eq!(sent["eventTime"], expected["eventTime"]);
    for state in ["newState", "oldState"] {
        let bytes = STANDARD.decode(sent[state].as_str().expect("a text")).expect("base64");
        let state_sent: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(state_sent, expected[state]);
    }
    assert_eq!(json_of(at("/created"))["oldState"], json!({}));

    let shown = running.get(&format!("{SUBSCRIPTIONS}/{plain}")).await.expect(200);
    assert_eq!(shown.body["authToken"], "****234_");
}

#[tokio::test]
async fn a_retry_says_the_same_and_the_circuit_counts_both() {
    let running = start().await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    let wanted = json!({
        "objCode": "TASK", "eventType": "UPDATE", "url": receiver.url("/hook"), "authToken": "t",
    });
    let id = make(&running, wanted).await;
    let working = running.installation.start();
    // Without a time of its own, so that homing sets when it came.
    let raw = Raw::new("TASK.UPDATE", "event-1", r#"{"newState": {"ID": "a"}}"#);
    running.installation.publisher.publish(raw).await;
    let requests = receiver.wait_for(2).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(first.body, second.body);
    assert!(json_of(first)["eventTime"]["epochSecond"].as_i64() > Some(1_700_000_000));

    let shown = running.get(&format!("{SUBSCRIPTIONS}/{id}")).await.expect(200);
    let url = &shown.body["subscription_url"];
    assert_eq!((&url["successes"], &url["failures"]), (&json!(1), &json!(1)));
    assert_eq!((&url["disabled_at"], &url["frozen_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_circuit_that_opened_says_since_when() {
    let running = start_with("circuit.open_at_consecutive_failures = 2\n").await;
    let receiver = Receiver::failing().await;
    let wanted = json!({
        "objCode": "TASK", "eventType": "UPDATE", "url": receiver.url("/hook"), "authToken": "t",
    });
    let id = make(&running, wanted).await;
    let working = running.installation.start();
    for number in 0..4 {
        let raw = Raw::new("TASK.UPDATE", &format!("event-{number}"), "{}");
        running.installation.publisher.publish(raw).await;
    }
    let path = format!("{SUBSCRIPTIONS}/{id}");
    let url = eventually(async || {
        let url = running.get(&path).await.expect(200).body["subscription_url"].take();
        if url["disabled_at"].is_string() { Ok(url) } else { Err(url) }
    })
    .await;
    assert!(url["failures"].as_u64() >= Some(2) && url["frozen_at"].is_null(), "{url}");
    working.stop().await;
}

/// Events that do not fit Workfront's form are neither sent as something else nor lost.
#[tokio::test]
async fn an_event_that_is_no_object_is_parked() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let wanted = json!({
        "objCode": "TASK", "eventType": "UPDATE", "url": receiver.url("/hook"), "authToken": "t",
    });
    make(&running, wanted).await;
    let working = running.installation.start();
    running.installation.publisher.publish(Raw::new("TASK.UPDATE", "event-1", "[1]")).await;
    let parked = running.installation.wait_for_parked(1).await;
    working.stop().await;
    assert_eq!(parked.first().map(|entry| entry.event_id.as_str()), Some("event-1"));
    assert_eq!(receiver.count(), 0);
}

/// A subscription to updates of tasks.
pub(super) fn of_tasks(url: &str) -> Value {
    json!({"objCode": "TASK", "eventType": "UPDATE", "url": url, "authToken": "t"})
}

/// Published: the whole address in `Location`, a bare list, and 409 for the same fields alone.
#[tokio::test]
async fn a_client_finds_what_it_created() {
    let running = start().await;
    let wanted = of_tasks("https://example.com/hook");
    let created = running.post(SUBSCRIPTIONS, &wanted).await.expect(201);
    let id = created.body["id"].as_str().expect("an id").to_owned();
    let location = created.header("location").expect("an address").to_owned();
    assert_eq!(location, format!("{}{SUBSCRIPTIONS}/{id}", running.base_url));
    let shown = running.client.get(&location).send().await.expect("an answer");
    assert_eq!(Answer::of(shown).await.expect(200).body["id"], json!(id));

    let again = running.post(SUBSCRIPTIONS, &wanted).await.expect(409);
    assert_eq!(again.body["existing"], json!(id));
    let mut other = wanted.clone();
    other["authToken"] = json!("another");
    let other = running.post(SUBSCRIPTIONS, &other).await.expect(201).body;

    let listed = running.get(&format!("{SUBSCRIPTIONS}/list")).await.expect(200).body;
    let listed = listed.as_array().expect("a bare list");
    let ids: Vec<_> = listed.iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [json!(id), other["id"].clone()]);
    assert_eq!(
        (&listed[0]["obj_code"], &listed[0]["event_type"]),
        (&json!("TASK"), &json!("UPDATE"))
    );
    let unknown = json!({"subscriptionIds": [uuid::Uuid::nil()], "version": "v1"});
    let path = format!("{SUBSCRIPTIONS}/version");
    let refused = running.send(Method::PUT, &path, unknown.to_string()).await;
    assert_eq!(refused.field(), "subscriptionIds[0]");
}

/// Published: 401 without a session, 403 where its user is no administrator.
#[tokio::test]
async fn a_session_of_no_administrator_lists_nothing() {
    let running = start().await;
    let store = &running.installation.parts.store;
    for (name, scope) in [("homing_admin", Scope::Write), ("homing_reader", Scope::Read)] {
        let digest = TokenDigest::of(name.as_bytes());
        let token =
            ApiToken { name: name.parse().expect("a name"), digest, scope, created: clock::now() };
        assert!(store.insert_token(&token).await.expect("the store works"));
    }
    let ask = async |header: &'static str, token: &'static str| {
        let with = |request: reqwest::RequestBuilder| request.header(header, token);
        running.answer(Method::GET, &format!("{SUBSCRIPTIONS}/list"), with).await
    };
    eventually(async || {
        let status = ask("sessionID", "unknown").await.status;
        holds(status == 401, format!("without a session the answer is {status}"))
    })
    .await;
    for header in ["sessionID", "X-User-Token"] {
        ask(header, "homing_admin").await.expect(200);
        let refused = ask(header, "homing_reader").await.expect(403).body;
        let detail = refused["detail"].as_str().expect("a detail");
        assert!(
            detail.contains("scope `write`") && detail.contains("/v1/subscriptions"),
            "{detail}"
        );
    }
}

/// Published: everything but 2xx is retried.
#[tokio::test]
async fn an_answer_410_is_retried() {
    let running = start().await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 410 } else { 200 })
    })
    .await;
    let id = make(&running, of_tasks(&receiver.url("/hook"))).await;
    let working = running.installation.start();
    running.installation.publisher.publish(Raw::new("TASK.UPDATE", "gone", "{}")).await;
    receiver.wait_for(2).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let shown = running.get(&format!("{SUBSCRIPTIONS}/{id}")).await.expect(200);
    let url = &shown.body["subscription_url"];
    assert_eq!((&url["failures"], &url["frozen_at"]), (&json!(1), &Value::Null), "{url}");
    assert!(running.installation.parked().await.is_empty());
}

/// Published: a message has 1 MB at most. Its states in base64 are a third larger than its event.
#[tokio::test]
async fn a_message_that_is_too_large_is_parked() {
    let running = start_with("worker.max_event_bytes = 4096\n").await;
    let receiver = Receiver::accepting().await;
    make(&running, of_tasks(&receiver.url("/plain"))).await;
    let mut encoded = of_tasks(&receiver.url("/encoded"));
    encoded["base64Encoding"] = json!(true);
    make(&running, encoded).await;
    let working = running.installation.start();
    let body = json!({"newState": {"name": "x".repeat(3_500)}}).to_string();
    running.installation.publisher.publish(Raw::new("TASK.UPDATE", "large", body)).await;
    receiver.wait_for_at("/plain", 1).await;
    let parked = running.installation.wait_for_parked(1).await;
    working.stop().await;
    assert_eq!(parked[0].reason.as_str(), "too_large");
    let why = parked[0].last_outcome.clone().unwrap_or_default();
    assert!(why.contains("worker.max_event_bytes") && why.contains("4096"), "{why}");
    assert_eq!(receiver.count_at("/encoded"), 0);
}

/// A deleted object has no new state; filters see the old one.
#[tokio::test]
async fn a_new_state_of_null_is_sent_as_an_empty_one() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let mut wanted = of_tasks(&receiver.url("/hook"));
    wanted["eventType"] = json!("DELETE");
    wanted["filters"] = json!([
        {"fieldName": "name", "fieldValue": "a", "comparison": "eq", "state": "oldState"},
        {"fieldName": "name", "comparison": "changed"},
    ]);
    make(&running, wanted).await;
    let working = running.installation.start();
    for (id, name) in [("e1", "a"), ("e2", "b")] {
        let body = json!({"newState": null, "oldState": {"ID": "x", "name": name}}).to_string();
        running.installation.publisher.publish(Raw::new("TASK.DELETE", id, body)).await;
    }
    let requests = receiver.wait_for(1).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let sent = json_of(request);
    assert_eq!((&sent["newState"], &sent["oldState"]["name"]), (&json!({}), &json!("a")));
}
