//! Shards: everything is spread over several queues, and every queue is consumed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use homing::{
    overview::{Kind, queues},
    process::Role,
};
use homing_broker::{
    Broker,
    consume::Lane,
    error::BrokerError,
    prefetch::Bounds,
    settings::BrokerSettings,
    topology::{Finding, ShardPart, State, Topology},
};
use homing_delivery::worker::layout;
use lapin::{
    options::{QueueBindOptions, QueueDeleteOptions},
    types::FieldTable,
};

use crate::support::{
    broker::{Corner, Raw},
    eventually, holds,
    installation::{Installation, millis},
    load::{Load, Pace, number_in},
    node::Node,
    receiver::{Receiver, Reply},
};

const WORKER: &[Role] = &[Role::Worker];

async fn depths(installation: &Installation, queues: &[String]) -> Vec<u32> {
    let mut depths = Vec::new();
    for queue in queues {
        depths.push(installation.publisher.depth(queue).await);
    }
    depths
}

/// Fails unless `depths` are what four shards get of `total` at random: the odds against more than
/// 5.8 standard deviations are 10⁸ to 1.
fn assert_spread(depths: &[u32], total: u32) {
    assert_eq!((depths.len(), depths.iter().sum::<u32>()), (4, total), "{depths:?}");
    let mean = f64::from(total) / 4.0;
    let bound = 5.8 * (mean * 0.75).sqrt();
    let is_near = |depth: &u32| (f64::from(*depth) - mean).abs() <= bound;
    assert!(depths.iter().all(is_near), "{depths:?}");
}

/// Goal: neither topic nor message id decide about the shard; a delivery is spread again each time
/// that it comes due. Method: 400 events of one topic without ids, whose first attempts fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_retries_are_spread_over_all_shards() {
    let installation = Installation::with(&[6_000], "broker.shards = 4").await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..400 {
        let raw = Raw { id: None, ..Raw::new("order.paid", "", number.to_string()) };
        installation.publisher.publish(raw).await;
    }
    let names = installation.names();
    assert_spread(&depths(&installation, &names.primary_queues()).await, 400);

    let running = installation.start();
    receiver.wait_for(400).await;
    running.stop().await;
    // One that has left the wait queue may be on its way still.
    let retries = eventually(async || {
        let retries = depths(&installation, &names.retry_queues()).await;
        let due = retries.iter().sum::<u32>();
        holds(due >= 400, format!("{due} of 400 retries are due")).map(|()| retries)
    })
    .await;
    let attempted = u32::try_from(receiver.count() - 400).expect("few");
    assert_eq!(attempted, 0, "none was due while the worker ran");
    assert_spread(&retries, 400);

    let running = installation.start();
    receiver.wait_for(800).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.count(), 800);
    assert_eq!(installation.publisher.depth(&names.parked()).await, 0);
}

/// Goal: what is sent ahead to a worker is bounded for all shards together, in number and in bytes.
/// Method: more events in each of eight shards than the worker may take, of which none is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_sent_ahead_with_more_shards() {
    let installation = Installation::with(&[60_000], "broker.shards = 8").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    for number in 0..400 {
        installation.publisher.publish(Raw::new("order.paid", &number.to_string(), "1")).await;
    }
    let queues = installation.names().primary_queues();
    let broker = &installation.parts.broker;
    let small = Bounds { max_messages: 64, max_bytes: 1_048_576, largest: 1_024 };
    let large = Bounds { max_messages: 64, max_bytes: 16_384, largest: 1_024 };
    for (bounds, sent) in [(small, 64), (large, 16)] {
        let consumer = broker.consume(Lane::Primary, queues.clone(), bounds).await;
        let consumer = consumer.expect("the broker answers");
        // Counted as in flight, not as left, whether they were taken or not.
        eventually(async || {
            let left: u32 = depths(&installation, &queues).await.iter().sum();
            holds(left == 400 - sent, format!("{left} are left in the shards"))
        })
        .await;
        consumer.stop().await.expect("the broker answers");
        consumer.finish().await.expect("the broker answers");
        eventually(async || {
            let left: u32 = depths(&installation, &queues).await.iter().sum();
            holds(left == 400, format!("{left} are in the shards again"))
        })
        .await;
    }
}

