//! A worker that dies at any moment loses nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    broker,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Goal: delivered or parked, each event at least once, duplicates only around the crashes.
/// Method: kill -9 again and again at random moments of a steady load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_again_and_again_loses_nothing() {
    const KILLS: usize = 5;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let stage = Stage::at(broker::url()).await;
    let load = stage.load();
    let mut worker = stage.site.start();
    stage.wait_for_more(200).await;

    let first_kill = Instant::now();
    for _ in 0..KILLS {
        // The random moment of the crash.
        tokio::time::sleep(Duration::from_millis(random.u64(200..2_000))).await;
        worker.kill_9();
        worker = stage.site.start();
        stage.wait_for_more(1).await;
    }
    stage.wait_for_more(500).await;

    let silence = stage.longest_silence(first_kill);
    let account = stage.account(load, worker).await;
    account.assert_whole("worker killed 5 times", silence, KILLS * MAX_IN_FLIGHT);
}
