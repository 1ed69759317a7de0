//! The whole pool holds deliveries back from an endpoint that keeps failing, and loses none.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use homing_delivery::parking::Entry;
use homing_domain::{
    circuit::{Circuit, CircuitRules, CircuitState, StateName},
    clock,
    outcome::Outcome,
    tally::Tally,
};
use homing_store::Intervention;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    PATIENCE,
    broker::Raw,
    eventually, holds,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Recorded, Reply},
    scenario::{Ended, Scenario},
};

/// The published rules with figures that a test can wait for.
pub(crate) const CIRCUIT: &str = "circuit.open_above_percent = 70\n\
    circuit.open_above_attempts = 20\n\
    circuit.rate_window_attempts = 200\n\
    circuit.open_at_consecutive_failures = 1000\n\
    circuit.freeze_at_consecutive_failures = 1000\n\
    circuit.probe_interval = \"1s\"\n\
    held.min_hold = \"0s\"\n\
    worker.max_in_flight = 64\n";

/// An endpoint whose answer the test can change.
struct Patient {
    receiver: Receiver,
    status: Arc<AtomicU16>,
}

impl Patient {
    async fn answering(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let current = Arc::clone(&status);
        let receiver =
            Receiver::answering(move |_| Reply::status(current.load(Ordering::SeqCst))).await;
        Self { receiver, status }
    }

