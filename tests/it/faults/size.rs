//! A broker that takes smaller messages than before: what it will never take is parked, and holds
//! nothing up.

use std::collections::BTreeSet;

use homing::process::Role;
use homing_broker::{Message, Outgoing, Route};
use homing_delivery::parking::{Bodies, Selection};
use homing_domain::{event::Event, id::EventId, topic::Topic, verdict::ParkReason};
use lapin::{
    message::Delivery,
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use crate::support::{
    PATIENCE,
    broker::{Corner, Publisher, Raw},
    eventually, holds,
    installation::{Installation, millis},
    node::Node,
    receiver::{Receiver, Recorded, Reply},
};

const WAITS: [u64; 2] = [200, 200];
/// As many as the lanes have places.
const LARGE: usize = 64;
const GOOD: usize = 64;
const SETTINGS: &str = "worker.max_in_flight = 128\n";

fn event(id: &str, bytes: usize) -> Outgoing {
    let event = Event {
        id: EventId::new(id).expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "text/plain".to_owned(),
        content_encoding: None,
        body: vec![b'x'; bytes].into(),
    };
    Message::of_event(event).outgoing()
}

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

    let running = installation.start();
    let good = |requests: &[Recorded]| {
        let accepted = requests.iter().filter(|it| it.attempt() > 1 && it.body.len() < 100);
        accepted.map(Recorded::id).collect::<BTreeSet<_>>().len()
    };
    eventually(async || {
        let good = good(&receiver.requests());
        holds(good >= GOOD, format!("{good} are delivered"))
    })
    .await;
    installation.wait_for_parked(u32::try_from(LARGE).expect("few")).await;
    running.stop().await;

    let all = Selection::default();
    let listing = installation.parts.parking.list(&all, 1_000, Bodies::Omitted).await;
    let entries = listing.expect("it can be listed").entries;
    assert_eq!(entries.len(), LARGE);
    assert!(entries.iter().all(|entry| entry.reason == ParkReason::TooLarge), "{:?}", entries[0]);
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.event_id.clone()).collect();
    assert_eq!(ids, (0..LARGE).map(|number| format!("large-{number}")).collect());
    println!("fault: max_message_size lowered | {LARGE} parked, {GOOD} delivered");

    let message = event("new", 150_000);
    let sent = installation.parts.broker.publish(&message, Route::Events).await;
    let error = sent.expect_err("it is too large");
    assert!(error.is_final() && error.report().contains("max_message_size"), "{}", error.report());
}

/// Goal: a message that the broker will never take is refused, and what a source publishes behind it
/// arrives. Method: a pipeline with one such message in its midst; over HTTP, one that is too large and one that
/// is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_what_follows_it_arrives() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let further = folder.path().join("further.conf");
    std::fs::write(&further, "max_message_size = 100000\n").expect("it can be written");
    let variables = vec![("HOMING_BROKER_CONFIG", further.display().to_string())];
    let node = Node::start_with("fault-size-source", variables).await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let listen = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let listen = listen.expect("a port is free");
    let mut installation = Installation::at(corner, &WAITS, "").await;
    installation.settings.api.listen = listen;
    let primary = installation.names().primary();

    let pipeline = installation.parts.broker.pipeline(10, 1_000_000);
    for (id, bytes) in [("first", 10), ("large", 150_000), ("second", 10), ("third", 10)] {
        pipeline.publish(event(id, bytes)).await.expect("it is taken");
    }
    tokio::time::timeout(PATIENCE, pipeline.finish()).await.expect("it ends");
    // What was under way on the channel that the broker closed may be there twice.
    let depth = installation.publisher.depth(&primary).await;
    let waiting = installation.publisher.look_at(&primary).await;
    let id = |message: Delivery| message.properties.message_id().as_ref().expect("one").to_string();
    let ids: BTreeSet<_> = waiting.into_iter().map(id).collect();
    assert_eq!(ids, ["first", "second", "third"].map(str::to_owned).into());

    let running = installation.start_as(&[Role::Api]);
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    let url = format!("http://{listen}/v1/events?topic=t");
    let post = async |bytes: usize| client.post(&url).body(vec![b'x'; bytes]).send().await;
    let refused = eventually(async || post(150_000).await).await;
    assert_eq!(refused.status().as_u16(), 413);
    let problem = refused.text().await.expect("a text");
    assert!(problem.contains("max_message_size"), "{problem}");
    assert_eq!(post(10).await.expect("an answer").status().as_u16(), 202);
    installation.wait_for_depth(&primary, depth + 1).await;
    running.stop().await;
}

/// Goal: what was given up by an earlier version, and is too large for today's broker, stays where it is and
/// holds up nothing behind it. Method: more such messages than are sent ahead, in a queue that would delete
/// what is rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_moved_holds_up_nothing() {
    const STAYS: u32 = 150;
    const MOVES: u32 = 20;
    let mut node = Node::start("fault-size-former").await;
    let corner = Corner::at(node.url.clone(), &millis(&WAITS));
    let installation = Installation::at(corner, &WAITS, "").await;
    let (former, route) = (installation.names().former_parked(), installation.names().route());
    let channel = installation.publisher.channel();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let declared =
        channel.queue_declare(former.as_str().into(), QueueDeclareOptions::durable(), arguments);
    declared.await.expect("a queue");
    let options = QueueBindOptions::default();
    let (queue, exchange) = (former.as_str().into(), route.as_str().into());
    let bound =
        channel.queue_bind(queue, exchange, former.as_str().into(), options, FieldTable::default());
    bound.await.expect("a binding");
    for number in 0..STAYS + MOVES {
        let bytes = if number < STAYS { 150_000 } else { 10 };
        let raw = Raw::new(&former, &format!("parked-{number}"), vec![b'x'; bytes]).kind("t");
        let raw = raw.header("x-homing-parked-reason", "exhausted");
        installation.publisher.publish_to(&route, raw).await;
    }
    node.stop().await;
    node.configure("max_message_size = 100000\n");
    node.up().await;

    let running = installation.start();
    let publisher = Publisher::new(&installation.corner).await;
    let wait_for = async |queue: &str, count: u32| {
        eventually(async || {
            let depth = publisher.depth(queue).await;
            holds(depth == count, format!("`{queue}` has {depth} messages, not {count}"))
        })
        .await;
    };
    installation.wait_for_parked(MOVES).await;
    running.stop().await;
    wait_for(&former, STAYS).await;
    installation.wait_for_parked(MOVES).await;
}
