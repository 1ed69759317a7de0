//! The next step for a delivery: nothing (it is done), a wait queue, or the parking queue.

use std::time::Duration;

use super::{
    attempt::{Attempt, Task},
    handler::HandlerError,
    limits::OwnLimits,
};
use homing_broker::{Message, Route, topology::THROTTLE_WAITS};
use homing_domain::{
    clock,
    delivery::{Delivery, Progress},
    error_group::ErrorId,
    report::Chain,
    schedule::{Next, Schedule},
    subscription::Subscription,
    time::UnixMillis,
    url::EndpointUrl,
    verdict::{self, ParkReason, Verdict},
};
use homing_store::StoreError;

/// The next step for a delivery.
pub(super) struct Disposition {
    /// The copy to publish, and its route; `None`: the delivery is done.
    pub(super) next: Option<(Message, Route)>,
    /// The copy to publish instead if the queue of `next` refuses that.
    pub(super) otherwise: Option<Box<(Message, Route)>>,
    /// The reason for making no attempt; `None`: one was made.
    pub(super) skipped: Option<Skipped>,
    /// The start of the attempt that delivered it; `None`: none has.
    pub(super) delivered: Option<UnixMillis>,
}

/// The reason for making no attempt.
pub(super) struct Skipped {
    pub(super) reason: SkipReason,
    /// The URL of the subscription, if it is known.
    pub(super) url: Option<EndpointUrl>,
}

/// The obstacle to an attempt.
pub(super) enum SkipReason {
    SubscriptionDeleted,
    /// Its endpoint has not consented.
    Unverified,
    SubscriptionUnreadable(StoreError),
    StoreUnavailable(StoreError),
    /// Its filter, which could not be applied before, does not match.
    NotWanted,
    /// Its filter cannot be applied to this event.
    Undecided(String),
    /// The endpoint, or the handler, requested this much more time.
    RetryAfter(Duration),
    CircuitOpen,
    CircuitFrozen,
    /// Its endpoint takes less than what comes for it.
    EndpointSlow,
    /// It stays in the held queue that it came from.
    StaysHeld,
    /// The endpoint has no free permit, or the limits of the subscription allow no request.
    Throttled(OwnLimits),
    /// A failure of our own that passes soon.
    NotNow(HandlerError),
    /// A failure of our own: a bug or a broken setting.
    NotAttempted(HandlerError),
}

impl SkipReason {
    /// True if the delivery waits for its endpoint.
    pub(super) fn is_hold(&self) -> bool {
        matches!(self, Self::CircuitOpen | Self::CircuitFrozen | Self::EndpointSlow)
    }

    /// The reason as text for the attempt log; `None`: too frequent to record.
    pub(super) fn summary(&self) -> Option<String> {
        match self {
            Self::SubscriptionDeleted => Some("the subscription was deleted".to_owned()),
            Self::Unverified => Some("the endpoint of its subscription is not verified".to_owned()),
            Self::SubscriptionUnreadable(error) => Some(error.report()),
            Self::Undecided(why) => Some(why.clone()),
            Self::CircuitOpen => Some("the circuit of its URL is open".to_owned()),
            Self::CircuitFrozen => Some("the circuit of its URL is frozen".to_owned()),
            Self::EndpointSlow => Some("its endpoint is slow".to_owned()),
            Self::NotNow(error) | Self::NotAttempted(error) => {
                Some(Chain(error.as_ref()).to_string())
            }
            Self::RetryAfter(_) => Some("its handler asked for a wait".to_owned()),
            Self::Throttled(own) => {
                let rate = own.rate_text().map(|limit| format!("rate limit {limit}, or "));
                let at_a_time = own.concurrency.map(|(_, limit)| format!("{limit} at a time, or "));
                Some(format!(
                    "it waits for its turn: {}{}its endpoint takes no more at a time",
                    rate.unwrap_or_default(),
                    at_a_time.unwrap_or_default()
                ))
            }
            Self::StoreUnavailable(_) | Self::NotWanted | Self::StaysHeld => None,
        }
    }
}

impl Disposition {
    /// Ends a delivery that an attempt begun at `started` has delivered.
    pub(super) fn delivered(started: UnixMillis) -> Self {
        Self { next: None, otherwise: None, skipped: None, delivered: Some(started) }
    }

    /// Sends a copy on after an attempt.
    pub(super) fn after_attempt(message: Message, route: Route) -> Self {
        let next = Some((message, route));
        Self { next, otherwise: None, skipped: None, delivered: None }
    }

    /// Makes no attempt for `reason`; `next` follows.
    pub(super) fn skip(reason: SkipReason, next: Option<(Message, Route)>) -> Self {
        let skipped = Some(Skipped { reason, url: None });
        Self { next, otherwise: None, skipped, delivered: None }
    }

    /// Makes no attempt; the message returns to the held queue that it came from.
    pub(super) fn stay_held() -> Self {
        Self::skip(SkipReason::StaysHeld, None)
    }