    fn now_answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

pub(crate) async fn circuit(installation: &Installation, url: &str) -> Circuit {
    let url = url.parse().expect("a URL");
    installation.parts.circuits.get(&url).await.expect("the store answers")
}

/// Waits until the circuit of `url` is in this state.
pub(crate) async fn wait_for_state(
    installation: &Installation,
    url: &str,
    state: StateName,
) -> Circuit {
    eventually(async || {
        let circuit = circuit(installation, url).await;
        if circuit.state.name() == state { Ok(circuit) } else { Err(format!("{circuit:?}")) }
    })
    .await
}

/// Waits until `count` deliveries are held, or wait for a minute after an attempt.
async fn wait_for_held(installation: &Installation, count: u32) {
    let queues = [installation.names().held(0), installation.names().wait(Duration::from_mins(1))];
    eventually(async || {
        let mut depth = 0;
        for queue in &queues {
            depth += installation.publisher.depth(queue).await;
        }
        holds(depth == count, format!("{depth} are held, not {count}"))
    })
    .await;
}

async fn publish(installation: &Installation, from: usize, count: usize) {
    for number in from..from + count {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
}

/// Goal: three worker processes hold back from a dead URL together: once its circuit is open, only
/// probes arrive, one per interval over the whole pool; when it recovers, everything arrives.
/// Method: the endpoint's own record, and 500 events per second.
#[tokio::test]
async fn the_pool_holds_back_from_a_dead_url_which_gets_everything_when_it_recovers() {
    const EVENTS: usize = 500;
    let site = Site::new(&[300; 60], CIRCUIT);
    let patient = Patient::answering(503).await;
    let url = patient.receiver.url("/");
    site.run(&["topology", "apply"]);
    site.run(&["subscriptions", "create", "--url", &url, "--topic", "#"]);
    let publisher = site.publisher().await;
    let mut workers = [site.start(), site.start(), site.start()];

    let mut clock = tokio::time::interval(Duration::from_millis(2));
    for number in 0..EVENTS {
        clock.tick().await;
        publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    site.wait_for_endpoints("open", 1).await;
    // What was in flight ends, and every worker learns of it: within a second, or, where an
    // announcement or a merge is late on a busy machine, when it looks next.
    let deadline = Instant::now() + PATIENCE;
    let mut before = usize::MAX;
    while patient.receiver.requests().len().abs_diff(before) > 2 {
        assert!(Instant::now() < deadline, "requests go on");
        before = patient.receiver.requests().len();
        // An interval of probes.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let before = patient.receiver.count();
    let watched = Instant::now();
    patient.receiver.wait_for(before + 4).await;
    let probes = patient.receiver.count() - before;
    let intervals = watched.elapsed().as_secs_f64();
    println!("{before} requests before, {probes} probes in {intervals:.1} intervals");
    // The threshold of 20 attempts, what three workers of 2 × 32 places can have had in flight, and
    // what they begin until each has heard of it, which a busy machine delays.
    assert!(before <= 20 + 3 * 64 + 100, "{before} requests: the circuit opened too late");
    // The fourth comes three intervals after the first, and the first may come at once.
    assert!(intervals >= 2.5, "{probes} probes in {intervals:.1} intervals");

    patient.now_answers(200);
    site.wait_for_endpoints("closed", 1).await;
    let accepted = |requests: &[Recorded]| {
        let ids: BTreeSet<_> = requests.iter().map(Recorded::id).collect();
        ids.len()
    };
    eventually(async || {
        let accepted = accepted(&patient.receiver.requests());
        holds(accepted >= EVENTS, format!("{accepted} of {EVENTS} arrived"))
    })
    .await;
    for worker in &mut workers {
        worker.terminate();
        worker.ended().await;
    }
    // The account: every event was accepted, none is parked, none is left.
    let mut left = 0;
    for queue in site.corner.topology.queues() {
        left += publisher.depth(&queue.name).await;
    }
    println!("{EVENTS} published = {EVENTS} delivered + {left} parked or waiting");
    assert_eq!(left, 0);
}

/// Goal: while the circuit is open no attempt is charged, and the end of the schedule parks.
#[tokio::test]
async fn held_deliveries_are_not_charged_and_parked_at_the_end_of_the_schedule() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let mut scenario = Scenario::with(&[100; 20], &settings, Receiver::failing().await).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish("t", 30).await;
    wait_for_state(&scenario.installation, &scenario.receiver.url("/"), StateName::Open).await;
    // The worker knows of it when it has held a delivery to the end.
    let parked = scenario.installation.wait_for_parked(30).await;
    let is_held = |entry: &Entry| entry.reason.as_str() == "circuit_open";
    assert!(parked.iter().any(is_held), "{parked:?}");
    let before = scenario.receiver.count();

    scenario.publish("t", 50).await;

    let Ended { parked, requests, .. } = scenario.account().await;
    assert_eq!(requests.len(), before, "nothing was attempted");
    let charged: u32 = parked.iter().map(|entry| entry.attempts).sum();
    assert_eq!(usize::try_from(charged), Ok(before), "every attempt is charged, and no hold");
    let later = parked.iter().filter(|entry| (30..80).any(|n| entry.event_id == format!("e{n}")));
    let untried = later.filter(|entry| is_held(entry) && entry.attempts == 0);
    assert_eq!(untried.count(), 50, "{parked:?}");
}

/// Goal: a frozen URL gets nothing until an operator enables it; then exactly what was parked
/// meanwhile is replayed.
#[tokio::test]
async fn a_frozen_url_gets_nothing_until_an_operator_enables_it() {
    let installation = Installation::with(&[100], CIRCUIT).await;
    let patient = Patient::answering(200).await;
    let url = patient.receiver.url("/");
    installation.subscribe_all(&url).await;
    let other = Receiver::accepting().await;
    installation.subscribe(json!({"url": other.url("/"), "topics": ["#"]})).await;
    let address = url.parse().expect("a URL");
    let circuits = &installation.parts.circuits;
    circuits.set(&address, Intervention::Disable).await.expect("the store answers");
    let running = installation.start();

    publish(&installation, 0, 20).await;

    let parked = installation.wait_for_parked(20).await;
    assert!(parked.iter().all(|entry| entry.reason.as_str() == "frozen" && entry.attempts == 0));
    assert!(patient.receiver.requests().is_empty());
    other.wait_for(20).await;

    let enabled = circuits.set(&address, Intervention::Enable).await.expect("it answers");
    assert_eq!(enabled.state, CircuitState::Closed);
    // The worker knows of it when an event arrives; those before it are parked as well.
    let mut published = 20;
    eventually(async || {
        publish(&installation, published, 1).await;
        published += 1;
        holds(patient.receiver.count() > 0, "the enabled URL gets nothing")
    })
    .await;
    other.wait_for(published).await;
    installation.assert_nothing_waits().await;
    let parking = &installation.parts.parking;
    let replayed = circuits.replay_parked_by_circuit(parking, &address, |_| ()).await;
    let matched = replayed.expect("the parking queue can be scanned").matched;
    assert!((20..published).contains(&usize::try_from(matched).expect("few")), "{matched}");
    patient.receiver.wait_for(published).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!((patient.receiver.count(), other.count()), (published, published));
    assert!(installation.wait_for_parked(0).await.is_empty());
}

/// Goal: a URL that stays dead freezes by itself, and is not even probed any more.
#[tokio::test]
async fn a_url_that_stays_dead_freezes() {
    let settings = CIRCUIT
        .replace("failures = 1000", "failures = 25")
        .replace("freeze_at_consecutive_failures = 25", "freeze_at_consecutive_failures = 28")
        .replace("\"1s\"", "\"200ms\"");
    let mut scenario = Scenario::with(&[100; 60], &settings, Receiver::failing().await).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    let url = scenario.receiver.url("/");

    scenario.publish("t", 24).await;
    wait_for_state(&scenario.installation, &url, StateName::Open).await;
    let frozen = wait_for_state(&scenario.installation, &url, StateName::Frozen).await;
    scenario.installation.wait_for_parked(24).await;
    let before = scenario.receiver.count();
    scenario.publish("t", 10).await;
    let Ended { parked, requests, .. } = scenario.account().await;

    assert!(frozen.consecutive_failures >= 28, "{frozen:?}");
    let reasons: BTreeSet<_> = parked.iter().map(|entry| entry.reason.as_str()).collect();
    // What was held while it was still open says so.
    assert!(reasons.is_subset(&BTreeSet::from(["circuit_open", "frozen"])), "{reasons:?}");
    assert_eq!(requests.len(), before);
}

/// Goal: without the store delivery goes on, the last known states hold, and what was counted
/// arrives when the store is back. Method: another process locks the database
/// against writing.
#[tokio::test]
async fn without_the_store_delivery_goes_on_and_counts_arrive_later() {
    use sqlx::Connection;
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let well = Receiver::accepting().await;
    let dying = Patient::answering(200).await;
    let dead = Patient::answering(500).await;
    for (topic, receiver) in [("t", &well), ("dying", &dying.receiver), ("dead", &dead.receiver)] {
        installation.subscribe(json!({"url": receiver.url("/"), "topics": [topic]})).await;
    }
    let (dying_url, dead_url) = (dying.receiver.url("/"), dead.receiver.url("/"));
    let running = installation.start();
    for number in 0..40 {
        installation.publisher.publish(Raw::new("dead", &format!("dead{number}"), "{}")).await;
    }
    wait_for_state(&installation, &dead_url, StateName::Open).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    let held_before = dead.receiver.requests().len();

    let file = installation.settings.store.url.trim_start_matches("sqlite:").to_owned();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.expect("it opens");
    let locked = sqlx::query("BEGIN IMMEDIATE").execute(&mut other);
    locked.await.expect("the database can be locked");
    dying.now_answers(500);
    for number in 0..40 {
        installation.publisher.publish(Raw::new("t", &format!("t{number}"), "{}")).await;
        installation.publisher.publish(Raw::new("dying", &format!("dy{number}"), "{}")).await;
        installation.publisher.publish(Raw::new("dead", &format!("de{number}"), "{}")).await;
    }
    well.wait_for(40).await;
    dying.receiver.wait_for(40).await;
    assert_eq!(dead.receiver.requests().len(), held_before, "what is open stays open");
    assert_eq!(circuit(&installation, &dying_url).await.state, CircuitState::Closed);

    sqlx::query("ROLLBACK").execute(&mut other).await.expect("it can be unlocked");
    wait_for_state(&installation, &dying_url, StateName::Open).await;
    // Stopping merges what is still counted.
    running.stop().await;
    assert_eq!(circuit(&installation, &dying_url).await.failures, 40);
}

/// Goal: a circuit that a worker opens is known to be open to all, itself included, although
/// another one's clock made it an hour ahead.
#[tokio::test]
async fn an_opening_is_newer_whatever_the_clocks_say() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let patient = Patient::answering(500).await;
    let url = patient.receiver.url("/");
    installation.subscribe_all(&url).await;
    let ahead = clock::now().plus(Duration::from_hours(1));
    let tally = Tally::of(&Outcome::Accepted { status: 200 }, clock::now());
    let counted = [(url.parse().expect("a URL"), tally)];
    let store = &installation.parts.store;
    let merged = store.merge_tallies(&counted, &CircuitRules::default(), ahead).await;
    assert_eq!(merged.expect("the store answers").circuits.len(), 1);

    let running = installation.start();
    publish(&installation, 0, 40).await;
    wait_for_state(&installation, &url, StateName::Open).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    let before = patient.receiver.requests().len();
    publish(&installation, 40, 40).await;
    wait_for_held(&installation, 80).await;
    running.stop().await;
    assert_eq!(patient.receiver.requests().len(), before);
}

/// Goal: states survive a restart of all workers, and a worker that missed the announcement knows.
#[tokio::test]
async fn states_survive_a_restart_of_all_workers() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let patient = Patient::answering(500).await;
    let url = patient.receiver.url("/");
    installation.subscribe_all(&url).await;
    let first = installation.start();
    publish(&installation, 0, 40).await;
    wait_for_state(&installation, &url, StateName::Open).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    first.stop().await;
    let before = patient.receiver.requests().len();

    let second = installation.start();
    publish(&installation, 40, 40).await;
    wait_for_held(&installation, 80).await;
    second.stop().await;
    assert_eq!(patient.receiver.requests().len(), before);
}

/// Goal: operators can subscribe to changes of state, and no other subscription gets them.
#[tokio::test]
async fn a_change_of_state_is_an_event_for_those_who_name_it() {
    let installation = Installation::with(&[400; 20], CIRCUIT).await;
    let patient = Patient::answering(500).await;
    let url = patient.receiver.url("/");
    installation.subscribe(json!({"url": url, "topics": ["t"]})).await;
    let operators = Receiver::accepting().await;
    let everything = Receiver::accepting().await;
    let named = json!({"url": operators.url("/"), "topics": ["homing.endpoint.*"]});
    installation.subscribe(named).await;
    installation.subscribe_all(&everything.url("/")).await;
    let running = installation.start();

    publish(&installation, 0, 40).await;
    let opened = operators.wait_for(1).await.remove(0);
    everything.wait_for(40).await;
    patient.now_answers(200);
    publish(&installation, 40, 10).await;
    let closed = operators.wait_for(2).await.remove(1);
    running.stop().await;

    assert_eq!(opened.header("x-homing-topic"), Some("homing.endpoint.opened"));
    assert_eq!(closed.header("x-homing-topic"), Some("homing.endpoint.closed"));
    let body: serde_json::Value = serde_json::from_slice(&opened.body).expect("JSON");
    assert_eq!((&body["url"], &body["to"]), (&json!(url), &json!("open")));
    let received = everything.requests();
    assert!(received.iter().all(|request| request.header("x-homing-topic") == Some("t")));
}
