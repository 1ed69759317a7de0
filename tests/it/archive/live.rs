//! Live events come first, and a replay follows what its endpoints take.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use homing_domain::{circuit::StateName, clock, replay::ReplayState, time::UnixMillis};
use homing_store::Intervention;
use serde_json::json;
use tokio::time::{Instant, interval};

use super::{ON, Past, ids, once, replayed, select, wait_for_replayed};
use crate::{
    circuits::wait_for_state,
    held::set,
    support::{
        broker::Raw,
        eventually, holds,
        installation::Installation,
        receiver::{Receiver, Recorded, Reply},
    },
};

/// Goal: a live event does not wait behind a replay to its endpoint. Method: the endpoint takes 50 a
/// second, the replay would send 5,000; behind all of it, a live event would wait for 15 s.
#[tokio::test]
async fn live_events_of_a_slow_endpoint_do_not_wait_behind_a_replay() {
    const BOUND: Duration = Duration::from_secs(5);
    const LIVE: u32 = 20;
    let slow = Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(20))).await;
    let mut past = Past::with(800, "endpoint.max_concurrency = 1\n", slow).await;
    let id = past.subscribe("/").await;
    let replay = past.begin(json!({"topic": "order.paid"})).await;
    past.receiver.wait_for(10).await;
    let mut clock = interval(Duration::from_millis(300));
    let mut published = BTreeMap::new();
    for number in 0..LIVE {
        clock.tick().await;
        let event = format!("live{number}");
        let delivery = ids([event.clone()].into_iter(), id).pop_first().expect("one");
        published.insert(delivery, Instant::now());
        past.installation.publisher.publish(Raw::new("order.live", &event, "{}")).await;
    }
    let during = past.archive().get(replay.id).await.expect("the store answers");
    assert!(!during.state.is_over(), "the replay was over too soon: {during:?}");
    let late = eventually(async || {
        let requests = past.receiver.requests();
        let live = requests.iter().filter(|it| published.contains_key(&it.id()));
        let late: Vec<_> = live.map(|it| it.at - published[&it.id()]).collect();
        if late.len() == published.len() { Ok(late) } else { Err(format!("{} came", late.len())) }
    })
    .await;
    past.archive().stop(replay.id).await.expect("it runs");
    past.stop().await;
    let latest = late.into_iter().max().expect("some");
    println!("live beside a replay to an endpoint of 50/s: {latest:?} at most");
    assert!(latest < BOUND, "{latest:?}");
}

/// Goal: a replay for chosen subscriptions follows the circuit. Method: the circuit of the only
/// endpoint freezes in the middle of it, and is closed again.
#[tokio::test]
async fn a_replay_waits_while_the_circuit_of_an_endpoint_is_not_closed() {
    let mut past = Past::of(200).await;
    let id = past.subscribe("/").await;
    let url = past.receiver.url("/");
    let replay = past.begin(json!({"rate": 40, "subscriptions": [id]})).await;
    past.receiver.wait_for(20).await;
    set(&past.installation, &url, Intervention::Disable).await;
    let waiting = past.wait_for_note(&replay, "frozen").await;
    assert!(waiting.progress.note.expect("a note").contains(&url));
    let came = u64::try_from(past.receiver.count()).expect("few");
    let held = waiting.progress.sent.saturating_sub(came);
    assert!(waiting.progress.sent < 200 && held <= 40, "{held} are held");
    set(&past.installation, &url, Intervention::Enable).await;
    let ended = past.ended(&replay).await;
    assert_eq!((ended.state, ended.progress.sent), (ReplayState::Done, 200));
    wait_for_replayed(&past.receiver, 200).await;
    past.stop().await;
    assert_eq!(once(&replayed(&past.receiver)), past.ids(id));
}

/// Goal: an endpoint that is down keeps nothing from others. Method: one of two is frozen while a
/// replay to all runs; it is enabled, and sent the window.
#[tokio::test]
async fn a_replay_to_all_leaves_out_an_endpoint_that_is_frozen() {
    let mut past = Past::of(60).await;
    let (well, down) = (past.subscribe("/well").await, past.subscribe("/down").await);
    let url = past.receiver.url("/down");
    set(&past.installation, &url, Intervention::Disable).await;
    wait_for_state(&past.installation, &url, StateName::Frozen).await;
    let ended = past.ended(&past.begin(json!({})).await).await;
    let progress = &ended.progress;
    assert_eq!((ended.state, progress.sent, progress.left_out), (ReplayState::Done, 60, 60));
    let note = progress.note.as_deref().expect("a note");
    assert!(note.contains(&format!("left out: {url}; ")), "{note}");

    set(&past.installation, &url, Intervention::Enable).await;
    let ended = past.ended(&past.begin(json!({"url": url})).await).await;
    let progress = &ended.progress;
    assert_eq!((progress.sent, progress.left_out, &progress.note), (60, 0, &None));
    wait_for_replayed(&past.receiver, 120).await;
    past.stop().await;
    let both: BTreeSet<_> = past.ids(well).union(&past.ids(down)).cloned().collect();
    assert_eq!(once(&replayed(&past.receiver)), both);
}

