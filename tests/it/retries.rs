//! Failed attempts are repeated at the published times, through the broker's own dead-lettering.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
    scenario::{Ended, Scenario},
};

/// The default schedule a thousand times faster: 84 ms, 169 ms … 86 s would be too long still, so
/// the last waits are cut.
const FAST: [u64; 11] = [60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 660];

/// The greatest lateness of a retry on a busy machine.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Goal: all eleven steps, none early, none left out. Method: the endpoint's own record.
#[tokio::test]
async fn all_eleven_retries_come_at_their_times_and_then_it_is_parked() {
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    let mut scenario = Scenario::new(&FAST, receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish_raw(Raw::new("t", "event-1", "body")).await;

    let Ended { requests, mut parked, .. } = scenario.account().await;
    let parked = parked.remove(0);
    assert_eq!(requests.len(), 12, "one attempt and eleven retries");
    for (index, pair) in requests.windows(2).enumerate() {
        let [earlier, later] = pair else { panic!("windows of two") };
        let wait = Duration::from_millis(FAST[index]);
        let gap = later.at - earlier.at;
        assert!(gap >= wait, "retry {} came after {gap:?}, before its {wait:?}", index + 1);
        assert!(gap < wait + TOLERANCE, "retry {} came {gap:?} later", index + 1);
        assert_eq!(later.id(), earlier.id(), "webhook-id is stable over attempts");
        assert_eq!(later.attempt(), earlier.attempt() + 1);
        assert_eq!(later.body, "body");
    }
    assert_eq!(parked.reason.as_str(), "exhausted");
    assert_eq!(parked.attempts, 12);
    assert_eq!(parked.last_outcome.as_deref(), Some("refused 503"));
    assert_eq!(parked.delivery_id.map(|id| id.to_string()), Some(requests[0].id()));
}

/// With `circuit.on_gone`.
#[tokio::test]
async fn an_answer_410_is_retried_where_the_settings_say_so() {
    let receiver = Receiver::answering(|_| Reply::status(410)).await;
    let installation = Installation::with(&[50], "circuit.on_gone = \"retry\"").await;
    installation.subscribe_all(&receiver.url("/")).await;
    let working = installation.start();
    installation.publisher.publish(Raw::new("t", "event-1", "body")).await;
    let parked = installation.wait_for_parked(1).await;
    working.stop().await;
    assert_eq!((parked[0].reason.as_str(), receiver.count()), ("exhausted", 2));
}

#[tokio::test]
async fn an_endpoint_that_recovers_gets_what_it_missed() {
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() <= 2 { 500 } else { 204 })
    })
    .await;
    let mut scenario = Scenario::new(&[50, 50, 50, 50], receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish("t", 20).await;

    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.requests.len()), (20, 60));
}

/// Goal: retries belong to the subscription that failed; the others are not repeated.
#[tokio::test]
async fn only_the_subscription_that_failed_is_tried_again() {
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.path == "/bad" && request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    let mut scenario = Scenario::new(&[50], receiver).await;
    for path in ["/good", "/bad", "/fine"] {
        scenario.subscribe(path, &["#"]).await;
    }
    scenario.start();
    scenario.publish("t", 1).await;

    let ended = scenario.account().await;
    assert_eq!(["/good", "/bad", "/fine"].map(|path| ended.count_at(path)), [1, 2, 1]);
}

