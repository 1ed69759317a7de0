//! Connections between worker and broker that are cut, fall silent, or lose one end.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    broker, eventually, holds,
    proxy::Proxy,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// A silent connection is given up after twice this.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Detection, reconnecting, and a slow machine.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);

/// Runs a worker behind a proxy, does `fault` to it, and takes the account.
async fn behind_a_proxy(fault: &str, breaks: usize, harm: impl AsyncFn(&Proxy, &Stage)) {
    let stage = Stage::with(broker::url(), "broker.heartbeat = \"2s\"").await;
    let proxy = Proxy::to(&broker::url()).await;
    let load = stage.load();
    let worker = stage.site.start_with(&[("HOMING__BROKER__URL", &proxy.url())]);
    stage.wait_for_more(500).await;

    let harmed = Instant::now();
    harm(&proxy, &stage).await;
    stage.wait_for_more(500).await;
    let silence = stage.longest_silence(harmed);

    let account = stage.account(load, worker).await;
    account.assert_whole(fault, silence, breaks * MAX_IN_FLIGHT);
    assert!(silence < RESUMED_WITHIN, "nothing was delivered for {silence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_again_and_again_lose_nothing() {
    const CUTS: usize = 5;
    behind_a_proxy("connections cut 5 times", CUTS, async |proxy, stage| {
        for _ in 0..CUTS {
            proxy.cut();
            stage.wait_for_more(300).await;
        }
    })
    .await;
}

/// Goal: a network that swallows everything, without a word, is noticed by heartbeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_lose_nothing() {
    behind_a_proxy("connections silent for 8 s", 1, async |proxy, _| {
        proxy.stall();
        // The fault itself.
        tokio::time::sleep(4 * HEARTBEAT).await;
        proxy.flow();
    })
    .await;
}

/// Goal: heartbeats notice that the broker's end of a connection is lost without a notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_another_end_lose_nothing() {
    behind_a_proxy("half-open connections", 1, async |proxy, stage| {
        proxy.half_open();
        let lost = || stage.logged("broker.connection_lost");
        eventually(async || holds(lost() > 0, "the worker does not notice")).await;
    })
    .await;
}
