//! Connections that end again and again: what was sent ahead over them is not parked for that.

use std::{collections::BTreeSet, time::Duration};

use homing::config::Settings;
use homing_broker::{
    Broker, Message, Route,
    consume::{Consumer, Lane, Received},
    prefetch::Bounds,
    topology::ShardPart,
};
use homing_domain::{delivery::Progress, event::Event, id::EventId, topic::Topic};
use tokio::time::{Instant, timeout};

use crate::support::{
    PATIENCE,
    broker::{Corner, Raw, url},
    installation::{Installation, millis},
    proxy::Proxy,
    receiver::{Receiver, Recorded},
};

/// Four times the broker's limit of returns.
const LOSSES: u32 = 200;
const EVENTS: usize = 20;
/// The wait in which everything that was prefetched comes.
const QUIET: Duration = Duration::from_millis(20);
const BOUNDS: Bounds = Bounds { max_messages: 64, max_bytes: 1_048_576, largest: 1_024 };

/// Takes everything that is in the queue of `lane`, with the duplicates that a lost confirm leaves
/// behind; more may not come.
async fn take_all(broker: &Broker, lane: Lane) -> (Consumer, Vec<Received>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "not all of them come");
        let queues = broker.topology().lane_queues(lane, ShardPart::ALL);
        let Ok(mut consumer) = broker.consume(lane, queues, BOUNDS).await else { continue };
        let (mut taken, mut ids) = (Vec::new(), BTreeSet::new());
        loop {
            let wait = if ids.len() < EVENTS { PATIENCE } else { QUIET };
            match timeout(wait, consumer.next()).await {
                Ok(Ok(Some(next))) => {
                    if let Some(received) = next.received {
                        let message = received.content.as_ref().expect("it is a message");
                        ids.insert(message.event.id.as_str().to_owned());
                        taken.push(received);
                    }
                }
                Ok(Ok(None) | Err(_)) => break,
                Err(_elapsed) if ids.len() == EVENTS => return (consumer, taken),
                Err(elapsed) => panic!("not all of them come: {elapsed}"),
            }
        }
    }
}

/// Goal: no end of a connection is charged to what was sent ahead over it, in either lane. Method: all
/// messages are taken, and the connections cut, 200 times; then a worker delivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_lost_connections_park_nothing() {
    let installation = Installation::at(Corner::new(&millis(&[60_000])), &[60_000], "").await;
    let receiver = Receiver::accepting().await;
    let subscription = installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..EVENTS {
        let raw = Raw::new("order.paid", &format!("event-{number}"), "{}").header("team", "blue");
        installation.publisher.publish(raw).await;
        let event = Event {
            id: EventId::new(&format!("delivery-{number}")).expect("an id"),
            topic: Topic::new("order.paid").expect("a topic"),
            content_type: "application/json".to_owned(),
            content_encoding: None,
            body: "{}".into(),
        };
        let progress = Progress { attempts: 3, ..Progress::default() };
        let delivery = Message::of_event(event).for_subscription(subscription, progress).outgoing();
        installation.parts.broker.publish(&delivery, Route::Retry).await.expect("published");
    }

    let proxy = Proxy::to(&url()).await;
    let settings = format!("[broker]\nurl = \"{}\"\nnew_queue_wait = \"0s\"", proxy.url());
    let settings = Settings::from_toml(&settings).expect("the settings make sense");
    let topology = installation.corner.topology.clone();
    let broker = Broker::new(&settings.broker, topology).expect("they make sense");
    let mut most_returns = 0;
    for _ in 0..LOSSES {
        let (primary, events) = take_all(&broker, Lane::Primary).await;
        let (retry, deliveries) = take_all(&broker, Lane::Retry).await;
        for received in &events {
            let message = received.content.as_ref().expect("it is an event");
            assert_eq!(message.headers(), [("team".to_owned(), "blue".to_owned())]);
            assert_eq!(message.event.topic.as_str(), "order.paid");
            most_returns = most_returns.max(received.returned);
        }
        for received in &deliveries {
            let message = received.content.as_ref().expect("it is a delivery");
            assert_eq!(
                (message.subscription(), message.progress.attempts),
                (Some(subscription), 3)
            );
        }
        proxy.cut();
        drop((primary, retry, events, deliveries));
    }
    broker.close().await;
    assert!((20..50).contains(&most_returns), "{most_returns}");

    let running = installation.start();
    receiver.wait_for(2 * EVENTS).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let ids: BTreeSet<_> = receiver.requests().iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), 2 * EVENTS);
    assert!(installation.parked().await.is_empty());
    println!("fault: {LOSSES} lost connections | {} delivered, none parked", ids.len());
}
