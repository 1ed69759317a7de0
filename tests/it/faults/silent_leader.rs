//! A queue whose leader does not answer: the broker then counts no message in it.

use std::time::Duration;

use futures_util::future::join_all;
use homing_broker::{Message, Route};
use homing_delivery::parking::{Bodies, Selection};
use homing_domain::{event::Event, id::EventId, topic::Topic};
use tokio::time::Instant;

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
    installation.wait_for_parked(3).await;

    silence(&node, &parked).await;
    assert_eq!(installation.publisher.depth(&parked).await, 0, "the broker cannot count");
    let listing = installation.parts.parking.list(&Selection::default(), 10, Bodies::Omitted).await;
    let listing = listing.expect("it can be listed");
    assert_eq!((listing.entries.len(), listing.total), (3, 3));
    assert_eq!(listing.arriving.messages, None, "a zero that the broker made up is none");

    running.stop().await;
}

/// Goal: a queue that does not answer holds up what is for it and nothing else. Method: messages for
/// it among many for another queue, published at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_does_not_answer_holds_up_nothing_else() {
    const OTHERS: usize = 1_000;
    let node = Node::start("fault-silent-publish").await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let installation = Installation::at(corner, &WAITS, "").await;
    let broker = &installation.parts.broker;
    broker.connect_to_publish().await.expect("it connects");
    let event = Event {
        id: EventId::new("e").expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "text/plain".to_owned(),
        content_encoding: None,
        body: "x".into(),
    };
    let message = Message::of_event(event).outgoing();

    silence(&node, &installation.names().parked()).await;
    let began = Instant::now();
    let parking = join_all((0..5).map(|_| broker.publish(&message, Route::Parked)));
    let others = async {
        let others = (0..OTHERS).map(|_| broker.publish(&message, Route::Retry));
        for other in join_all(others).await {
            other.expect("its queue answers");
        }
        began.elapsed()
    };
    let (parked, within) = tokio::join!(parking, others);
    assert!(within < Duration::from_secs(3), "held up for {within:?}");
    assert!(began.elapsed() > Duration::from_secs(4), "the queue was silent");
    assert!(parked.iter().all(Result::is_ok), "{parked:?}");
    broker.close().await;
}
