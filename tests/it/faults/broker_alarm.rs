//! A broker that runs short of memory or disk takes no messages for a while; nothing is lost by it.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    node::Node,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Longer than any deadline that homing has for a publish.
const ALARM: Duration = Duration::from_secs(31);

/// Goal: while the broker takes no messages, acks still reach it, nothing is given up and nothing
/// published twice; afterwards all goes on. Method: thresholds that no node can meet.
async fn alarm(name: &str, fault: &str, raise: &[&str], lower: &[&str]) {
    let node = Node::start(name).await;
    let stage = Stage::at(node.url.clone()).await;
    let load = stage.load();
    let worker = stage.site.start();
    stage.wait_for_more(500).await;

    node.ctl(raise).await;
    // The fault itself.
    tokio::time::sleep(ALARM).await;
    node.ctl(lower).await;
    let over = Instant::now();
    stage.wait_for_more(1_000).await;
    let silence = stage.longest_silence(over);

    let account = stage.account(load, worker).await;
    account.assert_whole(fault, silence, MAX_IN_FLIGHT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_of_half_a_minute_loses_nothing() {
    let threshold = "set_vm_memory_high_watermark";
    let (raise, lower) = ([threshold, "absolute", "1000"], [threshold, "absolute", "2GB"]);
    alarm("fault-memory", "memory alarm for 31 s", &raise, &lower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_alarm_of_half_a_minute_loses_nothing() {
    let (raise, lower) = (["set_disk_free_limit", "900GB"], ["set_disk_free_limit", "50MB"]);
    alarm("fault-disk", "disk alarm for 31 s", &raise, &lower).await;
}
