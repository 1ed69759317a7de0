//! The number of workers changes under load, by signals alone and with kills.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    broker::url,
    process::Process,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Deliveries between two changes.
const BETWEEN: usize = 300;
/// Deliveries do not wait for a worker that starts or stops; a slow machine.
const RESUMED_WITHIN: Duration = Duration::from_secs(10);

/// 1 → 4 → 1 workers under load; with `killing`, the first one is killed on the way up, once there
/// is another, and one of those that leave is killed while the others stop.
async fn scale(killing: bool) {
    let stage = Stage::at(url()).await;
    let load = stage.load();
    let mut workers = vec![stage.site.start()];
    stage.wait_for_more(BETWEEN).await;
    let began = Instant::now();

    if killing {
        workers.push(stage.site.start());
        stage.site.wait_for_consumers(2).await;
        // The one that has had all deliveries. The broker may count it for a moment more.
        workers.remove(0).kill_9();
        stage.site.wait_for_consumers(1).await;
    }
    workers.extend([stage.site.start(), stage.site.start(), stage.site.start()]);
    stage.site.wait_for_consumers(4).await;
    stage.wait_for_more(BETWEEN).await;

    let mut leaving = workers.split_off(1);
    let killed = killing.then(|| leaving.remove(0));
    leaving.iter().for_each(Process::terminate);
    if let Some(killed) = killed {
        killed.kill_9();
    }
    for mut worker in leaving {
        assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.end_of_log());
    }
    stage.site.wait_for_consumers(1).await;
    stage.wait_for_more(BETWEEN).await;

    let silence = stage.longest_silence(began);
    let last = workers.pop().expect("one stays");
    let account = stage.account(load, last).await;
    let (fault, kills) = if killing { ("two killed", 2) } else { ("none killed", 0) };
    account.assert_whole(&format!("1 → 4 → 1 workers, {fault}"), silence, kills * MAX_IN_FLIGHT);
    assert!(silence < RESUMED_WITHIN, "nothing was delivered for {silence:?}");
    if !killing {
        assert_eq!(account.repeated(), 0, "requests were repeated\n{account}");
    }
}

/// Goal: workers that come, and that go by SIGTERM, neither lose nor repeat anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_and_go_repeat_nothing() {
    scale(false).await;
}

/// Goal: a kill on either way loses nothing, and repeats no more than the killed worker had in
/// flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_while_their_number_changes_lose_nothing() {
    scale(true).await;
}
