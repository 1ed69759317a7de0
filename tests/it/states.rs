//! The present state of each delivery is listed, with its attempts.

use std::time::Duration;

use homing::history::{DeliveriesView, DeliveryTimeline};
use homing_delivery::parking::{Action, Selection};
use homing_domain::{clock, encryption_key::EncryptionKey, record::Gap, time::UnixMillis};
use homing_store::{DeliveryFilter, DeliveryPage, Intervention};
use serde_json::json;

use crate::support::{
    broker::Raw,
    database::Database,
    eventually,
    installation::Installation,
    receiver::{Receiver, Reply},
};

async fn deliveries(installation: &Installation, state: Option<&str>) -> DeliveriesView {
    let states = state.map(|word| word.parse().expect("a state"));
    let filter = DeliveryFilter { states, ..DeliveryFilter::default() };
    let page = DeliveryPage { filter, after: None, limit: 100 };
    installation.parts.history.deliveries(&page).await.expect("the store answers")
}

/// Waits until these states are listed, in any order; returns them.
async fn wait_for(installation: &Installation, states: &[&str]) -> Vec<DeliveryTimeline> {
    eventually(async || {
        let listed = deliveries(installation, None).await.deliveries;
        let mut found: Vec<_> = listed.iter().map(|one| one.state).collect();
        found.sort_unstable();
        let mut expected = states.to_vec();
        expected.sort_unstable();
        if found == expected { Ok(listed) } else { Err(format!("{listed:#?}")) }
    })
    .await
}

