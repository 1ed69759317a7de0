//! Deliveries that wait for their endpoint come as soon as it can take them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use homing_broker::{Message, Route};
use homing_domain::{
    circuit::StateName,
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    topic::Topic,
};
use homing_store::Intervention;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    circuits::{CIRCUIT, wait_for_state},
    support::{
        broker::Raw,
        eventually, holds,
        installation::Installation,
        receiver::{Receiver, Reply},
    },
};

/// An endpoint whose answer the test can change, and the bodies that it accepted.
pub(crate) struct Endpoint {
    pub(crate) receiver: Receiver,
    status: Arc<AtomicU16>,
    accepted: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    pub(crate) async fn answering(status: u16) -> Self {
        Self::slow(status, Duration::ZERO).await
    }

    /// One that answers after a while.
    pub(crate) async fn slow(status: u16, takes: Duration) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (current, bodies) = (Arc::clone(&status), Arc::clone(&accepted));
        let receiver = Receiver::answering(move |request| {
            let status = current.load(Ordering::SeqCst);
            if status == 200 {
                bodies.lock().push(String::from_utf8_lossy(&request.body).into_owned());
            }
            Reply::status(status).after(takes)
        });
        Self { receiver: receiver.await, status, accepted }
    }

    pub(crate) fn now_answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The bodies that it accepted, in this order.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.accepted.lock().clone()
    }

    /// The bodies that it was sent and did not accept.
    pub(crate) fn refused(&self) -> Vec<String> {
        let accepted: BTreeSet<_> = self.accepted().into_iter().collect();
        let bodies = self.receiver.bodies().into_iter();
        let sent = bodies.map(|body| String::from_utf8_lossy(&body).into_owned());
        sent.filter(|body| !accepted.contains(body)).collect()
    }

    /// Waits until it has accepted all of these.
    pub(crate) async fn wait_for(&self, expected: &[String]) {
        eventually(async || {
            let accepted: BTreeSet<_> = self.accepted().into_iter().collect();
            let missing = expected.iter().filter(|body| !accepted.contains(*body)).count();
            holds(missing == 0, format!("{missing} of {} are missing", expected.len()))
        })
        .await;
    }
}

/// Publishes an event for each body.
pub(crate) async fn publish(installation: &Installation, bodies: &[String]) {
    for body in bodies {
        installation.publisher.publish(Raw::new("t", &format!("e{body}"), body.clone())).await;
    }
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Publishes a delivery into the held queue of `slot`, as a worker does whose news are late.
async fn hold(installation: &Installation, body: &str, subscription: SubscriptionId, slot: u16) {
    let event = Event {
        id: EventId::new(&format!("e{body}")).expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "application/json".to_owned(),
        content_encoding: None,
        body: body.to_owned().into(),
    };
    let delivery = Message::of_event(event).for_subscription(subscription, Progress::default());
    let route = Route::Held { slot, at_most: Duration::from_mins(10) };
    let message = delivery.outgoing().over(route);
    installation.parts.broker.publish(&message, route).await.expect("it is published");
}

pub(crate) async fn set(installation: &Installation, url: &str, intervention: Intervention) {
    let url = url.parse().expect("a URL");
    installation.parts.circuits.set(&url, intervention).await.expect("the store answers");
}

/// Publishes events until the circuit of `url` is open, and waits until all are taken.
pub(crate) async fn open(installation: &Installation, url: &str) {
    publish(installation, &numbers(1_000..1_024)).await;
    wait_for_state(installation, url, StateName::Open).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
}

/// Goal: what an open circuit refused comes once it closes, however long the waits of its schedule
/// are. Method: waits of a minute, which none of it has to wait for.
#[tokio::test]
async fn what_is_held_comes_when_the_circuit_closes_and_not_when_its_schedule_says() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let endpoint = Endpoint::answering(503).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    open(&installation, &url).await;
    let held = numbers(0..300);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    let before = endpoint.receiver.count();

    endpoint.now_answers(200);
    let enabled = Instant::now();
    set(&installation, &url, Intervention::Enable).await;
    endpoint.wait_for(&held).await;
    let late = enabled.elapsed();
    running.stop().await;

    println!("300 held deliveries came within {late:?}");
    assert!(late < Duration::from_secs(10), "{late:?}");
    let requests = endpoint.receiver.requests();
    let later = requests.get(before..).expect("more came");
    assert!(later.iter().all(|request| request.attempt() == 1), "nothing was charged");
    let mut accepted = endpoint.accepted();
    accepted.retain(|body| held.contains(body));
    assert_eq!(accepted.len(), 300, "each comes once");
    assert_eq!(installation.publisher.depth(&installation.names().held(0)).await, 0);
}

