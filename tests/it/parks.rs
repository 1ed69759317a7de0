//! Undeliverable messages are parked with a reason, never lost and never in a loop.

use serde_json::json;

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
    scenario::{Ended, Scenario},
};

#[tokio::test]
async fn an_answer_410_is_parked_after_one_request() {
    let receiver = Receiver::answering(|_| Reply::status(410)).await;
    let mut scenario = Scenario::new(&[50, 50], receiver).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.start();
    scenario.publish("t", 1).await;

    let Ended { requests, parked, .. } = scenario.account().await;
    assert_eq!((parked[0].reason.as_str(), parked[0].attempts), ("gone", 1));
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_delivery_whose_subscription_was_deleted_is_parked() {
    let receiver = Receiver::failing().await;
    let mut scenario = Scenario::new(&[300], receiver).await;
    let id = scenario.subscribe("/", &["#"]).await.id;
    scenario.start();
    scenario.publish("t", 1).await;
    scenario.receiver.wait_for(1).await;

    scenario.installation.parts.registry.delete(id).await.expect("it is there");

    let Ended { requests, parked, .. } = scenario.account().await;
    assert_eq!(parked[0].reason.as_str(), "subscription_deleted");
    assert_eq!(parked[0].subscription_id, Some(id));
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_parked_message_says_what_an_operator_needs_to_know() {
    let receiver = Receiver::answering(|_| Reply::status(404)).await;
    let mut scenario = Scenario::new(&[30], receiver).await;
    let id = scenario.subscribe("/", &["#"]).await.id;
    scenario.start();
    let raw = Raw::new("order.paid", "event-1", "the body").header("traceparent", "00-1");
    scenario.publish_raw(raw).await;

    let parked = scenario.account().await.parked.remove(0);
    assert_eq!(parked.event_id, "event-1");
    assert_eq!(parked.topic.as_deref(), Some("order.paid"));
    assert_eq!(parked.subscription_id, Some(id));
    assert_eq!(parked.reason.as_str(), "exhausted");
    assert_eq!(parked.attempts, 2);
    assert_eq!(parked.last_outcome.as_deref(), Some("refused 404"));
    assert_eq!(parked.body.as_deref(), Some(&b"the body"[..]));
    let (taken, failed, since) = (
        parked.received_ms.expect("when it came"),
        parked.first_failure_ms.expect("when it failed"),
        parked.parked_ms.expect("since when"),
    );
    assert!(taken <= failed && failed < since, "{taken} {failed} {since}");
}

/// Goal: an event that its publisher lets expire is found, with the broker's reason, its queue and the
/// time. Method: `expiration`, while no worker runs.
#[tokio::test]
async fn what_expired_says_so_where_and_when() {
    use lapin::{BasicProperties, options::BasicPublishOptions};
    let installation = Installation::new(&[50]).await;
    let began = homing_domain::clock::now();
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id("event-1".into())
        .with_expiration("1".into());
    let (exchange, options) = (installation.names().events(), BasicPublishOptions::default());
    let channel = installation.publisher.channel();
    let published = channel.basic_publish(exchange.into(), "t".into(), options, b"{}", properties);
    assert!(published.await.expect("published").await.expect("confirmed").is_ack());

    let parked = installation.wait_for_parked(1).await.remove(0);
    let reported = parked.last_outcome.expect("it says why");
    assert_eq!(
        reported,
        format!("the broker took it out of `{}`: expired", installation.names().primary())
    );
    assert_eq!(parked.event_id, "event-1");
    let seconds = parked.parked_ms.expect("since when").get() / 1_000;
    assert!((began.get() / 1_000 - 1..=began.get() / 1_000 + 60).contains(&seconds), "{seconds}");
}

/// Goal: what the broker gives up on lands in the parking queue. Method: a consumer that returns
/// the message more often than `x-delivery-limit` allows, as a worker that dies would.
#[tokio::test]
async fn what_the_broker_gives_up_on_is_parked_by_it() {
    use lapin::options::{BasicGetOptions, BasicNackOptions};
    let installation = Installation::new(&[50]).await;
    installation.publisher.publish(Raw::new("order.paid", "event-1", "{}")).await;

    let channel = installation.publisher.channel();
    let primary = installation.names().primary();
    let mut returned = 0;
    while let Some(message) = channel
        .basic_get(primary.as_str().into(), BasicGetOptions::default())
        .await
        .expect("the queue is there")
    {
        let options = BasicNackOptions { requeue: true, multiple: false };
        message.delivery.acker.nack(options).await.expect("it can be returned");
        returned += 1;
        if returned > 60 {
            break;
        }
    }

    let parked = installation.wait_for_parked(1).await.remove(0);
    assert_eq!(parked.reason.as_str(), "rejected_by_broker");
    assert_eq!(parked.event_id, "event-1");
    assert_eq!(parked.topic.as_deref(), Some("order.paid"));
    assert_eq!(returned, 51);
    let reported = parked.last_outcome.expect("it says why");
    assert!(reported.contains("delivery_limit") && reported.contains(&primary), "{reported}");
    assert!(parked.parked_ms.is_some());

    // Replayed, it is an event as before.
    let receiver = Receiver::accepting().await;
    let draft = json!({"url": receiver.url("/"), "topics": ["order.paid"]});
    installation.subscribe(draft).await;
    let running = installation.start();
    installation.replay_all().await;
    receiver.wait_for(1).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
}

/// Goal: a message without a route is caught, and sent again once the topology is whole.
#[tokio::test]
async fn what_had_no_route_is_kept_and_delivered_later() {
    use lapin::options::QueueDeleteOptions;
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe(json!({"url": receiver.url("/"), "topics": ["#"]})).await;
    let primary = installation.names().primary();
    let deleted = installation
        .publisher
        .channel()
        .queue_delete(primary.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("an operator deletes a queue");

    installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
    installation.wait_for_depth(&installation.names().unrouted(), 1).await;

    let running = installation.start();
    let request = receiver.wait_for(1).await.remove(0);
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(request.header("x-homing-topic"), Some("t"));
    assert_eq!(receiver.requests().len(), 1);
}
