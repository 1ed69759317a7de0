//! The number of shards changes under load, and workers are killed meanwhile.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::support::{
    broker::url,
    process::Process,
    stage::{MAX_IN_FLIGHT, Stage},
};

fn start(stage: &Stage, shards: u16) -> Process {
    stage.site.start_with(&[("HOMING__BROKER__SHARDS", &shards.to_string())])
}

/// Goal: 4 → 8 → 3 shards, with workers of both numbers beside each other, and each of them killed
/// once: nothing is lost, and no more is repeated than was in flight when a worker died. What is left
/// over is reported as empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_shards_changes_under_load_while_workers_die() {
    let mut stage = Stage::with(url(), "broker.shards = 4").await;
    stage.site.corner.topology = stage.site.corner.topology.clone().with_shards(8);
    let load = stage.load();
    let mut workers = VecDeque::from([start(&stage, 4), start(&stage, 4)]);
    stage.wait_for_more(300).await;
    let began = Instant::now();
    let mut kills = 0;
    for shards in [8, 3] {
        // Both of the former number, and one of the new one.
        for _ in 0..3 {
            workers.pop_front().expect("two run").kill_9();
            workers.push_back(start(&stage, shards));
            kills += 1;
            stage.wait_for_more(300).await;
        }
    }
    let silence = began.elapsed();
    let published = load.finish().await;
    stage.wait_until_quiet().await;
    let worker = workers.pop_front().expect("two run");
    for mut other in workers {
        other.terminate();
        assert_eq!(other.ended().await.code(), Some(0), "the worker stops politely");
    }

    let checking = ["topology", "check", "--set", "broker.shards=3"];
    let checked = stage.site.command(&checking).output().expect("the program can be run");
    let text = String::from_utf8_lossy(&checked.stdout);
    for shard in 3..8 {
        let line = text.lines().find(|line| line.contains(&format!(".v1.primary.{shard} ")));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("left over"), "{line}");
    }
    assert_eq!(checked.status.code(), Some(3));
    let account = stage.account_of(&published, worker).await;
    let fault = format!("4 → 8 → 3 shards, {kills} workers killed");
    account.assert_whole(&fault, silence, kills * MAX_IN_FLIGHT);
}