    /// True if the message returns to the held queue that it came from.
    pub(super) fn stays_held(&self) -> bool {
        let reason = self.skipped.as_ref().map(|skipped| &skipped.reason);
        matches!(reason, Some(SkipReason::StaysHeld))
    }

    /// True if the delivery is kept from its endpoint because that is slow.
    pub(super) fn is_slow(&self) -> bool {
        let reason = self.skipped.as_ref().map(|skipped| &skipped.reason);
        matches!(reason, Some(SkipReason::EndpointSlow))
    }

    /// True if a failure of our own prevented the attempt, and is not about this event alone.
    pub(super) fn is_prevented(&self) -> bool {
        let reason = self.skipped.as_ref().map(|skipped| &skipped.reason);
        let is_parked = matches!(self.next, Some((_, Route::Parked)));
        matches!(reason, Some(SkipReason::NotNow(_) | SkipReason::NotAttempted(_))) && !is_parked
    }

    /// Adds the URL of the delivery's subscription.
    pub(super) fn of(mut self, subscription: &Subscription) -> Self {
        if let Some(skipped) = &mut self.skipped {
            skipped.url = Some(subscription.spec.url.clone());
        }
        self
    }
}

/// The reason for which a delivery waits for its endpoint.
#[derive(Clone, Copy)]
pub(super) enum HoldReason {
    CircuitOpen,
    CircuitFrozen,
    EndpointSlow,
}

impl HoldReason {
    /// The reason for which it is parked if it waits for too long.
    fn parked(self) -> ParkReason {
        match self {
            Self::CircuitOpen => ParkReason::CircuitOpen,
            Self::CircuitFrozen => ParkReason::Frozen,
            Self::EndpointSlow => ParkReason::EndpointSlow,
        }
    }

    fn skipped(self) -> SkipReason {
        match self {
            Self::CircuitOpen => SkipReason::CircuitOpen,
            Self::CircuitFrozen => SkipReason::CircuitFrozen,
            Self::EndpointSlow => SkipReason::EndpointSlow,
        }
    }
}

/// A delivery that waits for its endpoint: an open or frozen circuit refuses it, or the endpoint is
/// slow.
pub(super) struct NotAdmitted<'a> {
    message: &'a Message,
    delivery: &'a Delivery,
    schedule: &'a Schedule,
    progress: Progress,
    reason: HoldReason,
    /// It waits for its endpoint at most this much longer.
    left: Duration,
}

impl<'a> NotAdmitted<'a> {
    /// It may be held for as long as its schedule is long, and at least for `min_hold`.
    pub(super) fn new(
        message: &'a Message,
        delivery: &'a Delivery,
        schedule: &'a Schedule,
        (reason, min_hold): (HoldReason, Duration),
    ) -> Self {
        let now = clock::now();
        let progress = delivery.progress.refused(reason.parked(), now);
        let waited = progress.hold.map_or(Duration::ZERO, |hold| now.since(hold.since));
        let left = schedule.length().max(min_hold).saturating_sub(waited);
        Self { message, delivery, schedule, progress, reason, left }
    }

    /// True if it has waited for as long as it may.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_zero()
    }

    /// Holds it in the queue of `slot`; without one, it waits at its own step once more, or is
    /// throttled if the endpoint is slow. It is parked if it has waited for as long as it may, or
    /// the circuit is frozen.
    pub(super) fn disposition(self, slot: Option<u16>) -> Disposition {
        let reason = self.reason.skipped();
        let without = self.without_slot();
        let Some(slot) = slot else { return Disposition::skip(reason, Some(without)) };
        let held = self.message.for_subscription(self.delivery.subscription, self.progress);
        let route = Route::Held { slot, at_most: self.left };
        let held = Disposition::skip(reason, Some((held, route)));
        Disposition { otherwise: Some(Box::new(without)), ..held }
    }

    fn without_slot(&self) -> (Message, Route) {
        let Self { message, delivery, schedule, progress, .. } = self;
        let wait = match self.reason {
            HoldReason::EndpointSlow if !self.is_over() => return throttled(message, delivery),
            HoldReason::EndpointSlow | HoldReason::CircuitFrozen => None,
            HoldReason::CircuitOpen => schedule.wait_at(progress.step),
        };
        match wait.filter(|_| !self.is_over()) {
            Some(wait) => {
                let waiting = message.for_subscription(delivery.subscription, progress.clone());
                (waiting, Route::Wait(wait))
            }
            None => park(message, progress.clone(), self.reason.parked()),
        }
    }
}

/// Turns the verdict into a disposition: the new progress and the destination.
pub(super) fn after(
    task: &Task<'_>,
    attempt: &Attempt,
    verdict: Verdict,
    error: Option<ErrorId>,
) -> Disposition {
    let Task { message, delivery, schedule, .. } = *task;
    let (outcome, ended) = (&attempt.result.outcome, attempt.ended);
    let progress = |step| delivery.progress.failed(outcome.to_string(), step, ended);
    match verdict {
        Verdict::Done => Disposition::delivered(attempt.started),
        Verdict::Wait { step, wait, not_before } => {
            let mut progress = progress(step);
            progress.not_before = not_before.map(|requested| ended.plus(requested));
            let message = message.for_subscription(delivery.subscription, progress);
            let wait = not_before.map_or(wait, |requested| towards(schedule, requested));
            Disposition::after_attempt(message, Route::Wait(wait))
        }
        Verdict::Park(reason) => {
            let progress = Progress { error, ..progress(delivery.progress.step) };
            let (message, route) = park(message, progress, reason);
            Disposition::after_attempt(message, route)
        }
    }
}

