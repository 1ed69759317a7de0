//! Programs publish with the clients they have: Python's pika and Node's amqplib.

use std::process::Stdio;

use homing::parking::{Action, Entry, Selection};
use serde_json::json;
use tokio::process::Command;

use crate::support::{
    PATIENCE,
    broker::{self, Raw},
    clients,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
};

/// Runs a script to its end; what it printed.
async fn run(mut command: Command, installation: &Installation) -> String {
    let ended = command
        .env("AMQP_URL", broker::url())
        .env("EXCHANGE", installation.names().events())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("in time").expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// What both scripts publish: a message with nothing but a body, one with everything that the
/// library offers, and one of `CloudEvents`; each fails once, so that it goes through a wait queue.
async fn publishes(command: Command) {
    let installation = Installation::with(&[100], "events.topic_from = \"type\"").await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    let draft = json!({"url": receiver.url("/"), "topics": ["#"]});
    installation.subscribe(draft).await;
    let running = installation.start();

    run(command, &installation).await;

    let requests = receiver.wait_for(6).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    for topic in ["client.plain", "client.full", "com.example.cloud"] {
        let attempts: Vec<_> = requests
            .iter()
            .filter(|request| request.header("x-homing-topic") == Some(topic))
            .collect();
        let [first, second] = attempts.as_slice() else { panic!("{topic}: {attempts:?}") };
        assert_eq!(first.id(), second.id(), "{topic}");
        assert_eq!(first.body, second.body, "{topic}");
        assert_eq!(first.body, format!("{{\"from\": \"{topic}\", \"ü\": 1.0}}"));
    }
    assert_eq!(receiver.requests().len(), 6);
    assert!(installation.wait_for_parked(0).await.is_empty());
}

/// Goal: what is not text where AMQP says text is parked at first sight with its bytes shown, and takes
/// no other with it. Method: everything in which a client can write such bytes, and headers that are
/// events all the same, among good events.
#[tokio::test]
async fn what_is_not_utf8_is_parked_at_first_sight_and_hurts_no_other() {
    const GOOD: usize = 20;
    /// As the script prints them.
    const WAYS: usize = 12;
    const EVENTS: usize = 2;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("before{number}"), "{}")).await;
    }
    let mut command = Command::new(clients().join("venv/bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish_not_utf8.py"));
    let printed = run(command, &installation).await;
    assert_eq!(printed.trim(), format!("{WAYS} {EVENTS}"));
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("after{number}"), "{}")).await;
    }

    let running = installation.start();
    receiver.wait_for(2 * GOOD + EVENTS).await;
    let parked = installation.wait_for_parked(u32::try_from(WAYS).expect("few")).await;
    installation.assert_nothing_waits().await;

    let told = |entry: &Entry| entry.last_outcome.clone().unwrap_or_default();
    for entry in &parked {
        // By homing: the broker has not counted one of them as returned.
        assert_eq!(entry.reason.as_str(), "unreadable", "{}", told(entry));
        assert!(told(entry).contains("is not UTF-8: "), "{}", told(entry));
    }
    for (what, bytes) in [
        ("`message_id`", r"Gr\xfc\xdfe"),
        ("`message_id`", r"\xff\xfe1"),
        ("the routing key", r"Gr\xfc\xdfe"),
        ("the name of a header", r"Gr\xfc\xdfe"),
        ("a name in header `deep`", r"Gr\xfc\xdfe"),
        ("`app_id`", r"Gr\xfc\xdfe"),
    ] {
        let sentence = format!("{what} is not UTF-8: {bytes}");
        assert!(parked.iter().any(|entry| told(entry) == sentence), "{sentence}");
    }
    assert!(parked.iter().any(|entry| entry.event_id == r"Gr\xfc\xdfe"));

    // Replaying cannot help, and does no harm.
    let parking = &installation.parts.parking;
    parking.act(Action::Replay, &Selection::default(), None, |_| ()).await.expect("walk");
    installation.assert_nothing_waits().await;
    installation.wait_for_parked(u32::try_from(WAYS).expect("few")).await;
    running.stop().await;
    let mut ids: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2 * GOOD + EVENTS);
    assert_eq!(receiver.requests().len(), 2 * GOOD + EVENTS);
}

#[tokio::test]
async fn pika_publishes() {
    let mut command = Command::new(clients().join("venv/bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish.py"));
    Box::pin(publishes(command)).await;
}

#[tokio::test]
async fn amqplib_publishes() {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish.js"));
    command.env("NODE_PATH", clients().join("node_modules"));
    Box::pin(publishes(command)).await;
}
