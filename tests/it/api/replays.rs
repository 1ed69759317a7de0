//! Replays of the archive are previewed, created, watched, stopped and resumed.

use std::time::Duration;

use homing_domain::clock;
use serde_json::{Value, json};

use super::start_with;
use crate::support::{
    broker::Raw,
    eventually, holds,
    receiver::{Receiver, Recorded},
};

#[tokio::test]
async fn a_replay_is_previewed_created_stopped_and_resumed() {
    let api = start_with("archive.enabled = true\n").await;
    let receiver = Receiver::accepting().await;
    let since = clock::now().minus(Duration::from_secs(10)).to_string();
    for id in ["a", "b", "c"] {
        api.installation.publisher.publish(Raw::new("order.paid", id, "{}")).await;
    }
    let url = receiver.url("/");
    let draft = json!({"url": url, "topics": ["order.*"]});
    api.installation.subscribe(draft).await;
    let until = clock::now().to_string();
    let wanted = json!({"since": since, "until": until, "url": url, "rate": 100});

    let preview = api.post("/v1/replays/preview", &wanted).await.expect(200).body;
    assert_eq!((&preview["selected"], &preview["complete"]), (&json!(3), &json!(true)));
    assert_eq!(preview["topics"], json!({"order.paid": 3}));
    assert_eq!(api.get("/v1/replays").await.expect(200).body, json!({"replays": []}));

    let created = api.post("/v1/replays", &wanted).await.expect(201);
    let path = created.header("location").expect("a location").to_owned();
    assert_eq!(created.body["state"], "waiting");
    let stopped = api.post(&format!("{path}/stop"), &json!({})).await.expect(200).body;
    assert_eq!(stopped["state"], "stopped");
    let again: Value = api.post(&format!("{path}/stop"), &json!({})).await.expect(400).body;
    assert!(again["detail"].as_str().is_some_and(|it| it.ends_with("is stopped")), "{again}");
    api.post(&format!("{path}/resume"), &json!({})).await.expect(200);

    // The events wait for a worker, too.
    let worker = api.installation.start();
    let done = eventually(async || {
        let replay = api.get(&path).await.expect(200).body;
        holds(replay["state"] == "done", replay.to_string())?;
        Ok::<_, String>(replay)
    })
    .await;
    assert_eq!((&done["progress"]["sent"], &done["progress"]["read"]), (&json!(3), &json!(3)));
    receiver.wait_for(6).await;
    worker.stop().await;
    let requests = receiver.requests();
    let replayed = |it: &&Recorded| it.header("x-homing-replay").is_some();
    assert_eq!(requests.iter().filter(replayed).count(), 3);
    let audited = api.get("/v1/audit?kind=replay").await.expect(200).body;
    let actions: Vec<_> = audited["records"].as_array().expect("a list").iter().collect();
    let actions: Vec<_> = actions.iter().map(|it| it["action"].as_str()).collect();
    assert_eq!(actions, [Some("ended"), Some("resumed"), Some("stopped"), Some("created")]);
}

#[tokio::test]
async fn a_wrong_replay_is_refused_with_its_field() {
    let api = start_with("archive.enabled = true\n").await;
    let now = clock::now().get();
    for (field, wrong) in [
        ("until", json!({"since_ms": 0, "until_ms": now + 60_000})),
        ("until", json!({"since_ms": now, "until_ms": now - 60_000})),
        ("unfiltered", json!({"since_ms": 0, "until_ms": now, "unfiltered": true})),
        ("rate", json!({"since_ms": 0, "until_ms": now, "rate": 10_001})),
        ("since", json!({"until_ms": now})),
        ("topics", json!({"since_ms": 0, "until_ms": now, "topics": []})),
        ("event", json!({"since_ms": 0, "until_ms": now, "event": ""})),
    ] {
        assert_eq!(api.post("/v1/replays", &wrong).await.field(), field, "{wrong}");
    }
    let unknown = "/v1/replays/01931f5a-9c4e-7000-8000-0123456789ab";
    api.get(unknown).await.expect(404);
    api.get("/v1/replays/none").await.expect(404);
    api.post(&format!("{unknown}/stop"), &json!({})).await.expect(404);
}
