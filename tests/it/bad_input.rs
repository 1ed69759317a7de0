//! Bad input gets a clear answer, and nothing is lost by it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::StreamExt;
use lapin::{options::BasicConsumeOptions, types::FieldTable};

use crate::support::{
    PATIENCE,
    broker::{self, Corner, Raw},
    installation::{Installation, millis},
    node::Node,
    process::Site,
    receiver::{Receiver, Recorded, Reply},
};

#[tokio::test]
async fn an_event_that_is_too_large_is_parked_whole() {
    let installation = Installation::with(&[50], "worker.max_event_bytes = 1000").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "large", vec![b'x'; 1_001])).await;
    installation.publisher.publish(Raw::new("t", "fits", vec![b'x'; 1_000])).await;

    let request = receiver.wait_for(1).await.remove(0);
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    assert_eq!(request.body.len(), 1_000);
    assert_eq!(parked.event_id, "large");
    assert_eq!(parked.reason.as_str(), "too_large");
    assert_eq!(parked.body_bytes, 1_001);
}

#[tokio::test]
async fn what_is_no_event_is_parked_as_it_came_with_the_reason() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("", "no-topic", "a")).await;
    let raw = Raw::new("t", "no-uuid", "b").header("x-homing-subscription", "another");
    installation.publisher.publish(raw).await;
    // Together with our own headers these would not fit into a frame.
    let raw = Raw::new("t", "poison", "p")
        .header("x-homing-subscription", &"x".repeat(100_000))
        .header("large", &"y".repeat(30_000));
    installation.publisher.publish(raw).await;
    installation.publisher.publish(Raw::new("t", "good", "c")).await;

    receiver.wait_for(1).await;
    let parked = installation.wait_for_parked(3).await;
    let subscription = "`x-homing-subscription`";
    for (entry, what) in
        [("no-topic", "no topic"), ("no-uuid", subscription), ("poison", subscription)]
    {
        let entry = parked.iter().find(|parked| parked.event_id == entry).expect("it is parked");
        assert_eq!(entry.reason.as_str(), "unreadable");
        let why = entry.last_outcome.as_deref().expect("it says why");
        assert!(why.contains(what), "{why}");
    }

    // Replaying cannot help, and does no harm.
    installation.replay_all().await;
    installation.assert_nothing_waits().await;
    installation.wait_for_parked(3).await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 1);
}

/// Goal: properties on which the broker acts do no harm on the way through the wait queues.
#[tokio::test]
async fn properties_that_the_broker_would_act_on_lose_nothing() {
    use lapin::{
        BasicProperties,
        options::BasicPublishOptions,
        types::{AMQPValue, FieldTable},
    };
    let installation = Installation::new(&[200]).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    let mut table = FieldTable::default();
    let copies = AMQPValue::LongString(installation.names().parked().into());
    table.insert("CC".into(), AMQPValue::FieldArray(vec![copies].into()));
    table.insert("large".into(), AMQPValue::LongString("x".repeat(100_000).into()));
    let properties = BasicProperties::default()
        .with_message_id("event-1".into())
        .with_expiration("60000".into())
        .with_user_id("guest".into())
        .with_priority(3)
        .with_headers(table);
    let confirm = installation
        .publisher
        .channel()
        .basic_publish(
            installation.names().events().into(),
            "t".into(),
            BasicPublishOptions::default(),
            b"{}",
            properties,
        )
        .await
        .expect("published")
        .await
        .expect("confirmed");
    assert!(confirm.is_ack());

    receiver.wait_for(2).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 2);
    assert!(installation.wait_for_parked(0).await.is_empty());
}

/// Bytes of a header with which a message just fits into a frame of 128 KiB when it is published, and
/// no more when the broker has added one of its own.
const NEARLY_A_FRAME: usize = 131_020;

/// Goal: RabbitMQ sends headers in whatever size they have, and one message with more than fits into
/// a frame ends no connection. Method: one that is nearly as large as a frame, given back once, so
/// that the broker counts that in a further header; among good events.
#[tokio::test]
async fn headers_larger_than_a_frame_hurt_no_other() {
    const GOOD: usize = 40;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let raw = Raw::new("t", "large", "{}").header("large", &"x".repeat(NEARLY_A_FRAME));
    installation.publisher.publish(raw).await;
    give_back_one_of(&installation, &installation.names().primary()).await;
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("good{number}"), "{}")).await;
    }

    let running = installation.start();
    receiver.wait_for(GOOD + 1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let mut ids: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), receiver.requests().len()), (GOOD + 1, GOOD + 1));
    assert!(installation.wait_for_parked(0).await.is_empty());
}

/// Goal: such a message does not hide what lies behind it in the parking queue. Method: it is
/// published there, given back, and followed by another; both are found, and sent again.
#[tokio::test]
async fn headers_larger_than_a_frame_hide_nothing_that_is_parked() {
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let (route, parked) = (installation.names().route(), installation.names().parked());
    for id in ["large", "behind"] {
        let mut raw = Raw::new(&parked, id, "{}").header("x-homing-routing-key", "t");
        if id == "large" {
            raw = raw.header("large", &"x".repeat(NEARLY_A_FRAME - 30));
        }
        installation.publisher.publish_to(&route, raw).await;
    }
    give_back_one_of(&installation, &parked).await;

    let entries = installation.wait_for_parked(2).await;
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.event_id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["large", "behind"]));
    let running = installation.start();
    installation.replay_all().await;
    receiver.wait_for(2).await;
    installation.wait_for_parked(0).await;
    running.stop().await;
}

