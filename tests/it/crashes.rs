//! A worker that dies at any moment loses nothing.

use std::{collections::HashMap, time::Duration};

use crate::support::{
    broker::Raw,
    process::Site,
    receiver::{Receiver, Reply},
};

/// Goal: delivered or parked, each event at least once, duplicates only around the crashes.
/// Method: kill -9 again and again while events fail, recover and succeed; then the account.
#[tokio::test]
async fn kill_9_again_and_again_loses_nothing() {
    const EVENTS: usize = 600;
    const KILLS: usize = 4;
    const IN_FLIGHT_MAX: usize = 64;
    let receiver = Receiver::answering(|request| {
        let number = request.body.last().copied().unwrap_or(b'0');
        match (number, request.attempt()) {
            (b'0', _) => Reply::status(500),
            (b'1'..=b'4', 1) => Reply::status(503),
            _ => Reply::status(200).after(Duration::from_millis(20)),
        }
    })
    .await;
    let site = Site::new(&[100, 200, 300], &format!("worker.in_flight_max = {IN_FLIGHT_MAX}"));
    site.run(&["topology", "apply"]);
    site.run(&["subscriptions", "add", "--url", &receiver.url("/"), "--topic", "#"]);
    let publisher = site.publisher().await;
    for number in 0..EVENTS {
        publisher.publish(Raw::new("t", &format!("e{number}"), number.to_string())).await;
    }

    for round in 1..=KILLS {
        let process = site.start();
        receiver.wait_for(round * 100).await;
        process.kill_9();
    }
    let mut last = site.start();
    let names = site.corner.topology.names();
    wait_until_settled(&site, &publisher).await;
    last.terminate();
    last.ended().await;

    let requests = receiver.requests();
    let mut accepted: HashMap<String, usize> = HashMap::new();
    for request in &requests {
        let body = String::from_utf8(request.body.to_vec()).expect("a number");
        let accepts = match (body.chars().last(), request.attempt()) {
            (Some('0'), _) | (Some('1'..='4'), 1) => 0,
            _ => 1,
        };
        *accepted.entry(body).or_default() += accepts;
    }
    let parked = usize::try_from(publisher.depth(&names.parked()).await).expect("a number");
    let delivered = accepted.values().filter(|count| **count > 0).count();
    let repeated: usize = accepted.values().map(|count| count.saturating_sub(1)).sum();
    println!("{EVENTS} published = {delivered} delivered + {parked} parked; {repeated} repeated");
    assert_eq!(accepted.len(), EVENTS, "every event reached the endpoint");
    assert_eq!(delivered, EVENTS - EVENTS / 10, "all but those that always fail");
    assert!(parked >= EVENTS / 10, "those that always fail are parked");
    let bound = KILLS * IN_FLIGHT_MAX;
    assert!(repeated <= bound, "{repeated} repetitions; at most what was in flight: {bound}");
    assert!(parked - EVENTS / 10 <= bound, "{parked} parked");
}

/// Waits until no queue but the parking queue holds anything, in flight or ready.
async fn wait_until_settled(site: &Site, publisher: &crate::support::broker::Publisher) {
    let names = site.corner.topology.names();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let mut quiet = 0;
    while quiet < 10 {
        let mut waiting = 0;
        for queue in site.corner.topology.queues() {
            if queue.name != names.parked() {
                waiting += publisher.depth(&queue.name).await;
            }
        }
        quiet = if waiting == 0 { quiet + 1 } else { 0 };
        assert!(tokio::time::Instant::now() < deadline, "{waiting} messages still wait");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
