//! The subscriptions that want an event, as a worker would find them, beside its publishing.
//!
//! Nothing here waits for the store, or is logged or counted. What is not cheap is done on other
//! threads, within bounds: two events at a time have their filters applied, each within its budget,
//! and one topic at a time is compared with those of subscriptions, for a twentieth of a second, and
//! for a tenth of the time in all.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout},
};

use super::{
    index::SubscriptionIndex,
    matching::{Candidates, Evaluation, LANE_STEPS, Match, budget, cheaply, evaluate},
    subscriptions::{Latest, candidates},
};
use homing_domain::{
    event::{ContentEncoding, Event},
    filter::{Budget, EventStates},
    id::SubscriptionId,
    json::BodyError,
    subscription::Subscription,
    topic::Topic,
};

/// Subscriptions that are named; of more there is the number.
const MAX_NAMED: usize = 20;
/// Near misses that are named.
const MAX_NEAR: usize = 3;
/// A topic is compared with patterns for this long.
const COMPARE_DEADLINE: Duration = Duration::from_millis(50);
/// An answer waits this long for its near misses; found later, they are in the next one.
const NEAR_WAIT: Duration = Duration::from_millis(5);
/// After comparing, this many times as long passes without.
const REST: u32 = 9;
/// Topics whose near misses are remembered.
const MAX_TOPICS: usize = 256;
/// Events whose filters are applied at the same time on other threads.
const AT_ONCE: usize = 2;

/// The subscriptions that want an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Their number: those that get a delivery, or for which it waits or is parked because their
    /// filters cannot be applied.
    pub number: usize,
    /// The first 20 of them.
    pub subscriptions: Vec<SubscriptionId>,
    /// Where there is none: up to three that nearly want it, the nearest first, as far as that is
    /// known already.
    pub near: Vec<NearMiss>,
}

/// A subscription that nearly wants an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NearMiss {
    /// Its id.
    pub subscription: SubscriptionId,
    /// Its topic, or the one that is like the event's.
    pub topic: String,
    /// The reason why it does not want the event.
    pub why: String,
}

/// The reason why it is not known who wants an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKnown {
    /// The subscriptions have not been read yet.
    NotRead,
    /// The filters could not be applied.
    Filters,
}

/// Finds who wants an event, by the subscriptions that were read last.
pub struct Matcher {
    subscriptions: Latest,
    filtering: Arc<Semaphore>,
    near: Arc<Near>,
}

/// The near misses of topics.
struct Near {
    comparing: Arc<Semaphore>,
    known: Mutex<Known>,
}

/// Near misses by topic, as of one version of the subscriptions.
#[derive(Default)]
struct Known {
    version: i64,
    by_topic: HashMap<Topic, Vec<NearMiss>, RandomState>,
    /// The next topic is compared then.
    next: Option<Instant>,
}

impl Matcher {
    /// A matcher over these subscriptions.
    #[must_use]
    pub fn new(subscriptions: Latest) -> Self {
        let near = Near { comparing: Arc::new(Semaphore::new(1)), known: Mutex::default() };
        let filtering = Arc::new(Semaphore::new(AT_ONCE));
        Self { subscriptions, filtering, near: Arc::new(near) }
    }

    /// True if `subscription` exists.
    ///
    /// # Errors
    ///
    /// [`NotKnown::NotRead`].
    pub fn exists(&self, subscription: SubscriptionId) -> Result<bool, NotKnown> {
        let index = self.subscriptions.index().ok_or(NotKnown::NotRead)?;
        Ok(index.get(subscription).is_some())
    }

    /// The subscriptions that want `event`. At once, where its filters are cheap.
    ///
    /// # Errors
    ///
    /// [`NotKnown`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. What has begun on another thread ends within its budget.
    pub async fn wanted_by(&self, event: &Arc<Event>) -> Result<Wanted, NotKnown> {
        let index = self.subscriptions.index().ok_or(NotKnown::NotRead)?;
        let Candidates { decided, filtering } = candidates(&index, &event.topic);
        let mut wanted: Vec<_> = decided.iter().map(subscription_of).collect();
        let mut near = Vec::new();
        if !filtering.is_empty() {
            let found = match cheaply(event, &filtering) {
                Some(evaluation) => filtered(event, &filtering, evaluation),
                None => self.filter_beside(event, filtering).await.ok_or(NotKnown::Filters)?,
            };
            wanted.extend(found.0);
            near = found.1;
        }
        let number = wanted.len();
        if number > 0 {
            near.clear();
        } else if near.is_empty() {
            near = Near::of(&self.near, index, &event.topic).await;
        }
        wanted.truncate(MAX_NAMED);
        Ok(Wanted { number, subscriptions: wanted, near })
    }

