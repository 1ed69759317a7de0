//! A message that kills its worker ends in the parking queue, not in a loop and not nowhere.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::json;

use crate::support::{
    broker::{Corner, Raw},
    eventually, holds,
    installation::{Installation, millis},
    node::Node,
    process::Site,
    proxy::Proxy,
    receiver::{Receiver, Recorded, Reply},
};

/// More than the broker's limit of redeliveries.
const MAX_LIVES: u32 = 80;

/// Goal: the message that kills every worker which attempts it is parked as `rejected_by_broker`;
/// all others are delivered by the workers that follow. Method: the endpoint, asked for the poison,
/// kills the process that asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kills_its_worker_is_parked() {
    const OTHERS: usize = 20;
    let victim = Arc::new(AtomicU32::new(0));
    let killed = Arc::clone(&victim);
    let receiver = Receiver::answering(move |request| {
        let pid = killed.load(Ordering::SeqCst);
        if &request.body[..] == b"poison" && pid != 0 {
            let mut kill = Command::new("kill");
            let _dead_already = kill.args(["-KILL", &pid.to_string()]).status();
        }
        Reply::status(200)
    })
    .await;
    let site = Site::new(&[60_000], "");
    site.run(&["topology", "apply"]);
    site.subscribe(&receiver.url("/"), "#", &[]);
    let publisher = site.publisher().await;
    publisher.publish(Raw::new("t", "poison", "poison")).await;
    for number in 0..OTHERS {
        publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }

    let names = site.corner.topology.names();
    let is_parked =
        async || publisher.depth(&names.parked()).await > 0 || !site.parked().is_empty();
    let mut lives = 0;
    while !is_parked().await {
        lives += 1;
        assert!(lives <= MAX_LIVES, "the poison killed {lives} workers and is not parked");
        let mut worker = site.start();
        victim.store(worker.id(), Ordering::SeqCst);
        tokio::select! {
            status = worker.ended() => assert!(!status.success(), "it was killed"),
            () = eventually(async || holds(is_parked().await, "it is not parked".to_owned())) => {}
        }
    }
    victim.store(0, Ordering::SeqCst);
    let mut worker = site.start();
    site.wait_for_consumers(1).await;
    receiver.wait_for(OTHERS).await;
    eventually(async || {
        let depth = publisher.depth(&names.primary()).await;
        let parked = site.parked().len();
        holds((depth, parked) == (0, 1), format!("{depth} wait, {parked} are in the store"))
    })
    .await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0));

    let parked = site.run(&["--json", "parked", "list"]);
    let parked: serde_json::Value = serde_json::from_str(&parked).expect("JSON");
    let entries = parked["entries"].as_array().expect("a list");
    let reported: Vec<_> = entries.iter().map(|it| (&it["event"], &it["reason"])).collect();
    assert_eq!(reported, [(&json!("poison"), &json!("rejected_by_broker"))]);
    let mut delivered: Vec<_> = receiver.requests().iter().map(Recorded::id).collect();
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), OTHERS + 1, "all others, and the poison itself");
    println!(
        "fault: message that kills its worker | {OTHERS} other events | all delivered | parked \
         after {lives} workers"
    );
}

/// Goal: a message that ends every connection over which the broker sends it, as one does that the
/// broker itself cannot write, takes none with it of those behind it. Method: a proxy that ends such
/// connections, and a broker that moves away what was returned eight times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_every_connection_goes_alone() {
    const OTHERS: usize = 20;
    let node = Node::start("fault-unsent").await;
    node.ctl(&["set_policy", "limit", "primary", r#"{"delivery-limit": 8}"#]).await;
    let proxy = Proxy::cutting_at(&node.url, b"poison").await;
    let corner = Corner::at(proxy.url(), &millis(&[60_000]));
    let installation = Installation::at(corner, &[60_000], "").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    installation.publisher.publish(Raw::new("t", "event", "poison")).await;
    for number in 0..OTHERS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }

    let running = installation.start();
    receiver.wait_for(OTHERS).await;
    installation.wait_for_depth(&installation.names().parked(), 1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let ids: BTreeSet<_> = receiver.requests().iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), OTHERS);
}