/// Parks a copy for an operator.
pub(super) fn park(message: &Message, progress: Progress, reason: ParkReason) -> (Message, Route) {
    let mut parked = message.parked(reason, clock::now());
    parked.progress = progress;
    (parked, Route::Parked)
}

/// Parks a copy of an unreadable event at once.
pub(super) fn park_unreadable(
    message: &Message,
    progress: &Progress,
    why: &str,
) -> (Message, Route) {
    park_unattempted(message, progress, (ParkReason::Unreadable, why))
}

/// Parks a copy at once: every attempt would end the same way.
pub(super) fn park_unattempted(
    message: &Message,
    progress: &Progress,
    (reason, why): (ParkReason, &str),
) -> (Message, Route) {
    let progress = Progress { last_outcome: Some(why.to_owned()), ..progress.held() };
    park(message, progress, reason)
}

/// The wait queue for a delivery whose endpoint requested `remaining`: the longest wait within it;
/// the delivery is deferred again for the rest. As the throttle queues are among the choices, it is
/// less than a second late.
pub(super) fn towards(schedule: &Schedule, remaining: Duration) -> Duration {
    let [shortest, ..] = THROTTLE_WAITS;
    let waits = schedule.waits().iter().copied().chain(THROTTLE_WAITS);
    verdict::hold(waits, remaining).unwrap_or(shortest)
}

/// Defers the rest of the time that the endpoint requested.
pub(super) fn until_retry_after(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    remaining: Duration,
) -> (Message, Route) {
    let held = message.for_subscription(delivery.subscription, delivery.progress.held());
    (held, Route::Wait(towards(schedule, remaining)))
}

/// Puts a copy into a wait queue, without an attempt, because the handler snoozed for `wait`.
pub(super) fn snoozed(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    wait: Duration,
) -> (Message, Route) {
    let progress = delivery.progress.snoozed(wait, clock::now());
    let snoozed = message.for_subscription(delivery.subscription, progress);
    (snoozed, Route::Wait(towards(schedule, wait)))
}

/// Puts a copy into a throttle queue, with a wait that grows with each time: the endpoint is busy,
/// or something on our side is failing for a moment.
pub(super) fn throttled(message: &Message, delivery: &Delivery) -> (Message, Route) {
    let [first, second, third, longest] = THROTTLE_WAITS;
    let wait = match delivery.progress.throttled {
        0 => first,
        1 => second,
        2 => third,
        _ => longest,
    };
    let progress = delivery.progress.throttled(clock::now());
    let held = message.for_subscription(delivery.subscription, progress);
    (held, Route::Wait(wait))
}

/// Defers a copy to the next step of the schedule without an attempt, so that a dead endpoint costs
/// less and less. At the end of the schedule the copy is parked with `reason`.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use homing_domain::{delivery::Hold, event::Event, id::EventId, topic::Topic};

    /// Goal: a delivery to a slow URL without a held queue is throttled, and not for ever: what has
    /// waited for as long as its schedule is long, and for the shortest hold, is parked with the
    /// reason.
    #[test]
    fn what_waited_for_a_slow_endpoint_for_its_whole_schedule_is_parked() {
        let event = Message::of_event(Event {
            id: EventId::new("e1").unwrap(),
            topic: Topic::new("t").unwrap(),
            content_type: String::new(),
            content_encoding: None,
            body: Bytes::new(),
        });
        let schedule = Schedule::new(&[Duration::from_secs(60)]).unwrap();
        let subscription = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
        let without_slot = |waited: Option<u64>, min_hold: u64| {
            let since = |secs| clock::now().minus(Duration::from_secs(secs));
            let reason = ParkReason::EndpointSlow;
            let hold = waited.map(|secs| Hold { since: since(secs), reason });
            let progress = Progress { hold, ..Progress::default() };
            let message = event.for_subscription(subscription, progress);
            let delivery = message.delivery().unwrap();
            let reason = (HoldReason::EndpointSlow, Duration::from_secs(min_hold));
            let slow = NotAdmitted::new(&message, &delivery, &schedule, reason);
            let (message, route) = slow.disposition(None).next.unwrap();
            (message.parked.map(|parked| parked.reason), matches!(route, Route::Wait(_)))
        };
        assert_eq!(without_slot(None, 0), (None, true));
        assert_eq!(without_slot(Some(30), 0), (None, true));
        assert_eq!(without_slot(Some(61), 0), (Some(ParkReason::EndpointSlow), false));
        assert_eq!(without_slot(Some(61), 120), (None, true));
        assert_eq!(without_slot(Some(121), 120), (Some(ParkReason::EndpointSlow), false));
    }
}
