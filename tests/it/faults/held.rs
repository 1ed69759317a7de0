//! Faults while deliveries are held and let go: nothing is lost, and what comes twice came around a
//! crash.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use homing_domain::{circuit::StateName, clock, outcome::Outcome, tally::Tally, url::EndpointUrl};
use homing_store::Intervention;
use serde_json::json;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::{
    circuits::{CIRCUIT, wait_for_state},
    held::{Endpoint, numbers, publish, set},
    support::{
        PATIENCE,
        broker::{Corner, Publisher, Raw},
        eventually, holds,
        installation::{Installation, millis},
        node::{Node, queues_settle},
        process::Site,
        receiver::{Receiver, Reply},
        within,
    },
};

const EVENTS: u32 = 3_000;
/// Requests in flight at one URL in these tests: the bound on what one crash repeats.
const CONCURRENCY: usize = 8;
const SETTINGS: &str = "endpoint.max_concurrency = 8\n";

/// Checks for one URL that each event was accepted; returns how many came more than once.
pub(super) fn account(
    fault: &str,
    accepted: &[String],
    expected: &[String],
    took: Duration,
) -> usize {
    let distinct: BTreeSet<_> = accepted.iter().collect();
    let missing = expected.iter().filter(|body| !distinct.contains(body)).count();
    let duplicates = accepted.len() - distinct.len();
    println!(
        "fault: {fault} | {} held | {missing} lost | {duplicates} duplicates | all within {took:?}",
        expected.len()
    );
    assert_eq!(missing, 0, "lost");
    duplicates
}

/// Waits until the endpoint has accepted `count` deliveries.
async fn wait_for_some(endpoint: &Endpoint, count: usize) {
    eventually(async || {
        let accepted = endpoint.accepted().len();
        holds(accepted >= count, format!("{accepted} of {count} were accepted"))
    })
    .await;
}

/// Goal: workers that die while they empty a held queue lose nothing and repeat what they had in
/// flight. Method: kill -9, three times, of two workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_while_they_empty_a_held_queue_lose_nothing() {
    const KILLS: usize = 3;
    let site = Site::new(&[600_000], SETTINGS);
    let endpoint = Endpoint::slow(200, Duration::from_millis(20)).await;
    let url = endpoint.receiver.url("/");
    site.run(&["topology", "apply"]);
    site.subscribe(&url, "#", &[]);
    site.run(&["endpoints", "disable", &url]);
    let publisher = site.publisher().await;
    let mut workers = vec![site.start(), site.start()];
    let held = numbers(0..EVENTS);
    for body in &held {
        publisher.publish(Raw::new("t", &format!("e{body}"), body.clone())).await;
    }
    let queue = site.corner.topology.names().held(0);
    eventually(async || {
        let depth = publisher.depth(&queue).await;
        holds(depth == EVENTS, format!("{depth} are held"))
    })
    .await;

    site.run(&["endpoints", "enable", &url]);
    let enabled = Instant::now();
    for kill in 1..=KILLS {
        wait_for_some(&endpoint, kill * 500).await;
        workers.remove(0).kill_9();
        workers.push(site.start());
    }
    endpoint.wait_for(&held).await;
    site.wait_until_settled().await;
    let fault = "worker killed 3 times while it empties a held queue";
    let duplicates = account(fault, &endpoint.accepted(), &held, enabled.elapsed());
    // Twice as many are at a worker as may be in flight; they may be done and not yet acked.
    assert!(duplicates <= 2 * KILLS * CONCURRENCY, "{duplicates}");
    assert!(site.parked().is_empty());
}

/// Goal: the same for the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_while_a_held_queue_is_emptied_loses_nothing() {
    let mut node = Node::start("fault-held").await;
    let corner = Corner::at(node.url.clone(), &millis(&[600_000]));
    let installation = Installation::at(corner, &[600_000], SETTINGS).await;
    let endpoint = Endpoint::slow(200, Duration::from_millis(20)).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    queues_settle().await;
    let running = installation.start();
    let held = numbers(0..EVENTS);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().held(0), EVENTS).await;

    set(&installation, &url, Intervention::Enable).await;
    let enabled = Instant::now();
    wait_for_some(&endpoint, 500).await;
    node.kill_9().await;
    node.up().await;
    endpoint.wait_for(&held).await;
    let publisher = Publisher::new(&installation.corner).await;
    let left = async || {
        let mut left = 0;
        for queue in installation.corner.topology.queues() {
            left += publisher.depth(&queue.name).await;
        }
        holds(left == 0, format!("{left} are left"))
    };
    eventually(left).await;
    running.stop().await;
    let fault = "broker killed while a held queue is emptied";
    let duplicates = account(fault, &endpoint.accepted(), &held, enabled.elapsed());
    assert!(duplicates <= 2 * CONCURRENCY, "{duplicates}");
}