/// Goal: an endpoint that asks for time is left alone for as long, and gets every request of the
/// schedule. Method: it asks after every request for more than all waits but the last.
#[tokio::test]
async fn retry_after_moves_requests_and_takes_none_away() {
    const WAITS: [u64; 5] = [300, 300, 300, 300, 1_500];
    let receiver = Receiver::answering(|_| Reply::status(503).header("retry-after", "1")).await;
    let mut scenario = Scenario::new(&WAITS, receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish("t", 1).await;

    let Ended { requests, mut parked, .. } = scenario.account().await;
    let parked = parked.remove(0);
    for (index, pair) in requests.windows(2).enumerate() {
        let gap = pair[1].at - pair[0].at;
        let asked = Duration::from_millis(WAITS[index].max(1_000));
        assert!(gap >= asked, "request {} came after {gap:?}", index + 2);
        assert!(gap < asked + TOLERANCE, "request {} came {gap:?} later", index + 2);
    }
    assert_eq!((requests.len(), parked.attempts), (6, 6));
    assert_eq!(parked.reason.as_str(), "exhausted");
}

/// Goal: no earlier than asked for, and not as late as the next longer wait of the schedule.
#[tokio::test]
async fn retry_after_is_never_undercut() {
    let receiver = Receiver::answering(|request| match request.attempt() {
        1 => Reply::status(429).header("retry-after", "2"),
        _ => Reply::status(200),
    })
    .await;
    let mut scenario = Scenario::new(&[50, 100, 60_000], receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish("t", 1).await;

    let Ended { requests, .. } = scenario.account().await;
    let gap = requests[1].at - requests[0].at;
    assert!(gap >= Duration::from_secs(2), "it asked for two seconds, not {gap:?}");
    assert!(gap < Duration::from_secs(2) + TOLERANCE, "it asked for two seconds, not {gap:?}");
}

/// Goal: an endpoint that asks for more than the longest wait is left alone for as long, up to the
/// length of the schedule.
#[tokio::test]
async fn retry_after_is_waited_without_attempts_up_to_the_length_of_the_schedule() {
    let installation = Installation::new(&[1_200, 800]).await;
    let receiver = Receiver::answering(|request| match request.attempt() {
        1 => Reply::status(503).header("retry-after", "86400"),
        _ => Reply::status(200),
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let requests = receiver.wait_for(2).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let gap = requests[1].at - requests[0].at;
    assert!(gap >= Duration::from_secs(2), "came after {gap:?}");
    assert_eq!(requests[1].attempt(), 2, "holding is no attempt");
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn a_subscription_can_have_a_schedule_of_its_own() {
    let settings = "schedule.custom.once = [\"40ms\"]";
    let installation = Installation::with(&[60_000], settings).await;
    let receiver = Receiver::failing().await;
    let draft = json!({"url": receiver.url("/"), "topics": ["#"], "schedule": "once"});
    installation.subscribe(draft).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let parked = installation.wait_for_parked(1).await;
    running.stop().await;
    assert_eq!(parked[0].attempts, 2);
}

/// Goal: new events do not wait behind retries. Method: the endpoint holds every retry, so that
/// retries take all their places; then an event for another endpoint arrives.
#[tokio::test]
async fn new_events_do_not_wait_behind_retries() {
    /// Half of `max_in_flight`.
    const PLACES: usize = 16;
    // Retries come when all first attempts have failed, and its one endpoint may hold all places.
    let settings = "worker.max_in_flight = 32\nendpoint.deadline = \"10m\"\n\
                    endpoint.permit_wait = \"10m\"";
    let released = CancellationToken::new();
    let held = released.clone();
    let receiver =
        Receiver::answering(move |request| match (request.path.as_str(), request.attempt()) {
            ("/well", _) => Reply::status(200),
            (_, 1) => Reply::status(500),
            _ => Reply::status(500).once(&held),
        })
        .await;
    let mut scenario = Scenario::with(&[5_000, 400, 400], settings, receiver).await;
    scenario.subscribe("/failing", &["bad"]).await;
    scenario.subscribe("/well", &["good"]).await;
    scenario.start();

    scenario.publish("bad", 300).await;
    scenario.receiver.wait_for(300 + PLACES).await;
    scenario.publish("good", 1).await;
    scenario.receiver.wait_for_at("/well", 1).await;
    let failing = scenario.receiver.count_at("/failing");
    assert_eq!(failing, 300 + PLACES, "a retry took the place of a new event");

    released.cancel();
    let ended = scenario.account().await;
    assert_eq!((ended.delivered, ended.parked.len()), (1, 300));
    assert_eq!(ended.count_at("/failing"), 1_200);
}
