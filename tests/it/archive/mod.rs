//! Events of the archive are sent again exactly as selected, whatever happens meanwhile.

mod interrupted;
mod live;
mod undeclared;
mod windows;

use std::collections::BTreeSet;

use homing_delivery::archive::Archive;
use homing_domain::{
    clock,
    id::{DeliveryId, EventId, SubscriptionId},
    replay::{Replay, ReplaySelection},
    time::UnixMillis,
};
use serde_json::{Value, json};

use crate::support::{
    broker::Raw,
    eventually,
    installation::{Installation, Running},
    receiver::{Receiver, Recorded},
};

const ON: &str = "archive.enabled = true\n";

/// An installation whose archive has events in a window and others around it. A worker runs; none of
/// the events had a subscription.
struct Past {
    receiver: Receiver,
    installation: Installation,
    running: Option<Running>,
    window: (UnixMillis, UnixMillis),
    count: usize,
}

impl Past {
    /// `count` events, and an endpoint that accepts all.
    async fn of(count: usize) -> Self {
        Self::with(count, "", Receiver::accepting().await).await
    }

    /// With further settings.
    async fn with(count: usize, settings: &str, receiver: Receiver) -> Self {
        let installation = Installation::with(&[50], &format!("{ON}{settings}")).await;
        let running = Some(installation.start());
        let window = published_window(&installation, count).await;
        installation.wait_for_depth(&installation.names().primary(), 0).await;
        Self { receiver, installation, running, window, count }
    }

    /// Stops its worker.
    async fn stop(&mut self) {
        self.running.take().expect("it was not stopped before").stop().await;
    }

    fn archive(&self) -> &Archive {
        &self.installation.parts.archive
    }

    /// Subscribes to what was published.
    async fn subscribe(&self, path: &str) -> SubscriptionId {
        let draft = json!({"url": self.receiver.url(path), "topics": ["order.*"]});
        self.installation.subscribe(draft).await.subscription.id
    }

    /// Begins a replay of the window.
    async fn begin(&self, changes: Value) -> Replay {
        let (since, until) = self.window;
        self.archive().begin(select(since, until, changes)).await.expect("it begins")
    }

    async fn ended(&self, replay: &Replay) -> Replay {
        ended(&self.installation, replay).await
    }

    /// The `webhook-id` of each event of the window for a subscription.
    fn ids(&self, subscription: SubscriptionId) -> BTreeSet<String> {
        ids(numbered("in", self.count), subscription)
    }

    /// Waits until the note of `replay` has `text`.
    async fn wait_for_note(&self, replay: &Replay, text: &str) -> Replay {
        eventually(async || {
            let replay = self.archive().get(replay.id).await.expect("the store answers");
            let has = replay.progress.note.as_ref().is_some_and(|note| note.contains(text));
            if has { Ok(replay) } else { Err(format!("no {text:?}: {replay:?}")) }
        })
        .await
    }
}

/// The requests of replays.
fn replayed(receiver: &Receiver) -> Vec<Recorded> {
    let mut requests = receiver.requests();
    requests.retain(|it| it.header("x-homing-replay").is_some());
    requests
}

/// Waits until so much was sent again: what is live may come besides, where a subscription is as
/// new.
async fn wait_for_replayed(receiver: &Receiver, count: usize) -> Vec<Recorded> {
    eventually(async || {
        let replayed = replayed(receiver);
        let found = replayed.len();
        if found >= count { Ok(replayed) } else { Err(format!("{found} of {count} were replayed")) }
    })
    .await
}

/// Waits for the next second by the clock, which the broker has too, and returns it.
async fn next_second() -> UnixMillis {
    let now = clock::now().get();
    let next = UnixMillis::new(now - now.rem_euclid(1_000) + 1_000);
    // Until that second has begun.
    tokio::time::sleep(next.since(UnixMillis::new(now))).await;
    next
}

async fn publish(installation: &Installation, topic: &str, ids: impl Iterator<Item = String>) {
    for id in ids {
        installation.publisher.publish(Raw::new(topic, &id, "{}")).await;
    }
}

fn numbered(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}{number}"))
}

/// A window of `count` events with others around it.
async fn published_window(installation: &Installation, count: usize) -> (UnixMillis, UnixMillis) {
    publish(installation, "order.paid", numbered("before", 5)).await;
    let since = next_second().await;
    publish(installation, "order.paid", numbered("in", count)).await;
    let until = next_second().await;
    publish(installation, "order.paid", numbered("after", 5)).await;
    (since, until)
}

fn select(since: UnixMillis, until: UnixMillis, changes: Value) -> ReplaySelection {
    let mut selection = json!({"since_ms": since, "until_ms": until, "rate": 5_000});
    let Value::Object(changes) = changes else { unreachable!("an object") };
    selection.as_object_mut().expect("an object").extend(changes);
    serde_json::from_value(selection).expect("a selection")
}

async fn ended(installation: &Installation, replay: &Replay) -> Replay {
    eventually(async || {
        let replay = installation.parts.archive.get(replay.id).await.expect("the store answers");
        if replay.state.is_over() { Ok(replay) } else { Err(format!("{replay:?}")) }
    })
    .await
}

/// `webhook-id` of each event for a subscription.
fn ids(events: impl Iterator<Item = String>, subscription: SubscriptionId) -> BTreeSet<String> {
    let id = |event: String| DeliveryId::of(&EventId::new(&event).expect("an id"), subscription);
    events.map(|event| id(event).to_string()).collect()
}

/// The ids of `requests`, none of which may come twice.
fn once(requests: &[Recorded]) -> BTreeSet<String> {
    let ids: BTreeSet<_> = requests.iter().map(Recorded::id).collect();
    assert_eq!(ids.len(), requests.len(), "some came twice");
    ids
}
