//! A queue whose leader does not answer: the broker then counts no message in it.

use homing_delivery::parking::{Bodies, Selection};

use crate::support::{
    broker::{Corner, Raw},
    installation::{Installation, millis},
    node::Node,
    receiver::{Receiver, Reply},
};

const WAITS: [u64; 1] = [50];

/// Suspends the leader of `queue` for some seconds.
async fn silence(node: &Node, queue: &str) {
    let suspended = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
         {{Leader, _}} = amqqueue:get_pid(Q), ok = sys:suspend(Leader), \
         {{ok, _}} = timer:apply_after(6000, sys, resume, [Leader]), suspended."
    );
    assert!(node.ctl(&["eval", &suspended]).await.contains("suspended"));
}

/// Goal: no answer says that nothing is parked, and nothing is left out of a replay, because the broker
/// could not count. Method: three messages, and the leader of their queue suspended while they are
/// listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_is_found_where_the_broker_cannot_count() {
    let node = Node::start("fault-silent-leader").await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let installation = Installation::at(corner, &WAITS, "").await;
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for number in 0..3 {
        let raw = Raw::new("t", &format!("e{number}"), "{}");
        installation.publisher.publish(raw).await;
    }
    let parked = installation.names().parked();
    installation.wait_for_depth(&parked, 3).await;

    silence(&node, &parked).await;
    assert_eq!(installation.publisher.depth(&parked).await, 0, "the broker cannot count");
    let listing = installation.parts.parking.list(&Selection::default(), 10, Bodies::Omitted).await;
    let listing = listing.expect("it can be listed");
    assert_eq!((listing.entries.len(), listing.total), (3, 3));

    running.stop().await;
}
