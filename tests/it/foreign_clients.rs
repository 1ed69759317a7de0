//! Programs publish with the clients they have: Python's pika, Node's amqplib and, over AMQP 1.0, rhea.

use std::{collections::BTreeMap, process::Stdio};

use homing_delivery::parking::Entry;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};
use url::Url;

use crate::support::{
    PATIENCE,
    broker::{self, Corner, Raw},
    clients,
    installation::{Installation, millis},
    node::Node,
    receiver::{Receiver, Recorded, Reply},
};

/// Runs a script to its end; what it printed.
async fn run(mut command: Command, installation: &Installation) -> String {
    let ended = command
        .env("AMQP_URL", &installation.corner.url)
        .env("EXCHANGE", installation.names().events())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("in time").expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// The messages of both scripts: one with nothing but a body, one with everything that the
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

/// Goal: what is not text where AMQP says text is parked at first sight with its bytes shown, and takes
/// no other with it. Method: everything in which a client can write such bytes, and headers that are
/// events all the same, among good events.
#[tokio::test]
async fn what_is_not_utf8_is_parked_at_first_sight_and_hurts_no_other() {
    const GOOD: usize = 20;
    /// As the script prints them.
    const WAYS: usize = 12;
    const EVENTS: usize = 2;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("before{number}"), "{}")).await;
    }
    let mut command = Command::new(clients().join("venv/bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish_not_utf8.py"));
    let printed = run(command, &installation).await;
    assert_eq!(printed.trim(), format!("{WAYS} {EVENTS}"));
    for number in 0..GOOD {
        installation.publisher.publish(Raw::new("t", &format!("after{number}"), "{}")).await;
    }

    let running = installation.start();
    receiver.wait_for(2 * GOOD + EVENTS).await;
    let parked = installation.wait_for_parked(u32::try_from(WAYS).expect("few")).await;
    installation.assert_nothing_waits().await;

    let reported = |entry: &Entry| entry.last_outcome.clone().unwrap_or_default();
    for entry in &parked {
        // By homing: the broker has not counted one of them as returned.
        assert_eq!(entry.reason.as_str(), "unreadable", "{}", reported(entry));
        assert!(reported(entry).contains("is not UTF-8: "), "{}", reported(entry));
    }
    for (what, bytes) in [
        ("`message_id`", r"Gr\xfc\xdfe"),
        ("`message_id`", r"\xff\xfe1"),
        ("the routing key", r"Gr\xfc\xdfe"),
        ("the name of a header", r"Gr\xfc\xdfe"),
        ("a name in header `deep`", r"Gr\xfc\xdfe"),
        ("`app_id`", r"Gr\xfc\xdfe"),
    ] {
        let sentence = format!("{what} is not UTF-8: {bytes}");
        assert!(parked.iter().any(|entry| reported(entry) == sentence), "{sentence}");
    }
    assert!(parked.iter().any(|entry| entry.event_id == r"Gr\xfc\xdfe"));

    // Replaying cannot help, and does no harm.
    installation.replay_all().await;
    installation.assert_nothing_waits().await;
    installation.wait_for_parked(u32::try_from(WAYS).expect("few")).await;
    running.stop().await;
    let mut ids: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2 * GOOD + EVENTS);
    assert_eq!(receiver.requests().len(), 2 * GOOD + EVENTS);
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

/// True if the broker answers as AMQP 1.0 begins; others say which version they speak, and close.
async fn speaks_amqp_1_0(url: &str) -> bool {
    const SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
    let url: Url = url.parse().expect("a URL");
    let address = (url.host_str().expect("a host"), url.port().unwrap_or(5672));
    let mut stream = TcpStream::connect(address).await.expect("the broker listens");
    stream.write_all(&SASL).await.expect("it can be written");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.is_ok() && answer == SASL
}

