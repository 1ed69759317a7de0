//! Operators at a running installation: they delete queues and exchanges, one after the other.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use tokio::time::Instant;

use crate::support::{
    broker,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// The longest pause of deliveries. homing gets no notice that a queue was deleted for good.
const RESUMED_WITHIN: Duration = Duration::from_secs(20);

/// Goal: a queue that is deleted is there again within seconds, and both lanes consume. What it
/// held is lost with it, which no one can help; so the queues are empty when they are deleted.
/// Method: delete all three, back to back, then publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_deleted_by_an_operator_come_back() {
    let stage = Stage::at(broker::url()).await;
    let worker = stage.site.start();
    let publisher = stage.site.publisher().await;
    let names = stage.site.corner.topology.names();
    let first = stage.load();
    stage.wait_for_more(500).await;
    let mut events = first.finish().await;
    stage.wait_until_quiet().await;

    for _ in 0..3 {
        for queue in [names.retry(), names.primary(), names.unrouted()] {
            let deleting = publisher
                .channel()
                .queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
            deleting.await.expect("an operator deletes a queue");
        }
    }
    let deleted = Instant::now();
    stage.wait_for_queues(RESUMED_WITHIN).await;
    let within = deleted.elapsed();

    let second = stage.load_after(&events);
    stage.wait_for_more(500).await;
    events.merge(second.finish().await);
    let account = stage.account_of(&events, worker).await;
    account.assert_whole(
        "primary, retry and unrouted queues deleted, empty",
        within,
        MAX_IN_FLIGHT,
    );
}

/// Goal: publishes that find no exchange are not lost: the delivery is repeated or goes on when the
/// exchange is there again. Method: delete homing's own exchange in the middle of a load, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_deleted_by_an_operator_comes_back_and_nothing_is_lost() {
    let stage = Stage::at(broker::url()).await;
    let worker = stage.site.start();
    let publisher = stage.site.publisher().await;
    let route = stage.site.corner.topology.names().route();
    let load = stage.load();
    stage.wait_for_more(500).await;

    let deleted = Instant::now();
    for _ in 0..2 {
        let deleting = publisher
            .channel()
            .exchange_delete(route.as_str().into(), ExchangeDeleteOptions::default());
        deleting.await.expect("an operator deletes an exchange");
        stage.wait_for_more(500).await;
    }
    let silence = stage.longest_silence(deleted);

    let account = stage.account(load, worker).await;
    account.assert_whole("homing's exchange deleted twice", silence, 2 * MAX_IN_FLIGHT);
}
