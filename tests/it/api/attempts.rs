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

/// Goal: what was sent and received is shown as it was, but for secrets, and can be sent again.
#[tokio::test]
async fn a_failed_attempt_is_shown_with_what_it_sent_and_received() {
    let api = start().await;
    let receiver = Receiver::answering(|request| match request.attempt() {
        1 => Reply::status(503)
            .header("x-echo", "Bearer secret-token, it is")
            .saying("no secret-header here"),
        _ => Reply::status(200),
    })
    .await;
    let installation = &api.installation;
    let draft = json!({
        "url": receiver.url("/hook"),
        "topics": ["a"],
        "auth_token": "secret-token",
        "headers": {"X-Key": "secret-header"},
    });
    installation.subscribe(draft).await;
    let worker = installation.start();
    let body = "{\"name\": \"it's\",\n \"n\": 1.50}";
    installation.publisher.publish(Raw::new("a", "e1", body)).await;
    let records = wait_for_records(&*installation.parts.store, 2).await;
    worker.stop().await;
    let sent = receiver.requests();

    let get = async |index: usize| {
        let id = records[index].id;
        api.get(&format!("/v1/attempts/{id}")).await.expect(200).body
    };
    let failed = get(0).await;
    assert_eq!((&failed["outcome"], &failed["has_payload"]), (&json!("refused 503"), &json!(true)));
    let (request, response) = (&failed["payload"]["request"], &failed["payload"]["response"]);
    let header = |part: &serde_json::Value, name: &str| {
        let headers = part["headers"].as_array().expect("a list");
        let header = headers.iter().find(|header| header["name"] == name);
        header.unwrap_or_else(|| panic!("{name} in {part}"))["value"].clone()
    };
    assert_eq!((&request["body"], &request["cut_at"]), (&json!(body), &json!(null)));
    for name in ["host", "content-length", "webhook-id", "x-homing-attempt", "user-agent"] {
        assert_eq!(header(request, name).as_str(), sent[0].header(name), "{name}");
    }
    for name in ["authorization", "x-key", "webhook-signature"] {
        assert_eq!(header(request, name), "****");
    }
    assert_eq!(header(response, "x-echo"), "Bearer ****, it is");
    assert_eq!(response["body"], "no **** here");
    assert_eq!(failed["response"], "no **** here");
    let curl = failed["payload"]["curl"].as_str().expect("a command");
    for part in ["curl ", &receiver.url("/hook"), "content-type: application/json", "****"] {
        assert!(curl.contains(part), "{part} in {curl}");
    }
    assert!(!failed.to_string().contains("secret-"), "{failed}");

    let accepted = get(1).await;
    assert_eq!((&accepted["payload"], &accepted["has_payload"]), (&json!(null), &json!(false)));
    let note = accepted["payload_note"].as_str().expect("a reason");
    assert!(note.contains("attempts.payloads"), "{note}");

    let errors = api.get("/v1/errors").await.expect(200).body;
    let [error] = &errors["errors"].as_array().expect("a list")[..] else { panic!("{errors}") };
    assert_eq!((&error["count"], &error["outcome"]), (&json!(1), &json!("refused 503")));
    assert_eq!((&error["text"], &error["example"]), (&json!("no **** here"), &failed["id"]));
    let parked = format!("/v1/parked?error={}", error["id"].as_str().expect("an id"));
    assert_eq!(api.get(&parked).await.expect(200).body["entries"], json!([]));
    assert_eq!(api.get("/v1/parked?error=refused").await.field(), "error");
    let elsewhere = api.get("/v1/errors?url=https://b.example/").await.expect(200).body;
    assert_eq!(elsewhere, json!({"errors": [], "more": false}));
    for unknown in ["01a1fe88-5faa-7421-b640-95b7b0fc9977", "nonsense"] {
        assert_eq!(api.get(&format!("/v1/attempts/{unknown}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_gap_is_on_the_pages_of_its_time() {
    let api = start().await;
    let now = clock::now();
    let gap = Gap { id: clock::new_id(), from: now, until: now, missed: 12 };
    api.installation.parts.store.record_attempts(&[], Some(&gap)).await.expect("it is written");
    let reported = json!([{"from": now.to_string(), "until": now.to_string(), "missed": 12}]);
    assert_eq!(api.get("/v1/attempts").await.expect(200).body["gaps"], reported);
    let until = format!("/v1/attempts?until={now}");
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
        ("since=soon", "since"),
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

/// Goal: deliveries are found by every parameter, in pages, with their attempts.
#[tokio::test]
async fn deliveries_are_listed_by_state_and_page() {
    let (api, receiver) = Box::pin(past()).await;
    let list = async |query: &str| {
        let page = api.get(&format!("/v1/deliveries?{query}")).await.expect(200).body;
        page["deliveries"].as_array().expect("a list").clone()
    };
    let all = list("").await;
    assert_eq!(all.len(), 4);
    for one in &all {
        assert_eq!((&one["state"], &one["topic"]), (&json!("delivered"), &json!("a")));
        assert!(one["since"].is_string() && one["attempts"].is_array(), "{one}");
    }
    let recovered = list(&format!("url={}&event=e1", receiver.url("/recovers"))).await;
    let [one] = &recovered[..] else { panic!("{recovered:#?}") };
    assert_eq!(one["attempts"].as_array().map(Vec::len), Some(2));
    let (id, of) = (one["delivery"].as_str().expect("an id"), one["subscription"].as_str());
    let of = of.expect("an id");
    for (query, number) in [
        (format!("delivery={id}"), 1),
        (format!("subscription={of}"), 2),
        (format!("subscription={of}&state=delivered&topic=a"), 2),
        ("state=pending".to_owned(), 0),
        ("topic=b".to_owned(), 0),
        ("until_ms=1".to_owned(), 0),
    ] {
        assert_eq!(list(&query).await.len(), number, "{query}");
    }
    assert_eq!(api.get("/v1/deliveries?state=late").await.status, 400);
    let first = api.get("/v1/deliveries?limit=3").await.expect(200).body;
    let next = first["next"].as_str().expect("there are more");
    assert_eq!(list(&format!("limit=3&after={next}")).await.len(), 1);
}
