//! A cluster whose nodes die, restart, pause and lose each other loses nothing.
//!
//! `make test-cluster` runs these; they take too long for every `make test`.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    account::Account,
    cluster::Cluster,
    load::{Load, Pace},
    node::queues_settle,
    process::Process,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Fewer than on one broker: three nodes share this machine's cores.
const PACE: u32 = 150;
/// From a node's death to the next delivery.
const RESUMED_WITHIN: Duration = Duration::from_secs(10);
/// The same where a node falls silent, which others have to find out.
const RESUMED_WITHIN_OF_SILENCE: Duration = Duration::from_secs(15);
/// The same where its clients still reach it: they learn of it when the nodes have given each other up,
/// after `net_ticktime` (10 s here) and a quarter, and then elect.
const RESUMED_WITHIN_OF_A_CUT: Duration = Duration::from_secs(30);
/// The absence of a node.
const AWAY: Duration = Duration::from_secs(18);

/// A stage in a cluster, whose faults follow each other under one load.
struct Theatre {
    cluster: Cluster,
    stage: Stage,
    faults: usize,
}

impl Theatre {
    async fn open(name: &'static str) -> Self {
        let cluster = Cluster::start(name).await;
        let stage = Stage::with(cluster.urls.clone(), "broker.heartbeat = \"5s\"").await;
        queues_settle().await;
        Self { cluster, stage, faults: 0 }
    }

    /// The longest silence from `since` to some time after it, which is at most `bound`.
    async fn silence(&mut self, fault: &str, since: Instant, bound: Duration) {
        self.faults += 1;
        self.stage.wait_for_more(300).await;
        let silence = self.stage.longest_silence(since);
        println!("fault: {fault} | resumed within {:.1} s", silence.as_secs_f64());
        let log = self.stage.end_of_log();
        assert!(silence < bound, "{fault}: nothing was delivered for {silence:?}\n{log}");
    }

    /// The account, once nothing moves: what a queue is rid of may be in no queue's depth for a while.
    async fn account(&self, load: Load, worker: Process) -> Account {
        let published = load.finish().await;
        loop {
            self.stage.wait_until_quiet().await;
            let requests = self.stage.receiver.count();
            self.cluster.nothing_held().await;
            // What was held came late, and may have made another round meanwhile.
            self.stage.wait_until_quiet().await;
            if self.stage.receiver.count() == requests {
                break;
            }
        }
        self.stage.account_of(&published, worker).await
    }

    async fn leader_of(&self, queue: &str) -> u8 {
        let (queues, end) = (self.stage.site.corner.topology.queues(), format!(".{queue}"));
        let queue = queues.into_iter().find(|queue| queue.name.ends_with(&end)).expect("its name");
        self.cluster.leader_of(&queue.name).await
    }
}

/// Goal: no loss, and deliveries go on within seconds, whichever queue's leader dies. Method: kill -9
/// of the leader of each kind of queue in turn, each started again before the next; then all three
/// restarted one after the other, as for an upgrade.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_die_one_after_the_other_lose_nothing() {
    let mut theatre = Theatre::open("fault-leaders").await;
    let load = theatre.stage.load_at(Pace::steady(PACE));
    let worker = theatre.stage.site.start();
    theatre.stage.wait_for_more(300).await;
    let started = Instant::now();

    for queue in ["primary", "retry", "wait.200", "parked", "unrouted"] {
        let leader = theatre.leader_of(queue).await;
        let killed = Instant::now();
        theatre.cluster.to("kill", leader).await;
        let fault = format!("cluster: leader of {queue} killed");
        theatre.silence(&fault, killed, RESUMED_WITHIN).await;
        theatre.cluster.to("start", leader).await;
    }
    for number in 1..=3 {
        let stopped = Instant::now();
        theatre.cluster.to("stop", number).await;
        theatre.cluster.to("start", number).await;
        let fault = format!("cluster: node {number} restarted politely");
        theatre.silence(&fault, stopped, RESUMED_WITHIN).await;
    }

    let silence = theatre.stage.longest_silence(started);
    let account = theatre.account(load, worker).await;
    let bound = theatre.faults * MAX_IN_FLIGHT;
    account.assert_whole("cluster: 5 leaders killed, 3 nodes restarted", silence, bound);
}

/// Goal: the same for a node that falls silent instead of dying. Method: the leader of the primary
/// queue paused (SIGSTOP), then cut off from the other two but not from its clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fall_silent_lose_nothing() {
    let mut theatre = Theatre::open("fault-silent").await;
    let load = theatre.stage.load_at(Pace::steady(PACE));
    let worker = theatre.stage.site.start();
    theatre.stage.wait_for_more(300).await;
    let started = Instant::now();

    let leader = theatre.leader_of("primary").await;
    let paused = Instant::now();
    theatre.cluster.to("pause", leader).await;
    // The fault itself.
    tokio::time::sleep(AWAY).await;
    let fault = "cluster: leader of primary paused for 18 s";
    theatre.silence(fault, paused, RESUMED_WITHIN_OF_SILENCE).await;
    theatre.cluster.to("resume", leader).await;
    // It learns only then that the others gave it up, and restarts; before, it looks well.
    tokio::time::sleep(AWAY).await;
    theatre.cluster.whole().await;

    let leader = theatre.leader_of("primary").await;
    let cut = Instant::now();
    theatre.cluster.to("partition", leader).await;
    // The fault itself.
    tokio::time::sleep(AWAY).await;
    let fault = "cluster: leader of primary cut off for 18 s";
    theatre.silence(fault, cut, RESUMED_WITHIN_OF_A_CUT).await;
    theatre.cluster.heal().await;
    // As above.
    tokio::time::sleep(AWAY).await;
    theatre.cluster.whole().await;

    let silence = theatre.stage.longest_silence(started);
    let account = theatre.account(load, worker).await;
    let bound = theatre.faults * MAX_IN_FLIGHT;
    account.assert_whole("cluster: a node paused, a node cut off", silence, bound);
}
