//! An event for many subscriptions travels in few messages, and each delivery has a fate of its own.

use std::{collections::BTreeMap, time::Duration};

use homing_broker::{Message, Recipients, Route};
use homing_delivery::parking::{Action, Bodies, Selection};
use homing_domain::{
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    topic::Topic,
};
use homing_store::Intervention;
use lapin::{
    options::{BasicGetOptions, BasicNackOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

use crate::{
    held::set,
    support::{
        broker::Raw,
        eventually, holds,
        installation::Installation,
        process::Site,
        receiver::{Receiver, Recorded, Reply},
        scenario::Scenario,
    },
};

/// A queue that gets a copy of whatever homing publishes to `queue`.
async fn tap(installation: &Installation, queue: &str) -> String {
    let channel = installation.publisher.channel();
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let tap = channel.queue_declare("".into(), options, FieldTable::default());
    let tap = tap.await.expect("a queue").name().to_string();
    let (route, options) = (installation.names().route(), QueueBindOptions::default());
    let bound = channel.queue_bind(
        tap.as_str().into(),
        route.into(),
        queue.into(),
        options,
        FieldTable::default(),
    );
    bound.await.expect("it is bound");
    tap
}

/// Requests at each path.
fn by_path(requests: &[Recorded]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.path.as_str()).or_default() += 1;
    }
    counts
}

/// Goal: a message for each 64 subscriptions, not for each. Method: a queue that gets copies of all that
/// is published to the retry queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_for_a_thousand_subscriptions_takes_sixteen_messages() {
    const SUBSCRIPTIONS: usize = 1_000;
    let mut scenario = Scenario::new(&[1_000], Receiver::accepting().await).await;
    for number in 0..SUBSCRIPTIONS {
        scenario.subscribe(&format!("/{number}"), &["#"]).await;
    }
    let tap = tap(&scenario.installation, &scenario.installation.names().retry()).await;
    scenario.start();
    scenario.publish("t", 1).await;
    scenario.receiver.wait_for(SUBSCRIPTIONS).await;
    let messages = scenario.installation.publisher.depth(&tap).await;
    assert_eq!(messages, 16);
    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (SUBSCRIPTIONS, SUBSCRIPTIONS));
}

/// Goal: what one endpoint does concerns its own delivery alone. Method: groups of eight, in which one
/// fails at first, one is gone, and the circuit of one is frozen until the others are done.
#[tokio::test]
async fn each_delivery_of_a_group_has_a_fate_of_its_own() {
    let receiver = Receiver::answering(|request| {
        Reply::status(match request.path.as_str() {
            "/3" if request.attempt() == 1 => 500,
            "/5" => 410,
            _ => 200,
        })
    });
    let settings = "worker.max_fan_out_inline = 8";
    let mut scenario = Scenario::with(&[50, 60_000], settings, receiver.await).await;
    for number in 0..20 {
        scenario.subscribe(&format!("/{number}"), &["#"]).await;
    }
    let frozen = scenario.receiver.url("/6");
    set(&scenario.installation, &frozen, Intervention::Disable).await;
    scenario.start();
    scenario.publish("t", 1).await;
    scenario.receiver.wait_for(20).await;
    assert_eq!(scenario.receiver.count_at("/6"), 0);
    set(&scenario.installation, &frozen, Intervention::Enable).await;

    let ended = scenario.account().await;
    let requests = by_path(&ended.requests);
    assert_eq!((requests.len(), requests["/3"], ended.requests.len()), (20, 2, 21));
    let [gone] = &ended.parked[..] else { panic!("{:?}", ended.parked) };
    assert_eq!((gone.reason.as_str(), gone.attempts), ("gone", 1));
}

/// Publishes an event for these subscriptions to the retry queue, as a worker does.
async fn publish_group(installation: &Installation, id: &str, to: &[SubscriptionId]) {
    let event = Event {
        id: EventId::new(id).expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        content_type: "application/json".to_owned(),
        content_encoding: None,
        body: "{}".into(),
    };
    let recipients = Recipients::named(to.iter().copied());
    let message = Message::of_event(event).to(recipients, Progress::default()).outgoing();
    installation.parts.broker.publish(&message, Route::Retry).await.expect("it is published");
}

