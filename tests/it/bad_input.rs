//! Bad input gets a clear answer, and nothing is lost by it.

use homing::parking::{Action, Selection};
use serde_json::json;

use crate::support::{broker::Raw, installation::Installation, receiver::Receiver};

#[tokio::test]
async fn an_event_that_is_too_large_is_parked_whole() {
    let installation = Installation::with(&[50], "worker.event_bytes_max = 1000").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "large", vec![b'x'; 1_001])).await;
    installation.publisher.publish(Raw::new("t", "fits", vec![b'x'; 1_000])).await;

    let request = receiver.wait_for(1).await.remove(0);
    let parked = installation.wait_for_parked(1).await.remove(0);
    running.stop().await;
    assert_eq!(request.body.len(), 1_000);
    assert_eq!(parked.event_id, "large");
    assert_eq!(parked.reason.as_str(), "too_large");
    assert_eq!(parked.body_bytes, 1_001);
}

#[tokio::test]
async fn what_is_no_event_is_parked_as_it_came_with_the_reason() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("", "no-topic", "a")).await;
    let raw = Raw::new("t", "no-uuid", "b").header("x-homing-subscription", "somebody");
    installation.publisher.publish(raw).await;
    // Together with our own headers these would not fit into a frame.
    let raw = Raw::new("t", "poison", "p")
        .header("x-homing-subscription", &"x".repeat(100_000))
        .header("large", &"y".repeat(30_000));
    installation.publisher.publish(raw).await;
    installation.publisher.publish(Raw::new("t", "good", "c")).await;

    receiver.wait_for(1).await;
    let parked = installation.wait_for_parked(3).await;
    let subscription = "`x-homing-subscription`";
    for (entry, what) in
        [("no-topic", "no topic"), ("no-uuid", subscription), ("poison", subscription)]
    {
        let entry = parked.iter().find(|parked| parked.event_id == entry).expect("it is parked");
        assert_eq!(entry.reason.as_str(), "unreadable");
        let why = entry.last_outcome.as_deref().expect("it says why");
        assert!(why.contains(what), "{why}");
    }

    // Replaying cannot help, and does no harm.
    let parking = &installation.parts.parking;
    parking.act(Action::Replay, &Selection::default(), None, |_| ()).await.expect("walk");
    installation.assert_nothing_waits().await;
    installation.wait_for_parked(3).await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_json_matches_no_filter_and_hurts_nobody_else() {
    let installation = Installation::new(&[50]).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/all")).await;
    let filters = json!([{"fieldName": "name", "fieldValue": "x", "comparison": "ne"}]);
    let draft = json!({"url": receiver.url("/some"), "topics": ["#"], "filters": filters});
    installation.subscribe(draft).await;
    let running = installation.start();

    installation.publisher.publish(Raw::new("t", "text", "not json")).await;
    installation.publisher.publish(Raw::new("t", "binary", vec![0xff, 0x00, 0xfe])).await;
    installation.publisher.publish(Raw::new("t", "json", "{\"name\":\"y\"}")).await;

    receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests_at("/all").len(), 3);
    assert_eq!(receiver.requests_at("/some").len(), 1);
}

/// Goal: properties on which the broker acts do no harm on the way through the wait queues.
#[tokio::test]
async fn properties_that_the_broker_would_act_on_lose_nothing() {
    use lapin::{
        BasicProperties,
        options::BasicPublishOptions,
        types::{AMQPValue, FieldTable},
    };
    let installation = Installation::new(&[200]).await;
    let receiver = Receiver::answering(|request| {
        crate::support::receiver::Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    installation.subscribe_all(&receiver.url("/")).await;
    let running = installation.start();

    let mut table = FieldTable::default();
    let copies = AMQPValue::LongString(installation.names().parked().into());
    table.insert("CC".into(), AMQPValue::FieldArray(vec![copies].into()));
    table.insert("large".into(), AMQPValue::LongString("x".repeat(100_000).into()));
    let properties = BasicProperties::default()
        .with_message_id("event-1".into())
        .with_expiration("60000".into())
        .with_user_id("guest".into())
        .with_priority(3)
        .with_headers(table);
    let confirm = installation
        .publisher
        .channel()
        .basic_publish(
            installation.names().events().into(),
            "t".into(),
            BasicPublishOptions::default(),
            b"{}",
            properties,
        )
        .await
        .expect("published")
        .await
        .expect("confirmed");
    assert!(confirm.is_ack());

    receiver.wait_for(2).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 2);
    assert!(installation.wait_for_parked(0).await.is_empty());
}