/// Goal: workers with a part each take all shards together, and none takes another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_divide_the_shards() {
    let installation = Installation::with(&[60_000], "broker.shards = 3").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let part = |text: &str| text.parse::<ShardPart>().expect("a part");
    let (first, second) = (part("1/2"), part("2/2"));
    let one = installation.start_with(WORKER, |settings| settings.worker.shards = first);
    let names = installation.names();
    let consumers = async || {
        let mut consumers = Vec::new();
        for queue in [names.primary_queues(), names.retry_queues()].concat() {
            consumers.push(installation.publisher.consumers(&queue).await);
        }
        consumers
    };
    eventually(async || {
        let consumers = consumers().await;
        holds(consumers == [1, 0, 1, 1, 0, 1], format!("{consumers:?}"))
    })
    .await;
    let other = installation.start_with(WORKER, |settings| settings.worker.shards = second);
    eventually(async || holds(consumers().await == [1; 6], "a shard has no consumer".to_owned()))
        .await;
    assert_eq!(installation.parts.broker.workers(2).await.expect("it is counted"), 2);
    for number in 0..100 {
        installation.publisher.publish(Raw::new("order.paid", &number.to_string(), "1")).await;
    }
    receiver.wait_for(100).await;
    one.stop().await;
    other.stop().await;
    assert_eq!(receiver.count(), 100);
}