/// Goal: what the broker parks of a group is there for each subscription, and can be replayed, dropped
/// and explained for each. Method: a group that returns too often.
#[tokio::test]
async fn a_group_that_the_broker_parks_is_replayed_for_each_subscription() {
    const SUBSCRIPTIONS: usize = 20;
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    let mut ids = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        ids.push(installation.subscribe_all(&receiver.url(&format!("/{number}"))).await);
    }
    publish_group(&installation, "e", &ids).await;
    let (channel, retry) = (installation.publisher.channel(), installation.names().retry());
    let get = || channel.basic_get(retry.as_str().into(), BasicGetOptions::default());
    while let Some(message) = get().await.expect("the queue is there") {
        let options = BasicNackOptions { requeue: true, multiple: false };
        message.delivery.acker.nack(options).await.expect("it can be returned");
    }
    let entries = installation.wait_for_parked(20).await;
    assert_eq!(entries.iter().filter_map(|entry| entry.subscription_id).collect::<Vec<_>>(), ids);
    assert!(entries.iter().all(|entry| entry.reason.as_str() == "rejected_by_broker"));
    let explanation =
        installation.parts.history.explain("e", None).await.expect("the store answers");
    assert!(explanation.deliveries.iter().all(|timeline| timeline.state == "parked"));
    assert_eq!(explanation.deliveries.len(), SUBSCRIPTIONS);

    let parking = &installation.parts.parking;
    let for_one = |id| Selection { subscription: Some(id), ..Selection::default() };
    let act = async |action, selection: &Selection, limit| {
        let tally = parking.act(action, selection, limit, |_| ()).await.expect("a scan");
        (tally.matched, tally.total)
    };
    let left = async || {
        let left = installation.parked().await;
        left.iter().filter_map(|entry| entry.subscription_id).collect::<Vec<_>>()
    };
    assert_eq!(act(Action::Count, &Selection::default(), None).await, (20, 20));
    let listed = parking.list(&Selection::default(), 19, Bodies::Omitted).await.expect("a scan");
    assert_eq!((listed.entries.len(), listed.total), (19, 20), "one is left out");
    assert!(listed.next.is_some());
    assert_eq!(act(Action::Replay, &for_one(ids[3]), None).await, (1, 20));
    assert_eq!(act(Action::Drop, &for_one(ids[4]), None).await, (1, 19));
    assert_eq!(act(Action::Replay, &for_one(ids[4]), None).await, (0, 18));
    assert_eq!(act(Action::Replay, &Selection::default(), Some(3)).await, (3, 18));
    assert_eq!(left().await, ids[5..]);

    let running = installation.start();
    receiver.wait_for(4).await;
    assert_eq!(act(Action::Replay, &Selection::default(), None).await, (15, 15));
    receiver.wait_for(SUBSCRIPTIONS - 1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let requests = receiver.requests();
    let requests = by_path(&requests);
    assert!(requests.values().all(|count| *count == 1) && !requests.contains_key("/4"));
}

/// Goal: a group whose worker dies comes again; no more is repeated than was in flight. Method: kill -9
/// while groups of 64 are under way, when all events have been fanned out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_amid_groups_repeats_at_most_what_was_in_flight() {
    const SUBSCRIPTIONS: usize = 100;
    const EVENTS: usize = 60;
    const KILLS: usize = 3;
    /// Deliveries in flight are of these at most: one group ends while the next one begins.
    const GROUPS: usize = 3;
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(5))).await;
    let site = Site::new(&[1_000], "worker.max_in_flight = 64");
    site.run(&["topology", "apply"]);
    for number in 0..SUBSCRIPTIONS {
        site.subscribe(&receiver.url(&format!("/{number}")), "#", &[]);
    }
    let publisher = site.publisher().await;
    for number in 0..EVENTS {
        publisher.publish(Raw::new("t", &format!("e{number}"), number.to_string())).await;
    }
    let mut worker = site.start();
    let primary = site.corner.topology.names().primary();
    let mut deaths = Vec::new();
    for kill in 1..=KILLS {
        receiver.wait_for(kill * SUBSCRIPTIONS * EVENTS / 10).await;
        eventually(async || {
            let depth = publisher.depth(&primary).await;
            holds(depth == 0, format!("{depth} events are not fanned out"))
        })
        .await;
        worker.kill_9();
        deaths.push(receiver.count());
        worker = site.start();
    }
    let pairs = || {
        let mut pairs: BTreeMap<_, usize> = BTreeMap::new();
        for request in receiver.requests() {
            *pairs.entry((request.path.clone(), request.body.clone())).or_default() += 1;
        }
        pairs
    };
    eventually(async || {
        let done = pairs().len();
        holds(done == SUBSCRIPTIONS * EVENTS, format!("{done} of them are delivered"))
    })
    .await;
    site.wait_until_settled().await;
    worker.terminate();
    worker.ended().await;
    let repeated: usize = pairs().values().map(|count| count - 1).sum();
    println!("{repeated} requests repeated after {KILLS} deaths, at {deaths:?}");
    assert!(repeated <= KILLS * GROUPS * 64, "{repeated} are repeated");
}

/// Goal: no message for several subscriptions is published while a worker runs that would take it as an
/// event for all. Method: the row of such a worker, which is taken away later.
#[tokio::test]
async fn beside_a_worker_of_an_earlier_version_each_delivery_is_a_message() {
    const SUBSCRIPTIONS: usize = 8;
    let installation = Installation::with(&[1_000], "worker.max_fan_out_inline = 4").await;
    let receiver = Receiver::accepting().await;
    for number in 0..SUBSCRIPTIONS {
        installation.subscribe_all(&receiver.url(&format!("/{number}"))).await;
    }
    installation
        .shell(
            "INSERT INTO workers (id, host, pid, version, started_ms, seen_ms, in_flight) \
             VALUES ('01a226ad-3485-77f3-8224-b52c89023211', 'h', 1, '0.1.0', 0, 9999999999999, 0)",
        )
        .await;
    let tap = tap(&installation, &installation.names().retry()).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "first", "{}")).await;
    receiver.wait_for(SUBSCRIPTIONS).await;
    assert_eq!(installation.publisher.depth(&tap).await, 8);

    installation.shell("DELETE FROM workers WHERE version = '0.1.0' AND pid = 1").await;
    let (mut events, mut messages) = (1, 8);
    eventually(async || {
        installation.publisher.publish(Raw::new("t", &format!("e{events}"), "{}")).await;
        events += 1;
        receiver.wait_for(events * SUBSCRIPTIONS).await;
        let before = std::mem::replace(&mut messages, installation.publisher.depth(&tap).await);
        holds(messages - before == 2, format!("{} messages for an event", messages - before))
    })
    .await;
    running.stop().await;
    assert_eq!(receiver.count(), events * SUBSCRIPTIONS);
}
