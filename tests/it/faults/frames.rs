//! A broker that agrees to small frames only: headers that are larger end no connection.

use std::collections::BTreeSet;

use crate::support::{
    broker::{Corner, Raw},
    eventually,
    installation::millis,
    node::Node,
    process::Site,
    receiver::{Receiver, Reply},
};

const WAITS: [u64; 2] = [100, 100];
const EVENTS: usize = 30;

/// An event whose headers are larger than a frame, as one large one, as some, or as many.
fn event(number: usize) -> Raw {
    let raw = Raw::new("t", &format!("event-{number}"), "{}");
    match number % 4 {
        0 => raw.header("large", &"x".repeat(20_000)),
        1 => (0..6).fold(raw, |raw, name| raw.header(&format!("some-{name}"), &"x".repeat(3_000))),
        2 => (0..400).fold(raw, |raw, name| raw.header(&format!("one-of-many-{name}"), "value")),
        // It cannot be read, and is parked as it is.
        _ => Raw { topic: String::new(), ..raw.header("large", &"x".repeat(20_000)) },
    }
}

/// Goal: whatever frame is agreed upon, no copy is larger. Method: events with headers of up to 20 kB
/// from before the broker was configured so; every attempt fails, and all are parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_fit_into_the_frames_that_were_agreed_upon() {
    let mut node = Node::start("fault-frames").await;
    for frame_max in [8_192, 4_096] {
        node.configure("");
        node.stop().await;
        node.up().await;
        let site = Site::at(Corner::at(node.url.clone(), &millis(&WAITS)), &WAITS, "");
        site.run(&["topology", "apply"]);
        let receiver = Receiver::answering(|_| Reply::status(503)).await;
        site.subscribe(&receiver.url("/"), "#", &[]);
        let publisher = site.publisher().await;
        for number in 0..EVENTS {
            publisher.publish(event(number)).await;
        }
        node.stop().await;
        node.configure(&format!("frame_max = {frame_max}\n"));
        node.up().await;

        let worker = site.start();
        // Not every client knows frames as small as this, so homing itself looks.
        let entries = eventually(async || {
            let listed = site.run(&["--json", "parked", "list", "--limit", "1000"]);
            let mut listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
            let entries = listed["entries"].take();
            let entries = entries.as_array().expect("a list").clone();
            let parked = entries.len();
            if parked >= EVENTS { Ok(entries) } else { Err(format!("{parked} are parked")) }
        })
        .await;
        worker.terminate();
        let ids = entries.iter().filter_map(|entry| entry["event"].as_str());
        let ids: BTreeSet<_> = ids.map(str::to_owned).collect();
        assert_eq!(ids, (0..EVENTS).map(|number| format!("event-{number}")).collect());
        assert_eq!(entries.len(), EVENTS, "each once");
        let log = std::fs::read_to_string(site.log()).expect("a log");
        assert!(!log.contains("connection_lost") && !log.contains("publish_failed"), "{log}");
        println!("fault: frame_max {frame_max} | {EVENTS} parked, no connection lost");
    }
}
