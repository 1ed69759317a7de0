//! Programs publish with the clients they have: Python's pika and Node's amqplib.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::{
    PATIENCE,
    broker::{self, Raw},
    clients,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
};

async fn run(mut command: Command, installation: &Installation) {
    let ended = command
        .env("AMQP_URL", broker::url())
        .env("EXCHANGE", installation.names().events())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("in time").expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
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

/// Goal: a message that the client library cannot read at all ends parked by the broker, and takes
/// no other with it. Method: one property that is not UTF-8 among good events.
#[tokio::test]
async fn a_message_that_cannot_be_parsed_hurts_no_other() {
    const GOOD: usize = 20;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("before{number}"), "{}")).await;
    }
    let mut command = Command::new(clients().join("venv/bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish_not_utf8.py"));
    run(command, &installation).await;
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("after{number}"), "{}")).await;
    }

    let running = installation.start();
    receiver.wait_for(2 * GOOD).await;
    installation.wait_for_depth(&installation.names().parked(), 1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let mut ids: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2 * GOOD);
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
