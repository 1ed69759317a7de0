//! Parked messages are replayed exactly as selected, as often as it takes.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use homing_broker::{Message, Route};
use homing_delivery::parking::{Action, Bodies, Selection, Tally};
use homing_domain::{
    clock, delivery::Progress, event::Event, id::EventId, topic::Topic, verdict::ParkReason,
};
use homing_store::ErrorFilter;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
    scenario::{Ended, Scenario},
};

/// An endpoint that fails until it is repaired.
async fn broken() -> (Receiver, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&repaired);
    let receiver = Receiver::answering(move |_| {
        Reply::status(if flag.load(Ordering::SeqCst) { 200 } else { 500 })
    })
    .await;
    (receiver, repaired)
}

/// Such an endpoint that gets every event, and two attempts at each.
async fn broken_for_all() -> (Scenario, Arc<AtomicBool>) {
    let (receiver, repaired) = broken().await;
    let mut scenario = Scenario::new(&[30], receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    (scenario, repaired)
}

fn select(json: serde_json::Value) -> Selection {
    serde_json::from_value(json).expect("a selection")
}

/// Goal: what is packed can be unpacked by its receiver. Method: two messages, one with a coding
/// and one with what Celery writes there, through a retry, the parking queue and a replay.
#[tokio::test]
async fn a_body_keeps_its_coding_through_retries_parking_and_replay() {
    let (mut scenario, repaired) = broken_for_all().await;
    for (body, coding) in [("\u{1f}packed", "gzip"), ("plain", "utf-8")] {
        let content_encoding = Some(coding.to_owned());
        scenario.publish_raw(Raw { content_encoding, ..Raw::new("t", coding, body) }).await;
    }
    scenario.installation.wait_for_parked(2).await;
    repaired.store(true, Ordering::SeqCst);
    scenario.installation.replay_all().await;
    let Ended { requests, .. } = scenario.account().await;
    assert_eq!(requests.len(), 6);
    for request in requests {
        let expected = (request.body == "\u{1f}packed").then_some("gzip");
        assert_eq!(request.header("content-encoding"), expected, "attempt {}", request.attempt());
    }
}

#[tokio::test]
async fn a_replay_begins_at_attempt_one_with_the_same_id() {
    let (mut scenario, repaired) = broken_for_all().await;
    scenario.publish("t", 1).await;
    scenario.installation.wait_for_parked(1).await;

    // Replayed while it is broken still: the whole schedule once more, then parked again.
    let tally = scenario.installation.replay_all().await;
    assert_eq!((tally.matched, tally.total), (1, 1));
    scenario.receiver.wait_for(4).await;
    let parked = scenario.installation.wait_for_parked(1).await.remove(0);
    assert_eq!((parked.attempts, parked.replays), (2, 1));

    repaired.store(true, Ordering::SeqCst);
    scenario.installation.replay_all().await;
    let Ended { requests, parked, .. } = scenario.account().await;
    let attempts: Vec<_> = requests.iter().map(Recorded::attempt).collect();
    assert_eq!(attempts, [1, 2, 1, 2, 1]);
    assert!(parked.is_empty());
}

#[tokio::test]
async fn only_what_is_selected_is_replayed_or_dropped() {
    let installation = Installation::new(&[]).await;
    let (receiver, repaired) = broken().await;
    let first = installation
        .subscribe(json!({"url": receiver.url("/first"), "topics": ["order.#"]}))
        .await
        .subscription
        .id;
    installation.subscribe(json!({"url": receiver.url("/second"), "topics": ["#"]})).await;
    let running = installation.start();
    for number in 0..10 {
        let topic = if number % 2 == 0 { "order.paid" } else { "invoice.sent" };
        installation.publisher.publish(Raw::new(topic, &format!("e{number}"), "{}")).await;
    }
    installation.wait_for_parked(15).await;
    repaired.store(true, Ordering::SeqCst);

    let parking = &installation.parts.parking;
    let by_subscription = select(json!({"subscription": first, "reason": "exhausted"}));
    let tally =
        parking.act(Action::Count, &by_subscription, None, |_| ()).await.expect("an action");
    assert_eq!((tally.matched, tally.total), (5, 15));
    installation.wait_for_parked(15).await;

    parking.act(Action::Replay, &by_subscription, None, |_| ()).await.expect("an action");
    receiver.wait_for(20).await;
    installation.wait_for_parked(10).await;

    let by_topic = select(json!({"topic": "invoice.*"}));
    let tally = parking.act(Action::Drop, &by_topic, None, |_| ()).await.expect("an action");
    assert_eq!(tally.matched, 5);
    let left = installation.wait_for_parked(5).await;
    assert!(left.iter().all(|entry| entry.topic.as_deref() == Some("order.paid")));

    let by_event = select(json!({"event": left[0].event_id}));
    parking.act(Action::Replay, &by_event, None, |_| ()).await.expect("an action");
    receiver.wait_for(21).await;
    installation.wait_for_parked(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests_at("/first").len(), 10);
}

/// Goal: what one error parked is sent again, and nothing else. Method: an endpoint that fails in two
/// ways; one of them is repaired.
#[tokio::test]
async fn what_was_parked_for_one_error_is_replayed() {
    let installation = Installation::new(&[50]).await;
    let repaired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&repaired);
    let receiver = Receiver::answering(move |request| {
        if request.body == "full" {
            return Reply::status(507).saying("disk 7 is full");
        }
        if flag.load(Ordering::SeqCst) { Reply::status(200) } else { Reply::status(500) }
    });
    let receiver = receiver.await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for number in 0..6 {
        let body = if number % 3 == 0 { "full" } else { "busy" };
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), body)).await;
    }
    installation.wait_for_parked(6).await;
    let busy = eventually(async || {
        let filter = ErrorFilter { limit: 10, ..ErrorFilter::default() };
        let errors = installation.parts.history.errors(&filter).await.map_err(|it| it.report())?;
        let of = |status| errors.errors.iter().find(|error| error.status == Some(status));
        let counts = [500, 507].map(|status| of(status).map(|error| error.count));
        holds(counts == [Some(8), Some(4)], format!("{counts:?}"))?;
        of(500).and_then(|error| error.id).ok_or_else(|| "it has no id".to_owned())
    })
    .await;

    let by_error = select(json!({"error": busy.to_string()}));
    let parking = &installation.parts.parking;
    let listed = parking.list(&by_error, 10, Bodies::Omitted).await.expect("it can be listed");
    assert!(listed.entries.iter().all(|one| one.error == Some(busy) && one.status == Some(500)));
    repaired.store(true, Ordering::SeqCst);
    let tally = parking.act(Action::Replay, &by_error, None, |_| ()).await.expect("an action");
    assert_eq!((listed.entries.len(), tally.matched, tally.total), (4, 4, 6));
    receiver.wait_for(12 + 4).await;
    let left = installation.wait_for_parked(2).await;
    assert!(left.iter().all(|one| one.status == Some(507)), "{left:?}");
    running.stop().await;
}

