//! Faults of a held queue itself: full, unbound, deleted. Nothing is lost by it, but what was in a
//! queue that is deleted.

use std::time::Duration;

use homing_store::Intervention;
use lapin::{
    message::Delivery,
    options::{BasicGetOptions, BasicNackOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::Instant;

use super::{
    bindings::unbind,
    held::{account, open_at_once},
    policies::set_policy,
};
use crate::{
    circuits::CIRCUIT,
    held::{Endpoint, numbers, publish, set},
    support::{
        broker::Corner,
        eventually, holds,
        installation::{Installation, millis},
        node::Node,
    },
};

/// Waits until `endpoint` has accepted all of `expected`, each once and at its first attempt.
async fn all_come_once(fault: &str, endpoint: &Endpoint, expected: &[String]) {
    let enabled = Instant::now();
    endpoint.wait_for(expected).await;
    let duplicates = account(fault, &endpoint.accepted(), expected, enabled.elapsed());
    assert_eq!(duplicates, 0);
    let requests = endpoint.receiver.requests();
    assert!(requests.iter().all(|request| request.attempt() == 1), "nothing was charged");
}

/// Goal: a held queue that takes no more sends deliveries to the ladder, where they wait at their
/// own step until the circuit closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_held_queue_refuses_waits_on_the_ladder() {
    const FULL: u32 = 20;
    let waits = [1_000, 600_000];
    let node = Node::start("fault-held-full").await;
    let corner = Corner::at(node.url.clone(), &millis(&waits));
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::at(corner, &waits, &settings).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    open_at_once(&installation, &[url.parse().expect("a URL")]).await;
    let queue = installation.names().held(0);
    let policy = format!(r#"{{"max-length": {FULL}}}"#);
    set_policy(&node, "set_operator_policy", &queue, &policy).await;
    let running = installation.start();
    let all = numbers(0..200);
    publish(&installation, &all).await;

    // What is on the ladder comes back each second, and is refused again.
    let first_wait = installation.names().wait(Duration::from_millis(waits[0]));
    eventually(async || {
        let held = installation.publisher.depth(&queue).await;
        let waiting = installation.publisher.depth(&first_wait).await;
        holds(held >= FULL && waiting > 100, format!("{held} are held, {waiting} wait"))
    })
    .await;
    assert_eq!(endpoint.receiver.count(), 0, "its circuit is open");
    set(&installation, &url, Intervention::Enable).await;
    all_come_once("held queue full", &endpoint, &all).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert!(installation.parked().await.is_empty());
}

/// Goal: deliveries for which the held queue is not there are held once it is, for their time and
/// not for longer. Method: a frozen URL that has the slot already; the queue is unbound, and then
/// deleted while it is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_come_to_a_held_queue_that_was_unbound_or_deleted() {
    let installation = Installation::with(&[600_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    let running = installation.start();
    let all = numbers(0..101);
    publish(&installation, &all[..1]).await;
    let (queue, route) = (installation.names().held(0), installation.names().route());
    installation.wait_for_depth(&queue, 1).await;

    let channel = installation.publisher.channel();
    let mut published = 1;
    let held = loop {
        assert!(published < 51, "none was without a route");
        // A worker may repair it at any time.
        unbind(channel, (&queue, &route, &queue)).await;
        publish(&installation, &all[published..published + 10]).await;
        published += 10;
        installation.wait_for_depth(&queue, u32::try_from(published).expect("few")).await;
        let held = look(&installation, &queue).await;
        if held.iter().any(|message| header(message, "x-homing-unrouted").is_some()) {
            break held;
        }
    };
    let ends = held.iter().filter(|message| message.properties.expiration().is_some()).count();
    assert_eq!(ends, published, "all have a time after which they are parked");
    set(&installation, &url, Intervention::Enable).await;
    all_come_once("held queue unbound", &endpoint, &all[..published]).await;

    set(&installation, &url, Intervention::Disable).await;
    installation.wait_for_depth(&queue, 0).await;
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    deleted.expect("an operator deletes a queue");
    publish(&installation, &all[published..]).await;
    let left = all.len() - published;
    eventually(async || {
        let depth = installation.parts.broker.depth(&queue).await.expect("the broker answers");
        let depth = depth.map(|depth| depth.messages);
        let is_all = depth.is_some_and(|depth| usize::try_from(depth).is_ok_and(|it| it == left));
        holds(is_all, format!("{depth:?} of {left} are held"))
    })
    .await;
    set(&installation, &url, Intervention::Enable).await;
    all_come_once("held queue deleted while it is empty", &endpoint, &all).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
}

/// All messages of `queue`, which stay there.
async fn look(installation: &Installation, queue: &str) -> Vec<Delivery> {
    let (channel, mut found) = (installation.publisher.channel(), Vec::new());
    let options = BasicGetOptions { no_ack: false };
    while let Some(message) = channel.basic_get(queue.into(), options).await.expect("it answers") {
        found.push(message.delivery);
    }
    let back = BasicNackOptions { multiple: true, requeue: true };
    channel.basic_nack(0, back).await.expect("they go back");
    found
}

fn header<'a>(message: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    let table: &FieldTable = message.properties.headers().as_ref()?;
    table.inner().get(&ShortString::from(name))
}