/// Goal: the number of shards is changed by restarting workers one by one; meanwhile those with
/// the former number and those with the new one deliver every event once. Method: 1 → 4 → 1, with
/// 1,000 events a second, or as many as the machine delivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_other_numbers_of_shards_deliver_everything_once() {
    let installation = Installation::with(&[500], "broker.shards = 4").await;
    let delivered = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&delivered);
    let receiver = Receiver::answering(move |request| {
        let number = number_in(&request.body).expect("it is the load's");
        let fails = request.attempt() == 1 && number.is_multiple_of(5);
        counted.fetch_add(u32::from(!fails), Ordering::Relaxed);
        Reply::status(if fails { 500 } else { 200 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let start =
        |shards: u16| installation.start_with(WORKER, |settings| settings.broker.shards = shards);
    let more = async || {
        let count = receiver.count() + 500;
        receiver.wait_for(count).await;
    };
    let mut running = start(1);
    let load = Load::start(&installation.corner, Pace::not_far_ahead_of(delivered), 0);
    more().await;
    for shards in [4, 1, 4, 4, 1, 1] {
        let next = start(shards);
        more().await;
        running.stop().await;
        more().await;
        running = next;
    }
    let published = load.finish().await;
    assert!(published.uncertain.is_empty(), "{:?}", published.uncertain);
    let accepted = || {
        let mut accepted = BTreeMap::new();
        for request in receiver.requests().iter().filter(|request| request.accepted) {
            let number = number_in(&request.body).expect("it is the load's");
            *accepted.entry(number).or_insert(0) += 1;
        }
        accepted
    };
    eventually(async || {
        let accepted = accepted();
        let missing = published.confirmed.iter().filter(|number| !accepted.contains_key(number));
        let missing: Vec<_> = missing.collect();
        holds(missing.is_empty(), format!("{missing:?} are missing"))
    })
    .await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let mut accepted = accepted();
    accepted.retain(|_, times| *times > 1);
    assert!(accepted.is_empty(), "delivered more than once: {accepted:?}");
}

/// Goal: without the plugin, several shards are refused with the command that helps, and one works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_plugin_shards_are_refused_with_the_command_that_enables_it() {
    let environment = vec![("HOMING_BROKER_PLUGINS", String::new())];
    let node = Node::start_with("no-plugins", environment).await;
    let corner = Corner::at(node.url.clone(), &millis(&[100]));
    let installation = Installation::at(corner, &[100], "").await;
    let topology = installation.corner.topology.clone().with_shards(2);
    let broker = Broker::new(&installation.settings.broker, topology).expect("a broker");
    for refused in [
        broker.connect().await.expect_err("it cannot spread"),
        broker.inspect(&[]).await.expect_err("it cannot spread"),
    ] {
        let report = refused.report();
        assert!(matches!(refused, BrokerError::PluginDisabled { .. }), "{report}");
        assert!(report.contains("rabbitmq-plugins enable rabbitmq_random_exchange"), "{report}");
    }
    broker.close().await;
    let broker = &installation.parts.broker;
    assert_eq!(broker.topology().lane_queues(Lane::Primary, ShardPart::ALL).len(), 1);

    // An archive needs it, deliveries do not.
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start_with(WORKER, |settings| settings.archive.enabled = true);
    installation.publisher.publish(Raw::new("t", "e", "{}")).await;
    receiver.wait_for(1).await;
    running.stop().await;
    let mut settings = installation.settings.clone();
    settings.archive.enabled = true;
    let topology = installation.corner.topology.clone().with_archive(settings.archive.retention());
    let broker = Broker::new(&installation.settings.broker, topology).expect("a broker");
    broker.connect().await.expect("it goes on without an archive");
    let problem = broker.topology().archive_problem().expect("nothing is archived");
    assert!(problem.contains("rabbitmq-plugins enable rabbitmq_random_exchange"), "{problem}");
    broker.restore_topology().await.expect("it does not try again");
    let findings = broker.inspect(&[]).await.expect("it can be inspected");
    let refused = |finding: &&Finding| matches!(&finding.state, State::Refused(advice) if advice.contains("enable"));
    assert_eq!(findings.iter().filter(refused).count(), 1, "{findings:?}");
    broker.close().await;
}

/// Goal: a shard that the settings do not need any more is consumed as long as it exists, also by a
/// worker that was there before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_left_over_is_consumed_until_it_is_deleted() {
    let settings = "broker.shards = 3\nevents.topic_from = \"type\"";
    let installation = Installation::with(&[100], settings).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let left = installation.names().primary_shard(2);
    let running = installation.start_with(WORKER, |settings| settings.broker.shards = 2);
    eventually(async || {
        let consumers = installation.publisher.consumers(&left).await;
        holds(consumers == 1, format!("{consumers} consumers of what is left"))
    })
    .await;
    let topology = Topology::new(installation.names().prefix(), []).with_shards(2);
    let broker = Broker::new(&installation.settings.broker, topology).expect("a broker");
    let shown = queues(&broker, Some(installation.parts.store.as_ref())).await.expect("queues");
    let shown = shown.iter().find(|queue| queue.name == left).expect("it is shown");
    assert_eq!((shown.kind, shown.state, shown.consumers), (Kind::Primary, "left over", Some(1)));
    broker.close().await;
    // Through the default exchange, as no binding leads there any more.
    let raw = Raw::new(&left, "late", "{}").kind("order.paid");
    installation.publisher.publish_to("", raw).await;
    receiver.wait_for(1).await;
    let channel = installation.publisher.channel();
    let deleted = channel.queue_delete(left.as_str().into(), QueueDeleteOptions::default()).await;
    deleted.expect("an operator deletes it");
    for number in 0..20 {
        let raw = Raw::new("order.paid", &number.to_string(), "1").kind("order.paid");
        installation.publisher.publish(raw).await;
    }
    receiver.wait_for(21).await;
    eventually(async || {
        let known = installation.parts.store.known_queues().await.expect("the store answers");
        holds(!known.contains(&left), format!("{left} is not forgotten"))
    })
    .await;
    running.stop().await;
    assert_eq!(receiver.count(), 21);
}

/// Goal: processes with one shard and with several lead each event to one queue at any moment, in
/// whatever order they restore their bindings, and none falls beside. Method: both restore all the
/// time while events are published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_and_several_beside_each_other_neither_copy_nor_lose_an_event() {
    let installation = Installation::with(&[60_000], "").await;
    // Its queues are deleted at the end, as those of one shard are.
    let mut several = Corner::new(&millis(&[60_000]));
    several.prefix = installation.corner.prefix.clone();
    several.topology = Topology::new(&several.prefix, millis(&[60_000])).with_shards(4);
    let store = installation.parts.store.as_ref();
    let one = &installation.parts.broker;
    let four = Broker::new(&installation.settings.broker, several.topology.clone());
    let four = four.expect("a broker");
    layout::prepare(&four, store).await.expect("the store answers");
    layout::prepare(one, store).await.expect("the store answers");
    let restoring = async {
        four.connect().await.expect("the topology can be declared");
        for _ in 0..30 {
            let (one, four) = tokio::join!(one.restore_topology(), four.restore_topology());
            one.and(four).expect("the topology can be declared");
        }
    };
    tokio::pin!(restoring);
    let mut published = 0;
    loop {
        let raw = Raw::new("order.paid", &published.to_string(), "1");
        let publishing = installation.publisher.publish(raw);
        tokio::pin!(publishing);
        tokio::select! {
            biased;
            () = &mut publishing => published += 1,
            () = &mut restoring => {
                publishing.await;
                published += 1;
                break;
            }
        }
    }
    let names = four.topology().names();
    let total: u32 = depths(&installation, &names.primary_queues()).await.iter().sum();
    assert_eq!(installation.publisher.depth(&names.unrouted()).await, 0);
    assert_eq!(total, published);
    four.close().await;
}