/// Goal: looking changes nothing. Method: list many times; everything is there still.
#[tokio::test]
async fn looking_leaves_everything_where_it_is() {
    let installation = Installation::new(&[]).await;
    let receiver = Receiver::failing().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();
    for number in 0..20 {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    let first = installation.wait_for_parked(20).await;
    running.stop().await;
    let ids = |entries: &[homing_delivery::parking::Entry]| -> BTreeSet<String> {
        entries.iter().map(|entry| entry.event_id.clone()).collect()
    };
    for _ in 0..30 {
        let listing =
            installation.parts.parking.list(&Selection::default(), 7, Bodies::Omitted).await;
        let listing = listing.expect("it can be listed");
        assert_eq!((listing.entries.len(), listing.total), (7, 20));
        assert!(listing.entries.iter().all(|entry| entry.body.is_none()));
    }
    let mut seen = 0;
    let everything = Selection::default();
    let visited =
        installation.parts.parking.scan_each(&everything, None, Bodies::Included, |entry| {
            assert_eq!(entry.body.as_deref(), Some(&b"{}"[..]));
            seen += 1;
            if seen < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    let visited = visited.await.expect("it can be visited");
    assert_eq!((seen, visited.matched, visited.total), (5, 5, 20));
    let last = installation.wait_for_parked(20).await;
    assert_eq!(ids(&last), ids(&first));
}

/// Goal: many are replayed at once, each once, and as many as are reported; the rest stays. Method: a
/// replay that is stopped, one with a limit, one at a pace, and one of all that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_are_replayed_as_is_reported() {
    const PARKED: u32 = 3_000;
    let installation = Installation::new(&[]).await;
    let id = installation.subscribe_all("https://example.com/").await;
    let (broker, parking) = (&installation.parts.broker, &installation.parts.parking);
    let parked = (0..PARKED).map(|number| {
        let event = Event {
            id: EventId::new(&number.to_string()).expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            content_type: String::new(),
            content_encoding: None,
            body: vec![b'x'; 1_000].into(),
        };
        let delivery = Message::of_event(event).for_subscription(id, Progress::default());
        let message = delivery.parked(ParkReason::Exhausted, clock::now()).outgoing();
        async move { broker.publish(&message, Route::Parked).await }
    });
    let parked = futures_util::future::join_all(parked).await;
    assert!(parked.iter().all(Result::is_ok));
    installation.wait_for_parked(PARKED).await;

    let all = Selection::default();
    let stop = |tally: Tally| match tally.matched {
        0..300 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let stopped = parking.act_while(Action::Replay, &all, None, stop).await.expect("an action");
    assert!((300..600).contains(&stopped.matched), "{stopped:?}");
    let mut replayed = stopped.matched;
    let retry = installation.names().retry();
    installation.wait_for_depth(&retry, replayed).await;
    let limited = parking.act(Action::Replay, &all, Some(150), |_| ()).await.expect("an action");
    assert_eq!(limited.matched, 150);
    replayed += limited.matched;
    let began = Instant::now();
    let paced = parking.paced(500).act(Action::Replay, &all, Some(250), |_| ()).await;
    assert_eq!(paced.expect("an action").matched, 250);
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
    replayed += 250;

    let began = Instant::now();
    let rest = installation.replay_all().await;
    let seconds = began.elapsed().as_secs_f64();
    println!("{} replayed, {:.0} a second", rest.matched, f64::from(rest.matched) / seconds);
    assert_eq!((rest.matched, rest.total), (PARKED - replayed, u64::from(PARKED - replayed)));
    installation.wait_for_depth(&retry, PARKED).await;
    installation.wait_for_parked(0).await;
}

/// Goal: what was sent and cannot be removed is not sent again. Method: a database that refuses to
/// delete, for a while.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_and_not_removed_is_not_sent_again() {
    let installation = Installation::new(&[1_000]).await;
    let (parking, retry) = (&installation.parts.parking, installation.names().retry());
    for number in 0..3 {
        let raw = Raw::new("t", &format!("e{number}"), "{}").kind("t");
        let raw = raw.header("x-homing-parked-reason", "gone");
        let raw = Raw { topic: installation.names().parked(), ..raw };
        installation.publisher.publish_to(&installation.names().route(), raw).await;
    }
    installation.wait_for_parked(3).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE DELETE ON parked BEGIN SELECT RAISE(ABORT, 'no'); END";
    installation.shell(refuse).await;
    let all = Selection::default();
    let failed = parking.act(Action::Replay, &all, None, |_| ()).await.expect_err("it cannot");
    assert!(failed.to_string().starts_with("3 were sent again"), "{failed}");
    installation.wait_for_depth(&retry, 3).await;
    // As if the claim had ended.
    installation.shell("UPDATE parked SET claimed_until_ms = 0").await;
    assert!(parking.act(Action::Replay, &all, None, |_| ()).await.is_err());
    installation.shell("DROP TRIGGER refuse").await;
    installation.wait_for_parked(0).await;
    installation.wait_for_depth(&retry, 3).await;
}
