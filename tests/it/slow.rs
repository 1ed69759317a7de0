//! Endpoints that are slow, or take less than what comes for them, cost others nothing.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homing_domain::circuit::StateName;
use homing_store::{HeldSlot, Intervention};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::{
    circuits::{CIRCUIT, wait_for_state},
    held::{Endpoint, numbers, publish, set},
    secrets::{address, get},
    support::{
        broker::Raw,
        eventually, holds,
        installation::Installation,
        process::Site,
        receiver::{Receiver, Reply},
    },
};

/// The slot of `url`, once it has one.
async fn slot_of(installation: &Installation, url: &str) -> HeldSlot {
    eventually(async || {
        let slots = slots(installation).await;
        let own = slots.iter().find(|held| held.url.as_ref().is_some_and(|of| of.as_str() == url));
        own.cloned().ok_or("it has no slot")
    })
    .await
}

async fn slots(installation: &Installation) -> Vec<HeldSlot> {
    let prefix = installation.names().prefix();
    installation.parts.store.held_slots(prefix).await.expect("the store answers")
}

/// The value of a metric without labels.
fn value(reported: &str, metric: &str) -> f64 {
    let mut values =
        reported.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    values.next().map_or(0.0, |value| value.parse().expect("a number"))
}

/// Goal: twenty URLs that answer after a second, for which more comes than half of a lane takes,
/// neither delay a quick one nor go round through the throttle queues. Method: a lane of 128 places,
/// held queues for eight of them and one for the others, 150 slow deliveries a second, and a quick
/// one every 20 ms.
#[tokio::test]
async fn slow_urls_leave_the_lane_to_others() {
    const SLOW: usize = 20;
    const TICKS: usize = 500;
    let settings = "worker.max_in_flight = 256\nendpoint.max_concurrency = 16\nheld.queues = 16";
    let site = Site::new(&[60_000], settings);
    let slow = Receiver::answering(|_| Reply::status(200).after(Duration::from_secs(1))).await;
    let quick = Receiver::accepting().await;
    for number in 0..SLOW {
        site.subscribe(&slow.url(&format!("/{number}")), &format!("slow.{number}"), &[]);
    }
    site.subscribe(&quick.url("/"), "quick", &[]);
    let log = std::fs::File::create(site.log()).expect("a log can be written");
    let worker = site.start_as(&["run"], Stdio::null(), log.into());
    site.wait_for_consumers(1).await;

    let publisher = site.publisher().await;
    let mut clock = interval(Duration::from_millis(20));
    let mut times = Vec::new();
    for tick in 0..TICKS {
        clock.tick().await;
        for number in 3 * tick..3 * tick + 3 {
            let topic = format!("slow.{}", number % SLOW);
            publisher.publish(Raw::new(&topic, &format!("s{number}"), "{}")).await;
        }
        times.push(Instant::now());
        publisher.publish(Raw::new("quick", &format!("q{tick}"), tick.to_string())).await;
    }
    quick.wait_for(TICKS).await;
    slow.wait_for(3 * TICKS).await;
    let reported = get(&address(site.folder.path()).await, "/metrics", "").await;
    drop(worker);

    let mut late: Vec<_> = quick
        .requests()
        .iter()
        .map(|request| {
            let tick: usize = String::from_utf8_lossy(&request.body).parse().expect("a number");
            request.at - times[tick]
        })
        .collect();
    late.sort();
    let [median, p99] = [50, 99].map(|percent| late[TICKS * percent / 100]);
    let throttled = value(&reported, "homing_throttled_total");
    let held = value(&reported, "homing_held_as_slow_total");
    println!("quick: {median:?}, p99 {p99:?}; throttled {throttled}, held {held}");
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    assert!(throttled <= 150.0, "{throttled} of 1500 slow deliveries");
    assert!(held > 0.0);
    assert!(slow.requests().iter().all(|request| request.attempt() == 1), "nothing is charged");
}

/// Goal: a URL that becomes slow gets a slot, and gives it back when it is quick again and all that
/// was held has come; new events then come directly.
#[tokio::test]
async fn a_url_that_is_quick_again_gives_its_slot_back() {
    let settings = "worker.max_in_flight = 64\nendpoint.max_concurrency = 4";
    let installation = Installation::with(&[60_000], settings).await;
    let takes = Arc::new(AtomicU64::new(500));
    let current = Arc::clone(&takes);
    let receiver = Receiver::answering(move |_| {
        Reply::status(200).after(Duration::from_millis(current.load(Ordering::SeqCst)))
    })
    .await;
    let url = receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..100)).await;
    slot_of(&installation, &url).await;
    takes.store(0, Ordering::SeqCst);
    receiver.wait_for(100).await;

    // Some come all the time.
    eventually(async || {
        let next = receiver.count().try_into().expect("few");
        publish(&installation, &numbers(next..next + 1)).await;
        receiver.wait_for(receiver.count()).await;
        let slots = slots(&installation).await;
        holds(slots.iter().all(|held| held.url.is_none()), format!("{slots:?}"))
    })
    .await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert!(receiver.requests().iter().all(|request| request.attempt() == 1));
}

