//! A broker that takes smaller messages than before: what it will never take is parked, and holds
//! nothing up.

use std::{collections::BTreeSet, time::Duration};

use homing::{
    broker::{Message, Route},
    domain::{event::Event, id::EventId, topic::Topic, verdict::ParkReason},
    parking::{Bodies, Selection},
};
use tokio::time::Instant;

use crate::support::{
    PATIENCE,
    broker::{Corner, Publisher, Raw},
    installation::{Installation, millis},
    node::Node,
    receiver::{Receiver, Recorded, Reply},
};

const WAITS: [u64; 2] = [200, 200];
/// As many as the lanes have places, several times the places of publishes.
const LARGE: usize = 64;
const GOOD: usize = 64;
const SETTINGS: &str = "broker.publish_channels = 4\nworker.in_flight_max = 128\n";

/// Goal: copies that the broker refuses for good do not stand in the way of others; their originals
/// are parked as `too_large`, without a copy. Method: 64 events that fail once, larger than what the
/// broker takes after a restart, among 64 that are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_the_broker_will_never_take_is_parked_and_holds_up_nothing() {
    let mut node = Node::start("fault-size").await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let installation = Installation::at(corner, &WAITS, SETTINGS).await;
    let receiver =
        Receiver::answering(|request| Reply::status(if request.attempt() > 1 { 200 } else { 503 }))
            .await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..LARGE {
        let body = vec![b'x'; 150_000];
        installation.publisher.publish(Raw::new("t", &format!("large-{number}"), body)).await;
        installation.publisher.publish(Raw::new("t", &format!("good-{number}"), "{}")).await;
    }
    let url = node.url.clone();
    node.stop().await;
    node.configure("max_message_size = 100000\n");
    node.up().await;
    assert_eq!(node.url, url, "it is where it was");

    let started = Instant::now();
    let running = installation.start();
    let good = |requests: &[Recorded]| {
        let accepted = requests.iter().filter(|it| it.attempt() > 1 && it.body.len() < 100);
        accepted.map(Recorded::id).collect::<BTreeSet<_>>().len()
    };
    while good(&receiver.requests()) < GOOD {
        assert!(started.elapsed() < PATIENCE, "{} are delivered", good(&receiver.requests()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let publisher = Publisher::new(&installation.corner).await;
    let parked = installation.names().parked();
    while publisher.depth(&parked).await < u32::try_from(LARGE).expect("a count") {
        assert!(started.elapsed() < PATIENCE, "they are not parked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;

    let all = Selection::default();
    let listing = installation.parts.parking.list(&all, 1_000, Bodies::Left).await;
    let entries = listing.expect("it can be listed").entries;
    assert_eq!(entries.len(), LARGE);
    assert!(entries.iter().all(|entry| entry.reason == ParkReason::TooLarge), "{:?}", entries[0]);
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.event_id.clone()).collect();
    assert_eq!(ids, (0..LARGE).map(|number| format!("large-{number}")).collect());
    println!("fault: max_message_size lowered | {LARGE} parked, {GOOD} delivered");

    let event = Event {
        id: EventId::new("new").expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "text/plain".to_owned(),
        content_encoding: None,
        body: vec![b'x'; 150_000].into(),
    };
    let message = Message::of_event(event).outgoing();
    let sent = installation.parts.broker.publish(&message, Route::Events).await;
    let error = sent.expect_err("it is too large");
    assert!(error.is_final() && error.told().contains("max_message_size"), "{}", error.told());
}
