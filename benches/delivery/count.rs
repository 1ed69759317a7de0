//! The happy path without a broker, for counting its instructions: read a message, find its
//! subscriptions, build, sign and send the request, read the response, judge, log, make a record for
//! the attempt log, count for the circuit, settle the message.
//!
//! Not counted: what carries messages (the AMQP client, the ledger of acks) and what writes the
//! attempt log; `make bench` measures those. The endpoint is a process of its own, and one thread does
//! everything here, so that the same work is the same number of instructions.
//! `benches/instructions` runs this under callgrind.

use std::sync::Arc;

use homing::{config::Settings, services::Services};
use homing_broker::{Message, Origin, Receipt, consume::Received, settings::EventsSettings};
use homing_delivery::{
    endpoint::Endpoints,
    worker::{Pool, PoolSetup, Webhooks},
};
use homing_domain::{
    clock,
    id::{EventId, SubscriptionId},
    subscription::{Draft, Subscription},
};
use lapin::{BasicProperties, types::FieldTable};
use serde_json::json;

use crate::stage;

/// Subscriptions that want other topics, and that differ from the one that wants this.
const OTHERS: u32 = 100;
/// Small, because callgrind knows no instructions for SHA-256, so that signing would hide the rest.
const BODY_BYTES: usize = 100;

/// Delivers `messages`, one after the other.
pub(crate) async fn run(messages: u32) {
    let endpoints = stage::Endpoints::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = folder.path().join("homing.db");
    let settings = format!(
        "store.url = \"sqlite:{}\"\nendpoint.allow_networks = [\"127.0.0.0/8\"]\n",
        store.display()
    );
    let settings = Settings::from_toml(&settings).expect("the settings make sense");
    let parts = Services::open(settings).await.expect("the parts open");
    let topics = (0..OTHERS).map(|number| format!("other.*.{number}"));
    for topic in topics.chain(["bench.event".to_owned()]) {
        let subscription = subscription(&endpoints.url("/ok/1"), &topic);
        parts.store.insert_subscription(&subscription).await.expect("it is kept");
    }
    let pool = pool(&parts);
    pool.subscriptions().refresh().await.expect("they are read");
    for number in 0..messages {
        pool.take(received(number)).await;
    }
    let came = endpoints.report().await.groups.remove("ok").map_or(0, |group| group.requests);
    assert_eq!(came, u64::from(messages), "not every message was delivered");
    parts.close().await;
}

fn subscription(url: &str, topic: &str) -> Subscription {
    let draft = json!({
        "url": url,
        "topics": [topic],
        "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
    });
    let draft: Draft = serde_json::from_value(draft).expect("it is a draft");
    let (id, now) = (SubscriptionId::new(clock::new_id()), clock::now());
    let spec = draft.build(&[]).expect("it is sound");
    Subscription { id, spec, created: now, updated: now }
}

fn pool(parts: &Services) -> Pool {
    let settings = &parts.settings;
    let endpoints = Endpoints::new(&settings.endpoint).expect("they can be called");
    let endpoints = endpoints.with_payloads(settings.attempts.payload_rule());
    let setup = PoolSetup {
        broker: parts.broker.clone(),
        store: Arc::clone(&parts.store),
        subscriptions: Arc::clone(&parts.subscriptions),
        circuits: parts.circuits.clone(),
        schedules: parts.schedules.clone(),
        rules: settings.circuit.rules().expect("the rules make sense"),
        on_gone: settings.circuit.on_gone,
        worker: settings.worker.clone(),
        parking: parts.parking.clone(),
        attempts: settings.attempts.clone(),
        audit: settings.audit.clone(),
        ledger: settings.ledger.clone(),
        history: settings.history.clone(),
        max_concurrency: settings.endpoint.max_concurrency,
        permit_wait: settings.endpoint.permit_wait,
        min_hold: settings.held.min_hold,
        rate_wait: settings.endpoint.deadline,
        tracer: None,
    };
    Pool::new(setup, Arc::new(Webhooks(endpoints)))
}

fn received(number: u32) -> Received {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(format!("event-{number:08}").into())
        .with_headers(FieldTable::default());
    let id = || EventId::from(clock::new_id());
    let body = vec![b' '; BODY_BYTES].into();
    let origin = Origin::publisher("bench.event", EventsSettings::default());
    Received {
        content: Message::read(&properties, &origin, body, id),
        redelivered: false,
        returned: 0,
        receipt: Receipt::detached(),
    }
}
