//! Bindings and the net below them that come and go under load: what is confirmed is in a queue.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homing::config::Settings;
use homing_broker::{Broker, Message, Outgoing, Route, error::BrokerError};
use homing_domain::{
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    topic::Topic,
};
use lapin::{
    Channel,
    options::{BasicGetOptions, QueueBindOptions},
    types::FieldTable,
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use crate::support::{
    broker::{self, Corner},
    installation::millis,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Publishes under way at once, several groups of them.
const AT_ONCE: usize = 400;
const CYCLES: u32 = 8;
/// A binding is away for this long, and there for as long.
const PHASE: Duration = Duration::from_millis(100);

fn event(id: &str, topic: &str) -> Outgoing {
    let event = Event {
        id: EventId::new(id).expect("an id"),
        topic: Topic::new(topic).expect("a topic"),
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: "{}".into(),
    };
    Message::of_event(event).outgoing()
}

pub(super) async fn unbind(channel: &Channel, (queue, exchange, key): (&str, &str, &str)) {
    let unbound =
        channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default());
    unbound.await.expect("unbound");
}

async fn bind(channel: &Channel, (queue, exchange, key): (&str, &str, &str)) {
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), options, table);
    bound.await.expect("bound");
}

/// Messages by id, each with how often it is in `queue`, from which it is taken.
async fn count(channel: &Channel, queue: &str, found: &mut BTreeMap<String, usize>) {
    while let Some(message) =
        channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("answers")
    {
        let id = message.delivery.properties.message_id().as_ref().expect("it has an id");
        *found.entry(id.to_string()).or_default() += 1;
    }
}

/// Goal: a publish that returns `Ok` is in a queue, whichever confirm the client credits the returned
/// messages to; one that fails is not said to be. Method: the binding of one topic and the net come
/// and go while events of this topic and of another are published in the same groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_confirmed_while_bindings_come_and_go_is_in_a_queue() {
    let corner = Corner::new(&[]);
    let text = format!("[broker]\nurl = \"{}\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    let homing = Broker::new(&settings.broker, corner.topology.clone()).expect("they make sense");
    homing.connect_to_publish().await.expect("it connects");
    let connection = broker::connect(&corner.url).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel");
    let names = corner.topology.names();
    let (primary, events) = (names.primary(), names.events());
    let (unrouted, alternate) = (names.unrouted(), names.alternate());
    let (binding, net) = ((&*primary, &*events, "comes.#"), (&*unrouted, &*alternate, ""));
    bind(&channel, binding).await;
    bind(&channel, (&primary, &events, "stays")).await;
    unbind(&channel, (&primary, &events, "#")).await;

    let fates = Arc::new(Mutex::new(BTreeMap::new()));
    let stop = tokio_util::sync::CancellationToken::new();
    let mut publishing = JoinSet::new();
    for publisher in 0..AT_ONCE {
        let (broker, fates, stop) = (homing.clone(), Arc::clone(&fates), stop.clone());
        let topic = if publisher % 2 == 0 { "comes.and.goes" } else { "stays" };
        publishing.spawn(async move {
            let numbers = (0..).take_while(|_: &u32| !stop.is_cancelled());
            for number in numbers {
                let id = format!("{publisher}-{number}");
                let fate = broker.publish(&event(&id, topic), Route::Events).await;
                assert!(topic != "stays" || fate.is_ok(), "its binding never went: {fate:?}");
                fates.lock().insert(id, fate);
            }
        });
    }

    // The load decides what is published in a phase, and how often; the time only ends it.
    let phase = async || tokio::time::sleep(PHASE).await;
    for _ in 0..CYCLES {
        unbind(&channel, net).await;
        unbind(&channel, binding).await;
        phase().await;
        bind(&channel, binding).await;
        phase().await;
        bind(&channel, net).await;
        unbind(&channel, binding).await;
        phase().await;
        bind(&channel, binding).await;
    }
    stop.cancel();
    while let Some(ended) = publishing.join_next().await {
        ended.expect("no publisher panics");
    }
    homing.close().await;

    let mut found = BTreeMap::new();
    for queue in [&primary, &unrouted] {
        count(&channel, queue, &mut found).await;
    }
    account(&std::mem::take(&mut *fates.lock()), &found);
}

/// Compares what the publisher got for an answer with what is in the queues.
fn account(fates: &BTreeMap<String, Result<(), BrokerError>>, found: &BTreeMap<String, usize>) {
    let (mut confirmed, mut returned, mut twice) = (0, 0, 0);
    for (id, fate) in fates {
        let copies = found.get(id).copied().unwrap_or(0);
        twice += copies.saturating_sub(1);
        match fate {
            Ok(()) => {
                confirmed += 1;
                assert!(copies > 0, "{id} was confirmed and is nowhere");
            }
            Err(BrokerError::Unroutable { .. }) => {
                returned += 1;
                assert_eq!(copies, 0, "{id} has no route and is in a queue");
            }
            Err(error) => panic!("{id}: {}", error.report()),
        }
    }
    println!("fault: bindings and net | {confirmed} confirmed, {returned} returned, {twice} twice");
    assert!(returned > 100 && confirmed > 1_000, "{returned} returned of {}", fates.len());
    assert_eq!(twice, 0, "nothing was sent again");
}

/// Goal: copies that a worker cannot publish, because the queue that they have to wait in is bound to
/// nothing and there is no net, are published when it is; nothing is lost meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_of_wait_queues_that_come_and_go_lose_nothing() {
    const TIMES: u32 = 5;
    let stage = Stage::at(broker::url()).await;
    let load = stage.load();
    let worker = stage.site.start();
    stage.wait_for_more(500).await;
    let connection = broker::connect(&stage.site.corner.url).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel");
    let names = stage.site.corner.topology.names();
    let route = names.route();
    let waits: Vec<_> = millis(&[200, 400]).into_iter().map(|wait| names.wait(wait)).collect();
    let (unrouted, alternate) = (names.unrouted(), names.alternate());

    let harmed = Instant::now();
    for _ in 0..TIMES {
        unbind(&channel, (&unrouted, &alternate, "")).await;
        for wait in &waits {
            unbind(&channel, (wait, &route, wait)).await;
        }
        stage.wait_for_more(200).await;
        for wait in &waits {
            bind(&channel, (wait, &route, wait)).await;
        }
        bind(&channel, (&unrouted, &alternate, "")).await;
        stage.wait_for_more(200).await;
    }
    let silence = stage.longest_silence(harmed);

    assert!(stage.logged("has no route") > 0, "{}", stage.end_of_log());
    let account = stage.account(load, worker).await;
    account.assert_whole("bindings of wait queues deleted 5 times", silence, MAX_IN_FLIGHT);
}