/// Goal: a slot belongs to a URL, whatever its state: a slow one whose circuit opens keeps it, and all
/// that is held comes after it closes.
#[tokio::test]
async fn a_slow_url_whose_circuit_opens_keeps_its_slot() {
    let settings = format!("{CIRCUIT}endpoint.max_concurrency = 4\n");
    let installation = Installation::with(&[600; 60], &settings).await;
    let endpoint = Endpoint::slow(200, Duration::from_millis(300)).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..100)).await;
    let slot = slot_of(&installation, &url).await;

    endpoint.now_answers(500);
    wait_for_state(&installation, &url, StateName::Open).await;
    publish(&installation, &numbers(100..150)).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    assert_eq!(slot_of(&installation, &url).await, slot);
    endpoint.now_answers(200);
    set(&installation, &url, Intervention::Enable).await;
    endpoint.wait_for(&numbers(0..150)).await;
    assert_eq!(slot_of(&installation, &url).await, slot);
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(endpoint.accepted().len(), 150, "each comes once");
}

/// Goal: what is held for a slow URL for as long as its schedule is long is parked for that, and not
/// for a circuit.
#[tokio::test]
async fn what_a_slow_url_does_not_take_in_time_is_parked_with_the_reason() {
    let settings =
        "worker.max_in_flight = 64\nendpoint.max_concurrency = 1\nheld.min_hold = \"0s\"";
    let installation = Installation::with(&[500, 2_500], settings).await;
    let endpoint = Endpoint::slow(200, Duration::from_millis(400)).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..60)).await;
    eventually(async || {
        let ended = endpoint.accepted().len() + installation.parked().await.len();
        holds(ended == 60, format!("{ended} of 60 have ended"))
    })
    .await;
    running.stop().await;
    let parked = installation.parked().await;
    assert!(parked.len() > 10, "{}", parked.len());
    for entry in parked {
        assert_eq!((entry.reason.as_str(), entry.attempts), ("endpoint_slow", 0));
    }
}

/// Goal: an endpoint that answers 429 to more than six requests at a time gets about six, and all that
/// comes for it, though 64 are allowed. Method: what is refused comes again after a moment.
#[tokio::test]
async fn an_endpoint_that_refuses_more_than_it_takes_at_a_time_gets_about_that() {
    const EVENTS: u32 = 500;
    const TAKES: usize = 6;
    let settings = "worker.max_in_flight = 128";
    let installation = Installation::with(&[1_000; 60], settings).await;
    let busy = Arc::new(Mutex::new(Vec::new()));
    let receiver = Receiver::answering(move |_| {
        let now = Instant::now();
        let mut busy = busy.lock();
        busy.retain(|until| *until > now);
        if busy.len() >= TAKES {
            return Reply::status(429);
        }
        let takes = Duration::from_millis(250);
        busy.push(now + takes);
        Reply::status(200).after(takes)
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    publish(&installation, &numbers(0..EVENTS)).await;
    eventually(async || {
        let requests = receiver.requests();
        let accepted = requests.iter().filter(|request| request.accepted).count();
        holds(accepted == EVENTS as usize, format!("{accepted} were accepted"))
    })
    .await;
    running.stop().await;
    let requests = receiver.requests();
    let [first, .., last] = &requests[..] else { panic!("there are many") };
    let settled = &requests[requests.len() / 2..];
    let refused = settled.iter().filter(|request| !request.accepted).count();
    let rate = f64::from(EVENTS) / (last.at - first.at).as_secs_f64();
    println!("{rate:.1} of 24 per second; {refused} of the last {} refused", settled.len());
    assert!(refused * 5 <= settled.len(), "{refused} of the last {} refused", settled.len());
    assert!(rate >= 12.0, "{rate:.1} of 24 per second");
}

/// Goal: slow URLs leave slots to those that fail. Method: two slots, two slow URLs and one that is
/// frozen.
#[tokio::test]
async fn slow_urls_leave_half_of_the_slots_to_others() {
    let settings = "worker.max_in_flight = 64\nendpoint.max_concurrency = 2";
    let installation = Installation::with(&[60_000], settings).await;
    let slow = Endpoint::slow(200, Duration::from_millis(300)).await;
    for path in ["/1", "/2"] {
        installation.subscribe_all(&slow.receiver.url(path)).await;
    }
    let frozen = Endpoint::answering(200).await;
    let draft = json!({"url": frozen.receiver.url("/"), "topics": ["frozen"]});
    installation.subscribe(draft).await;
    let frozen_url = frozen.receiver.url("/");
    set(&installation, &frozen_url, Intervention::Disable).await;
    let running = installation.start();
    publish(&installation, &numbers(0..40)).await;
    eventually(async || {
        let owned = slots(&installation).await.len();
        holds(owned > 0, "none has a slot")
    })
    .await;
    slow.wait_for(&numbers(0..40)).await;
    let owned = slots(&installation).await;
    assert_eq!(owned.len(), 1, "{owned:?}");
    installation.publisher.publish(Raw::new("frozen", "f", "{}")).await;
    slot_of(&installation, &frozen_url).await;
    running.stop().await;
}
