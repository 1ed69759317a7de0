//! What an earlier version left at the broker is taken over: nothing is lost, nothing comes early.

use std::time::Duration;

use homing::{
    broker::{
        Broker,
        topology::{BUSY_WAITS, Names, State},
    },
    domain::{time::UnixMillis, verdict::ParkReason},
    parking::{Bodies, Entry, Selection},
};
use lapin::{
    Channel, ExchangeKind,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    broker::{self, Corner, Publisher, Raw},
    installation::{Installation, millis},
    receiver::Receiver,
};

const WAITS: [u64; 1] = [1_500];

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// As the first version declared its queues.
fn arguments(further: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in further {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn dead_lettering(target: &str) -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(target)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-queue-leader-locator", text("balanced")),
    ]
}

/// Exchanges, queues and bindings of the first version.
async fn declare_first_version(channel: &Channel, prefix: &str) {
    let name = |object: &str| format!("{prefix}.v1.{object}");
    let net = [("alternate-exchange", text(&name("unrouted")))];
    for (object, kind, net) in [
        ("unrouted", ExchangeKind::Fanout, &[][..]),
        ("control", ExchangeKind::Fanout, &[][..]),
        ("route", ExchangeKind::Direct, &net[..]),
        ("events", ExchangeKind::Topic, &net[..]),
    ] {
        let mut table = FieldTable::default();
        for (name, value) in net {
            table.insert((*name).into(), value.clone());
        }
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(name(object).into(), kind, options, table);
        declared.await.expect("an exchange");
    }
    let limit = |limit| ("x-delivery-limit", AMQPValue::LongLongInt(limit));
    let mut queues = vec![
        ("unrouted".to_owned(), vec![limit(1_000_000)]),
        ("parked".to_owned(), vec![limit(1_000_000)]),
    ];
    for deliver in ["retry", "primary"] {
        let mut arguments = dead_lettering(&name("parked"));
        arguments.push(limit(50));
        queues.push((deliver.to_owned(), arguments));
    }
    for wait in millis(&WAITS).into_iter().chain(BUSY_WAITS) {
        let wait_ms = i64::try_from(wait.as_millis()).expect("a wait");
        let mut arguments = dead_lettering(&name("retry"));
        arguments.push(("x-message-ttl", AMQPValue::LongLongInt(wait_ms)));
        queues.push((format!("wait.{wait_ms}"), arguments));
    }
    for (object, further) in queues {
        let queue = name(&object);
        let options = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(queue.as_str().into(), options, arguments(&further));
        declared.await.expect("a queue");
        bind(channel, &queue, &name("route"), &queue).await;
    }
    bind(channel, &name("unrouted"), &name("unrouted"), "").await;
    bind(channel, &name("primary"), &name("events"), "#").await;
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        FieldTable::default(),
    );
    bound.await.expect("a binding");
}

fn parked_by_homing(names: &Names, id: &str) -> Raw {
    let raw = Raw::new(&names.former_parked(), id, id).kind("t");
    raw.header("x-homing-parked-reason", "exhausted").header("x-homing-parked-ms", "1700000000000")
}

/// As the broker moves what was redelivered too often: a worker of the first version died.
async fn reject_one(publisher: &Publisher, queue: &str) {
    let got = publisher.channel().basic_get(queue.into(), BasicGetOptions::default()).await;
    let got = got.expect("it can be asked").expect("there is one");
    let options = BasicNackOptions { multiple: false, requeue: false };
    publisher.channel().basic_nack(got.delivery.delivery_tag, options).await.expect("rejected");
}

async fn listed(installation: &Installation) -> Vec<Entry> {
    let listing = installation.parts.parking.list(&Selection::default(), 100, Bodies::Left).await;
    let mut entries = listing.expect("it can be listed").entries;
    entries.sort_by(|one, other| one.event_id.cmp(&other.event_id));
    entries
}

async fn state(installation: &Installation, queue: &str) -> Option<State> {
    let broker = &installation.parts.broker;
    let mut findings = broker.inspect(&[]).await.expect("it can be inspected");
    findings.extend(broker.inspect_superseded().await.expect("it can be inspected"));
    findings.into_iter().find(|finding| finding.name == queue).map(|finding| finding.state)
}