/// One URL for each state: well, failing, asking for time, gone, and frozen; then the last one is
/// enabled.
async fn each_delivery_has_its_state(settings: &str) {
    let installation = Installation::with(&[60_000, 3_600_000], settings).await;
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/fails" => Reply::status(503),
        "/later" => Reply::status(429).header("retry-after", "600"),
        "/gone" => Reply::status(410),
        _ => Reply::status(200),
    })
    .await;
    for path in ["/well", "/fails", "/later", "/gone", "/frozen"] {
        installation.subscribe(json!({"url": receiver.url(path), "topics": ["order.*"]})).await;
    }
    let frozen = receiver.url("/frozen").parse().expect("a URL");
    let change = async |intervention| {
        installation.parts.circuits.set(&frozen, intervention).await.expect("it can be set");
    };
    change(Intervention::Disable).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "e1", "{}")).await;

    let states = ["delivered", "waits", "not_before", "parked", "held"];
    let listed = wait_for(&installation, &states).await;
    for one in &listed {
        assert_eq!((one.event.as_str(), one.topic.as_deref()), ("e1", Some("order.paid")));
        assert!(one.subscription.is_some() && one.delivery.is_some() && one.since.is_some());
        assert_eq!(one.attempts.len(), 1, "{one:#?}");
        let found = deliveries(&installation, Some(one.state)).await.deliveries;
        assert_eq!(found.iter().map(|one| &one.url).collect::<Vec<_>>(), [&one.url]);
    }
    let of = |state: &str| listed.iter().find(|one| one.state == state).expect("one");
    assert_eq!(deliveries(&installation, Some("pending")).await.deliveries.len(), 3);
    assert!(of("waits").due.is_some() && of("waits").summary.contains("503 from the endpoint"));
    let not_before = of("not_before");
    assert!(not_before.summary.contains("its endpoint asked for that"), "{not_before:#?}");
    assert!(not_before.due > of("waits").due, "it asked for ten minutes");
    assert!(of("parked").command.is_some() && of("delivered").next.is_none());
    let held = of("held");
    assert!(held.summary.contains("the circuit of its URL is frozen"), "{held:#?}");
    assert!(held.next.as_ref().is_some_and(|next| next.contains("homing endpoints enable")));
    assert!(held.as_of.is_some(), "it says when that was seen");

    change(Intervention::Enable).await;
    let states = ["delivered", "waits", "not_before", "parked", "delivered"];
    let listed = wait_for(&installation, &states).await;
    running.stop().await;
    let parked = listed.iter().find(|one| one.state == "parked").expect("it is there");
    assert!(parked.parked.is_some() && parked.command.is_some(), "{parked:#?}");
    let all = Selection::default();
    let dropped = installation.parts.parking.act(Action::Drop, &all, None, |_| ()).await;
    assert_eq!(dropped.expect("it can be dropped").matched, 1);
    let view = deliveries(&installation, Some("parked")).await;
    let [gone] = &view.deliveries[..] else { panic!("{view:#?}") };
    assert_eq!((gone.state, &gone.command, &gone.url), ("was_parked", &None, &parked.url));
    assert!(gone.parked.is_none() && gone.summary.contains("replayed"), "{gone:#?}");

    let sent = listed.iter().find(|one| one.url == held.url).expect("it is listed");
    let [attempt] = &sent.attempts[..] else { panic!("{sent:#?}") };
    assert!(attempt.held().is_some_and(|held| held.starts_with("held since ")), "{attempt:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_has_its_state_in_sqlite() {
    Box::pin(each_delivery_has_its_state("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_has_its_state_in_postgresql() {
    let database = Database::new().await;
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    let store =
        format!("store.url = \"{}\"\nstore.encryption_keys = [\"{key}\"]\n", database.url());
    Box::pin(each_delivery_has_its_state(&store)).await;
}

/// Goal: a delivery that waits for its turn has one record while it does, and none afterwards. Method:
/// an endpoint that takes one request at a time, for longer than the first two waits.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_turn_is_throttled_until_it_is_attempted() {
    let settings = "endpoint.max_concurrency = 1\nendpoint.permit_wait = \"50ms\"\n\
                    endpoint.deadline = \"30s\"\nheld.queues = 0\n";
    let installation = Installation::with(&[60_000], settings).await;
    let receiver = Receiver::answering(|_| Reply::status(200).after(Duration::from_secs(4))).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for id in ["e1", "e2"] {
        installation.publisher.publish(Raw::new("t", id, "{}")).await;
    }
    let listed = eventually(async || {
        let listed = deliveries(&installation, Some("throttled")).await.deliveries;
        if listed.is_empty() { Err(format!("{listed:#?}")) } else { Ok(listed) }
    })
    .await;
    let [one] = &listed[..] else { panic!("{listed:#?}") };
    assert!(one.summary.starts_with("throttled since "), "{one:#?}");
    assert!(one.summary.contains("its endpoint takes no more at a time"), "{one:#?}");
    assert!(one.due.is_some() && one.as_of > one.since && one.attempts_made() == 0, "{one:#?}");

    let listed = wait_for(&installation, &["delivered", "delivered"]).await;
    running.stop().await;
    let sent = listed.iter().find(|sent| sent.event == one.event).expect("it is listed");
    let [attempt] = &sent.attempts[..] else { panic!("{sent:#?}") };
    assert_eq!(attempt.waited_since, one.since);
}

/// Goal: nothing is made up: without a log nothing is listed, and the reason is said.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_no_state_is_known() {
    let installation = Installation::with(&[50], "attempts.enabled = false\n").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "e1", "{}")).await;
    receiver.wait_for(1).await;
    running.stop().await;
    let view = deliveries(&installation, None).await;
    assert!(view.deliveries.is_empty(), "{view:#?}");
    assert!(view.notes.concat().contains("the workers do not log"), "{view:#?}");
}

/// Goal: the list says since when records are missing, where that concerns what it lists.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_of_the_log_is_named_beside_the_states_that_may_be_older() {
    let installation = Installation::with(&[60_000], "").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "e1", "{}")).await;
    wait_for(&installation, &["delivered"]).await;
    running.stop().await;
    assert!(deliveries(&installation, None).await.gaps.is_empty());
    for (at, missed) in [(UnixMillis::new(1), 3), (clock::now(), 7)] {
        let gap = Gap { id: clock::new_id(), from: at, until: at, missed };
        installation.parts.store.record_attempts(&[], Some(&gap)).await.expect("it is noted");
    }
    let view = deliveries(&installation, None).await;
    let [gap] = &view.gaps[..] else { panic!("{view:#?}") };
    assert_eq!(gap.missed, 7, "the other one is from before all that is listed");
    let last = view.deliveries.first().and_then(|one| one.attempts.last()).expect("an attempt");
    let noted = format!("The last record is of {}", last.started);
    assert!(view.notes.concat().contains(&noted), "{view:#?}");
}
