//! A subscription that cannot be read loses nothing: its events wait until it can.

use homing_broker::topology::THROTTLE_WAITS;
use homing_domain::id::SubscriptionId;
use serde_json::{Map, Value, json};

use crate::support::{broker::Raw, installation::Installation, receiver::Receiver};

const FILTER: &str = r#"[{"fieldName": "status", "comparison": "eq", "fieldValue": "paid"}]"#;

/// Two subscriptions for everything, the second of which has a filter and is then spoilt by `sql`.
async fn with_a_spoilt_one(
    receiver: &Receiver,
    sql: &'static str,
) -> (Installation, SubscriptionId) {
    let installation = Installation::new(&[50]).await;
    installation.subscribe_all(&receiver.url("/sound")).await;
    let filters: Value = serde_json::from_str(FILTER).expect("a filter");
    let draft = json!({"url": receiver.url("/spoilt"), "topics": ["order.*"], "filters": filters});
    let id = installation.subscribe(draft).await.subscription.id;
    installation.shell(sql).await;
    (installation, id)
}

async fn publish(installation: &Installation) {
    for (topic, id, body) in [
        ("order.paid", "paid", r#"{"status": "paid"}"#),
        ("order.open", "open", r#"{"status": "open"}"#),
        ("refund", "refund", r#"{"status": "paid"}"#),
    ] {
        installation.publisher.publish(Raw::new(topic, id, body)).await;
    }
}

fn changes(changes: &Value) -> Map<String, Value> {
    changes.as_object().cloned().expect("an object")
}

/// Reported: a new event had no delivery, no parked message and no record, because the URL of the
/// subscription was too long to be read.
#[tokio::test]
async fn events_wait_for_a_subscription_that_cannot_be_read() {
    let receiver = Receiver::accepting().await;
    let sql = "UPDATE subscriptions SET url = 'nowhere' WHERE url LIKE '%/spoilt'";
    let (installation, id) = with_a_spoilt_one(&receiver, sql).await;
    let running = installation.start();
    publish(&installation).await;
    receiver.wait_for(3).await;
    let status_service = &installation.parts.status_service;
    let reported = status_service.overview().await.unreadable_subscriptions.clone();
    assert_eq!((reported.len(), reported[0].id, reported[0].field.as_str()), (1, id, "url"));
    let throttled_again = installation.names().wait(THROTTLE_WAITS[1]);
    installation.wait_for_depth(&throttled_again, 2).await;
    assert_eq!(receiver.requests().len(), 3);
    installation.wait_for_parked(0).await;

    let registry = &installation.parts.registry;
    let mended = changes(&json!({"url": receiver.url("/spoilt"), "keep_secrets": true}));
    registry.update(id, mended).await.expect("it can be mended");

    receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let delivered = receiver.requests_at("/spoilt");
    assert_eq!(delivered.len(), 1, "what its filter does not want is not sent");
    assert_eq!(&delivered[0].body[..], br#"{"status": "paid"}"#);
    assert_eq!(delivered[0].header("x-homing-attempt"), Some("1"), "nothing is charged");
    let history = &installation.parts.history;
    for (event, state) in [("paid", "delivered"), ("open", "not_wanted")] {
        let explained = history.explain(event, None).await.expect("the store answers");
        let timeline =
            explained.deliveries.iter().find(|timeline| timeline.subscription == Some(id));
        let timeline = timeline.expect("it waited");
        assert_eq!(
            (timeline.state, &timeline.next, &timeline.due),
            (state, &None, &None),
            "{timeline:?}"
        );
        assert_eq!(timeline.attempts.last().expect("a record").verdict, state);
    }
    installation.wait_for_parked(0).await;
    assert_eq!(status_service.unreadable_subscriptions().await.expect("the store answers"), []);
}

#[tokio::test]
async fn all_events_wait_where_not_even_topics_can_be_read() {
    let receiver = Receiver::accepting().await;
    let sql = "UPDATE subscriptions SET topics = '[]' WHERE url LIKE '%/spoilt'";
    let (installation, id) = with_a_spoilt_one(&receiver, sql).await;
    let running = installation.start();
    publish(&installation).await;
    receiver.wait_for(3).await;

    let registry = &installation.parts.registry;
    registry.update(id, changes(&json!({"topics": ["refund"]}))).await.expect("it can be mended");

    receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let delivered = receiver.requests_at("/spoilt");
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].header("x-homing-topic"), Some("refund"));
}
