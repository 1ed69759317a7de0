//! Endpoints give instructions with their answers, in the header `webhook-delivery`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use homing_domain::{circuit::StateName, record::AttemptEvent};
use homing_store::Intervention;
use serde_json::json;

use crate::{
    attempts::recorded,
    circuits::{CIRCUIT, circuit, wait_for_state},
    held::{numbers, open, publish, set},
    support::{
        eventually, holds,
        installation::Installation,
        receiver::{Receiver, Reply},
    },
};

const FOLLOWED: &str = "endpoint.delivery_control = true";

fn reply(status: u16, instruction: &str) -> Reply {
    Reply::status(status).header("webhook-delivery", instruction)
}

/// Goal: an endpoint that disables itself gets nothing more, the reason is visible, and what was not
/// accepted comes when an operator enables it again.
#[tokio::test]
async fn an_endpoint_disables_itself() {
    for status in [200, 503] {
        let installation = Installation::with(&[50, 60_000], FOLLOWED).await;
        let is_back = Arc::new(AtomicBool::new(false));
        let back = Arc::clone(&is_back);
        let receiver = Receiver::answering(move |_| {
            let is_back = back.load(Ordering::SeqCst);
            if is_back { Reply::status(200) } else { reply(status, "disable") }
        })
        .await;
        let url = receiver.url("/");
        installation.subscribe_all(&url).await;
        let running = installation.start();
        publish(&installation, &numbers(0..1)).await;
        let frozen = wait_for_state(&installation, &url, StateName::Frozen).await;
        publish(&installation, &numbers(1..4)).await;
        let waiting = if status == 200 { 3 } else { 4 };
        installation.wait_for_depth(&installation.names().held(0), waiting).await;
        let before = receiver.count();

        is_back.store(true, Ordering::SeqCst);
        set(&installation, &url, Intervention::Enable).await;
        receiver.wait_for(before + usize::try_from(waiting).expect("few")).await;
        installation.assert_nothing_waits().await;
        running.stop().await;
        let reason = frozen.reason.expect("a reason").to_string();
        assert_eq!(reason, "the endpoint answered `webhook-delivery: disable`");
        assert_eq!(before, 1, "{status}: it is called once");
        let bodies: Vec<_> = receiver.requests().into_iter().map(|it| it.body).collect();
        for number in numbers(0..4) {
            assert!(bodies.iter().any(|body| *body == *number.as_bytes()), "{status}: {number}");
        }
    }
}

/// Goal: an endpoint that accepts a probe and disables itself with the same answer gets nothing
/// more: its circuit is not closed in between.
#[tokio::test]
async fn an_accepted_probe_that_disables_closes_no_circuit() {
    let settings = format!("{FOLLOWED}\n{}", CIRCUIT.replace("\"1s\"", "\"1h\""));
    let installation = Installation::with(&[60_000], &settings).await;
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    let receiver = Receiver::answering(move |request| match &*request.path {
        "/operators" => Reply::status(200),
        _ if back.load(Ordering::SeqCst) => reply(200, "disable"),
        _ => Reply::status(503),
    })
    .await;
    let url = receiver.url("/");
    installation.subscribe_all(&url).await;
    let operators = json!({"url": receiver.url("/operators"), "topics": ["homing.endpoint.*"]});
    installation.subscribe(operators).await;
    let running = installation.start();
    open(&installation, &url).await;
    publish(&installation, &numbers(0..20)).await;
    installation.wait_for_depth(&installation.names().primary(), 0).await;
    receiver.wait_for_at("/operators", 1).await;
    let before = receiver.count_at("/");

    is_back.store(true, Ordering::SeqCst);
    set(&installation, &url, Intervention::Probe).await;
    wait_for_state(&installation, &url, StateName::Frozen).await;
    receiver.wait_for_at("/operators", 2).await;
    running.stop().await;
    let announced = receiver.requests_at("/operators");
    let topics: Vec<_> = announced.iter().filter_map(|it| it.header("x-homing-topic")).collect();
    assert_eq!(topics, ["homing.endpoint.opened", "homing.endpoint.frozen"]);
    assert_eq!(receiver.count_at("/"), before + 1, "the probe alone");
}

/// Goal: an endpoint aborts a delivery that it did not accept: it is parked at once, with the reason;
/// the circuit counts a failure, and what was accepted is delivered.
#[tokio::test]
async fn an_endpoint_aborts_a_delivery() {
    let installation = Installation::with(&[50, 60_000], FOLLOWED).await;
    let receiver = Receiver::answering(|request| {
        reply(if &request.body[..] == b"0" { 422 } else { 200 }, "abort-message")
    })
    .await;
    let url = receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..2)).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    receiver.wait_for(2).await;
    installation.assert_nothing_waits().await;
    let store = &installation.parts.store;
    let records = eventually(async || {
        let records = recorded(store.as_ref()).await;
        if records.len() == 2 { Ok(records) } else { Err(format!("{records:?}")) }
    })
    .await;
    let explained = installation.parts.history.explain("e0", None).await.expect("it is known");
    running.stop().await;

    assert_eq!((parked.reason.as_str(), parked.attempts), ("cancelled", 1));
    assert_eq!((parked.last_outcome.as_deref(), receiver.count()), (Some("refused 422"), 2));
    let summary = &explained.deliveries[0].summary;
    assert!(summary.contains("(`cancelled`: its endpoint aborted it"), "{summary}");
    let aborted = records.iter().filter_map(|record| match &record.happened {
        AttemptEvent::Attempted(attempted) if attempted.status == Some(422) => {
            attempted.cause.as_deref()
        }
        AttemptEvent::Attempted(_) | AttemptEvent::NotAttempted(_) => None,
    });
    let aborted: Vec<_> = aborted.collect();
    assert_eq!(aborted, ["the endpoint answered `webhook-delivery: abort-message`"]);
}

/// Goal: without the setting, answers with such headers are as any other.
#[tokio::test]
async fn instructions_are_followed_only_where_the_settings_say_so() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::answering(|request| {
        let instruction = if request.attempt() == 1 { "abort-message" } else { "disable" };
        reply(503, instruction)
    })
    .await;
    let url = receiver.url("/");
    installation.subscribe_all(&url).await;
    let running = installation.start();
    publish(&installation, &numbers(0..1)).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    eventually(async || {
        let circuit = circuit(&installation, &url).await;
        holds(circuit.failures == 2, format!("{circuit:?}"))
    })
    .await;
    let circuit = circuit(&installation, &url).await;
    running.stop().await;
    assert_eq!((parked.reason.as_str(), parked.attempts), ("exhausted", 2));
    assert_eq!(circuit.state.name(), StateName::Closed);
}