/// Goal: while a worker of the first version leads everything to the first shard, each event comes
/// once; afterwards, they are spread again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_spread_nor_copied_while_a_worker_of_the_first_version_runs() {
    let installation = Installation::with(&[60_000], "broker.shards = 4").await;
    let broker = &installation.parts.broker;
    let names = installation.names();
    let publish = async |count| {
        for number in 0..count {
            installation.publisher.publish(Raw::new("order.paid", "", format!("{number}"))).await;
        }
    };
    assert!(broker.topology().allow_spreading(false));
    broker.restore_topology().await.expect("the topology can be declared");
    let channel = installation.publisher.channel();
    let (queue, exchange) = (names.primary(), names.events());
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("as the first version binds it");
    publish(50).await;
    assert_eq!(depths(&installation, &names.primary_queues()).await, [50, 0, 0, 0]);
    assert!(broker.topology().allow_spreading(true));
    broker.restore_topology().await.expect("the topology can be declared");
    publish(400).await;
    let mut depths = depths(&installation, &names.primary_queues()).await;
    depths[0] -= 50;
    assert_spread(&depths, 400);
}

/// Goal: a new broker gets all its bindings also while nothing may be spread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_bound_where_nothing_may_be_spread() {
    let installation = Installation::with(&[60_000], "").await;
    let mut other = Corner::new(&millis(&[60_000]));
    other.topology = other.topology.clone().with_shards(4);
    let names = other.topology.names();
    let prefix = other.prefix.clone();
    let settings = BrokerSettings { prefix, ..installation.settings.broker.clone() };
    let broker = Broker::new(&settings, other.topology.clone()).expect("a broker");
    broker.connect().await.expect("the topology can be declared");
    installation.publisher.publish_to(&names.events(), Raw::new("order.paid", "1", "1")).await;
    assert_eq!(depths(&installation, &names.primary_queues()).await, [1, 0, 0, 0]);
    broker.close().await;
}
