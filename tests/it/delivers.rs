//! An event is delivered once to every subscription that wants it, byte for byte.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
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
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    for (path, topics) in [
        ("/exact", json!(["order.paid"])),
        ("/star", json!(["order.*"])),
        ("/hash", json!(["order.#"])),
        ("/twice", json!(["order.paid", "order.*"])),
        ("/other", json!(["invoice.#", "order", "order.*.*"])),
    ] {
        installation.subscribe(json!({"url": receiver.url(path), "topics": topics})).await;
    }
    let running = installation.start();

    installation.publisher.publish(Raw::new("order.paid", "event-1", "{}")).await;

    let requests = receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let mut paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/exact", "/hash", "/star", "/twice"]);
    let ids: HashSet<_> = requests.iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), 4, "webhook-id is distinct for every subscription");
    assert_eq!(receiver.requests().len(), 4);
}

/// Goal: an event with more deliveries than `max_fan_out_inline` reaches all of them, once.
#[tokio::test]
async fn a_wide_fan_out_reaches_every_subscription_once() {
    let installation = Installation::with(&[1_000], "worker.max_fan_out_inline = 4").await;
    let receiver = Receiver::accepting().await;
    for number in 0..25 {
        installation.subscribe_all(&receiver.url(&format!("/{number}"))).await;
    }
    let running = installation.start();

    for number in 0..4 {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }

    let requests = receiver.wait_for(100).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 100);
    let ids: HashSet<_> = requests.iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), 100);
    assert!(requests.iter().all(|request| request.attempt() == 1));
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
    let installation = Installation::new(&[1_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe(json!({"url": receiver.url("/"), "topics": ["wanted"]})).await;
    let running = installation.start();

    for number in 0..200 {
        let topic = if number % 50 == 0 { "wanted" } else { "unwanted" };
        installation.publisher.publish(Raw::new(topic, &format!("e{number}"), "{}")).await;
    }

    receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 4);
}

/// Goal: one endpoint that takes its time does not hold up another. Method: it answers only after
/// the other has everything.
#[tokio::test]
async fn a_slow_endpoint_does_not_hold_up_another() {
    let installation = Installation::with(&[1_000], "endpoint.deadline = \"10m\"").await;
    let released = CancellationToken::new();
    let held = released.clone();
    let slow = Receiver::answering(move |_| Reply::status(200).once(&held)).await;
    let quick = Receiver::accepting().await;
    installation.subscribe(json!({"url": slow.url("/"), "topics": ["slow"]})).await;
    installation.subscribe(json!({"url": quick.url("/"), "topics": ["quick"]})).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("slow", "s", "{}")).await;
    slow.wait_for(1).await;
    for number in 0..1_000 {
        installation.publisher.publish(Raw::new("quick", &format!("q{number}"), "{}")).await;
    }
    quick.wait_for(1_000).await;
    released.cancel();
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!((slow.requests().len(), quick.requests().len()), (1, 1_000));
}
