//! Where a delivery goes that is not attempted now: kept aside, never lost, nothing charged.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::handler::HandlerError;

use crate::{
    broker::{Message, Route, topology::BUSY_WAITS},
    clock,
    domain::{
        delivery::{Delivery, Progress},
        schedule::{Next, Schedule},
        subscription::Subscription,
        url::EndpointUrl,
        verdict::{self, ParkReason},
    },
    report::Chain,
    store::StoreError,
    telemetry::{events, metrics},
};

/// Where a delivery goes from here.
pub(super) struct Onward {
    pub(super) message: Message,
    pub(super) route: Route,
    /// Why nothing was attempted, where people are told.
    pub(super) unattempted: Option<Unattempted>,
    /// Whether it comes of an attempt.
    pub(super) attempted: bool,
}

/// Why nothing was attempted.
pub(super) struct Unattempted {
    pub(super) why: String,
    /// Where it would have gone, if that is known.
    pub(super) url: Option<EndpointUrl>,
}

impl Onward {
    pub(super) fn new(message: Message, route: Route) -> Self {
        Self { message, route, unattempted: None, attempted: false }
    }

    /// The same, after an attempt.
    pub(super) fn after_attempt(self) -> Self {
        Self { attempted: true, ..self }
    }

    /// The same, without an attempt, for a reason that people are told.
    pub(super) fn unattempted(
        self,
        why: impl Into<String>,
        subscription: Option<&Subscription>,
    ) -> Self {
        let url = subscription.map(|subscription| subscription.terms.url.clone());
        Self { unattempted: Some(Unattempted { why: why.into(), url }), ..self }
    }
}

/// Given up, for a person to look at.
pub(super) fn park(message: &Message, progress: Progress, reason: ParkReason) -> Onward {
    let mut parked = message.parked(reason, clock::now());
    parked.progress = progress;
    events::parked(&parked.event, parked.subscription, reason);
    Onward::new(parked, Route::Parked)
}

/// Given up at once, because nobody can tell what is in the event; what would follow would be the same.
pub(super) fn park_unreadable(message: &Message, progress: &Progress, why: &str) -> Onward {
    let progress = Progress { last_outcome: Some(why.to_owned()), ..progress.held() };
    park(message, progress, ParkReason::Unreadable)
}

/// The wait queue of a delivery whose endpoint asked to be left alone for `remaining`: a part of it,
/// to be held again for the rest. Those for busy endpoints are among them, so it comes back less
/// than a second late.
pub(super) fn towards(schedule: &Schedule, remaining: Duration) -> Duration {
    let [shortest, ..] = BUSY_WAITS;
    let waits = schedule.waits().iter().copied().chain(BUSY_WAITS);
    verdict::hold(waits, remaining).unwrap_or(shortest)
}

/// Waits on, because the endpoint asked for more than one wait. The attempt at which it did so tells
/// until when; its parts are not worth a line each.
pub(super) fn until_asked(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    remaining: Duration,
) -> Onward {
    events::waits_on(delivery, remaining);
    let held = message.owed_to(delivery.subscription, delivery.progress.held());
    Onward::new(held, Route::Wait(towards(schedule, remaining)))
}

/// Waits in a busy lane, the longer the more often it was turned away, because its endpoint has
/// its hands full.
pub(super) fn turned_away(message: &Message, delivery: &Delivery) -> Onward {
    events::turned_away();
    briefly(message, delivery)
}

/// Waits for seconds, because of something on our side that passes.
pub(super) fn briefly(message: &Message, delivery: &Delivery) -> Onward {
    let wait = busy_wait(delivery.progress.turned_away);
    let held = message.owed_to(delivery.subscription, delivery.progress.turned_away());
    Onward::new(held, Route::Wait(wait))
}

/// Waits in a busy lane until its subscription can be read: neither parked nor charged, however long
/// that takes. It is logged while
/// the waits grow, not for ever.
pub(super) fn until_readable(message: &Message, delivery: &Delivery, error: &StoreError) -> Onward {
    let onward = briefly(message, delivery);
    if usize::try_from(delivery.progress.turned_away).is_ok_and(|times| times < BUSY_WAITS.len()) {
        events::held(delivery, "its subscription cannot be read", Some(error));
        return onward.unattempted(error.told(), None);
    }
    metrics::held();
    onward
}

/// Waits for seconds where no attempt can be made now, because of something that passes on our side. A
/// delivery is recorded when that begins, a URL logged once a minute: they may be very many.
pub(super) fn until_possible(
    message: &Message,
    delivery: &Delivery,
    (subscription, logged): (&Subscription, &OnceAMinute),
    error: &HandlerError,
) -> Onward {
    if logged.is_due(&subscription.terms.url) {
        events::held(delivery, "no attempt can be made now", Some(error.as_ref()));
    } else {
        metrics::held();
    }
    let onward = briefly(message, delivery);
    if delivery.progress.turned_away > 0 {
        return onward;
    }
    onward.unattempted(Chain(error.as_ref()).to_string(), Some(subscription))
}

/// URLs of which the log has said something lately.
#[derive(Default)]
pub(super) struct OnceAMinute(Mutex<HashMap<EndpointUrl, Instant>>);

impl OnceAMinute {
    /// Whether a line about `url` is due; it is not again for a minute.
    fn is_due(&self, url: &EndpointUrl) -> bool {
        /// More of them say nothing new.
        const URLS_MAX: usize = 100;
        const INTERVAL: Duration = Duration::from_secs(60);
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_url, at| at.elapsed() < INTERVAL);
        if logged.len() >= URLS_MAX || logged.contains_key(url) {
            return false;
        }
        logged.insert(url.clone(), Instant::now());
        true
    }
}

fn busy_wait(turned_away: u32) -> Duration {
    let [first, second, third, longest] = BUSY_WAITS;
    match turned_away {
        0 => first,
        1 => second,
        2 => third,
        _ => longest,
    }
}

/// Waits for the next step without an attempt, so that a dead endpoint costs less and less. At the
/// end of the schedule it is parked with `reason`.
pub(super) fn to_next_step(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    reason: ParkReason,
) -> Onward {
    match schedule.after(delivery.progress.step) {
        Next::Wait { step, wait } => {
            let progress = Progress { step, ..delivery.progress.held() };
            Onward::new(message.owed_to(delivery.subscription, progress), Route::Wait(wait))
        }
        Next::Exhausted => park(message, delivery.progress.held(), reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_url_is_logged_once_a_minute() {
        let (once, minute) = (OnceAMinute::default(), Duration::from_secs(60));
        let [a, b] = ["https://example.com/a", "https://example.com/b"]
            .map(|url| url.parse::<EndpointUrl>().unwrap());
        assert_eq!([&a, &a, &b, &a].map(|url| once.is_due(url)), [true, false, true, false]);
        tokio::time::advance(minute).await;
        assert_eq!([&b, &b].map(|url| once.is_due(url)), [true, false]);
    }
}