/// Goal: neither does one with which a worker was killed, so that the broker sends it again with a further
/// header. Method: the endpoint says nothing until the first worker is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_larger_than_a_frame_hurt_no_other_after_a_kill() {
    const GOOD: usize = 40;
    let is_killed = Arc::new(AtomicBool::new(false));
    let killed = Arc::clone(&is_killed);
    let receiver = Receiver::answering(move |_| {
        if killed.load(Ordering::SeqCst) {
            Reply::status(200)
        } else {
            Reply::status(200).after(PATIENCE)
        }
    })
    .await;
    let site = Site::new(&[60_000], "");
    site.run(&["topology", "apply"]);
    site.subscribe(&receiver.url("/"), "#", &[]);
    let publisher = site.publisher().await;
    let large = "x".repeat(NEARLY_A_FRAME);
    publisher.publish(Raw::new("t", "large", "{}").header("large", &large)).await;
    for number in 0..GOOD {
        publisher.publish(Raw::new("t", &format!("good{number}"), "{}")).await;
    }

    let worker = site.start();
    receiver.wait_for(1).await;
    worker.kill_9();
    is_killed.store(true, Ordering::SeqCst);
    let worker = site.start();
    site.wait_until_settled().await;
    drop(worker);
    assert!(site.parked().is_empty());
    let ids: BTreeSet<_> = receiver.requests().iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), GOOD + 1);
    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert!(!log.contains("connection_lost"), "{log}");
}

/// Goal: headers as large as only another protocol takes them hurt no other either. Method: 300 KiB by
/// STOMP, among good events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_by_stomp_larger_than_a_frame_hurt_no_other() {
    const GOOD: usize = 40;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let port = port.expect("a port is free").port();
    let further = folder.path().join("further.conf");
    let config = format!("stomp.listeners.tcp.1 = 127.0.0.1:{port}\n");
    std::fs::write(&further, config).expect("it can be written");
    let node = Node::start_with(
        "stomp",
        vec![
            ("HOMING_BROKER_CONFIG", further.display().to_string()),
            ("HOMING_BROKER_PLUGINS", "rabbitmq_stomp".to_owned()),
        ],
    )
    .await;
    let site = Site::at(Corner::at(node.url.clone(), &millis(&[60_000])), &[60_000], "");
    site.run(&["topology", "apply"]);
    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/"), "#", &[]);
    let publisher = site.publisher().await;
    let exchange = site.corner.topology.names().events();
    for number in 0..GOOD {
        if number == GOOD / 2 {
            send_by_stomp(port, &exchange, 300 * 1_024);
        }
        publisher.publish(Raw::new("t", &format!("good{number}"), "{}")).await;
    }
    let primary = site.corner.topology.names().primary();
    assert_eq!(publisher.depth(&primary).await, u32::try_from(GOOD + 1).expect("a count"));

    let worker = site.start();
    receiver.wait_for(GOOD + 1).await;
    site.wait_until_settled().await;
    drop(worker);
    assert_eq!(receiver.requests().len(), GOOD + 1);
    assert!(site.parked().is_empty());
    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert!(!log.contains("connection_lost"), "{log}");
    assert!(log.contains("broker.headers_left_out"), "it came as large as it was sent: {log}");
}

/// Sends an event with headers of so many bytes, and waits for the broker to have it.
fn send_by_stomp(port: u16, exchange: &str, header_bytes: usize) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let value = "x".repeat(header_bytes / 8);
    let headers =
        (0..8).fold(String::new(), |all, number| all + &format!("large-{number}:{value}\n"));
    let frames = format!(
        "CONNECT\nlogin:guest\npasscode:guest\nhost:/\n\n\0\
         SEND\ndestination:/exchange/{exchange}/t\npersistent:true\nreceipt:sent\n{headers}\n{{}}\0"
    );
    stream.write_all(frames.as_bytes()).expect("it takes that");
    let mut answers = BufReader::new(stream);
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("receipt-id:sent") {
        let read = answers.read_until(b'\n', &mut answer).expect("an answer");
        assert!(read > 0, "refused: {}", String::from_utf8_lossy(&answer));
    }
}

/// Takes the first message of `queue` and leaves it unanswered, as a process that dies does.
async fn give_back_one_of(installation: &Installation, queue: &str) {
    let depth = installation.publisher.depth(queue).await;
    let connection = broker::connect(&installation.corner.url).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel opens");
    // Not `basic.get`, for which the broker counts in a header at once.
    let options = BasicConsumeOptions::default();
    let consumed = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut messages = consumed.await.expect("it can be consumed");
    let taken = tokio::time::timeout(PATIENCE, messages.next()).await.expect("in time");
    taken.expect("a message").expect("one that can be read");
    connection.close(200, "OK".into()).await.expect("it closes");
    installation.wait_for_depth(queue, depth).await;
}
