//! Finds the subscriptions that match an event, at a bounded cost per event and per subscription.
//!
//! Cheap filters run in the lane. For an event that is large or compressed, or whose filters turn
//! out to be costly, they run beside the lane, on blocking threads, a few events at a time. If a
//! subscription's filters cannot decide about an event, it is neither delivered nor dropped but
//! parked for that subscription, with the reason.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

use homing_domain::{
    activity::CostlyFilters,
    clock,
    event::{ContentEncoding, Event},
    filter::{Budget, EventStates},
    id::SubscriptionId,
    json::BodyError,
    subscription::Subscription,
};
use homing_telemetry::log_events;
use parking_lot::Mutex;

/// Steps of all filters on one event: about 0.1 s of one core.
const EVENT_STEPS: u64 = 8_000_000;
/// Each subscription gets this many, however many there are: ordinary filters need no more.
const SUBSCRIPTION_STEPS: u64 = 5_000;
/// Steps made in the lane: about half a millisecond.
pub(super) const LANE_STEPS: u64 = 50_000;
/// A larger body is read beside the lane.
const LANE_BYTES: usize = 64 * 1_024;
/// Events filtered at the same time beside the lanes.
const AT_ONCE: usize = 2;
/// Topics and subscriptions that are logged; enough for an operator to see the pattern.
const MAX_LOGGED: usize = 1_000;

/// The relation of a subscription to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It matches.
    Matched(SubscriptionId),
    /// The subscription cannot be read, so this is unknown: the delivery waits until it can, and is
    /// matched then.
    Unreadable(SubscriptionId),
    /// Its filters cannot be applied to the event, for this reason.
    Undecided(SubscriptionId, String),
}

/// The subscriptions that match the topic of an event.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Those decided without the body.
    pub(super) decided: Vec<Match>,
    /// Those with filters on the body.
    pub(super) filtering: Vec<Arc<Subscription>>,
}

/// Applies filters.
pub(super) struct Matching {
    places: Semaphore,
    topics: Once<String>,
    subscriptions: Once<SubscriptionId>,
    /// Those not reported to the store yet.
    costly: Mutex<BTreeMap<SubscriptionId, CostlyFilters>>,
}

/// The result of applying filters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Evaluation {
    pub(super) wanted: Vec<SubscriptionId>,
    /// Those that ran out of steps.
    pub(super) over_budget: Vec<SubscriptionId>,
}

impl Matching {
    pub(super) fn new() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            topics: Once::default(),
            subscriptions: Once::default(),
            costly: Mutex::default(),
        }
    }

    /// Takes the filters that cost too much since the last call.
    pub(super) fn take_costly(&self) -> Vec<CostlyFilters> {
        std::mem::take(&mut *self.costly.lock()).into_values().collect()
    }

    /// Notes filters that cost too much; keeps a later time that is already noted.
    pub(super) fn note_costly(&self, filters: impl IntoIterator<Item = CostlyFilters>) {
        let mut costly = self.costly.lock();
        for one in filters {
            if costly.len() < MAX_LOGGED || costly.contains_key(&one.subscription) {
                let noted = costly.entry(one.subscription).or_insert(one);
                if noted.seen < one.seen {
                    *noted = one;
                }
            }
        }
    }

    /// The subscriptions that match `event`, if that is cheap to find; otherwise returns the
    /// candidates.
    pub(super) fn at_once(
        &self,
        event: &Event,
        candidates: Candidates,
    ) -> Result<Vec<Match>, Candidates> {
        if candidates.filtering.is_empty() {
            return Ok(candidates.decided);
        }
        match cheaply(event, &candidates.filtering) {
            Some(evaluation) => Ok(self.report(event, candidates, evaluation)),
            None => Err(candidates),
        }
    }

    /// The subscriptions that match `event`, found beside the lane.
    ///
    /// # Cancel safety
    ///
    /// Dropped, a started evaluation ends by itself within its budget.
    pub(super) async fn beside(&self, event: &Arc<Event>, candidates: Candidates) -> Vec<Match> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let (of, filtering) = (Arc::clone(event), candidates.filtering.clone());
        let steps = budget(&filtering);
        let evaluating = spawn_blocking(move || evaluate(&of, &filtering, steps));
        match evaluating.await {
            Ok(evaluation) => self.report(event, candidates, evaluation),
            Err(error) if error.is_panic() => {
                let undecided = |why: &Arc<Subscription>| {
                    Match::Undecided(why.id, "its filters could not be applied".to_owned())
                };
                let Candidates { mut decided, filtering } = candidates;
                decided.extend(filtering.iter().map(undecided));
                decided
            }
            // The process is ending, and this task with it.
            Err(_cancelled) => std::future::pending().await,
        }
    }

    /// Matches one readable subscription with `event`; `None`: it does not match.
    ///
    /// # Cancel safety
    ///
    /// As [`beside`](Self::beside).
    pub(super) async fn one(
        &self,
        event: &Arc<Event>,
        subscription: &Arc<Subscription>,
    ) -> Option<Match> {
        if !subscription.spec.wants_topic(&event.topic) {
            return None;
        }
        let mut candidates = Candidates::default();
        candidates.push(subscription);
        let mut matches = match self.at_once(event, candidates) {
            Ok(matches) => matches,
            Err(candidates) => self.beside(event, candidates).await,
        };
        matches.pop()
    }

    /// Turns the result into matches; logs and counts the undecided ones.
    fn report(
        &self,
        event: &Event,
        candidates: Candidates,
        evaluation: Result<Evaluation, BodyError>,
    ) -> Vec<Match> {
        let Candidates { decided: mut matches, filtering } = candidates;
        match evaluation {
            Ok(Evaluation { wanted, over_budget }) => {
                matches.extend(wanted.into_iter().map(Match::Matched));
                let seen = clock::now();
                let costly = filtering.iter().filter(|one| over_budget.contains(&one.id));
                self.note_costly(costly.map(|one| CostlyFilters {
                    subscription: one.id,
                    updated: one.updated,
                    seen,
                }));
                for id in over_budget {
                    log_events::filter_over_budget(event, id, self.subscriptions.is_first(id));
                    let why = filter_error(&homing_domain::filter::OverBudget);
                    matches.push(Match::Undecided(id, why));
                }
            }
            Err(error) => {
                let is_first = self.topics.is_first(event.topic.as_str().to_owned());
                log_events::unreadable_by_filters(event, &error, is_first);
                let undecided = |subscription: &Arc<Subscription>| {
                    Match::Undecided(subscription.id, filter_error(&error))
                };
                matches.extend(filtering.iter().map(undecided));
            }
        }
        matches
    }
}

