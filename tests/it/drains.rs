//! A worker that is stopped finishes what it began and gives the rest back.

use std::{
    io::{self, Read},
    time::Duration,
};

use tokio::time::Instant;

use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Reply},
    scenario::Scenario,
};

/// Goal: a restart repeats nothing and loses nothing. Method: far more events than fit in flight,
/// stopped in the middle and continued by another worker.
#[tokio::test]
async fn a_restart_delivers_everything_exactly_once() {
    const EVENTS: usize = 600;
    let settings = "worker.max_in_flight = 100";
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(100))).await;
    let mut scenario = Scenario::with(&[1_000], settings, receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.publish("t", EVENTS).await;

    scenario.start();
    scenario.receiver.wait_for(120).await;
    scenario.stop().await;
    let left = u32::try_from(EVENTS - scenario.receiver.count()).expect("fewer than all");
    scenario.installation.wait_for_undelivered(left).await;
    assert!(left > 0, "the first worker was stopped in the middle");

    scenario.start();
    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (EVENTS, EVENTS));
}

/// Goal: an event whose deliveries are partly made when the order to stop comes is finished, not
/// given back: its finished deliveries would be repeated. Method: more deliveries than permits.
#[tokio::test]
async fn a_fan_out_that_has_begun_is_finished() {
    const SUBSCRIPTIONS: usize = 20;
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(200))).await;
    let mut scenario = Scenario::with(&[60_000], "worker.max_in_flight = 8", receiver).await;
    for number in 0..SUBSCRIPTIONS {
        scenario.subscribe(&format!("/{number}"), &["#"]).await;
    }
    scenario.start();
    scenario.publish("t", 1).await;
    scenario.receiver.wait_for(4).await;
    scenario.stop().await;

    scenario.start();
    scenario.installation.wait_for_consumers(1).await;
    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (SUBSCRIPTIONS, SUBSCRIPTIONS));
}

/// Goal: the grace is a limit. What does not end within it comes again.
#[tokio::test]
async fn what_outlasts_the_grace_is_given_back() {
    let settings = "worker.drain_grace = \"300ms\"";
    let installation = Installation::with(&[1_000], settings).await;
    let receiver = Receiver::answering(|_| Reply::status(200).after(Duration::from_secs(4))).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    receiver.wait_for(1).await;

    let stopping = Instant::now();
    running.stop().await;
    let took = stopping.elapsed();
    assert!(took < Duration::from_secs(3), "stopped after {took:?}");
    installation.wait_for_depth(&installation.names().primary(), 1).await;
}

#[tokio::test]
async fn sigterm_and_sigint_end_the_process_with_code_0() {
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(500))).await;
    let site = Site::new(&[1_000], "");
    site.run(&["topology", "apply"]);
    site.run(&["subscriptions", "create", "--url", &receiver.url("/"), "--topic", "#"]);
    let publisher = site.publisher().await;
    let mut process = site.start();
    publisher.publish(Raw::new("t", "event-1", "{}")).await;
    receiver.wait_for(1).await;

    process.terminate();
    let status = process.ended().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(publisher.depth(&site.corner.topology.names().primary()).await, 0);
    assert_eq!(receiver.requests().len(), 1);
}

/// Goal: a log without a reader stops neither delivery nor the process. Method: standard output and
/// error on a pipe that is not read, and more lines than fit into it and into the log's buffer; then
/// the signals, one, and for a second process two while an endpoint hangs.
#[tokio::test]
async fn a_log_without_a_reader_stops_nothing() {
    const EVENTS: usize = 500;
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/hangs" => Reply::status(200).after(Duration::from_secs(4)),
        _ => Reply::status(200),
    })
    .await;
    let site = Site::new(&[1_000], "log.level = \"trace\"");
    site.run(&["topology", "apply"]);
    site.run(&["subscriptions", "create", "--url", &receiver.url("/"), "--topic", "t"]);
    site.run(&["subscriptions", "create", "--url", &receiver.url("/hangs"), "--topic", "hang"]);
    let publisher = site.publisher().await;
    let start = || {
        let (unread, log) = io::pipe().expect("a pipe can be made");
        let stdout = log.try_clone().expect("it has another end");
        (unread, site.start_writing_to(stdout.into(), log.into()))
    };

    let (mut unread, mut process) = start();
    for number in 0..EVENTS {
        publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    receiver.wait_for(EVENTS).await;
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
    assert_eq!(publisher.depth(&site.corner.topology.names().primary()).await, 0);
    let mut log = Vec::new();
    unread.read_to_end(&mut log).expect("it can be read");
    assert!(log.len() > 32 * 1_024, "the pipe was not full: {} bytes", log.len());

    let (_unread, mut process) = start();
    for number in 0..EVENTS {
        publisher.publish(Raw::new("t", &format!("f{number}"), "{}")).await;
    }
    receiver.wait_for(2 * EVENTS).await;
    publisher.publish(Raw::new("hang", "last", "{}")).await;
    receiver.wait_for(2 * EVENTS + 1).await;
    let stopping = Instant::now();
    process.terminate();
    // It has taken the first signal when it takes no more messages.
    let primary = site.corner.topology.names().primary();
    eventually(async || {
        publisher.publish(Raw::new("t", "late", "{}")).await;
        holds(publisher.depth(&primary).await >= 3, "it goes on taking messages")
    })
    .await;
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(1));
    let took = stopping.elapsed();
    assert!(took < Duration::from_secs(3), "stopped after {took:?}");
}
