//! The one place where a worker reports what it did: log events and metrics, the attempt log, the
//! counters of its heartbeat, the age of waiting deliveries, the history, and the ledger.

use std::{error::Error, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    attempt::{Attempt, Task},
    attempt_log,
    counters::Counters,
    disposition::{Disposition, SkipReason, Skipped},
    history::{Collector, Ended},
    ledger::Ledger,
    oldest_waiting::OldestWaiting,
};
use homing_broker::{Message, Route, message::Unreadable, topology::THROTTLE_WAITS};
use homing_domain::{
    clock, delivery::Delivery, error_group::Kind, history::Count, report::Chain, url::EndpointUrl,
    verdict::Verdict,
};
use homing_telemetry::{
    deferred::Sums,
    line_limit::LineLimit,
    log_events::{self, Attempted},
    metrics,
};

/// Interval of the lines about deliveries that were put back without an attempt.
const SUM_INTERVAL: Duration = Duration::from_secs(10);

/// Lines a minute about attempts that could not be made.
const MAX_LINES: usize = 100;

/// The recipients of reports about deliveries.
pub(super) struct Observers {
    pub(super) attempt_log: attempt_log::Sender,
    pub(super) counters: Counters,
    pub(super) oldest_waiting: OldestWaiting,
    pub(super) ledger: Ledger,
    /// `None`: no history is kept.
    history: Option<Arc<Collector>>,
    /// For the log.
    sums: Mutex<Sums>,
    /// Lines about attempts that could not be made.
    lines: Mutex<LineLimit<Option<EndpointUrl>>>,
}

impl Observers {
    pub(super) fn new(
        attempt_log: attempt_log::Sender,
        ledger: Ledger,
        history: Option<Arc<Collector>>,
    ) -> Self {
        let (counters, oldest_waiting) = (Counters::new(), OldestWaiting::default());
        let (sums, lines) = (Mutex::default(), Mutex::new(LineLimit::new(MAX_LINES)));
        Self { attempt_log, counters, oldest_waiting, ledger, history, sums, lines }
    }