/// The fate of the script's messages: bodies of events by topic; ids of what is parked, and why.
///
/// RabbitMQ 4 makes text of every id; the plugin of RabbitMQ 3 hands on bytes, and encodes several data
/// sections.
fn outcomes(
    is_native: bool,
) -> (BTreeMap<&'static str, String>, Vec<(&'static str, &'static str)>) {
    let whole = |key| (key, format!("{{\"from\":\"{key}\",\"ü\":1.0}}"));
    let mut delivered =
        BTreeMap::from(["value.text", "value.binary", "data.one", "full"].map(whole));
    delivered.insert("value.long-text", format!("{{\"long\":\"{}\"}}", "x".repeat(300)));
    let mut parked = vec![
        ("sequence.one", "its body is a sequence"),
        ("sequence.two", "its body is a sequence"),
        ("value.array", "its body is an array"),
        ("value.map", "its body is a map"),
        ("value.null", "its body is null"),
        ("value.number", "its body is a value that is neither text nor binary"),
    ];
    if is_native {
        delivered.extend(["id.uuid", "id.number", "id.binary"].map(whole));
        delivered.insert("data.two", r#"{"from":"data.two"}"#.to_owned());
        parked.push(("value.list", "its body is a list"));
    } else {
        parked.push(("data.two", "its body is data in several sections"));
        parked.extend([("bytes", "`message_id` is not UTF-8"); 2]);
    }
    parked.sort_unstable();
    (delivered, parked)
}

/// Goal: an event of AMQP 1.0 is delivered where its body is bytes, or one text or binary value; any other is
/// parked with what it is, and its bytes. Method: all kinds of bodies, through the broker of all tests
/// where that speaks AMQP 1.0, as it does from version 4 on, else through one with the plugin.
#[tokio::test]
async fn rhea_publishes_over_amqp_1_0() {
    let is_native = speaks_amqp_1_0(&broker::url()).await;
    let plugin = vec![("HOMING_BROKER_PLUGINS", "rabbitmq_amqp1_0".to_owned())];
    let node = if is_native { None } else { Some(Node::start_with("amqp10", plugin).await) };
    let url = node.as_ref().map_or_else(broker::url, |node| node.url.clone());
    let corner = Corner::at(url, &millis(&[100]));
    // The broker's own words in `type` are no topics.
    let installation = Installation::at(corner, &[100], "events.topic_from = \"type\"").await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/publish_amqp10.js"));
    command.env("NODE_PATH", clients().join("node_modules"));
    command.env("PLUGIN", if is_native { "no" } else { "yes" });
    run(command, &installation).await;

    let (delivered, parked) = outcomes(is_native);
    let requests = receiver.wait_for(2 * delivered.len()).await;
    let entries = installation.wait_for_parked(u32::try_from(parked.len()).expect("few")).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 2 * delivered.len());
    for (topic, body) in delivered {
        let came = |request: &&Recorded| request.header("x-homing-topic") == Some(topic);
        let attempts: Vec<_> = requests.iter().filter(came).collect();
        let [first, second] = attempts.as_slice() else { panic!("{topic}: {attempts:?}") };
        assert_eq!(first.id(), second.id(), "{topic}");
        assert_eq!((&first.body[..], &second.body[..]), (body.as_bytes(), body.as_bytes()));
        if topic == "full" {
            assert_eq!(first.header("content-type"), Some("application/vnd.test+json"));
            // The plugin keeps application properties to itself.
            let trace = first.header("traceparent").unwrap_or_default();
            let is_published = trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-");
            assert_eq!(is_published, is_native, "{trace}");
        }
    }
    let mut seen = Vec::new();
    for Entry { event_id, last_outcome, body, .. } in &entries {
        let reported = last_outcome.as_deref().unwrap_or_default();
        let what = reported.split([',', ':']).next().unwrap_or_default();
        let what = what.split(" in AMQP 1.0").next().unwrap_or_default();
        assert_eq!(body.as_ref().expect("its body")[..2], *b"\0S", "{what}: as it is encoded");
        seen.push((if event_id.starts_with(r"\x") { "bytes" } else { event_id }, what));
    }
    seen.sort_unstable();
    assert_eq!(seen, parked);
}
