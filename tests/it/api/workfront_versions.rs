//! After a change of its version, a subscription gets events in both for five minutes.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Running, serve, start, start_with,
    workfront::{SUBSCRIPTIONS, json_of, make, of_tasks},
};
use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
};
use homing_domain::{clock, id::SubscriptionId, subscription::BOTH_VERSIONS};

async fn set_all_to_v1(running: &Running) {
    let all = json!({"allCustomerSubscriptions": true, "version": "v1"}).to_string();
    running.send(Method::PUT, &format!("{SUBSCRIPTIONS}/version"), all).await.expect(200);
}

async fn publish(running: &Running, id: &str) {
    let raw = Raw::new("TASK.UPDATE", id, r#"{"newState": {"ID": "a"}}"#);
    running.installation.publisher.publish(raw).await;
}

fn version(request: &Recorded) -> String {
    let sent = json_of(request);
    sent.get("subscriptionVersion").and_then(Value::as_str).expect("a version").to_owned()
}

/// Each is a delivery of its own: with its own `webhook-id`, retried, parked, explained and
/// replayed by itself.
#[tokio::test]
async fn both_versions_are_deliveries_of_their_own() {
    let running = start().await;
    let (accepts, is_accepting) = (Arc::new(AtomicBool::new(false)), Ordering::SeqCst);
    let accepting = Arc::clone(&accepts);
    let receiver = Receiver::answering(move |request| {
        let fails = version(request) == "v2" && !accepting.load(is_accepting);
        Reply::status(if fails { 500 } else { 200 })
    })
    .await;
    make(&running, of_tasks(&receiver.url("/hook"))).await;
    set_all_to_v1(&running).await;
    let working = running.installation.start();
    publish(&running, "e1").await;
    // One in v1; two in v2, which fail.
    let requests = receiver.wait_for(3).await;
    let parked = running.installation.wait_for_parked(1).await;
    let of = |wanted: &str| -> Vec<Recorded> {
        requests.iter().filter(|request| version(request) == wanted).cloned().collect()
    };
    let (present, former) = (of("v1"), of("v2"));
    assert_eq!((present.len(), former.len()), (1, 2));
    assert_ne!(present[0].id(), former[0].id());
    assert_eq!((former[0].id(), &former[0].body), (former[1].id(), &former[1].body));
    let delivery = parked[0].delivery_id.expect("it is a delivery");
    assert_eq!(delivery.to_string(), former[0].id());

    let expected = [
        [json!(present[0].id()), json!("delivered"), Value::Null],
        [json!(former[0].id()), json!("parked"), json!("v2")],
    ];
    eventually(async || {
        let explained = running.get("/v1/events/e1").await.expect(200).body;
        let mut states = explained["deliveries"].as_array().cloned().unwrap_or_default();
        states.sort_by_key(|one| one["state"].to_string());
        let fields = ["delivery", "state", "former_version"];
        let states = states.iter().map(|one| fields.map(|name| one[name].clone()));
        holds(states.eq(expected.iter().cloned()), explained.to_string())
    })
    .await;

    accepts.store(true, is_accepting);
    running.post("/v1/parked/replay", &json!({"event": "e1"})).await.expect(200);
    let requests = receiver.wait_for(4).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let replayed = requests.last().expect("four");
    assert_eq!((version(replayed), replayed.id()), ("v2".to_owned(), former[0].id()));
}

/// Goal: a change back leaves each retry in its version.
#[tokio::test]
async fn a_change_back_changes_no_delivery_that_is_there() {
    let running = serve(Installation::with(&[3_000], "").await).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.attempt() == 1 { 500 } else { 200 })
    })
    .await;
    let id = make(&running, of_tasks(&receiver.url("/hook"))).await;
    set_all_to_v1(&running).await;
    let working = running.installation.start();
    publish(&running, "e1").await;
    receiver.wait_for(2).await;
    let path = format!("{SUBSCRIPTIONS}/{id}/version");
    running.send(Method::PUT, &path, r#"{"version": "v2"}"#).await.expect(200);
    let requests = receiver.wait_for(4).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let sent: BTreeSet<_> = requests.iter().map(|one| (one.id(), version(one))).collect();
    let versions: BTreeSet<_> = requests.iter().map(version).collect();
    assert_eq!((requests.len(), sent.len(), versions.len()), (4, 2, 2), "{sent:?}");
}

#[tokio::test]
async fn five_minutes_after_the_change_one_version_is_sent() {
    let running = start().await;
    let receiver = Receiver::accepting().await;
    let id = make(&running, of_tasks(&receiver.url("/hook"))).await;
    set_all_to_v1(&running).await;
    let id: SubscriptionId = id.parse().expect("an id");
    let store = &running.installation.parts.store;
    let mut subscription = store.subscription(id).await.expect("read").expect("it is there");
    let form = subscription.spec.workfront.as_mut().expect("it has the form");
    let changed = form.version_updated.expect("it was changed");
    form.version_updated = Some(changed.minus(BOTH_VERSIONS));
    let read = subscription.updated;
    subscription.updated = clock::now().plus(Duration::from_millis(1));
    store.update_subscription(&subscription, read).await.expect("written");

    let working = running.installation.start();
    publish(&running, "e1").await;
    let requests = receiver.wait_for(1).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    assert_eq!(receiver.count(), 1);
    assert_eq!(version(&requests[0]), "v1");
}

/// Goal: what is divided into messages for several subscriptions comes once in each version.
#[tokio::test]
async fn of_many_subscriptions_each_gets_both_versions_once() {
    const COUNT: usize = 7;
    let running = start_with("worker.max_fan_out_inline = 3\n").await;
    let receiver = Receiver::accepting().await;
    for number in 0..COUNT {
        make(&running, of_tasks(&receiver.url(&format!("/{number}")))).await;
    }
    set_all_to_v1(&running).await;
    let working = running.installation.start();
    publish(&running, "e1").await;
    let requests = receiver.wait_for(2 * COUNT).await;
    running.installation.assert_nothing_waits().await;
    working.stop().await;
    let sent: BTreeSet<_> =
        requests.iter().map(|request| (request.path.clone(), version(request))).collect();
    let ids: BTreeSet<_> = requests.iter().map(Recorded::id).collect();
    assert_eq!((receiver.count(), sent.len(), ids.len()), (2 * COUNT, 2 * COUNT, 2 * COUNT));
}