    /// Adds a delivery to those about which there is a line every ten seconds.
    pub(super) fn put_back(
        &self,
        url: Option<&EndpointUrl>,
        why: &'static str,
        error: Option<&(dyn Error + 'static)>,
    ) {
        let error = error.map(|error| Chain(error).to_string());
        self.sums.lock().add(url, why, error);
    }

    /// Writes a line for each URL and reason for which something was put back lately.
    fn write_sums(&self) {
        // Not while it is locked: writing may take a while.
        let sums = self.sums.lock().take();
        for (url, why, sum) in sums {
            log_events::deferred(url.as_ref(), why, &sum);
        }
    }

    /// Reports an attempt that has ended; returns its error if the delivery is parked for it.
    pub(super) fn attempted(
        &self,
        task: &Task<'_>,
        attempt: &Attempt,
        verdict: &Verdict,
    ) -> Option<Kind> {
        let Task { delivery, subscription, .. } = *task;
        let (outcome, duration) = (&attempt.result.outcome, attempt.duration);
        let attempted = Attempted { delivery, subscription, outcome, duration };
        log_events::attempted(&attempted, verdict);
        let error = self.attempt_log.attempted(task, attempt, verdict);
        self.counters.attempted(outcome);
        let Some(history) = &self.history else { return error };
        let received = delivery.progress.received.filter(|_| outcome.is_accepted());
        history.attempted(&Ended {
            url: &subscription.spec.url,
            topic: &delivery.event.topic,
            what: Count::from(outcome),
            duration,
            delivered_after: received.map(|received| attempt.ended.since(received)),
        });
        if matches!(verdict, Verdict::Park(_)) {
            history.deferred(
                Some(&subscription.spec.url),
                Some(&delivery.event.topic),
                Count::Parked,
            );
        }
        error
    }

    /// Reports a new event, and if a subscription wants it.
    pub(super) fn matched(&self, message: &Message, is_wanted: bool) {
        let at = message.progress.received.unwrap_or_else(clock::now);
        if let Some(history) = &self.history {
            history.event(&message.event.topic, at, is_wanted);
        }
    }

    /// Reports what follows for a delivery.
    pub(super) fn disposed(&self, delivery: &Delivery, disposition: &Disposition) {
        let Disposition { next, skipped, .. } = disposition;
        if let Some(skipped) = skipped {
            self.skipped(delivery, skipped, next.as_ref());
        }
        let Some((message, route)) = next else { return };
        if let Some(parked) = message.parked {
            log_events::parked(&message.event, message.subscription(), parked.reason);
        }
        self.counters.dispatched(*route, skipped.is_none());
        self.deferred(delivery, skipped.as_ref(), *route);
        if let Route::Wait(wait) = *route {
            let now = clock::now();
            self.oldest_waiting.waits(message.progress.received.unwrap_or(now), now.plus(wait));
        }
    }

    /// Reports a message that is parked because it cannot be read.
    pub(super) fn unreadable(&self, unreadable: &Unreadable) {
        log_events::parked_unreadable(unreadable.id.as_deref(), &unreadable.why);
        if let Some(history) = &self.history {
            history.deferred(None, None, Count::Parked);
        }
    }

    /// Counts a delivery that was not attempted; one that was has been counted with its attempt.
    fn deferred(&self, delivery: &Delivery, skipped: Option<&Skipped>, route: Route) {
        let (Some(history), Some(skipped)) = (&self.history, skipped) else { return };
        let what = match route {
            Route::Wait(wait) if THROTTLE_WAITS.contains(&wait) => Count::Throttled,
            Route::Wait(_) | Route::Held { .. } => Count::Held,
            Route::Parked => Count::Parked,
            Route::Events | Route::Retry => return,
        };
        history.deferred(skipped.url.as_ref(), Some(&delivery.event.topic), what);
    }

    /// Reports an event, or each delivery of a message, that is parked unchanged because of `why`.
    pub(super) fn parked(&self, parked: &Message, why: &str) {
        if let Some(history) = &self.history {
            for _ in parked.recipients.each() {
                history.deferred(None, Some(&parked.event.topic), Count::Parked);
            }
        }
        for subscription in parked.recipients.each() {
            if let Some(given_up) = parked.parked {
                log_events::parked(&parked.event, subscription, given_up.reason);
            }
            self.attempt_log.parked(parked, subscription, why);
        }
    }

    /// Reports a delivery that is put back without an attempt.
    fn held(
        &self,
        (delivery, url): (&Delivery, Option<&EndpointUrl>),
        why: &'static str,
        cause: Option<&(dyn Error + 'static)>,
    ) {
        log_events::held(delivery, why, cause);
        self.put_back(url, why, cause);
    }

    fn skipped(&self, delivery: &Delivery, skipped: &Skipped, next: Option<&(Message, Route)>) {
        let Skipped { reason, url } = skipped;
        let (times, of) = (delivery.progress.throttled, (delivery, url.as_ref()));
        match reason {
            // Reported while the waits grow, not for ever.
            SkipReason::SubscriptionUnreadable(_) if !is_growing(times) => return metrics::held(),
            SkipReason::SubscriptionUnreadable(error) => {
                self.held(of, "its subscription cannot be read", Some(error));
            }
            SkipReason::StoreUnavailable(error) => {
                self.held(of, "store unavailable", Some(error));
            }
            // Reported once, however often it waits on the ladder.
            SkipReason::CircuitOpen
                if delivery.progress.hold.is_some()
                    && delivery.progress.turn.is_none()
                    && matches!(next, Some((_, Route::Wait(_)))) =>
            {
                return metrics::held();
            }
            SkipReason::CircuitOpen => self.held(of, "the circuit is open", None),
            SkipReason::CircuitFrozen if matches!(next, Some((_, Route::Held { .. }))) => {
                self.held(of, "the circuit is frozen", None);
            }
            // Records as of those that wait for their turn: there may be very many.
            SkipReason::NotNow(error) => {
                self.held(of, "no attempt can be made now", Some(error.as_ref()));
                if !is_recorded(times) {
                    return;
                }
            }
            SkipReason::NotAttempted(error) => {
                let is_due = self.lines.lock().is_due(url.clone(), Instant::now());
                log_events::not_attempted(delivery, error.as_ref(), is_due);
                self.put_back(url.as_ref(), "no attempt can be made", Some(error.as_ref()));
            }
            SkipReason::NotWanted => {
                log_events::not_wanted(delivery);
                self.attempt_log.not_wanted(delivery, url.as_ref());
            }
            // The attempt whose response requested the time has a line and a record; the parts of
            // the wait need none.
            SkipReason::RetryAfter(remaining) => {
                log_events::waits_on(delivery, *remaining);
                let was_asked_for = |(message, _): &(Message, Route)| {
                    message.progress.not_before != delivery.progress.not_before
                };
                if !next.is_some_and(was_asked_for) {
                    return;
                }
            }
            // A record where it waits for longer than a second, renewed while the waits grow, and
            // every ten minutes from then on: there may be very many.
            SkipReason::Throttled(_) => {
                log_events::throttled();
                self.put_back(url.as_ref(), "throttled", None);
                if times == 0 || !is_recorded(times) {
                    return;
                }
            }
            // Counted when its queue has taken it.
            SkipReason::EndpointSlow
            | SkipReason::SubscriptionDeleted
            | SkipReason::Unverified
            | SkipReason::Undecided(_)
            | SkipReason::CircuitFrozen
            | SkipReason::StaysHeld => {}
        }
        if let Some(next) = next {
            self.attempt_log.skipped(delivery, skipped, next);
        }
    }
}

/// True if a wait that was put off `times` times before is recorded.
fn is_recorded(times: u32) -> bool {
    is_growing(times) || times.is_multiple_of(10)
}

/// Writes the sums until `over`, and then the last ones.
pub(super) async fn write_sums(context: Arc<Context>, over: CancellationToken) {
    over.run_until_cancelled(async {
        loop {
            sleep(SUM_INTERVAL).await;
            context.observers.write_sums();
        }
    })
    .await;
    context.observers.write_sums();
}

/// True if the next wait in a throttle queue is longer than the `times`-th, the last one.
fn is_growing(times: u32) -> bool {
    usize::try_from(times).is_ok_and(|times| times < THROTTLE_WAITS.len())
}