/// Opens the circuits of `urls`, as many failures do.
pub(super) async fn open_at_once(installation: &Installation, urls: &[EndpointUrl]) {
    let failed = Outcome::Refused { status: 503, retry_after: None };
    let tally =
        (0..200).map(|_| Tally::of(&failed, clock::now())).fold(Tally::default(), Tally::merge);
    let tallies: Vec<_> = urls.iter().map(|url| (url.clone(), tally.clone())).collect();
    let rules = installation.settings.circuit.rules().expect("the rules make sense");
    let merged = installation.parts.store.merge_tallies(&tallies, &rules, clock::now()).await;
    let mut circuits = merged.expect("the store answers").circuits.into_iter();
    assert!(circuits.all(|(.., turned)| turned.is_some()), "not all circuits opened");
}

/// Goal: URLs beyond the held queues lose nothing, and are as late as their own step. Method: 200
/// URLs that are open at once, eight queues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_open_urls_with_eight_held_queues_lose_nothing() {
    const URLS: usize = 200;
    const EVENTS: usize = 10;
    let settings = "held.queues = 8\ncircuit.probe_interval = \"1h\"\n";
    let installation = Installation::with(&[2_000, 600_000], settings).await;
    let receiver = Receiver::answering(|_| Reply::status(200)).await;
    let mut urls: Vec<EndpointUrl> = Vec::new();
    for number in 0..URLS {
        let url = receiver.url(&format!("/{number}"));
        installation.subscribe(json!({"url": url, "topics": ["#"]})).await;
        urls.push(url.parse().expect("a URL"));
    }
    open_at_once(&installation, &urls).await;
    let running = installation.start();
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    let held = async || {
        let mut held = 0;
        for slot in 0..8 {
            held += installation.publisher.depth(&installation.names().held(slot)).await;
        }
        holds(held == 80, format!("{held} are held"))
    };
    eventually(held).await;
    assert_eq!(receiver.count(), 0);

    let enabled = Instant::now();
    for url in &urls {
        installation.parts.circuits.set(url, Intervention::Enable).await.expect("it answers");
    }
    receiver.wait_for(URLS * EVENTS).await;
    let took = enabled.elapsed();
    installation.assert_nothing_waits().await;
    running.stop().await;
    let requests = receiver.requests();
    let distinct: BTreeSet<_> = requests.iter().map(|it| (it.path.clone(), it.id())).collect();
    println!(
        "fault: 200 URLs open at once, 8 held queues | {} deliveries | 0 lost | {} duplicates | all \
         within {took:?}",
        distinct.len(),
        requests.len() - distinct.len()
    );
    assert_eq!((distinct.len(), requests.len()), (URLS * EVENTS, URLS * EVENTS));
    assert!(requests.iter().all(|request| request.attempt() == 1), "nothing was charged");
}

/// Goal: a slot whose owner changes under load costs no delivery. Method: an operator's hand in the
/// store, of which no worker gets news.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_changes_its_owner_under_load_loses_nothing() {
    let installation = Installation::with(&[600_000], SETTINGS).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    let workers = [installation.start(), installation.start()];
    let held = numbers(0..1_500);
    for (number, part) in held.chunks(500).enumerate() {
        publish(&installation, part).await;
        installation
            .shell(match number {
                // No one's, another's, and no one's again.
                1 => "UPDATE held_slots SET url = 'http://127.0.0.1:1/other'",
                _ => "UPDATE held_slots SET url = NULL, since_ms = 0",
            })
            .await;
    }
    let in_queues = async || {
        let mut depth = 0;
        for slot in 0..2 {
            depth += installation.publisher.depth(&installation.names().held(slot)).await;
        }
        holds(depth == 1_500, format!("{depth} are held"))
    };
    eventually(in_queues).await;
    assert_eq!(endpoint.receiver.count(), 0, "it is frozen");

    set(&installation, &url, Intervention::Enable).await;
    let enabled = Instant::now();
    endpoint.wait_for(&held).await;
    installation.assert_nothing_waits().await;
    for worker in workers {
        worker.stop().await;
    }
    let fault = "slot's owner changed three times";
    let duplicates = account(fault, &endpoint.accepted(), &held, enabled.elapsed());
    assert_eq!(duplicates, 0);
}

