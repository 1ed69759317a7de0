//! An event is delivered once to every subscription that wants it, byte for byte.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
    scenario::Scenario,
};

#[tokio::test]
async fn an_event_arrives_byte_for_byte_with_the_standard_headers() {
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    let made = installation
        .subscribe(json!({
            "url": receiver.url("/hook"),
            "topics": ["order.*"],
            "auth_token": "a-bearer-token",
            "headers": {"X-Team": "payroll"},
        }))
        .await;
    let running = installation.start();

    let body = b" {\"b\":1,\n\"a\":[1.50, 4948646782672799561]} ".to_vec();
    let raw = Raw::new("order.paid", "event-1", body.clone());
    installation
        .publisher
        .publish(Raw { content_type: Some("application/cloudevents+json".to_owned()), ..raw })
        .await;

    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.path, "/hook");
    assert_eq!(request.body, body);
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(request.header("authorization"), Some("Bearer a-bearer-token"));
    assert_eq!(request.header("x-team"), Some("payroll"));
    assert_eq!(request.header("x-homing-topic"), Some("order.paid"));
    assert_eq!(request.attempt(), 1);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(request.header("user-agent"), Some(format!("homing/{version}").as_str()));

    let secret = made.secret.expect("a secret was made").reveal();
    let verifier = standardwebhooks::Webhook::new(&secret).expect("the secret has their form");
    verifier.verify(&request.body, &request.headers).expect("the signature is right");

    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 1);
    assert!(installation.wait_for_parked(0).await.is_empty());
}

#[tokio::test]
async fn every_subscription_that_wants_an_event_gets_it_and_no_other() {
    let mut scenario = Scenario::new(&[1_000], Receiver::accepting().await).await;
    for (path, topics) in [
        ("/exact", &["order.paid"][..]),
        ("/star", &["order.*"]),
        ("/hash", &["order.#"]),
        ("/twice", &["order.paid", "order.*"]),
        ("/other", &["invoice.#", "order", "order.*.*"]),
    ] {
        scenario.subscribe(path, topics).await;
    }
    scenario.start();
    scenario.publish("order.paid", 1).await;

    let ended = scenario.account().await;
    let mut paths: Vec<_> = ended.requests.iter().map(|request| request.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/exact", "/hash", "/star", "/twice"]);
    let ids: HashSet<_> = ended.requests.iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), 4, "webhook-id is distinct for every subscription");
}

/// Goal: an event with more deliveries than `max_fan_out_inline` reaches all of them, once.
#[tokio::test]
async fn a_wide_fan_out_reaches_every_subscription_once() {
    let settings = "worker.max_fan_out_inline = 4";
    let mut scenario = Scenario::with(&[1_000], settings, Receiver::accepting().await).await;
    for number in 0..25 {
        scenario.subscribe(&format!("/{number}"), &["#"]).await;
    }
    scenario.start();
    scenario.publish("t", 4).await;

    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (100, 100));
    assert!(ended.requests.iter().all(|request| request.attempt() == 1));
}

#[tokio::test]
async fn a_publisher_can_address_one_subscription_where_that_is_accepted() {
    let accepting = "events.subscription_header = \"accept\"";
    let installation = Installation::with(&[1_000], accepting).await;
    let receiver = Receiver::accepting().await;
    let meant = installation.subscribe_all(&receiver.url("/meant")).await;
    installation.subscribe_all(&receiver.url("/other")).await;
    let running = installation.start();

    let raw = Raw::new("t", "event-1", "{}").header("x-homing-subscription", &meant.to_string());
    installation.publisher.publish(raw).await;

    receiver.wait_for(1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests_at("/meant").len(), 1);
    assert_eq!(receiver.requests_at("/other").len(), 0);
}

/// Goal: a running worker follows subscriptions that are created and deleted, because that is
/// announced: it would read them again anyway, but later. Method: numbered events one after the
/// other, until the change shows in what the endpoint gets.
#[tokio::test]
async fn a_running_worker_follows_changes_of_subscriptions_at_once() {
    const AT_ONCE: Duration = Duration::from_secs(4);
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    let running = installation.start();
    let mut published = 0..;
    let mut publish = async || {
        let number = published.next().expect("there is always another").to_string();
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), number)).await;
        // The pace of publishing.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let numbers = |path| -> Vec<u32> {
        let requests = receiver.requests_at(path);
        let number = |request: &Recorded| String::from_utf8_lossy(&request.body).parse();
        requests.iter().map(|request| number(request).expect("a number")).collect()
    };
    let first = installation.subscribe_all(&receiver.url("/first")).await;
    publish().await;
    receiver.wait_for(1).await;

    installation.subscribe_all(&receiver.url("/second")).await;
    let created = Instant::now();
    while numbers("/second").is_empty() {
        assert!(created.elapsed() < AT_ONCE, "the new subscription gets nothing");
        publish().await;
    }

    installation.parts.registry.delete(first).await.expect("it is there");
    let deleted = Instant::now();
    // Five events that only the other one got.
    while numbers("/second").iter().max()
        < numbers("/first").iter().max().map(|last| last + 5).as_ref()
    {
        assert!(deleted.elapsed() < AT_ONCE, "the deleted subscription gets events");
        publish().await;
    }
    installation.assert_nothing_waits().await;
    running.stop().await;
    let (first, second) = (numbers("/first").len(), numbers("/second").len());
    assert!(first + second >= published.start, "{first} and {second} of {}", published.start);
}

#[tokio::test]
async fn an_event_without_a_subscription_is_dropped_and_disturbs_nothing() {
    let mut scenario = Scenario::new(&[1_000], Receiver::accepting().await).await;
    scenario.subscribe("/", &["wanted"]).await;
    scenario.start();
    for _ in 0..4 {
        scenario.publish("unwanted", 49).await;
        scenario.publish("wanted", 1).await;
    }

    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (4, 4));
}

/// Goal: one endpoint that takes its time does not hold up another. Method: it answers only after
/// the other has everything.
#[tokio::test]
async fn a_slow_endpoint_does_not_hold_up_another() {
    let released = CancellationToken::new();
    let held = released.clone();
    let receiver = Receiver::answering(move |request| match request.path.as_str() {
        "/slow" => Reply::status(200).once(&held),
        _ => Reply::status(200),
    })
    .await;
    let mut scenario = Scenario::with(&[1_000], "endpoint.deadline = \"10m\"", receiver).await;
    scenario.subscribe("/slow", &["slow"]).await;
    scenario.subscribe("/quick", &["quick"]).await;
    scenario.start();

    scenario.publish("slow", 1).await;
    scenario.receiver.wait_for(1).await;
    scenario.publish("quick", 1_000).await;
    scenario.receiver.wait_for_at("/quick", 1_000).await;
    released.cancel();
    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (1_001, 1_001));
}