/// Goal: a replay to an endpoint that nothing else is sent to goes on when that is back. Method: the
/// circuit is open before it begins, and no delivery is held that could be its probe.
#[tokio::test]
async fn a_replay_probes_an_open_circuit_that_nothing_else_probes() {
    const CIRCUIT: &str = "circuit.open_above_percent = 70\n\
        circuit.open_above_attempts = 20\n\
        circuit.rate_window_attempts = 200\n\
        circuit.probe_interval = \"1s\"\n\
        held.min_hold = \"3s\"\n";
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.body == "down" { 503 } else { 200 })
    });
    let mut past = Past::with(20, CIRCUIT, receiver.await).await;
    let id = past.subscribe("/").await;
    let mut published = 0;
    let mut publish = async || {
        let raw = Raw::new("order.new", &format!("down{published}"), "down");
        published += 1;
        past.installation.publisher.publish(raw).await;
    };
    // Until the subscription is known.
    eventually(async || {
        publish().await;
        holds(past.receiver.count() > 0, "nothing came")
    })
    .await;
    for _ in 0..30 {
        publish().await;
    }
    // They are parked once they have waited for as long as their schedule is long.
    eventually(async || {
        let parked = past.installation.parked().await.len();
        holds(parked > 30, format!("{parked} are parked"))
    })
    .await;
    past.installation.assert_nothing_waits().await;
    wait_for_state(&past.installation, &past.receiver.url("/"), StateName::Open).await;
    let replay = past.begin(json!({"topic": "order.paid"})).await;
    let ended = past.ended(&replay).await;
    assert_eq!((ended.state, ended.progress.sent), (ReplayState::Done, 20));
    eventually(async || {
        let found: BTreeSet<_> = past.receiver.requests().iter().map(Recorded::id).collect();
        let missing = past.ids(id).difference(&found).count();
        holds(missing == 0, format!("{missing} are missing"))
    })
    .await;
    past.stop().await;
}

/// Goal: no more is sent than the rate allows.
#[tokio::test]
async fn a_replay_keeps_its_rate() {
    let mut past = Past::of(60).await;
    past.subscribe("/").await;
    let begun = Instant::now();
    let replay = past.begin(json!({"rate": 20})).await;
    past.ended(&replay).await;
    let came = wait_for_replayed(&past.receiver, 60).await;
    past.stop().await;
    let came: Vec<_> = came.iter().map(|it| it.at).collect();
    let took = came.iter().max().expect("some").duration_since(begun);
    // The last step is sent after all others had their time.
    assert!(took >= Duration::from_millis(2_750), "60 deliveries at 20/s in {took:?}");
}

/// Goal: beside steady traffic, a window that ends now has exactly what was published before its
/// end. Method: each event is known by the instants around its publishing.
#[tokio::test]
async fn a_window_that_ends_now_is_exact_beside_steady_traffic() {
    let installation = Installation::with(&[50], ON).await;
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/");
    let draft = json!({"url": url, "topics": ["order.*"]});
    let id = installation.subscribe(draft).await.subscription.id;
    let running = installation.start();
    let since = clock::now();
    let mut clock = interval(Duration::from_millis(5));
    let (mut published, mut replay) = (Vec::new(), None);
    for number in 0..600 {
        clock.tick().await;
        let event = format!("e{number}");
        let before = clock::now();
        installation.publisher.publish(Raw::new("order.paid", &event, "{}")).await;
        published.push((event, before, clock::now()));
        if number == 300 {
            let selection = select(since, clock::now(), json!({}));
            replay = Some(installation.parts.archive.begin(selection).await.expect("it begins"));
        }
    }
    let replay = super::ended(&installation, &replay.expect("it was begun")).await;
    let sent = usize::try_from(replay.progress.sent).expect("few");
    receiver.wait_for(600 + sent).await;
    running.stop().await;
    let until = replay.selection.until_ms;
    let named = |is_in: &dyn Fn(UnixMillis, UnixMillis) -> bool| {
        let chosen = published.iter().filter(|(_, before, after)| is_in(*before, *after));
        ids(chosen.map(|(event, ..)| event.clone()), id)
    };
    let (surely, perhaps) = (named(&|_, after| after < until), named(&|before, _| before < until));
    let found = once(&replayed(&receiver));
    assert!(surely.is_subset(&found), "{} are missing", surely.difference(&found).count());
    assert!(found.is_subset(&perhaps), "{} are too many", found.difference(&perhaps).count());
    assert!(surely.len() > 200 && perhaps.len() < 600, "{} {}", surely.len(), perhaps.len());
}

/// Goal: nothing is replayed beside a worker that would send it without `x-homing-replay`. Method:
/// one of an earlier version is in the store, and goes.
#[tokio::test]
async fn beside_a_worker_of_an_earlier_version_a_replay_waits() {
    let mut past = Past::of(20).await;
    past.stop().await;
    past.installation
        .shell(
            "INSERT INTO workers (id, host, pid, version, started_ms, seen_ms, in_flight) \
             VALUES ('01a226ad-3485-77f3-8224-b52c89023211', 'h', 1, '0.1.0', 0, 9999999999999, 0)",
        )
        .await;
    let id = past.subscribe("/").await;
    past.running = Some(past.installation.start());
    let replay = past.begin(json!({})).await;
    let waiting = past.wait_for_note(&replay, "earlier version").await;
    assert_eq!((waiting.progress.sent, past.receiver.count()), (0, 0));
    past.installation.shell("DELETE FROM workers WHERE pid = 1 AND version = '0.1.0'").await;
    let ended = past.ended(&replay).await;
    assert_eq!((ended.state, ended.progress.note), (ReplayState::Done, None));
    wait_for_replayed(&past.receiver, 20).await;
    past.stop().await;
    assert_eq!(once(&past.receiver.requests()), past.ids(id));
}
