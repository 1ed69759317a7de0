//! homing does not let itself be sent into private networks.

use crate::support::{broker::Raw, installation::Installation, receiver::Receiver};

/// Goal: no connection to loopback by any spelling. Method: a receiver listens there all the time.
#[tokio::test]
async fn private_addresses_are_refused_without_a_connection() {
    let installation = Installation::with(&[], "endpoint.allow_networks = []").await;
    let receiver = Receiver::accepting().await;
    let port = receiver.url("").rsplit(':').next().expect("a port").to_owned();
    // A path for each, because the first four are one address and would be one URL.
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
        "0.0.0.0",
    ];
    for (number, host) in hosts.iter().enumerate() {
        installation.subscribe_all(&format!("http://{host}:{port}/{number}")).await;
    }
    installation.subscribe_all("http://169.254.169.254/latest/meta-data").await;
    installation.subscribe_all("http://10.0.0.1/").await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let parked = installation.wait_for_parked(11).await;
    running.stop().await;
    for entry in &parked {
        let outcome = entry.last_outcome.as_deref();
        assert_eq!(outcome, Some("unreachable address_not_allowed"), "{entry:?}");
    }
    assert!(receiver.requests().is_empty());
}
