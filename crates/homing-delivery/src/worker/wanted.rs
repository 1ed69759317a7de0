//! The subscriptions that want an event, as a worker would find them, beside its publishing.
//!
//! Two events at a time have their filters applied, each within its budget and all within the
//! deadline of the caller. Nothing of it is logged or counted.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{
    Subscriptions,
    index::SubscriptionIndex,
    matching::{Candidates, Evaluation, LANE_STEPS, Match, budget, evaluate},
};
use homing_domain::{
    event::{ContentEncoding, Event},
    filter::{Budget, EventStates},
    id::SubscriptionId,
    subscription::Subscription,
    topic::Topic,
};
use homing_store::StoreError;

/// Subscriptions that are named; of more there is the number.
const MAX_NAMED: usize = 20;
/// Near misses that are named.
const MAX_NEAR: usize = 3;
/// Patterns that a topic is compared with.
const MAX_COMPARED: usize = 10_000;
/// Topics whose near misses are remembered.
const MAX_TOPICS: usize = 256;
/// Events whose filters are applied, or whose topics are compared, at the same time.
const AT_ONCE: usize = 2;

/// The subscriptions that want an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Their number: those that get a delivery, or for which it waits or is parked because their
    /// filters cannot be applied.
    pub number: usize,
    /// The first 20 of them.
    pub subscriptions: Vec<SubscriptionId>,
    /// Where there is none: up to three that nearly want it, the nearest first.
    pub near: Vec<NearMiss>,
}

/// A subscription that nearly wants an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NearMiss {
    /// Its id.
    pub subscription: SubscriptionId,
    /// Its topic, or the one that is like the event's.
    pub topic: String,
    /// The reason why it does not want the event.
    pub why: String,
}

/// Finds who wants an event.
pub struct Matcher {
    subscriptions: Arc<Subscriptions>,
    places: Arc<Semaphore>,
    near: Mutex<Near>,
}

/// Near misses by topic, as of one version of the subscriptions.
#[derive(Default)]
struct Near {
    version: i64,
    by_topic: HashMap<Topic, Vec<NearMiss>, RandomState>,
}

impl Matcher {
    /// A matcher over these subscriptions.
    #[must_use]
    pub fn new(subscriptions: Arc<Subscriptions>) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { subscriptions, places, near: Mutex::default() }
    }

    /// Reads what has changed in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: who wants an event is not known.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.subscriptions.refresh().await
    }

    /// The subscriptions that want `event`, by those that were read last; `None`: that could not be
    /// found out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. What has begun on another thread ends within its budget.
    pub async fn wanted_by(&self, event: &Arc<Event>) -> Option<Wanted> {
        let Candidates { decided, filtering } = self.subscriptions.candidates(&event.topic);
        let mut wanted: Vec<_> = decided.iter().map(subscription_of).collect();
        let mut near = Vec::new();
        if !filtering.is_empty() {
            let (found, refused) = self.filter(event, filtering).await?;
            wanted.extend(found);
            near = refused;
        }
        if wanted.is_empty() && near.is_empty() {
            near = self.near(&event.topic).await;
        }
        let number = wanted.len();
        if number > 0 {
            near.clear();
        }
        wanted.truncate(MAX_NAMED);
        Some(Wanted { number, subscriptions: wanted, near })
    }

    /// Those of `filtering` that want the event; if none does, the first with the reason; `None`
    /// where the filters could not be applied.
    async fn filter(
        &self,
        event: &Arc<Event>,
        filtering: Vec<Arc<Subscription>>,
    ) -> Option<(Vec<SubscriptionId>, Vec<NearMiss>)> {
        let place = self.place().await;
        let event = Arc::clone(event);
        let evaluating = spawn_blocking(move || {
            let _place = place;
            let wanted = not_refused(&event, &filtering);
            let refused = if wanted.is_empty() { &filtering[..] } else { &[] };
            let near = refused.iter().take(MAX_NEAR).map(|one| NearMiss {
                subscription: one.id,
                topic: event.topic.to_string(),
                why: match &refused_by(&event, one)[..] {
                    [] => "its filters refuse it".to_owned(),
                    fields => format!("its filters refuse it: {}", fields.join(", ")),
                },
            });
            let near = near.collect();
            (wanted, near)
        });
        evaluating.await.ok()
    }

    /// Subscriptions with a topic like this one.
    async fn near(&self, topic: &Topic) -> Vec<NearMiss> {
        let Some(index) = self.subscriptions.index() else { return Vec::new() };
        if let Some(known) = self.known(&index, topic) {
            return known;
        }
        let place = self.place().await;
        let (of, version) = (topic.clone(), index.version());
        let comparing = spawn_blocking(move || {
            let _place = place;
            nearest(&index, &of)
        });
        let found = comparing.await.unwrap_or_default();
        let mut near = self.near.lock();
        if near.version != version || near.by_topic.len() >= MAX_TOPICS {
            *near = Near { version, ..Near::default() };
        }
        near.by_topic.insert(topic.clone(), found.clone());
        found
    }

    /// A place for work on another thread, which keeps it to its end.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn known(&self, index: &SubscriptionIndex, topic: &Topic) -> Option<Vec<NearMiss>> {
        let near = self.near.lock();
        (near.version == index.version()).then(|| near.by_topic.get(topic).cloned())?
    }
}