fn filter_error(error: &dyn std::error::Error) -> String {
    format!("the filters cannot be applied: {error}")
}

impl Candidates {
    /// Adds a subscription that matches the topic.
    pub(super) fn push(&mut self, subscription: &Arc<Subscription>) {
        if subscription.spec.wants_any_body() {
            self.decided.push(Match::Matched(subscription.id));
        } else {
            self.filtering.push(Arc::clone(subscription));
        }
    }
}

/// The steps that the filters of these subscriptions may take on one event.
pub(super) fn budget(filtering: &[Arc<Subscription>]) -> u64 {
    let many = u64::try_from(filtering.len()).unwrap_or(u64::MAX);
    EVENT_STEPS.max(many.saturating_mul(SUBSCRIPTION_STEPS))
}

/// Applies filters if that takes about half a millisecond at most; `None`: it takes more.
pub(super) fn cheaply(
    event: &Event,
    filtering: &[Arc<Subscription>],
) -> Option<Result<Evaluation, BodyError>> {
    if event.body.len() > LANE_BYTES || event.content_encoding.is_some() {
        return None;
    }
    let evaluation = evaluate(event, filtering, LANE_STEPS);
    let is_over = evaluation.as_ref().is_ok_and(|evaluation| !evaluation.over_budget.is_empty());
    (!is_over).then_some(evaluation)
}

/// Applies each filter with its share of `steps`, then those that ran out with what the others left
/// over: a filter within its share always completes, whatever the others cost.
pub(super) fn evaluate(
    event: &Event,
    filtering: &[Arc<Subscription>],
    steps: u64,
) -> Result<Evaluation, BodyError> {
    let encoding = event.content_encoding.as_ref().map(ContentEncoding::as_str);
    let states = EventStates::read(&event.body, encoding)?;
    let mut evaluation = Evaluation::default();
    let mut left = steps;
    let mut waiting: Vec<_> = filtering.iter().collect();
    for is_last in [false, true] {
        let mut ahead = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        let share = left / ahead.max(1);
        for subscription in std::mem::take(&mut waiting) {
            // In the last round, what one leaves over goes to those after it.
            let share = if is_last { left / ahead.max(1) } else { share };
            let mut budget = Budget::new(share);
            match subscription.spec.wants_body(&states, &mut budget) {
                Ok(true) => evaluation.wanted.push(subscription.id),
                Ok(false) => {}
                Err(_over_budget) if is_last => evaluation.over_budget.push(subscription.id),
                Err(_over_budget) => waiting.push(subscription),
            }
            left = left.saturating_sub(share.saturating_sub(budget.left()));
            ahead = ahead.saturating_sub(1);
        }
    }
    Ok(evaluation)
}

/// Allows one log line for each of a bounded number of things.
struct Once<T>(Mutex<HashSet<T>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash> Once<T> {
    fn is_first(&self, of: T) -> bool {
        let mut said = self.0.lock();
        said.len() < MAX_LOGGED && said.insert(of)
    }
}
