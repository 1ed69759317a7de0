//! Subscriptions that want an event, and those that nearly do.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::worker::Subscriptions;
use homing_domain::{id::EventId, subscription::Draft, time::UnixMillis};
use homing_store::{Store, settings::StoreSettings};

fn subscription(number: u128, topics: &[&str], filters: &Value) -> Subscription {
    let url = format!("https://example.com/{number}");
    let draft = json!({"url": url, "topics": topics, "filters": filters});
    let draft: Draft = serde_json::from_value(draft).unwrap();
    let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
    let id = SubscriptionId::new(Uuid::from_u128(number));
    Subscription { id, spec: draft.build(&[]).unwrap(), created, updated }
}

fn event(topic: &str, body: &Value) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::new("e").unwrap(),
        topic: Topic::new(topic).unwrap(),
        content_type: String::new(),
        content_encoding: None,
        body: body.to_string().into(),
    })
}

async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    let url = format!("url = \"sqlite:{}/homing.db\"", folder.path().display());
    homing_store::open(&StoreSettings::from_toml(&url).unwrap()).await.unwrap()
}

/// A matcher that knows these subscriptions.
async fn matcher(of: &[Subscription]) -> (tempfile::TempDir, Matcher, Subscriptions) {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    for one in of {
        store.insert_subscription(one).await.unwrap();
    }
    let subscriptions = Subscriptions::new(store);
    subscriptions.refresh().await.unwrap();
    (folder, Matcher::new(subscriptions.latest()), subscriptions)
}

/// The near misses that an answer has once they are remembered.
async fn known(matcher: &Matcher, topic: &str) -> Vec<NearMiss> {
    let found = matcher.near_misses(&Topic::new(topic).unwrap()).await;
    let near = matcher.wanted_by(&event(topic, &json!({}))).await.unwrap().near;
    assert_eq!(near, found);
    near
}

#[tokio::test]
async fn wanted_by_says_who_wants_an_event_and_who_nearly_does() {
    let current = json!([{"fieldName": "status", "comparison": "eq", "fieldValue": "CUR"}]);
    let (_folder, matcher, _subscriptions) = matcher(&[
        subscription(1, &["order.*"], &current),
        subscription(2, &["order.paid"], &json!([])),
        subscription(3, &["task.#"], &current),
    ])
    .await;
    let id = |number| SubscriptionId::new(Uuid::from_u128(number));
    let wanted = async |topic: &str, status: &str| {
        matcher.wanted_by(&event(topic, &json!({"status": status}))).await.unwrap()
    };
    let both = wanted("order.paid", "CUR").await;
    assert_eq!((both.number, both.subscriptions), (2, vec![id(2), id(1)]));
    let one = wanted("order.paid", "PLN").await;
    assert_eq!((one.number, one.subscriptions, one.near), (1, vec![id(2)], Vec::new()));

    let refused = wanted("task.made", "PLN").await;
    let [near] = &refused.near[..] else { panic!("{refused:?}") };
    assert_eq!((refused.number, near.subscription), (0, id(3)));
    insta::assert_snapshot!(near.why, @"its filters refuse it: status");

    let near = known(&matcher, "orders.paid").await;
    let near = [0, 1].map(|at| near[at].topic.as_str());
    assert_eq!(near, ["order.*", "order.paid"]);
    let nothing = wanted("weather.changed", "CUR").await;
    assert_eq!(nothing, Wanted::default());
}

/// Goal: a publisher whose every topic is new takes neither memory nor the time of a core.
#[tokio::test]
async fn topics_that_are_compared_are_few_and_rest_between_them() {
    let (_folder, matcher, _subscriptions) =
        matcher(&[subscription(1, &["order.paid"], &json!([]))]).await;
    for number in 0..MAX_TOPICS + 10 {
        known(&matcher, &format!("orders.paid{number}")).await;
    }
    assert_eq!(matcher.near.known.lock().by_topic.len(), MAX_TOPICS);
    matcher.near.known.lock().next = Some(Instant::now() + Duration::from_secs(3_600));
    let other = event("orders.paid", &json!({}));
    assert_eq!(matcher.wanted_by(&other).await.unwrap(), Wanted::default());
}

#[tokio::test]
async fn before_the_subscriptions_are_read_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let unread = Subscriptions::new(store(&folder).await);
    let wanted = Matcher::new(unread.latest()).wanted_by(&event("t", &json!({}))).await;
    assert_eq!(wanted, Err(NotKnown::NotRead));
}

/// Goal: an event for which a delivery waits or is parked is not called unwanted.
#[tokio::test]
async fn what_filters_cannot_decide_counts_as_wanted() {
    let current = json!([{"fieldName": "status", "comparison": "eq", "fieldValue": "CUR"}]);
    let (_folder, matcher, _subscriptions) = matcher(&[subscription(1, &["#"], &current)]).await;
    let mut broken = (*event("t", &json!({}))).clone();
    broken.body = "no json".into();
    assert_eq!(matcher.wanted_by(&Arc::new(broken)).await.unwrap().number, 1);
}