fn subscription_of(decided: &Match) -> SubscriptionId {
    match decided {
        Match::Matched(id) | Match::Unreadable(id) | Match::Undecided(id, _) => *id,
    }
}

/// Those of `filtering` that a worker would make a delivery for, or park the event for, because
/// their filters cannot be applied.
fn not_refused(event: &Event, filtering: &[Arc<Subscription>]) -> Vec<SubscriptionId> {
    let Ok(evaluation) = evaluate(event, filtering, budget(filtering)) else {
        return filtering.iter().map(|one| one.id).collect();
    };
    let Evaluation { mut wanted, over_budget } = evaluation;
    wanted.extend(over_budget);
    wanted
}

/// The fields because of which a subscription refuses `event`, as far as that is cheap to find.
fn refused_by(event: &Event, subscription: &Subscription) -> Vec<String> {
    let encoding = event.content_encoding.as_ref().map(ContentEncoding::as_str);
    let Ok(states) = EventStates::read(&event.body, encoding) else { return Vec::new() };
    let fields = subscription.spec.refused_by(&states, &mut Budget::new(LANE_STEPS));
    fields.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn nearest(index: &SubscriptionIndex, topic: &Topic) -> Vec<NearMiss> {
    let patterns = index.sound().flat_map(|one| one.spec.topics.iter().map(move |it| (one, it)));
    let mut found: Vec<_> = patterns
        .take(MAX_COMPARED)
        .filter(|(_, pattern)| !pattern.names_own())
        .filter_map(|(one, pattern)| Some((pattern.difference(topic)?, pattern, one.id)))
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(_, pattern, _)| *pattern);
    let named = found.into_iter().take(MAX_NEAR);
    named
        .map(|(difference, pattern, subscription)| NearMiss {
            subscription,
            topic: pattern.to_string(),
            why: difference.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use homing_domain::{id::EventId, subscription::Draft, time::UnixMillis};
    use homing_store::settings::StoreSettings;

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

    async fn matcher(subscriptions: &[Subscription]) -> (tempfile::TempDir, Matcher) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("url = \"sqlite:{}/homing.db\"", folder.path().display());
        let settings = StoreSettings::from_toml(&url).unwrap();
        let store = homing_store::open(&settings).await.unwrap();
        for one in subscriptions {
            store.insert_subscription(one).await.unwrap();
        }
        let matcher = Matcher::new(Arc::new(Subscriptions::new(store)));
        matcher.refresh().await.unwrap();
        (folder, matcher)
    }

    #[tokio::test]
    async fn wanted_by_says_who_wants_an_event_and_who_nearly_does() {
        let current = json!([{"fieldName": "status", "comparison": "eq", "fieldValue": "CUR"}]);
        let (_folder, matcher) = matcher(&[
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

        let near: Vec<_> =
            wanted("orders.paid", "CUR").await.near.into_iter().map(|near| near.topic).collect();
        assert_eq!(near, ["order.*", "order.paid"]);
        let nothing = wanted("weather.changed", "CUR").await;
        assert_eq!(nothing, Wanted::default());
    }

    /// Goal: an event for which a delivery waits or is parked is not called unwanted.
    #[tokio::test]
    async fn what_filters_cannot_decide_counts_as_wanted() {
        let current = json!([{"fieldName": "status", "comparison": "eq", "fieldValue": "CUR"}]);
        let (_folder, matcher) = matcher(&[subscription(1, &["#"], &current)]).await;
        let mut broken = (*event("t", &json!({}))).clone();
        broken.body = "no json".into();
        assert_eq!(matcher.wanted_by(&Arc::new(broken)).await.unwrap().number, 1);
    }
}
