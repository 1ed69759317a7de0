//! Endpoints that misbehave cost their deadline, and nothing else.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    attempts::wait_for_records,
    support::{
        broker::Raw,
        installation::Installation,
        receiver::{Receiver, Reply},
    },
};

/// With a deadline of half a second and no retries: the outcome of one attempt is parked.
async fn outcome_of(reply: Reply) -> (String, Receiver) {
    let settings = "endpoint.deadline = \"500ms\"\nendpoint.connect_deadline = \"400ms\"";
    let installation = Installation::with(&[], settings).await;
    let receiver = Receiver::answering(move |_| reply.clone()).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    let (Some(failed), Some(taken)) = (parked.first_failure_ms, parked.received_ms) else {
        panic!("{parked:?}");
    };
    assert!(failed.since(taken) < Duration::from_secs(3), "the deadline holds");
    (parked.last_outcome.expect("an outcome"), receiver)
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_times_out() {
    let (outcome, _) = outcome_of(Reply::status(200).after(Duration::from_secs(60))).await;
    assert_eq!(outcome, "timed_out headers");
}

#[tokio::test]
async fn headers_and_then_nothing_is_no_success() {
    let (outcome, _) = outcome_of(Reply::status(200).stalled()).await;
    assert_eq!(outcome, "timed_out body");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Receiver::accepting().await;
    let redirect = Reply::status(307).header("location", elsewhere.url("/"));
    let (outcome, receiver) = outcome_of(redirect).await;
    assert_eq!(outcome, "refused 307");
    assert_eq!((receiver.requests().len(), elsewhere.requests().len()), (1, 0));
}

#[tokio::test]
async fn an_endless_response_is_cut_off_and_its_status_counts() {
    let (outcome, _) = outcome_of(Reply::status(500).endless()).await;
    assert_eq!(outcome, "refused 500");

    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::answering(|_| Reply::status(200).endless()).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for number in 0..50 {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    receiver.wait_for(50).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 50, "each was accepted at once");
}

#[tokio::test]
async fn a_dead_port_is_reported_as_such() {
    let installation = Installation::new(&[]).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = free.local_addr().expect("it has an address");
    drop(free);
    installation.subscribe_all(&format!("http://{address}/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    assert_eq!(parked.last_outcome.as_deref(), Some("unreachable connection_refused"));
}

/// Goal: URLs of one host share its connections, and all of them are kept. Method: more requests in
/// flight at once than one URL may have, and as many again when they have been answered.
#[tokio::test]
async fn each_request_finds_a_connection_of_those_before() {
    const URLS: usize = 10;
    const ANSWERED_AFTER: Duration = Duration::from_millis(200);
    let installation = Installation::with(&[50], "endpoint.max_concurrency = 2").await;
    let receiver = Receiver::answering(|_| Reply::status(200).after(ANSWERED_AFTER)).await;
    for number in 0..URLS {
        installation.subscribe_all(&receiver.url(&format!("/{number}"))).await;
    }
    let running = installation.start();
    for round in 1..=3 {
        installation.publisher.publish(Raw::new("t", &format!("event-{round}"), "{}")).await;
        // An attempt is recorded when its answer has been read.
        wait_for_records(&*installation.parts.store, round * URLS).await;
    }
    running.stop().await;
    let connections: BTreeSet<_> =
        receiver.requests().into_iter().map(|request| request.peer).collect();
    assert_eq!(connections.len(), URLS);
}
