//! The explanation of an event: what happened, why, what is next, and what is not known.

use homing::history::{DeliveryTimeline, Explanation};
use homing_delivery::parking::{Action, Selection};
use homing_domain::topic::Topic;
use homing_store::{Intervention, ParkedLimit};
use serde_json::json;

use crate::{
    attempts::wait_for_records,
    support::{
        broker::Raw,
        eventually, holds,
        installation::Installation,
        receiver::{Receiver, Reply},
    },
};

async fn explain(installation: &Installation, event: &str, topic: Option<&str>) -> Explanation {
    let topic = topic.map(|topic| Topic::new(topic).expect("a topic"));
    installation.parts.history.explain(event, topic).await.expect("the store answers")
}

fn only(explanation: &Explanation) -> &DeliveryTimeline {
    let [timeline] = explanation.deliveries.as_slice() else { panic!("{explanation:#?}") };
    timeline
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part}: {text}");
}

#[tokio::test]
async fn what_was_delivered_and_what_waits_is_shown_for_each_subscription() {
    let installation = Installation::new(&[60, 60_000]).await;
    let receiver = Receiver::answering(|request| {
        let recovers = request.path == "/recovers" && request.attempt() > 1;
        Reply::status(if recovers { 200 } else { 503 })
    })
    .await;
    for path in ["/recovers", "/busy"] {
        let draft = json!({"url": receiver.url(path), "topics": ["order.*"]});
        installation.subscribe(draft).await;
    }
    let filtered = json!({"url": receiver.url("/picky"), "topics": ["order.#"],
        "filters": [{"fieldName": "a", "fieldValue": "b", "comparison": "eq"}]});
    let filtered = installation.subscribe(filtered).await.subscription.id;
    let running = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "event-1", "{}")).await;
    wait_for_records(&*installation.parts.store, 4).await;
    let later = json!({"url": receiver.url("/later"), "topics": ["order.paid"]});
    let later = installation.subscribe(later).await.subscription.id;
    running.stop().await;

    let explanation = explain(&installation, "event-1", None).await;
    assert_eq!(explanation.topic.as_deref(), Some("order.paid"));
    let of = |path: &str| {
        let url = Some(receiver.url(path));
        explanation.deliveries.iter().find(|timeline| timeline.url == url).expect("a timeline")
    };
    let done = of("/recovers");
    assert_eq!((done.state, done.attempts.len()), ("delivered", 2));
    contains(&done.summary, "at attempt 2");
    assert_eq!(done.attempts[0].report(), "503 from the endpoint");
    assert_eq!((&done.next, &done.due, &done.command), (&None, &None, &None));
    let waits = of("/busy");
    assert_eq!(waits.state, "waits");
    assert_eq!(waits.summary, "waits; attempt 2: 503 from the endpoint");
    contains(waits.next.as_deref().expect("what is next"), "due at ");
    assert_eq!(waits.due, waits.attempts[1].due);
    let unsent: Vec<_> =
        explanation.unsent.iter().map(|unsent| (unsent.subscription, unsent.why)).collect();
    assert_eq!(
        unsent,
        [
            (filtered, "it has filters, which the event may not pass"),
            (later, "it was created after the event was received"),
        ]
    );
}

#[tokio::test]
async fn what_is_parked_says_why_and_how_to_send_it_again() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::failing().await;
    let id = installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event 1", "{}")).await;
    installation.wait_for_parked(1).await;
    running.stop().await;

    let explanation = explain(&installation, "event 1", None).await;
    let timeline = only(&explanation);
    assert_eq!(timeline.state, "parked");
    contains(
        &timeline.summary,
        "(`exhausted`: no wait of its schedule is left); attempt 2: 500 from",
    );
    let expected = format!("homing parked replay --event 'event 1' --subscription {id}");
    assert_eq!(timeline.command.as_deref(), Some(expected.as_str()));
    assert_eq!(
        timeline.parked.as_ref().map(|parked| (parked.reason, parked.attempts)),
        Some(("exhausted", 2))
    );
    assert!(
        explanation.parking.as_ref().is_some_and(homing::history::Lookup::is_complete),
        "{explanation:#?}"
    );
    // Looking changed nothing.
    installation.wait_for_parked(1).await;

    let dropped =
        installation.parts.parking.act(Action::Drop, &Selection::default(), None, |_| ()).await;
    assert_eq!(dropped.expect("it can be dropped").matched, 1);
    let explanation = explain(&installation, "event 1", None).await;
    contains(&only(&explanation).summary, "It is no longer in the parking queue");
    assert_eq!((only(&explanation).state, &only(&explanation).command), ("was_parked", &None));
}

