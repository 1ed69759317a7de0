//! Policies that operators set for everything: nothing that homing keeps is deleted by one.

use std::{collections::BTreeSet, time::Duration};

use homing::config::Settings;
use homing_broker::{Broker, Message, Route, error::BrokerError, topology::Topology};
use homing_delivery::parking::{Bodies, Selection};
use homing_domain::{event::Event, id::EventId, topic::Topic};
use lapin::options::BasicPublishOptions;
use tokio::time::{sleep, timeout};

use crate::support::{
    broker::Corner,
    eventually, holds,
    installation::{Installation, millis},
    node::Node,
    receiver::{Receiver, Reply},
};

/// Keys of a blanket policy.
const POLICIES: [&str; 4] = [
    r#"{"delivery-limit": 3}"#,
    r#"{"max-length": 5}"#,
    r#"{"message-ttl": 1000}"#,
    r#"{"max-length-bytes": 600}"#,
];
const WAITS: [u64; 1] = [100];
const EVENTS: usize = 40;

/// For everything of `prefix`.
pub(super) async fn set_policy(node: &Node, command: &str, prefix: &str, policy: &str) {
    let pattern = format!("^{prefix}");
    node.ctl(&[command, "blanket", &pattern, policy, "--apply-to", "queues"]).await;
}

/// Publishes until the broker takes it: a queue that is full refuses.
async fn publish(installation: &Installation, number: usize) {
    let channel = installation.publisher.channel();
    let exchange = installation.names().events();
    let properties = lapin::BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(format!("event-{number}").into());
    eventually(async || {
        let confirm = channel.basic_publish(
            exchange.as_str().into(),
            "t".into(),
            BasicPublishOptions::default(),
            br#"{"some":"body of sixty bytes or so, to fill a queue up"}"#,
            properties.clone(),
        );
        let confirm = confirm.await.expect("it is sent").await.expect("it is answered");
        holds(confirm.is_ack(), format!("event {number} is not taken"))
    })
    .await;
}

async fn ids(installation: &Installation) -> Vec<String> {
    let all = Selection::default();
    let listing = installation.parts.parking.list(&all, 10_000, Bodies::Omitted).await;
    listing.expect("it can be listed").entries.into_iter().map(|entry| entry.event_id).collect()
}

/// Goal: everything that was given up is parked when the policy is removed, and nothing else is.
async fn nothing_is_lost_under(node: &Node, (set_command, clear): (&str, &str), policy: &str) {
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let prefix = corner.prefix.clone();
    let installation = Installation::at(corner, &WAITS, "").await;
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    set_policy(node, set_command, &prefix, policy).await;
    let running = installation.start();
    for number in 0..EVENTS {
        publish(&installation, number).await;
    }
    receiver.wait_for(EVENTS).await;

    for _ in 0..6 {
        ids(&installation).await;
        // Lists are what counts as returns; the policy has its time between them.
        sleep(Duration::from_millis(500)).await;
    }
    node.ctl(&[clear, "blanket"]).await;

    // The broker may move a last one while they are listed: it is back soon.
    let mut parked = Vec::new();
    for _ in 0..5 {
        installation.wait_for_parked(40).await;
        parked = ids(&installation).await;
        if parked.len() == EVENTS {
            break;
        }
    }
    let expected: BTreeSet<_> = (0..EVENTS).map(|number| format!("event-{number}")).collect();
    assert_eq!(parked.len(), EVENTS, "{policy}");
    assert_eq!(parked.into_iter().collect::<BTreeSet<_>>(), expected, "{policy}");
    installation.assert_nothing_waits().await;
    running.stop().await;
    println!("fault: {set_command} {policy} | {EVENTS} events | all parked, none lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_is_deleted_by_a_policy() {
    let node = Node::start("fault-policies").await;
    for policy in POLICIES {
        Box::pin(nothing_is_lost_under(&node, ("set_policy", "clear_policy"), policy)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_is_deleted_by_an_operator_policy() {
    let node = Node::start("fault-operator-policies").await;
    let commands = ("set_operator_policy", "clear_operator_policy");
    for policy in POLICIES {
        Box::pin(nothing_is_lost_under(&node, commands, policy)).await;
    }
}

/// Goal: a parking queue that is full refuses, and homing says which queue it is until it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_is_named() {
    let node = Node::start("fault-full").await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let installation = Installation::at(corner, &WAITS, "").await;
    let (broker, parked) = (&installation.parts.broker, installation.names().parked());
    set_policy(&node, "set_operator_policy", &parked, r#"{"max-length": 2}"#).await;
    let event = Event {
        id: EventId::new("e").expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "text/plain".to_owned(),
        content_encoding: None,
        body: "x".into(),
    };
    let message = Message::of_event(event).outgoing();

    eventually(async || {
        let published = broker.publish(&message, Route::Parked).await;
        holds(matches!(published, Err(BrokerError::Nacked { .. })), format!("{published:?}"))
    })
    .await;
    let refusing = broker.refusing();
    assert!(refusing.len() == 1 && refusing[0].contains(&parked), "{refusing:?}");
    assert_eq!(installation.publisher.depth(&parked).await, 3, "those before stay");

    node.ctl(&["clear_operator_policy", "blanket"]).await;
    eventually(async || broker.publish(&message, Route::Parked).await).await;
    assert_eq!(broker.refusing(), Vec::<String>::new());
}

fn locker(node: &Node, prefix: &str) -> Broker {
    let text = format!(
        "broker.url = \"{}\"\nbroker.prefix = \"{prefix}\"\nbroker.heartbeat = \"2s\"\n\
         broker.new_queue_wait = \"0s\"\n",
        node.url
    );
    let settings = Settings::from_toml(&text).expect("settings").broker;
    let topology = Topology::new(prefix, []).with_slots([("main", 1)]);
    Broker::new(&settings, topology).expect("a broker")
}

/// Goal: a lock that is held stays held, one that is free can be taken, whatever policy is set.
/// Method: a heartbeat of two seconds, so that it is proved once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_survives_every_policy() {
    const HELD: Duration = Duration::from_secs(7);
    let node = Node::start("fault-locks").await;
    let policies = [r#"{"delivery-limit": 1}"#, r#"{"max-length": 1}"#, r#"{"message-ttl": 200}"#];
    for (number, policy) in policies.iter().enumerate() {
        let prefix = format!("locks{number}");
        let (one, other) = (locker(&node, &prefix), locker(&node, &prefix));
        one.connect().await.expect("it connects");
        set_policy(&node, "set_policy", &prefix, policy).await;
        for _ in 0..2 {
            let lock = one.try_lock("main", 1).await.expect("it is known");
            let lock = lock.expect("it is free");
            assert!(timeout(HELD, lock.lost()).await.is_err(), "lost under {policy}");
            assert!(other.try_lock("main", 1).await.expect("it is known").is_none(), "{policy}");
            lock.release().await;
            // The policy has its time with a lock that is free.
            sleep(Duration::from_secs(1)).await;
        }
        let lock = other.try_lock("main", 1).await.expect("it is known");
        assert!(lock.is_some(), "{policy}");
        node.ctl(&["clear_policy", "blanket"]).await;
        one.close().await;
        other.close().await;
    }
}