/// Goal: what is in the queues of the first version is delivered when it is due, or parked as it
/// was, while a worker of that version goes on writing into them.
#[tokio::test]
async fn an_installation_of_the_first_version_is_taken_over() {
    let corner = Corner::new(&millis(&WAITS));
    let connection = broker::connect(&corner.url).await.expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    declare_first_version(&channel, &corner.prefix).await;
    let publisher = Publisher::new(&corner).await;
    let names = corner.topology.names().clone();
    let receiver = Receiver::accepting().await;

    publisher.publish_to(&names.route(), parked_by_homing(&names, "parked-1")).await;
    publisher.publish(Raw::new("t", "rejected", "rejected")).await;
    while publisher.depth(&names.primary()).await == 0 {}
    reject_one(&publisher, &names.primary()).await;
    publisher.publish_to(&names.net(), Raw::new("t", "unrouted", "unrouted")).await;
    publisher.publish(Raw::new("t", "primary", "primary")).await;

    let installation = Installation::at(corner, &WAITS, "").await;
    let subscription = installation.subscribe(json!({"url": receiver.url("/"), "topics": ["#"]}));
    let subscription = subscription.await.subscription.id.to_string();
    let delivery = |queue: String, id: &str| {
        let raw = Raw::new(&queue, id, id).header("x-homing-subscription", &subscription);
        raw.kind("t").header("x-homing-attempts", "1")
    };
    publisher.publish_to(&names.route(), delivery(names.retry(), "retry")).await;
    let [wait] = millis(&WAITS)[..] else { panic!("one wait") };
    publisher.publish_to(&names.route(), delivery(names.wait(wait), "waiting")).await;
    let waits_since = Instant::now();

    let running = installation.start();
    installation.wait_for_depth(&names.parked(), 2).await;
    // A worker of the first version is there still.
    publisher.publish_to(&names.route(), parked_by_homing(&names, "parked-2")).await;
    installation.wait_for_depth(&names.parked(), 3).await;
    let requests = receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    for queue in [names.former_parked(), names.former_unrouted()] {
        installation.wait_for_depth(&queue, 0).await;
    }

    let came = |id: &str| {
        let came = requests.iter().filter(move |request| request.body == id.as_bytes());
        came.map(|request| request.at).collect::<Vec<_>>()
    };
    for id in ["primary", "retry", "waiting", "unrouted"] {
        assert_eq!(came(id).len(), 1, "{id}");
    }
    let early = Duration::from_millis(50);
    let waited = came("waiting")[0].duration_since(waits_since);
    assert!(waited + early >= wait, "after {waited:?}");
    let entries = listed(&installation).await;
    let reasons: Vec<_> =
        entries.iter().map(|entry| (entry.event_id.as_str(), entry.reason)).collect();
    let expected = [
        ("parked-1", ParkReason::Exhausted),
        ("parked-2", ParkReason::Exhausted),
        ("rejected", ParkReason::TooLarge),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(entries[0].parked_ms, Some(UnixMillis::new(1_700_000_000_000)), "as it was");

    assert!(matches!(state(&installation, &names.primary()).await, Some(State::Former(_))));
    let parked = state(&installation, &names.former_parked()).await;
    assert!(matches!(parked, Some(State::Superseded { needed: true, .. })), "{parked:?}");
    let unrouted = state(&installation, &names.former_unrouted()).await;
    assert!(matches!(unrouted, Some(State::Superseded { needed: false, .. })), "{unrouted:?}");

    for queue in [names.former_parked(), names.former_unrouted()] {
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.expect("an operator deletes it");
    }
    installation.parts.broker.restore_topology().await.expect("it can be declared");
    let parked = state(&installation, &names.former_parked()).await;
    assert!(matches!(parked, Some(State::Present(_))), "{parked:?}");
    assert_eq!(state(&installation, &names.former_unrouted()).await, None);
    running.stop().await;
}

/// Goal: no two processes read one slot while both versions run.
#[tokio::test]
async fn a_lock_keeps_processes_of_the_first_version_out_and_is_kept_out_by_them() {
    const SETTINGS: &str = "broker.heartbeat = \"2s\"\n";
    let corner = Corner::new(&millis(&WAITS));
    let connection = broker::connect(&corner.url).await.expect("a broker");
    let declaring = connection.create_channel().await.expect("a channel");
    declare_first_version(&declaring, &corner.prefix).await;
    let installation = Installation::at(corner, &WAITS, SETTINGS).await;
    let topology = installation.corner.topology.clone().with_slots([("main", 1)]);
    let (lock, names) = (topology.names().lock("main", 1), topology.names().clone());
    let broker = Broker::new(&installation.settings.broker, topology).expect("a broker");
    let former = names.former_lock("main", 1);
    let channel = installation.publisher.channel();
    let further = [
        ("x-delivery-limit", AMQPValue::LongLongInt(1_000_000)),
        ("x-max-length", AMQPValue::LongLongInt(2)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
    ];
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(former.as_str().into(), options, arguments(&further));
    declared.await.expect("a queue");
    let consume = async || {
        channel
            .basic_consume(
                former.as_str().into(),
                "old".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("it consumes")
    };

    let old = consume().await;
    assert!(broker.try_lock("main", 1).await.expect("it is known").is_none());
    let cancelled = channel.basic_cancel("old".into(), BasicCancelOptions::default());
    cancelled.await.expect("it ends");
    drop(old);
    let held = broker.try_lock("main", 1).await.expect("it is known").expect("it is free");
    assert_eq!(installation.publisher.consumers(&former).await, 1, "this keeps others out");
    held.release().await;
    broker.close().await;
    for queue in [former, lock] {
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.expect("it can be deleted");
    }
}
