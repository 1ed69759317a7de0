//! Figures by the hour and the topics that were seen are those of what happened.

use std::time::Duration;

use homing::history::HoursView;
use homing_domain::{clock, history::Series};
use homing_store::TopicPage;
use serde_json::json;

use crate::support::{
    broker::Raw,
    database::Database,
    eventually, holds,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// Two hours, so that a test may run over the end of one.
const LATELY: Duration = Duration::from_hours(2);

async fn hours(installation: &Installation, series: &Series) -> HoursView {
    let now = clock::now();
    let history = &installation.parts.history;
    history.hours(series, now.minus(LATELY), now).await.expect("the store answers")
}

/// One endpoint accepts at once, one refuses a first attempt, one refuses all; one event is wanted
/// by none.
async fn what_happened_is_counted(settings: &str) {
    let installation = Installation::with(&[50, 50], settings).await;
    let receiver = Receiver::answering(|request| match request.path.as_str() {
        "/well" => Reply::status(200),
        "/recovers" if request.attempt() > 1 => Reply::status(200),
        _ => Reply::status(503),
    })
    .await;
    for path in ["/well", "/recovers", "/never"] {
        let draft = json!({"url": receiver.url(path), "topics": ["order.*"]});
        installation.subscribe(draft).await;
    }
    let workers = [installation.start(), installation.start()];
    for (topic, id) in [("order.paid", "e1"), ("order.paid", "e2"), ("orders.paid", "e3")] {
        installation.publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    installation.wait_for_parked(2).await;
    // Both workers write the rest of what they counted when they end.
    for worker in workers {
        worker.stop().await;
    }
    let all = hours(&installation, &Series::All).await.total;
    assert_eq!((all.events, all.unwanted), (3, 1));
    // Two events: one attempt at /well, two at /recovers, three at /never.
    assert_eq!((all.attempts, all.delivered, all.failed, all.parked), (12, 4, 8, 2));
    assert_eq!(all.failed_by, [("status_5xx".to_owned(), 8)].into());
    let (response, delivery) = (all.response_ms.expect("attempts"), all.delivery_ms.expect("some"));
    assert!(response.p50 <= response.p95 && response.p95 <= response.p99, "{response:?}");
    assert!(delivery.p99 >= 45, "a delivery that waited takes as long: {delivery:?}");

    let never = hours(&installation, &Series::Url(receiver.url("/never"))).await;
    assert_eq!((never.total.attempts, never.total.failed, never.total.parked), (6, 6, 2));
    assert_eq!((never.total.delivery_ms, never.notes.len()), (None, 0));
    let paid = hours(&installation, &Series::Topic("order.paid".to_owned())).await.total;
    assert_eq!((paid.events, paid.unwanted, paid.attempts, paid.delivered), (2, 0, 12, 4));
    let misspelt = hours(&installation, &Series::Topic("orders.paid".to_owned())).await.total;
    assert_eq!((misspelt.events, misspelt.unwanted, misspelt.attempts), (1, 1, 0));

    let first = TopicPage { limit: 9, ..TopicPage::default() };
    installation.parts.subscriptions.refresh().await.expect("the store answers");
    let topics = installation.parts.topics.page(&first).await.expect("the store answers").topics;
    let counts =
        topics.iter().map(|it| (it.topic.as_str(), it.events, it.unwanted, it.subscriptions));
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts, [("order.paid", 2, 0, Some(3)), ("orders.paid", 1, 1, Some(0))]);
    let unwanted = installation.parts.topics.unwanted(clock::now()).await.expect("it answers");
    assert_eq!(unwanted.iter().map(|it| it.topic.as_str()).collect::<Vec<_>>(), ["orders.paid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_by_the_hour_in_sqlite() {
    Box::pin(what_happened_is_counted("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_by_the_hour_in_postgresql() {
    let database = Database::new().await;
    let key = homing_domain::encryption_key::EncryptionKey::from_bytes([7; 32]).reveal();
    let store =
        format!("store.url = \"{}\"\nstore.encryption_keys = [\"{key}\"]\n", database.url());
    Box::pin(what_happened_is_counted(&store)).await;
}

/// Goal: figures are there while the worker runs, within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn figures_come_while_the_worker_runs_and_others_are_counted() {
    let installation = Installation::with(&[50], "history.max_names = 1\n").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let worker = installation.start();
    for (topic, id) in [("a", "e1"), ("b", "e2"), ("c", "e3")] {
        installation.publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    eventually(async || {
        let all = hours(&installation, &Series::All).await.total;
        holds((all.events, all.delivered) == (3, 3), format!("{all:?}"))
    })
    .await;
    let first = TopicPage { limit: 9, ..TopicPage::default() };
    let page = installation.parts.topics.page(&first).await.expect("the store answers");
    assert_eq!(page.topics.len(), 1);
    assert_eq!(page.others.map(|others| others.events), Some(2));
    let [known] = &page.topics[..] else { panic!("{:?}", page.topics) };
    let of_topic = hours(&installation, &Series::Topic(known.topic.clone())).await;
    assert_eq!(of_topic.total.delivered, 1);
    insta::assert_snapshot!(of_topic.notes.concat(), @"2 events, 2 attempts, and 0 times that a delivery was throttled, held or parked belong to topics without a name here: beyond `history.max_names`, not known, or counted while the store was away for hours");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_history_nothing_is_counted() {
    let installation = Installation::with(&[50], "history.enabled = false\n").await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/")).await;
    let worker = installation.start();
    installation.publisher.publish(Raw::new("a", "e1", "{}")).await;
    receiver.wait_for(1).await;
    worker.stop().await;
    assert_eq!(hours(&installation, &Series::All).await.hours.len(), 0);
}
