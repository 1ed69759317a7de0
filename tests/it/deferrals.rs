//! Deliveries that homing cannot attempt, in the log.

use std::fs;

use crate::support::{
    broker::Raw,
    egress::{Egress, Kind},
    eventually, holds,
    process::Site,
    receiver::Receiver,
};

/// Goal: what the rules of a proxy forbid does not fill the log: a tenant chooses the host, and there
/// may be very many deliveries to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_the_proxy_refuses_has_one_line_a_minute() {
    let receiver = Receiver::accepting().await;
    let proxy = Egress::start(Kind::Tinyproxy, false, "ConnectPort 443\n").await;
    let site = Site::new(&[100, 200], &format!("endpoint.proxy = \"{}\"\n", proxy.url("")));
    site.subscribe(&receiver.url("/"), "#", &[]);
    let worker = site.start();
    site.wait_for_consumers(1).await;
    let publisher = site.publisher().await;
    for number in 0..50 {
        publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    eventually(async || {
        let parked = site.parked().len();
        holds(parked == 50, format!("{parked} are parked"))
    })
    .await;
    let log = || fs::read_to_string(site.log()).expect("there is a log");
    eventually(async || {
        let log = log();
        let is_summed = |line: &str| {
            line.contains("deliveries.deferred") && line.contains("no attempt can be made")
        };
        holds(log.lines().any(is_summed), log)
    })
    .await;
    assert_eq!(log().matches("delivery.not_attempted").count(), 1, "{}", log());
    assert_eq!(receiver.count(), 0);
    drop(worker);
}