/// Goal: the oldest that is held is the probe, a probe that fails waits as any attempt does, and one
/// that is accepted brings the rest.
#[tokio::test]
async fn the_oldest_that_is_held_is_the_probe() {
    let settings = CIRCUIT.replace("\"1s\"", "\"700ms\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let endpoint = Endpoint::answering(503).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    open(&installation, &url).await;
    let before = endpoint.receiver.count();
    let held = numbers(0..50);
    // What the opening left over is probed first.
    let probed = |body: &str| {
        endpoint.receiver.requests().iter().skip(before).any(|request| request.body == body)
    };
    // The others come when it is held: those that are refused at once are held in any order.
    let queue = installation.names().held(0);
    let leftover = installation.publisher.depth(&queue).await;
    publish(&installation, &held[..1]).await;
    eventually(async || {
        let depth = installation.publisher.depth(&queue).await;
        holds(depth > leftover || probed("0"), "it is not held")
    })
    .await;
    publish(&installation, &held[1..]).await;
    eventually(async || holds(probed("0"), "no probe of what is held")).await;
    endpoint.now_answers(200);
    wait_for_state(&installation, &url, StateName::Closed).await;
    let failed: Vec<_> =
        endpoint.refused().into_iter().filter(|body| held.contains(body)).collect();
    assert_eq!(failed.first().map(String::as_str), Some("0"), "{failed:?}");
    // Those wait for a minute, as any attempt that failed.
    let rest: Vec<_> = held.iter().filter(|body| !failed.contains(body)).cloned().collect();
    endpoint.wait_for(&rest).await;
    running.stop().await;
    assert_eq!(installation.publisher.depth(&queue).await, 0);
}

/// Goal: what a frozen URL gets is held until an operator enables it, and needs no replay.
#[tokio::test]
async fn what_comes_for_a_frozen_url_is_held_until_it_is_enabled() {
    let installation = Installation::with(&[60_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    let running = installation.start();
    let held = numbers(0..100);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().held(0), 100).await;
    assert_eq!(endpoint.receiver.count(), 0);
    let overview = installation.parts.status_service.overview().await;
    let shown = overview.queues.iter().find(|queue| queue.url.as_ref() == Some(&url));
    let shown = shown.expect("its queue is shown");
    assert_eq!((shown.messages, shown.holds.as_str()), (Some(100), &*format!("waits for {url}")));
    assert!(shown.since_ms.is_some() && shown.is_listed());

    set(&installation, &url, Intervention::Enable).await;
    endpoint.wait_for(&held).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(endpoint.accepted().len(), 100);
    assert!(installation.parked().await.is_empty());
}

/// Goal: a subscription that is given another URL takes along what is held for it. Method: its
/// first URL stays frozen.
#[tokio::test]
async fn what_is_held_follows_its_subscription_to_another_url() {
    let installation = Installation::with(&[60_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/before");
    let id = installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    let running = installation.start();
    let held = numbers(0..20);
    publish(&installation, &held).await;
    installation.wait_for_depth(&installation.names().held(0), 20).await;

    let moved = json!({"url": endpoint.receiver.url("/after"), "keep_secrets": true});
    let moved = moved.as_object().cloned().expect("an object");
    installation.parts.registry.update(id, moved).await.expect("it can be moved");
    endpoint.wait_for(&held).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(endpoint.receiver.count_at("/before"), 0);
    assert!(installation.parked().await.is_empty());
}

/// Goal: what is held for longer than its schedule is long is parked by the broker, with the reason.
#[tokio::test]
async fn what_is_held_for_as_long_as_its_schedule_is_parked_with_the_reason() {
    let installation = Installation::with(&[300, 700], CIRCUIT).await;
    let endpoint = Endpoint::answering(200).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    set(&installation, &url, Intervention::Disable).await;
    let running = installation.start();
    let published = Instant::now();
    publish(&installation, &numbers(0..20)).await;
    let parked = installation.wait_for_parked(20).await;
    running.stop().await;
    assert!(published.elapsed() >= Duration::from_secs(1), "{:?}", published.elapsed());
    for entry in parked {
        assert_eq!((entry.reason.as_str(), entry.attempts), ("frozen", 0));
        assert!(entry.parked_ms.is_some());
    }
}

/// Goal: without a slot, a delivery waits at its own step again and again, so that it is late by
/// that wait and not by the rest of the ladder.
#[tokio::test]
async fn without_a_slot_a_delivery_waits_at_its_own_step() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let settings = format!("{settings}held.queues = 0\n");
    let installation = Installation::with(&[500, 60_000], &settings).await;
    let endpoint = Endpoint::answering(503).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    open(&installation, &url).await;
    let held = numbers(0..50);
    publish(&installation, &held).await;
    // Three times round the first wait.
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    let second_step = installation.names().wait(Duration::from_mins(1));
    let at_second = installation.publisher.depth(&second_step).await;
    assert!(at_second <= 40, "only what was attempted is at the second step");

    endpoint.now_answers(200);
    set(&installation, &url, Intervention::Enable).await;
    let enabled = Instant::now();
    endpoint.wait_for(&held).await;
    println!("without a slot they came within {:?}", enabled.elapsed());
    assert!(enabled.elapsed() < Duration::from_secs(20));
    running.stop().await;
}

/// Goal: a message in a held queue goes where its own URL's circuit says, and not the queue's.
#[tokio::test]
async fn what_is_in_the_wrong_held_queue_is_admitted_by_its_own_circuit() {
    let installation = Installation::with(&[60_000], CIRCUIT).await;
    let well = Endpoint::answering(200).await;
    let frozen = Endpoint::answering(200).await;
    let mut subscriptions = Vec::new();
    for (endpoint, topic) in [(&well, "well"), (&frozen, "t")] {
        let draft = json!({"url": endpoint.receiver.url("/"), "topics": [topic]});
        subscriptions.push(installation.subscribe(draft).await.subscription.id);
    }
    let frozen_url = frozen.receiver.url("/");
    set(&installation, &frozen_url, Intervention::Disable).await;
    let running = installation.start();
    publish(&installation, &numbers(0..1)).await;
    installation.wait_for_depth(&installation.names().held(0), 1).await;

    // The other queue has no owner: one is delivered, one goes to its own slot.
    hold(&installation, "1", subscriptions[0], 1).await;
    hold(&installation, "2", subscriptions[1], 1).await;
    well.wait_for(&numbers(1..2)).await;
    installation.wait_for_depth(&installation.names().held(0), 2).await;

    // This one is the frozen URL's: what is another's waits with it.
    hold(&installation, "3", subscriptions[0], 0).await;
    installation.wait_for_depth(&installation.names().held(0), 3).await;
    set(&installation, &frozen_url, Intervention::Enable).await;
    well.wait_for(&numbers(3..4)).await;
    frozen.wait_for(&["0".to_owned(), "2".to_owned()]).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!((well.accepted().len(), frozen.accepted().len()), (2, 2));
}

/// Goal: a 410 ends it, and what comes afterwards is held for the case that it was a mistake.
#[tokio::test]
async fn an_answer_410_freezes_the_url() {
    let installation = Installation::with(&[60_000], CIRCUIT).await;
    let endpoint = Endpoint::answering(410).await;
    let url = endpoint.receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..1)).await;
    let frozen = wait_for_state(&installation, &url, StateName::Frozen).await;
    publish(&installation, &numbers(1..6)).await;
    installation.wait_for_depth(&installation.names().held(0), 5).await;
    let parked = installation.wait_for_parked(1).await;
    running.stop().await;
    assert!(frozen.reason.expect("a reason").to_string().contains("410"), "{frozen:?}");
    let failures = (frozen.failures, frozen.consecutive_failures);
    assert_eq!(failures, (1, 1), "what froze it is a failure");
    assert_eq!((parked[0].reason.as_str(), endpoint.receiver.count()), ("gone", 1));
}

/// Goal: a probe that an operator asks for is made at once, by the oldest that is the URL's own; what
/// is another's before it holds nothing up.
#[tokio::test]
async fn a_probe_passes_over_what_is_in_the_wrong_held_queue() {
    let settings = CIRCUIT.replace("\"1s\"", "\"1h\"");
    let installation = Installation::with(&[60_000], &settings).await;
    let (well, down) = (Endpoint::answering(200).await, Endpoint::answering(503).await);
    let mut subscriptions = Vec::new();
    for (endpoint, topic) in [(&well, "well"), (&down, "t")] {
        let draft = json!({"url": endpoint.receiver.url("/"), "topics": [topic]});
        subscriptions.push(installation.subscribe(draft).await.subscription.id);
    }
    let url = down.receiver.url("/");
    let running = installation.start();
    open(&installation, &url).await;
    publish(&installation, &numbers(0..1)).await;
    let queue = installation.names().held(0);
    let depth = async || installation.publisher.depth(&queue).await;
    eventually(async || holds(depth().await > 0, "nothing is held")).await;
    hold(&installation, "1", subscriptions[0], 0).await;
    hold(&installation, "2", subscriptions[1], 0).await;

    // Each takes the oldest of the URL's own, and what is another's before it.
    loop {
        let waiting = depth().await;
        if waiting == 0 {
            break;
        }
        // One that is asked for while another is under way is that one.
        eventually(async || {
            set(&installation, &url, Intervention::Probe).await;
            holds(depth().await < waiting, "no probe takes a delivery")
        })
        .await;
    }
    well.wait_for(&numbers(1..2)).await;
    // The last one is taken, and its request may not be there yet.
    let is_probed = || down.refused().contains(&"2".to_owned());
    eventually(async || holds(is_probed(), "the last one is no probe")).await;
    running.stop().await;
}
