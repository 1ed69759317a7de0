//! A broker that dies keeps what it confirmed, and the worker finds it again by itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    node::{Node, queues_settle},
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Goal: nothing lost, and few repetitions although every connection is lost, because the worker
/// remembers what it has just done. Method: kill -9 and restart, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_and_restarted_loses_nothing() {
    const KILLS: usize = 2;
    let mut node = Node::start("fault-killed").await;
    let stage = Stage::at(node.url.clone()).await;
    let load = stage.load();
    let worker = stage.site.start();
    queues_settle().await;
    stage.wait_for_more(200).await;

    let mut silence = Duration::ZERO;
    for _ in 0..KILLS {
        node.kill_9().await;
        node.up().await;
        let back = Instant::now();
        stage.wait_for_more(1_000).await;
        silence = silence.max(stage.longest_silence(back));
    }

    let account = stage.account(load, worker).await;
    account.assert_whole("broker killed and restarted twice", silence, KILLS * MAX_IN_FLIGHT);
}

/// Goal: the same for a stop as an operator does it: the broker is away for the seconds that it
/// takes to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_stopped_and_started_loses_nothing() {
    let mut node = Node::start("fault-stopped").await;
    let stage = Stage::at(node.url.clone()).await;
    let load = stage.load();
    let worker = stage.site.start();
    queues_settle().await;
    stage.wait_for_more(200).await;

    node.stop().await;
    node.up().await;
    let back = Instant::now();
    stage.wait_for_more(1_000).await;
    let silence = stage.longest_silence(back);

    let account = stage.account(load, worker).await;
    account.assert_whole("broker stopped and started", silence, MAX_IN_FLIGHT);
}
