//! An endpoint that hangs, or takes few requests, hurts no other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// Goal: of ten endpoints one hangs; requests in flight at it never exceed its permits, and the
/// other nine get everything while it hangs. Method: the hung one counts how many it holds.
#[tokio::test]
async fn a_hung_endpoint_holds_its_permits_and_no_more() {
    const EVENTS: usize = 300;
    const PERMITS: usize = 8;
    let settings = format!("endpoint.max_concurrency = {PERMITS}\nworker.max_in_flight = 64");
    let installation = Installation::with(&[60_000], &settings).await;
    let held = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&held);
    let hung = Receiver::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply::status(200).after(Duration::from_secs(3_600))
    })
    .await;
    let well = Receiver::accepting().await;
    installation.subscribe_all(&hung.url("/")).await;
    for number in 0..9 {
        installation.subscribe_all(&well.url(&format!("/{number}"))).await;
    }
    let running = installation.start();

    let started = Instant::now();
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    well.wait_for(EVENTS * 9).await;
    let took = started.elapsed();
    // Every attempt at the hung one ends with its deadline of 5 s; until the first does, no more
    // than its permits can have been sent.
    let generations = usize::try_from(took.as_secs() / 5).expect("not long") + 1;
    let sent = held.load(Ordering::SeqCst);
    println!("the nine got everything in {took:?}; the hung one held {sent}");
    assert!(sent <= PERMITS * generations, "{sent} requests in {took:?}");
    running.stop().await;
}

/// Goal: a limit of 10 per second is kept by two workers together, and everything arrives.
#[tokio::test]
async fn a_rate_limit_is_kept_by_the_pool_and_loses_nothing() {
    const EVENTS: usize = 30;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    let draft = json!({"url": receiver.url("/"), "topics": ["#"], "rate_limit": 10});
    installation.subscribe(draft).await;
    let workers = [installation.start(), installation.start()];
    // Both must know of each other before the measurement.
    installation.wait_for_consumers(2).await;
    tokio::time::sleep(Duration::from_secs(6)).await;

    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }

    let mut requests = receiver.wait_for(EVENTS).await;
    installation.assert_nothing_waits().await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(receiver.requests().len(), EVENTS);
    requests.sort_by_key(|request| request.at);
    // In any second at most the limit, one more for each worker's clock.
    for window in requests.windows(13) {
        let [first, .., last] = window else { panic!("windows of 13") };
        let span = last.at - first.at;
        assert!(span >= Duration::from_millis(900), "13 requests within {span:?}");
    }
    assert!(requests.iter().all(|request| request.attempt() == 1), "waiting is no attempt");
}
