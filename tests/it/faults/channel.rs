//! A channel that the broker closes with an error is opened anew, and its messages are not
//! delivered twice.

use std::{fs, time::Duration};

use tokio::time::Instant;

use crate::support::{
    account::{Recipient, account},
    broker::Corner,
    eventually, holds,
    installation::millis,
    load::{Load, Pace, number_in},
    node::{Node, queues_settle},
    process::Site,
    receiver::{Receiver, Recorded, Reply},
};

const WAITS: [u64; 3] = [200, 400, 800];
/// The broker's patience for an ack; half an hour by default.
const ACK_TIMEOUT_MS: u64 = 2_000;
/// Longer than that, and far shorter than the deadline for an attempt.
const SLOW: Duration = Duration::from_secs(4);
const SETTINGS: &str = "endpoint.deadline = \"30s\"";

/// One event in two hundred is answered late.
fn reply(request: &Recorded) -> Reply {
    let number = number_in(&request.body).expect("it is the load's");
    let late = if number.is_multiple_of(200) { SLOW } else { Duration::ZERO };
    Reply::status(200).after(late)
}

/// Goal: whatever error ends a channel, its lane goes on with the next one; an attempt under way is
/// waited for, not made again. Method: a broker that waits for acks no longer than two seconds, and an
/// endpoint that sometimes takes four.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_the_broker_closes_lose_nothing() {
    const CLOSED: usize = 3;
    const LANES: usize = 2;
    let node = Node::start("fault-channel").await;
    // How often it looks is a second setting.
    let patience = format!(
        "application:set_env(rabbit, consumer_timeout, {ACK_TIMEOUT_MS}), \
         application:set_env(rabbit, channel_tick_interval, 500)."
    );
    node.ctl(&["eval", &patience]).await;
    let receiver = Receiver::answering(reply).await;
    let site = Site::at(Corner::at(node.url.clone(), &millis(&WAITS)), &WAITS, SETTINGS);
    site.run(&["topology", "apply"]);
    let subscription = site.subscribe(&receiver.url("/"), "#", &[]);
    let recipient = Recipient { path: "/", subscription, wants: |_| true };
    queues_settle().await;
    let mut worker = site.start();
    let load = Load::start(&site.corner, Pace::steady(300), 0);

    let log = || fs::read_to_string(site.log()).unwrap_or_default();
    // Not by the broker's words: which of them are heard depends on what is under way.
    eventually(async || {
        let log = log();
        let closed = log.matches("lane.started").count().saturating_sub(LANES);
        holds(closed >= CLOSED, format!("the broker closed {closed} channels:\n{log}"))
    })
    .await;
    let published = load.finish().await;
    receiver.wait_for(published.confirmed.len()).await;
    // What the last closed channel gave back is taken again and recognised.
    let observer = site.publisher().await;
    let primary = site.corner.topology.names().primary();
    let mut empty_since = Instant::now();
    eventually(async || {
        if observer.depth(&primary).await > 0 {
            empty_since = Instant::now();
        }
        holds(empty_since.elapsed() >= SLOW, format!("`{primary}` does not run empty"))
    })
    .await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0), "the worker stops politely");
    let account = account(&site, &published, &[recipient], &receiver.requests()).await;
    account.assert_whole("channels closed by the broker", Duration::ZERO, 0);
}
