//! Where a delivery goes: nowhere, because it is done; to a wait queue; or to the parking queue.

use std::time::Duration;

use super::handler::HandlerError;
use homing_broker::{Message, Route, topology::THROTTLE_WAITS};
use homing_domain::{
    clock,
    delivery::{Delivery, Progress},
    report::Chain,
    schedule::{Next, Schedule},
    subscription::Subscription,
    url::EndpointUrl,
    verdict::{self, ParkReason},
};
use homing_store::StoreError;

/// What follows for a delivery.
pub(super) struct Disposition {
    /// The copy to be published, and where; `None`: the delivery is done.
    pub(super) next: Option<(Message, Route)>,
    /// Why no attempt was made; `None`: one was.
    pub(super) skipped: Option<Skipped>,
}

/// Why no attempt was made.
pub(super) struct Skipped {
    pub(super) reason: SkipReason,
    /// Where it would have gone, if that is known.
    pub(super) url: Option<EndpointUrl>,
}

/// What kept a delivery from being attempted.
pub(super) enum SkipReason {
    SubscriptionDeleted,
    /// Its row cannot be read.
    SubscriptionUnreadable(StoreError),
    StoreUnavailable(StoreError),
    /// Its filter, which could not be applied before, does not match.
    NotWanted,
    /// Its filter cannot be applied to this event.
    Undecided(String),
    /// The endpoint asked for so much more time.
    AskedToWait(Duration),
    CircuitOpen,
    CircuitFrozen,
    /// The endpoint has its hands full.
    Throttled,
    /// A failure of our own that passes soon.
    NotNow(HandlerError),
    /// A failure of our own: a bug or a broken setting.
    NotAttempted(HandlerError),
}

impl SkipReason {
    /// The reason in words, for the attempt log; `None`: it happens too often for a record.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::SubscriptionDeleted => Some("the subscription was removed".to_owned()),
            Self::SubscriptionUnreadable(error) => Some(error.report()),
            Self::Undecided(why) => Some(why.clone()),
            Self::CircuitOpen => Some("the circuit of its URL is open".to_owned()),
            Self::CircuitFrozen => Some("the circuit of its URL is frozen".to_owned()),
            Self::NotNow(error) | Self::NotAttempted(error) => {
                Some(Chain(error.as_ref()).to_string())
            }
            Self::StoreUnavailable(_)
            | Self::NotWanted
            | Self::AskedToWait(_)
            | Self::Throttled => None,
        }
    }
}

impl Disposition {
    /// Nothing follows: it was delivered.
    pub(super) fn delivered() -> Self {
        Self { next: None, skipped: None }
    }

    /// A copy follows an attempt.
    pub(super) fn after_attempt(message: Message, route: Route) -> Self {
        Self { next: Some((message, route)), skipped: None }
    }

    /// No attempt is made for `reason`; what follows is `next`.
    pub(super) fn skip(reason: SkipReason, next: Option<(Message, Route)>) -> Self {
        Self { next, skipped: Some(Skipped { reason, url: None }) }
    }

    /// The same, of a delivery that would have gone to this subscription's URL.
    pub(super) fn of(mut self, subscription: &Subscription) -> Self {
        if let Some(skipped) = &mut self.skipped {
            skipped.url = Some(subscription.spec.url.clone());
        }
        self
    }
}

/// The copy that is given up, for an operator to look at.
pub(super) fn park(message: &Message, progress: Progress, reason: ParkReason) -> (Message, Route) {
    let mut parked = message.parked(reason, clock::now());
    parked.progress = progress;
    (parked, Route::Parked)
}

/// The copy of an event that cannot be read: given up at once, for every attempt would end the same.
pub(super) fn park_unreadable(
    message: &Message,
    progress: &Progress,
    why: &str,
) -> (Message, Route) {
    let progress = Progress { last_outcome: Some(why.to_owned()), ..progress.held() };
    park(message, progress, ParkReason::Unreadable)
}

/// The wait queue of a delivery whose endpoint asked to be left alone for `remaining`: a part of it,
/// to be deferred again for the rest. The throttle queues are among them, so it comes back less than
/// a second late.
pub(super) fn towards(schedule: &Schedule, remaining: Duration) -> Duration {
    let [shortest, ..] = THROTTLE_WAITS;
    let waits = schedule.waits().iter().copied().chain(THROTTLE_WAITS);
    verdict::hold(waits, remaining).unwrap_or(shortest)
}

/// The copy that waits on, because the endpoint asked for more than one wait.
pub(super) fn until_asked(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    remaining: Duration,
) -> (Message, Route) {
    let held = message.for_subscription(delivery.subscription, delivery.progress.held());
    (held, Route::Wait(towards(schedule, remaining)))
}

/// The copy that waits in a throttle queue, the longer the more often it did: for a busy endpoint, or
/// for something on our side that passes.
pub(super) fn throttled(message: &Message, delivery: &Delivery) -> (Message, Route) {
    let [first, second, third, longest] = THROTTLE_WAITS;
    let wait = match delivery.progress.throttled {
        0 => first,
        1 => second,
        2 => third,
        _ => longest,
    };
    let held = message.for_subscription(delivery.subscription, delivery.progress.throttled());
    (held, Route::Wait(wait))
}

/// The copy that waits for the next step without an attempt, so that a dead endpoint costs less and
/// less. At the end of the schedule it is parked with `reason`.
pub(super) fn to_next_step(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    reason: ParkReason,
) -> (Message, Route) {
    match schedule.after(delivery.progress.step) {
        Next::Wait { step, wait } => {
            let progress = Progress { step, ..delivery.progress.held() };
            (message.for_subscription(delivery.subscription, progress), Route::Wait(wait))
        }
        Next::Exhausted => park(message, delivery.progress.held(), reason),
    }
}
