//! `homing parked`

use bytes::Bytes;
use homing::{
    broker::{Message, Route},
    clock,
    domain::{
        delivery::Progress,
        event::Event,
        id::{EventId, SubscriptionId},
        topic::Topic,
        verdict::ParkReason,
    },
};
use serde_json::Value;

use super::Home;

impl Home {
    pub(super) async fn park(
        &self,
        parked: &[(&str, &'static str, Option<SubscriptionId>, ParkReason)],
    ) {
        let broker = self.broker();
        for (id, body, subscription, reason) in parked {
            let message = Message::of_event(Event {
                id: EventId::new(id).expect("it is short"),
                topic: Topic::new("order.paid").expect("it is one"),
                content_type: "application/json".to_owned(),
                content_encoding: None,
                body: Bytes::from_static(body.as_bytes()),
            });
            let message = match subscription {
                Some(subscription) => message.owed_to(*subscription, Progress::default()),
                None => message,
            };
            let outgoing = message.parked(*reason, clock::now()).outgoing();
            broker.publish(&outgoing, Route::Parked).await.expect("the broker takes it");
        }
        broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_are_listed_shown_exported_replayed_and_dropped() {
    let home = Home::new();
    let subscription: SubscriptionId = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    home.park(&[
        ("e1", "{\"n\": 1}", Some(subscription), ParkReason::Exhausted),
        ("e2", "{\n}", Some(subscription), ParkReason::Gone),
        ("e3", "{\"n\": 3}", None, ParkReason::TooLarge),
    ])
    .await;

    let listed = home.run(&["parked", "list", "--reason", "gone"]);
    assert!(listed.stderr.contains("1 shown, 3 of 3 parked looked at"), "{}", listed.stderr);
    assert!(listed.done().contains("e2"));
    assert_eq!(
        home.run(&["parked", "list", "--parked-before", "1h", "--json"]).json()["entries"],
        Value::Array(Vec::new())
    );
    let shown = home.run(&["parked", "show", "e1"]).done();
    assert!(
        shown.contains("reason         exhausted") && shown.ends_with("{\"n\": 1}\n"),
        "{shown}"
    );
    assert_eq!(home.run(&["parked", "show", "e9"]).code, 1);

    let dry = home.run(&["parked", "replay", "--all", "--dry-run"]).done();
    assert_eq!(dry, "would replay 3 of 3 parked\n");
    let dry = home.run(&["parked", "drop", "--all", "--limit", "2", "--dry-run"]).done();
    assert_eq!(dry, "would drop 2 of 3 parked\n");
    assert_eq!(home.run(&["parked", "replay", "--all", "--limit", "0"]).code, 2);
    assert_eq!(home.run(&["parked", "replay"]).code, 2);
    let refused = home.run(&["parked", "drop", "--reason", "gone"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("say --yes"), "{}", refused.stderr);
    assert_eq!(home.depth("parked").await, 3);

    let exported = home.run(&["parked", "export", "parked.jsonl"]).done();
    assert_eq!(exported, "exported 3 of 3 parked to parked.jsonl\n");
    assert_eq!(home.run(&["parked", "export", "parked.jsonl"]).code, 1);
    let first = home.run(&["parked", "export", "--limit", "1"]).done();
    let all = std::fs::read_to_string(home.folder.path().join("parked.jsonl")).unwrap();
    assert_eq!((first.lines().count(), all.lines().count()), (1, 3));
    assert!(all.starts_with(&first), "{first}{all}");

    let replay = ["parked", "replay", "--subscription", &subscription.to_string(), "--limit", "1"];
    let replayed = home.run(&replay).done();
    assert_eq!(replayed, "replayed 1 of 3 parked\n");
    assert_eq!(home.depth("retry").await, 1);
    let dropped = home.run(&["parked", "drop", "--all", "--yes", "--json"]).json();
    assert_eq!(dropped["matched"], 2);
    assert_eq!(home.depth("parked").await, 0);

    let published = home.run(&["publish", "parked.jsonl"]).done();
    assert_eq!(published, "published 3\n");
    assert_eq!(home.depth("primary").await, 3);
}
