//! A database server that goes away and comes back.

use homing_domain::circuit::CircuitRules;
use homing_store::{StoreError, settings::StoreSettings};

use super::{
    Kept,
    circuits::{at, dead},
    samples::subscription,
};
use crate::support::database::Server;

/// Goal: who holds a store need not open it again. Method: the server is ended while connections
/// to it wait in the pool, asked in vain, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_used_again() -> Kept {
    let server = Server::new();
    let store = StoreSettings { max_connections: 2, ..super::settings(server.url()) };
    let store = homing_store::open(&store).await?;
    store.insert_subscription(&subscription("a")).await?;
    let dead = [dead("a")];
    let rules = CircuitRules::default();

    server.lose();
    for reported in [
        store.insert_subscription(&subscription("b")).await.err(),
        store.merge_tallies(&dead, &rules, at(0)).await.err(),
    ] {
        let reported = reported.ok_or("a server that is not there answered")?;
        assert!(matches!(reported, StoreError::Connect { .. }), "{reported}");
        let reported = reported.report();
        assert!(
            reported.starts_with("cannot connect to the store at postgres://homing@"),
            "{reported}"
        );
        assert!(reported.contains("Connection refused"), "{reported}");
    }

    server.find();
    store.insert_subscription(&subscription("b")).await?;
    store.merge_tallies(&dead, &rules, at(0)).await?;
    assert_eq!(store.count_subscriptions().await?, 2);
    assert_eq!(store.unsettled_circuits().await?.circuits.len(), 1);
    Ok(())
}
