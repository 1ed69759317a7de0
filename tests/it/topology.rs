//! The topology is declared whole, checked, and never fought over.

use std::time::Duration;

use homing_broker::{
    Broker,
    topology::{State, Topology},
};
use lapin::{
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};

use crate::support::installation::Installation;

#[tokio::test]
async fn what_is_missing_is_seen_and_declared_again() {
    let installation = Installation::new(&[50]).await;
    let broker = &installation.parts.broker;
    let sound = broker.inspect(&[]).await.expect("it can be inspected");
    assert!(sound.iter().all(|finding| finding.state.is_sound()), "{sound:?}");

    let parked = installation.names().parked();
    let channel = installation.publisher.channel();
    let deleted = channel.queue_delete(parked.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("an operator deletes a queue");
    let findings = broker.inspect(&[]).await.expect("it can be inspected");
    let missing: Vec<_> = findings.iter().filter(|finding| !finding.state.is_sound()).collect();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].name.as_str(), &missing[0].state), (parked.as_str(), &State::Missing));

    broker.restore_topology().await.expect("it can be declared");
    let findings = broker.inspect(&[]).await.expect("it can be inspected");
    assert!(findings.iter().all(|finding| finding.state.is_sound()), "{findings:?}");
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_both_values() {
    let installation = Installation::new(&[50]).await;
    let wait = installation.names().wait(Duration::from_millis(50));
    let channel = installation.publisher.channel();
    let deleted = channel.queue_delete(wait.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("the queue is there");
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", text("quorum")),
        ("x-message-ttl", AMQPValue::LongInt(999)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&installation.names().retry())),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-queue-leader-locator", text("balanced")),
    ] {
        arguments.insert(name.into(), value);
    }
    channel
        .queue_declare(wait.as_str().into(), QueueDeclareOptions::durable(), arguments)
        .await
        .expect("another program declares it otherwise");

    let findings = installation.parts.broker.inspect(&[]).await.expect("it can be inspected");
    let finding = findings.iter().find(|finding| finding.name == wait).expect("it is listed");
    let State::Different(detail) = &finding.state else { panic!("{finding:?}") };
    assert!(detail.contains("50") && detail.contains("999"), "{detail}");

    let error = installation.parts.broker.restore_topology().await.expect_err("it differs");
    let reported = error.report();
    assert!(
        reported.contains(&wait) && reported.contains("50") && reported.contains("999"),
        "{reported}"
    );
}

#[tokio::test]
async fn a_wait_queue_of_an_earlier_schedule_is_reported_while_it_exists() {
    let installation = Installation::new(&[60_000]).await;
    let old = installation.names().wait(Duration::from_secs(60));
    let topology = Topology::new(&installation.corner.prefix, [Duration::from_secs(30)]);
    let changed = Broker::new(&installation.settings.broker, topology).expect("a broker");

    let findings = changed.inspect(std::slice::from_ref(&old)).await.expect("it can be inspected");

    let finding = findings.iter().find(|finding| finding.name == old).expect("it is listed");
    assert!(matches!(finding.state, State::LeftOver(_)), "{finding:?}");
    changed.close().await;
}
