//! A scenario: subscribe, publish, wait, and the account of every delivery.
//!
//! The account waits until each delivery has come to its end, stops the worker, and compares what
//! was published with what the endpoint accepted and what is parked. It fails where a delivery is
//! lost, was accepted or parked twice, or belongs to no subscription.

use std::collections::BTreeMap;

use homing_delivery::parking::Entry;
use homing_domain::{
    id::{DeliveryId, EventId},
    subscription::Subscription,
    topic::Topic,
};
use serde_json::json;

use super::{
    broker::Raw,
    eventually, holds,
    installation::{Installation, Running},
    receiver::{Receiver, Recorded},
};

/// One worker in this process, and one receiver for all subscriptions.
pub(crate) struct Scenario {
    pub installation: Installation,
    pub receiver: Receiver,
    running: Option<Running>,
    subscriptions: Vec<Subscription>,
    published: Vec<(EventId, Topic)>,
}

/// The end of a scenario.
pub(crate) struct Ended {
    /// Deliveries that were accepted, each once.
    pub delivered: usize,
    /// The others, each once.
    pub parked: Vec<Entry>,
    /// All requests, in their order.
    pub requests: Vec<Recorded>,
}

impl Scenario {
    /// With the schedule `waits`, in milliseconds.
    pub(crate) async fn new(waits: &[u64], receiver: Receiver) -> Self {
        Self::with(waits, "", receiver).await
    }

    /// With further settings.
    pub(crate) async fn with(waits: &[u64], settings: &str, receiver: Receiver) -> Self {
        let installation = Installation::with(waits, settings).await;
        let (subscriptions, published) = (Vec::new(), Vec::new());
        Self { installation, receiver, running: None, subscriptions, published }
    }

    /// Subscribes `path` of the receiver to `topics`.
    pub(crate) async fn subscribe(&mut self, path: &str, topics: &[&str]) -> &Subscription {
        let draft = json!({"url": self.receiver.url(path), "topics": topics});
        let created = self.installation.subscribe(draft).await;
        self.subscriptions.push(created.subscription);
        self.subscriptions.last().expect("it was pushed just now")
    }

    /// Starts the worker, which knows the subscriptions that were made before.
    pub(crate) fn start(&mut self) {
        self.running = Some(self.installation.start());
    }

    /// Stops the worker as SIGTERM does; another can be started.
    pub(crate) async fn stop(&mut self) {
        self.running.take().expect("it was started").stop().await;
    }

    /// Publishes `count` more events with this topic.
    pub(crate) async fn publish(&mut self, topic: &str, count: usize) {
        for _ in 0..count {
            let id = format!("e{}", self.published.len());
            self.publish_raw(Raw::new(topic, &id, "{}")).await;
        }
    }

    /// Publishes an event of the test's own; it has an id.
    pub(crate) async fn publish_raw(&mut self, raw: Raw) {
        let id = EventId::new(raw.id.as_deref().expect("it has an id")).expect("it is short");
        self.published.push((id, Topic::new(&raw.topic).expect("it is one")));
        self.installation.publisher.publish(raw).await;
    }

    /// The deliveries that are expected, none of them accounted for.
    fn expected(&self) -> BTreeMap<String, Fate> {
        let pairs = self.published.iter().flat_map(|(event, topic)| {
            let wants = |one: &&Subscription| one.spec.wants_topic(topic);
            self.subscriptions.iter().filter(wants).map(|one| DeliveryId::of(event, one.id))
        });
        pairs.map(|delivery| (delivery.to_string(), Fate::default())).collect()
    }

    /// Waits until every delivery has come to its end, stops the worker, and takes the account.
    pub(crate) async fn account(mut self) -> Ended {
        let expected = self.expected().len();
        eventually(async || {
            let accepted = self.receiver.requests().iter().filter(|it| it.accepted).count();
            let parked = Box::pin(self.installation.parked()).await.len();
            let found = format!("{accepted} delivered and {parked} parked of {expected}");
            holds(accepted + parked >= expected, found)
        })
        .await;
        self.stop().await;
        self.installation.assert_nothing_waits().await;

        let (requests, mut fates) = (self.receiver.requests(), self.expected());
        for request in &requests {
            let fate = fates.get_mut(&request.id()).expect("no subscription wants this");
            fate.accepted += usize::from(request.accepted);
        }
        let parked = Box::pin(self.installation.parked()).await;
        for entry in &parked {
            let id = entry.delivery_id.expect("no event is parked before its fan-out").to_string();
            fates.get_mut(&id).expect("no subscription wants this").parked += 1;
        }
        let wrong: Vec<_> = fates.iter().filter(|(_, it)| it.accepted + it.parked != 1).collect();
        assert!(wrong.is_empty(), "of {expected} deliveries lost or there twice: {wrong:?}");
        Ended { delivered: expected - parked.len(), parked, requests }
    }
}

/// The counts of a delivery's ends.
#[derive(Debug, Default)]
struct Fate {
    accepted: usize,
    parked: usize,
}

impl Ended {
    /// Requests that arrived at `path`.
    pub(crate) fn count_at(&self, path: &str) -> usize {
        self.requests.iter().filter(|request| request.path == path).count()
    }
}

/// Goal: the account itself can fail. Method: a publisher that publishes an event twice, which
/// homing delivers twice.
#[tokio::test]
#[should_panic(expected = "lost or there twice")]
async fn the_account_finds_what_was_accepted_twice() {
    let mut scenario = Scenario::new(&[50], Receiver::accepting().await).await;
    scenario.subscribe("/", &["#"]).await;
    scenario.publish("t", 1).await;
    scenario.installation.publisher.publish(Raw::new("t", "e0", "{}")).await;
    scenario.start();
    scenario.receiver.wait_for(2).await;
    scenario.account().await;
}