/// Parked messages are known also where the log knows nothing of it.
#[tokio::test]
async fn what_the_log_does_not_know_is_found_in_the_parking_queue() {
    let installation = Installation::with(&[50], "attempts.enabled = false").await;
    let receiver = Receiver::answering(|_| Reply::status(410)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    installation.wait_for_parked(1).await;
    running.stop().await;

    let explanation = explain(&installation, "event-1", None).await;
    let timeline = only(&explanation);
    contains(
        &timeline.summary,
        "(`gone`: the endpoint answered 410 Gone); attempt 1: 410 from the",
    );
    assert_eq!(timeline.url, Some(receiver.url("/")));
    assert_eq!(timeline.attempts.len(), 0);
    assert_eq!(explanation.topic.as_deref(), Some("t"));
}

#[tokio::test]
async fn what_is_held_names_its_circuit_and_the_next_probe() {
    let settings = "circuit.open_above_percent = 100\n\
                    circuit.open_at_consecutive_failures = 1";
    let installation = Installation::with(&[100, 60_000], settings).await;
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    let records = wait_for_records(&*installation.parts.store, 2).await;
    running.stop().await;

    let explanation = explain(&installation, "event-1", None).await;
    let timeline = only(&explanation);
    assert_eq!((timeline.state, records.len()), ("held", 2));
    contains(&timeline.summary, "held since ");
    contains(&timeline.summary, ": the circuit of its URL is open; attempt 1: 503");
    let next = timeline.next.as_deref().expect("what is next");
    contains(next, "its circuit is open since ");
    contains(next, ", next probe at ");
    contains(next, "held for its URL");
    let circuit = timeline.circuit.as_ref().expect("its circuit");
    contains(next, circuit.next_probe.as_deref().expect("a probe"));
    assert_eq!(timeline.attempts.last().and_then(|last| last.attempt), None);

    let url = receiver.url("/").parse().expect("a URL");
    let now = homing_domain::clock::now();
    let set = installation.parts.store.set_circuit(&url, Intervention::Disable, now).await;
    set.expect("it can be set");
    let explanation = explain(&installation, "event-1", None).await;
    contains(only(&explanation).next.as_deref().expect("what is next"), "homing endpoints enable");
}

#[tokio::test]
async fn an_unknown_event_is_answered_with_what_may_have_become_of_it() {
    let installation = Installation::new(&[50]).await;
    let id = installation.subscribe_all("https://example.com/hook").await;
    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let explanation = explain(&installation, "event-1", None).await;
    assert_eq!((explanation.deliveries.len(), explanation.unsent.len()), (0, 0));
    let notes = explanation.notes.join("\n");
    contains(&notes, "the attempt log is empty");
    contains(&notes, "holds 1 events, and 0 workers consume it");
    contains(&notes, "its topic is not known");
    contains(&notes, "never published");

    let explanation = explain(&installation, "event-1", Some("t")).await;
    let [unsent] = explanation.unsent.as_slice() else { panic!("{explanation:#?}") };
    assert_eq!(unsent.subscription, id);
}

/// Goal: an explanation finds what is parked, however much that is, and says what it did not look at.
#[tokio::test]
async fn a_parked_event_is_found_among_many_and_what_is_not_there_yet_is_said() {
    let installation = Installation::with(&[50], "parking.max_rows = 1005").await;
    let parked = installation.names().parked();
    for number in 0..1_008 {
        installation.publisher.publish_to("", Raw::new(&parked, &format!("e{number}"), "{}")).await;
    }
    let running = installation.start();
    eventually(async || {
        let totals = installation.parts.store.parked_totals().await.expect("the store answers");
        let is_full = (totals.deliveries, totals.limit) == (1_005, Some(ParkedLimit::Rows));
        holds(is_full, format!("{totals:?}"))
    })
    .await;
    running.stop().await;
    let explanation = explain(&installation, "e1004", None).await;
    assert_eq!(only(&explanation).state, "parked");
    contains(
        &explanation.notes.join("\n"),
        "more may be parked: 3 more stay in the parking queue: the store takes no more of them; replay or drop some, or raise parking.max_rows",
    );
}
