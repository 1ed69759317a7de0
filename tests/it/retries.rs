//! Failed attempts are repeated at the published times, through the broker's own dead-lettering.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// The default schedule a thousand times faster: 84 ms, 169 ms … 86 s would be too long still, so
/// the last waits are cut.
const FAST: [u64; 11] = [60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 660];

/// The greatest lateness of a retry on a busy machine.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Goal: all eleven steps, none early, none left out. Method: the endpoint's own record.
#[tokio::test]
async fn all_eleven_retries_come_at_their_times_and_then_it_is_parked() {
    let installation = Installation::new(&FAST).await;
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "body")).await;

    let requests = receiver.wait_for(12).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    assert_eq!(receiver.requests().len(), 12, "one attempt and eleven retries");
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

#[tokio::test]
async fn an_endpoint_that_recovers_gets_what_it_missed() {
    let installation = Installation::new(&[50, 50, 50, 50]).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() <= 2 { 500 } else { 204 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    for number in 0..20 {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }

    receiver.wait_for(60).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 60);
    assert!(installation.wait_for_parked(0).await.is_empty());
}

/// Goal: retries belong to the subscription that failed; the others are not repeated.
#[tokio::test]
async fn only_the_subscription_that_failed_is_tried_again() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.path == "/bad" && request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    for path in ["/good", "/bad", "/fine"] {
        installation.subscribe_all(&receiver.url(path)).await;
    }
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let count = |path| receiver.requests_at(path).len();
    assert_eq!((count("/good"), count("/bad"), count("/fine")), (1, 2, 1));
}

/// Goal: an endpoint that asks for time is left alone for as long, and gets every request of the
/// schedule. Method: it asks after every request for more than all waits but the last.
#[tokio::test]
async fn retry_after_moves_requests_and_takes_none_away() {
    const WAITS: [u64; 5] = [300, 300, 300, 300, 1_500];
    let installation = Installation::new(&WAITS).await;
    let receiver = Receiver::answering(|_| Reply::status(503).header("retry-after", "1")).await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let requests = receiver.wait_for(6).await;
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    for (index, pair) in requests.windows(2).enumerate() {
        let gap = pair[1].at - pair[0].at;
        let asked = Duration::from_millis(WAITS[index].max(1_000));
        assert!(gap >= asked, "request {} came after {gap:?}", index + 2);
        assert!(gap < asked + TOLERANCE, "request {} came {gap:?} later", index + 2);
    }
    assert_eq!((receiver.requests().len(), parked.attempts), (6, 6));
    assert_eq!(parked.reason.as_str(), "exhausted");
}

/// Goal: no earlier than asked for, and not as late as the next longer wait of the schedule.
#[tokio::test]
async fn retry_after_is_never_undercut() {
    let installation = Installation::new(&[50, 100, 60_000]).await;
    let receiver = Receiver::answering(|request| match request.attempt() {
        1 => Reply::status(429).header("retry-after", "2"),
        _ => Reply::status(200),
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;

    let requests = receiver.wait_for(2).await;
    running.stop().await;
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
    let receiver = Receiver::answering(|_| Reply::status(500)).await;
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
    let settings = "worker.max_in_flight = 32\nendpoint.deadline = \"10m\"";
    let installation = Installation::with(&[400, 400, 400], settings).await;
    let released = CancellationToken::new();
    let held = released.clone();
    let failing = Receiver::answering(move |request| match request.attempt() {
        1 => Reply::status(500),
        _ => Reply::status(500).once(&held),
    })
    .await;
    let healthy = Receiver::accepting().await;
    installation.subscribe(json!({"url": failing.url("/"), "topics": ["bad"]})).await;
    installation.subscribe(json!({"url": healthy.url("/"), "topics": ["good"]})).await;
    let running = installation.start();

    for number in 0..300 {
        installation.publisher.publish(Raw::new("bad", &format!("b{number}"), "{}")).await;
    }
    failing.wait_for(300 + PLACES).await;
    installation.publisher.publish(Raw::new("good", "g", "{}")).await;
    healthy.wait_for(1).await;
    assert_eq!(failing.count(), 300 + PLACES, "a retry took the place of a new event");

    released.cancel();
    failing.wait_for(1_200).await;
    assert_eq!(installation.wait_for_parked(300).await.len(), 300);
    running.stop().await;
    assert_eq!(failing.count(), 1_200);
}
