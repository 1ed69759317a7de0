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
use tokio_util::sync::CancellationToken;

use crate::support::{
    PATIENCE,
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// Goal: of ten endpoints one hangs; requests in flight at it never exceed its permits, and the
/// other nine get everything while it hangs. Method: the hung one counts how many it holds, and
/// holds them until the others have everything.
#[tokio::test]
async fn a_hung_endpoint_holds_its_permits_and_no_more() {
    const EVENTS: usize = 300;
    const PERMITS: usize = 8;
    let settings = format!(
        "endpoint.max_concurrency = {PERMITS}\nendpoint.deadline = \"10m\"\n\
         worker.max_in_flight = 64"
    );
    let installation = Installation::with(&[60_000], &settings).await;
    let held = Arc::new(AtomicUsize::new(0));
    let released = CancellationToken::new();
    let (count, until) = (Arc::clone(&held), released.clone());
    let hung = Receiver::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply::status(200).once(&until)
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
    println!("the nine got everything in {:?}", started.elapsed());
    assert_eq!(held.load(Ordering::SeqCst), PERMITS, "the hung one held others than its permits");
    released.cancel();
    running.stop().await;
}

/// Goal: twenty endpoints that hang, each with more permits than a lane has places for all of them,
/// leave half of each lane to another one. Method: they answer only when the other has everything.
#[tokio::test]
async fn any_number_of_hung_endpoints_leaves_half_of_a_lane_to_others() {
    const EVENTS: usize = 300;
    const HUNG: usize = 20;
    let settings = "endpoint.max_concurrency = 8\nendpoint.deadline = \"10m\"\n\
                    worker.max_in_flight = 128";
    let installation = Installation::with(&[60_000], settings).await;
    let released = CancellationToken::new();
    let until = released.clone();
    let hung = Receiver::answering(move |_| Reply::status(200).once(&until)).await;
    let well = Receiver::accepting().await;
    for number in 0..HUNG {
        installation.subscribe_all(&hung.url(&format!("/{number}"))).await;
    }
    installation.subscribe_all(&well.url("/")).await;
    let running = installation.start();
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    well.wait_for(EVENTS).await;
    // Of 64 places in each lane; one of them has a held queue, with permits for eight; each may try
    // one delivery beyond its share.
    assert!(hung.count() <= 2 * 32 + 8 + HUNG, "{}", hung.count());
    released.cancel();
    hung.wait_for(HUNG * EVENTS).await;
    running.stop().await;
}

/// Goal: a limit of 10 per second is kept by two workers together, and everything arrives. Method:
/// rounds of events, until both workers know of each other, and one more.
#[tokio::test]
async fn a_rate_limit_is_kept_by_the_pool_and_loses_nothing() {
    const EVENTS: usize = 30;
    let installation = Installation::new(&[60_000]).await;
    let receiver = Receiver::accepting().await;
    let draft = json!({"url": receiver.url("/"), "topics": ["#"], "rate_limit": 10});
    installation.subscribe(draft).await;
    let workers = [installation.start(), installation.start()];
    installation.wait_for_consumers(2).await;

    let deadline = Instant::now() + PATIENCE;
    let (mut published, mut kept) = (0, 0);
    while kept < 2 {
        assert!(Instant::now() < deadline, "the workers do not share the limit");
        for number in published..published + EVENTS {
            installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
        }
        published += EVENTS;
        let mut requests = receiver.wait_for(published).await;
        requests.sort_by_key(|request| request.at);
        // In any second at most the limit, one more for each worker's clock.
        let is_kept = requests[published - EVENTS..].windows(13).all(|window| {
            let [first, .., last] = window else { panic!("windows of 13") };
            last.at - first.at >= Duration::from_millis(900)
        });
        kept = if is_kept { kept + 1 } else { 0 };
    }

    installation.assert_nothing_waits().await;
    for worker in workers {
        worker.stop().await;
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), published);
    assert!(requests.iter().all(|request| request.attempt() == 1), "waiting is no attempt");
}
