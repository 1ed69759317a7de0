//! A pause of an endpoint: whichever workers run, what comes is held, and sent at the end.

use std::time::Duration;

use homing_domain::{
    circuit::{Reason, StateName},
    clock,
};
use homing_store::Intervention;

use crate::{
    circuits::{CIRCUIT, wait_for_state},
    held::{Endpoint, numbers, publish, set},
    support::installation::Installation,
};

/// Goal: a pause outlives every worker, and what came meanwhile is sent once after a probe. Method:
/// two workers are stopped during the pause, and two others begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_the_workers_and_loses_nothing() {
    let installation = Installation::with(&[600_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let until = clock::now().plus(Duration::from_hours(1));
    let workers = [installation.start(), installation.start()];
    installation.wait_for_consumers(2).await;
    set(&installation, &url, Intervention::Pause(until)).await;
    // Some may come before both have heard of it.
    publish(&installation, &numbers(0..20)).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    for worker in workers {
        worker.stop().await;
    }
    let early = endpoint.receiver.count();

    let workers = [installation.start(), installation.start()];
    installation.wait_for_consumers(2).await;
    publish(&installation, &numbers(20..40)).await;
    installation.wait_for_undelivered(40 - u32::try_from(early).expect("few")).await;
    assert_eq!(endpoint.receiver.count(), early, "they know of the pause from the start");

    set(&installation, &url, Intervention::Probe).await;
    let circuit = wait_for_state(&installation, &url, StateName::Closed).await;
    assert_eq!(circuit.reason, Some(Reason::ProbeAccepted));
    endpoint.wait_for(&numbers(0..40)).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(endpoint.accepted().len(), 40, "each comes once");
}

/// Goal: a pause ends by itself. Method: it is there before the worker begins, so that nothing can
/// come too early.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_with_a_probe_and_what_was_held_follows() {
    let installation = Installation::with(&[600_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let until = clock::now().plus(Duration::from_secs(8));
    set(&installation, &url, Intervention::Pause(until)).await;
    publish(&installation, &numbers(0..10)).await;
    let worker = installation.start();
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    installation.wait_for_undelivered(10).await;
    assert_eq!(endpoint.receiver.count(), 0);
    assert!(clock::now() < until, "the machine is too slow for this test");

    endpoint.wait_for(&numbers(0..10)).await;
    assert!(clock::now() >= until);
    let circuit = wait_for_state(&installation, &url, StateName::Closed).await;
    assert_eq!(circuit.reason, Some(Reason::ProbeAccepted));
    worker.stop().await;
    assert_eq!(endpoint.accepted().len(), 10, "each comes once");
}