/// Goal: a URL that is enabled after a long time gets all that was held, each delivery once.
/// Method: a worker of its own process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_that_were_held_while_a_url_was_frozen_come_once() {
    const HELD: u32 = 50_000;
    const PUBLISHED_AT_ONCE: usize = 256;
    let site = Site::new(&[600_000], "");
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    site.run(&["topology", "apply"]);
    site.subscribe(&url, "#", &[]);
    site.run(&["endpoints", "disable", &url]);
    let worker = site.start();
    let (publisher, held) = (site.publisher().await, numbers(0..HELD));
    stream::iter(&held)
        .for_each_concurrent(PUBLISHED_AT_ONCE, |body| {
            publisher.publish(Raw::new("t", &format!("e{body}"), body.clone()))
        })
        .await;
    let queue = site.corner.topology.names().held(0);
    within(2 * PATIENCE, async || {
        let depth = publisher.depth(&queue).await;
        holds(depth == HELD, format!("{depth} are held"))
    })
    .await;
    let shown = site.run(&["status"]);
    assert!(shown.contains(&format!("waits for {url} since ")), "{shown}");
    let listed = site.run(&["endpoints", "list"]);
    assert!(listed.contains(&format!("  {HELD}  ")), "{listed}");

    site.run(&["endpoints", "enable", &url]);
    let enabled = Instant::now();
    within(3 * PATIENCE, async || {
        let came = endpoint.receiver.count();
        holds(came >= held.len(), format!("{came} came"))
    })
    .await;
    let took = enabled.elapsed();
    site.wait_until_settled().await;
    let duplicates =
        account("frozen, then enabled with 50,000 held", &endpoint.accepted(), &held, took);
    assert_eq!(duplicates, 0);
    drop(worker);
}

/// Goal: without the store deliveries to an open URL wait on their schedule, and come back to the
/// held queue; the circuit closes once the store is back. Method: another process locks the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_while_a_circuit_opens_and_closes_loses_nothing() {
    let settings = format!("{CIRCUIT}{SETTINGS}");
    let installation = Installation::with(&[500, 600_000], &settings).await;
    let endpoint = Endpoint::answering(503).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    installation.wait_for_consumers(1).await;
    // What fails meanwhile is counted when the store is back.
    let mut lock = locked(&installation).await;
    publish(&installation, &numbers(10_000..10_022)).await;
    endpoint.receiver.wait_for(22).await;
    unlock(&mut lock).await;
    wait_for_state(&installation, &url, StateName::Open).await;

    let mut lock = locked(&installation).await;
    let held = numbers(0..200);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    assert!(installation.parked().await.is_empty());
    unlock(&mut lock).await;
    eventually(async || {
        let depth = installation.publisher.depth(&installation.names().held(0)).await;
        holds(depth >= 100, format!("{depth} are held"))
    })
    .await;

    let mut lock = locked(&installation).await;
    endpoint.now_answers(200);
    // Two probes are due meanwhile.
    tokio::time::sleep(Duration::from_secs(2)).await;
    unlock(&mut lock).await;
    let back = Instant::now();
    wait_for_state(&installation, &url, StateName::Closed).await;
    // Probes that failed wait for ten minutes, as any attempt that failed.
    let failed: BTreeSet<_> = endpoint.refused().into_iter().collect();
    let expected: Vec<_> = held.iter().filter(|body| !failed.contains(*body)).cloned().collect();
    endpoint.wait_for(&expected).await;
    running.stop().await;
    let fault = "store away while a circuit opens and closes";
    let duplicates = account(fault, &endpoint.accepted(), &expected, back.elapsed());
    assert_eq!(duplicates, 0);
}

async fn locked(installation: &Installation) -> SqliteConnection {
    let file = installation.settings.store.url.trim_start_matches("sqlite:").to_owned();
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(5));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("it opens");
    let locked = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await;
    locked.expect("the database can be locked");
    connection
}

async fn unlock(lock: &mut SqliteConnection) {
    sqlx::query("ROLLBACK").execute(lock).await.expect("it can be unlocked");
}
