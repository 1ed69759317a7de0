//! Changes are announced to subscriptions that name them, and to no others.

use serde_json::{Value, json};

use crate::support::{installation::Installation, receiver::Receiver};

#[tokio::test]
async fn changes_come_as_events_to_those_who_name_them() {
    let installation = Installation::new(&[50]).await;
    let (auditor, other) = (Receiver::accepting().await, Receiver::accepting().await);
    let audited = json!({"url": auditor.url("/a"), "topics": ["homing.audit.#"]});
    installation.subscribe(audited).await;
    let all = installation.subscribe_all(&other.url("/all")).await;
    // Announced by a worker, however much later that starts.
    let running = installation.start();
    let requests = auditor.wait_for(2).await;
    let events: Vec<Value> =
        requests.iter().map(|it| serde_json::from_slice(&it.body).expect("JSON")).collect();
    let created = events.iter().find(|event| event["object"] == all.to_string());
    let created = created.expect("the second subscription is announced");
    assert_eq!((&created["kind"], &created["action"]), (&json!("subscription"), &json!("created")));
    assert_eq!(created["actor"], "homing");
    let secrets = json!({"before": null, "after": ["****"]});
    assert_eq!(created["difference"]["secrets"], secrets, "{created}");

    installation.parts.registry.delete(all).await.expect("it can be deleted");
    let requests = auditor.wait_for(3).await;
    let deleted: Value = serde_json::from_slice(&requests[2].body).expect("JSON");
    assert_eq!(
        (&deleted["action"], &deleted["object"]),
        (&json!("deleted"), &json!(all.to_string()))
    );
    assert_eq!(other.count(), 0, "`#` does not name homing's own events");
    running.stop().await;
}