    /// Subscriptions with a topic like this one, however long it takes: seconds, where others ask too.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. What has begun on another thread ends within its budget.
    pub async fn near_misses(&self, topic: &Topic) -> Vec<NearMiss> {
        let Some(index) = self.subscriptions.index() else { return Vec::new() };
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&self.near.comparing).acquire_owned().await else {
            return Vec::new();
        };
        if let Some(known) = self.near.known(&index, topic) {
            return known;
        }
        Near::compare(&self.near, index, (topic.clone(), place)).await.unwrap_or_default()
    }

    /// As [`filtered`], on another thread; `None`: the filters could not be applied.
    async fn filter_beside(
        &self,
        event: &Arc<Event>,
        filtering: Vec<Arc<Subscription>>,
    ) -> Option<(Vec<SubscriptionId>, Vec<NearMiss>)> {
        // The semaphore is never closed; the place is kept to the end of the work.
        let place = Arc::clone(&self.filtering).acquire_owned().await.ok()?;
        let event = Arc::clone(event);
        let evaluating = spawn_blocking(move || {
            let _place = place;
            filtered(&event, &filtering, evaluate(&event, &filtering, budget(&filtering)))
        });
        evaluating.await.ok()
    }
}

impl Near {
    /// Subscriptions with a topic like this one; none as long as they are not known.
    async fn of(this: &Arc<Self>, index: Arc<SubscriptionIndex>, topic: &Topic) -> Vec<NearMiss> {
        if let Some(known) = this.known(&index, topic) {
            return known;
        }
        let Ok(place) = Arc::clone(&this.comparing).try_acquire_owned() else { return Vec::new() };
        if let Some(known) = this.known(&index, topic) {
            return known;
        }
        if this.known.lock().next.is_some_and(|next| Instant::now() < next) {
            return Vec::new();
        }
        let comparing = Self::compare(this, index, (topic.clone(), place));
        // A caller that does not wait, or is cancelled, finds it remembered the next time.
        timeout(NEAR_WAIT, comparing).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Compares on another thread, and remembers the result there.
    fn compare(
        this: &Arc<Self>,
        index: Arc<SubscriptionIndex>,
        (topic, place): (Topic, OwnedSemaphorePermit),
    ) -> JoinHandle<Vec<NearMiss>> {
        let near = Arc::clone(this);
        spawn_blocking(move || {
            let _place = place;
            let begun = Instant::now();
            let found = nearest(&index, &topic, begun + COMPARE_DEADLINE);
            near.remember(index.version(), topic, (&found, begun.elapsed()));
            found
        })
    }

    fn known(&self, index: &SubscriptionIndex, topic: &Topic) -> Option<Vec<NearMiss>> {
        let known = self.known.lock();
        (known.version == index.version()).then(|| known.by_topic.get(topic).cloned())?
    }

    fn remember(&self, version: i64, topic: Topic, (found, took): (&[NearMiss], Duration)) {
        let mut known = self.known.lock();
        if known.version != version {
            *known = Known { version, ..Known::default() };
        }
        if known.by_topic.len() >= MAX_TOPICS
            && let Some(any) = known.by_topic.keys().next().cloned()
        {
            known.by_topic.remove(&any);
        }
        known.by_topic.insert(topic, found.to_vec());
        known.next = Some(Instant::now() + took * REST);
    }
}

fn subscription_of(decided: &Match) -> SubscriptionId {
    match decided {
        Match::Matched(id) | Match::Unreadable(id) | Match::Undecided(id, _) => *id,
    }
}

/// Those of `filtering` that a worker would make a delivery for, or park the event for, because
/// their filters cannot be applied; if there is none, the first with the fields that refuse.
fn filtered(
    event: &Event,
    filtering: &[Arc<Subscription>],
    evaluation: Result<Evaluation, BodyError>,
) -> (Vec<SubscriptionId>, Vec<NearMiss>) {
    let wanted = match evaluation {
        Ok(Evaluation { mut wanted, over_budget }) => {
            wanted.extend(over_budget);
            wanted
        }
        Err(_unreadable) => filtering.iter().map(|one| one.id).collect(),
    };
    let refused = if wanted.is_empty() { filtering } else { &[] };
    let near = refused.iter().take(MAX_NEAR).map(|one| NearMiss {
        subscription: one.id,
        topic: event.topic.to_string(),
        why: match &refused_by(event, one)[..] {
            [] => "its filters refuse it".to_owned(),
            fields => format!("its filters refuse it: {}", fields.join(", ")),
        },
    });
    let near = near.collect();
    (wanted, near)
}

/// The fields because of which a subscription refuses `event`, as far as that is cheap to find.
fn refused_by(event: &Event, subscription: &Subscription) -> Vec<String> {
    let encoding = event.content_encoding.as_ref().map(ContentEncoding::as_str);
    let Ok(states) = EventStates::read(&event.body, encoding) else { return Vec::new() };
    let fields = subscription.spec.refused_by(&states, &mut Budget::new(LANE_STEPS));
    fields.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

/// The nearest of the patterns that `topic` can be compared with until then.
fn nearest(index: &SubscriptionIndex, topic: &Topic, until: Instant) -> Vec<NearMiss> {
    let patterns = index.sound().flat_map(|one| one.spec.topics.iter().map(move |it| (one, it)));
    let mut found: Vec<_> = patterns
        .take_while(|_| Instant::now() < until)
        .filter(|(_, pattern)| !pattern.names_own())
        .filter_map(|(one, pattern)| Some((pattern.difference(topic)?, pattern, one.id)))
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(_, pattern, _)| *pattern);
    found
        .into_iter()
        .take(MAX_NEAR)
        .map(|(difference, pattern, subscription)| NearMiss {
            subscription,
            topic: pattern.to_string(),
            why: difference.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
