//! One attempt, in the order in which it happens.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Context,
    handler::{Account, HandlerError},
    hold::{self, Onward},
    intake::Owed,
    limits::Permit,
    matching::Match,
    settle::settle,
};
use crate::{
    broker::{Message, Route},
    clock,
    domain::{
        circuit::Admission,
        delivery::Delivery,
        outcome::Outcome,
        schedule::Schedule,
        subscription::Subscription,
        time::UnixMillis,
        verdict::{self, ParkReason, Verdict},
    },
    endpoint::RequestError,
    report::Chain,
    store::StoreError,
    telemetry::events::{self, Attempted},
};

/// Makes the next attempt of a delivery and settles its message.
///
/// Emits one `delivery.attempted` event with everything known; the layers below emit none.
pub(super) async fn attempt(context: &Context, owed: Owed) {
    let Owed { message, redelivered, returned, receipt } = owed;
    let Some(mut delivery) = message.delivery() else { return };
    let _in_flight = context.meter.in_flight();
    // 1 skip what this process has done already
    let Some(running) = context.recent.begin(&message, redelivered).await else {
        events::repetition_skipped(&delivery);
        return receipt.settle();
    };
    scatter(returned).await;
    // 2 … 8
    let onward = next(context, &message, &mut delivery).await;
    context.recorder.held(&delivery, onward.as_ref());
    note_wait(context, onward.as_ref());
    context.meter.goes(onward.as_ref());
    // 9 hand on, answer
    let onward = onward.map(|onward| (onward.message.outgoing(), onward.route));
    settle(&context.broker, onward, receipt).await;
    // 10 remember
    running.done();
}

/// Notes how old is what waits.
fn note_wait(context: &Context, onward: Option<&Onward>) {
    let Some(Onward { message, route: Route::Wait(wait), .. }) = onward else { return };
    let now = clock::now();
    context.oldest.waits(message.progress.received.unwrap_or(now), now.plus(*wait));
}

/// Waits by chance where the delivery came back again and again: one of those that do may kill the
/// workers that attempt it. Those that are in its company only are done before it half of the time,
/// so that they do not reach the limit of redeliveries with it.
async fn scatter(returned: u32) {
    /// As often it happens to any delivery, in a bad hour of workers and connections.
    const UNSUSPICIOUS: u32 = 5;
    const WITHIN_MS: u64 = 1_000;
    if returned > UNSUSPICIOUS {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..WITHIN_MS))).await;
    }
}

/// Where the delivery goes from here; `None`: it is done.
async fn next(context: &Context, message: &Message, delivery: &mut Delivery) -> Option<Onward> {
    // 2 find to whom it is owed
    let subscription = match context.subscriptions.find(delivery.subscription).await {
        Ok(Some(subscription)) => subscription,
        Ok(None) => {
            let reason = ParkReason::SubscriptionDeleted;
            let parked = hold::park(message, delivery.progress.clone(), reason);
            return Some(parked.unattempted("the subscription was removed", None));
        }
        Err(error @ StoreError::Corrupt(_)) => {
            return Some(hold::until_readable(message, delivery, &error));
        }
        Err(error) => {
            events::held(delivery, "store unavailable", Some(&error));
            return Some(hold::briefly(message, delivery));
        }
    };
    if let Err(onward) = matched(context, message, delivery, &subscription).await {
        return onward;
    }
    let delivery = &*delivery;
    let schedule = context.schedules.get(subscription.terms.schedule.as_deref());
    let now = clock::now();
    // 3 … 5
    let passage = match admit(context, message, delivery, (&subscription, schedule), now).await {
        Ok(passage) => passage,
        Err(onward) => return Some(onward),
    };
    // 6 build, sign, call, classify
    let (began, started) = (clock::now(), Instant::now());
    let attempted = traced(context, delivery, &subscription, now);
    // A handler that panics is our own failure: given back, its message would come at once again.
    let attempted = AssertUnwindSafe(attempted).catch_unwind().await;
    let account = match attempted.unwrap_or_else(|_panic| Err("the handler panicked".into())) {
        Ok(account) => account,
        Err(error) => {
            return Some(hindered(context, message, delivery, (&subscription, schedule), &error));
        }
    };
    let duration = started.elapsed();
    // 7 judge, tell, log
    let outcome = &account.outcome;
    let verdict = verdict::verdict(outcome, delivery.progress.step, schedule);
    let told = Attempted { delivery, subscription: &subscription, outcome, duration };
    events::attempted(&told, &verdict);
    context.recorder.attempted(&told, began, &account, &verdict);
    context.meter.attempted(outcome);
    count(context, &subscription, outcome, passage).await;
    // 8 write down how far it has come, choose where it goes
    onward(message, delivery, (outcome, verdict), schedule).map(Onward::after_attempt)
}

/// Nothing, once it is known that the subscription wants the event; else where the delivery goes. Asked
/// only for what waited until that could be known.
async fn matched(
    context: &Context,
    message: &Message,
    delivery: &mut Delivery,
    subscription: &Arc<Subscription>,
) -> Result<(), Option<Onward>> {
    if !delivery.progress.unmatched {
        return Ok(());
    }
    delivery.progress.unmatched = false;
    match Box::pin(context.matching.one(&delivery.event, subscription)).await {
        Some(Match::Undecided(_, why)) => {
            let parked = hold::park_unreadable(message, &delivery.progress, &why);
            Err(Some(parked.unattempted(why, Some(subscription))))
        }
        Some(Match::Wanted(_) | Match::Unknown(_)) => Ok(()),
        None => {
            events::not_wanted(delivery);
            context.recorder.not_wanted(delivery, subscription);
            Err(None)
        }
    }
}

/// Where a delivery goes of which no attempt could be made, because of `error`.
fn hindered(
    context: &Context,
    message: &Message,
    delivery: &Delivery,
    (subscription, schedule): (&Subscription, &Schedule),
    error: &HandlerError,
) -> Onward {
    let request = error.downcast_ref();
    if request.is_some_and(RequestError::may_pass) {
        // No step of the schedule is taken for it.
        return hold::until_possible(message, delivery, (subscription, &context.hindered), error);
    }
    events::not_attempted(delivery, error.as_ref());
    let why = Chain(error.as_ref()).to_string();
    let onward = if matches!(request, Some(RequestError::Unfit(_))) {
        hold::park_unreadable(message, &delivery.progress, &why)
    } else {
        hold::to_next_step(message, delivery, schedule, ParkReason::Exhausted)
    };
    onward.unattempted(why, Some(subscription))
}

/// The attempt, and a span for it where somebody collects them.
async fn traced(
    context: &Context,
    delivery: &Delivery,
    subscription: &Subscription,
    now: UnixMillis,
) -> Result<Account, HandlerError> {
    let Some(tracer) = &context.tracer else {
        return context.handler.attempt(delivery, subscription, now).await;
    };
    let (delivery, span) = tracer.begin(delivery, now);
    let attempted = context.handler.attempt(&delivery, subscription, now).await;
    let outcome = attempted.as_ref().ok().map(|account| &account.outcome);
    tracer.end(&span, (&delivery, subscription), outcome, clock::now());
    attempted
}

/// By which right an attempt is made.
enum Passage {
    /// The circuit is closed and a permit was free.
    Ordinary(Permit),
    /// The circuit is open, and this is the one that is let through.
    Probe,
}

/// Whether the attempt may be made now; if not, where the delivery goes instead.
async fn admit(
    context: &Context,
    message: &Message,
    delivery: &Delivery,
    (subscription, schedule): (&Subscription, &Schedule),
    now: UnixMillis,
) -> Result<Passage, Onward> {
    // 3 not sooner than the endpoint asked
    if let Some(remaining) = delivery.progress.remaining(now) {
        return Err(hold::until_asked(message, delivery, schedule, remaining));
    }
    // 4 not while its circuit spares the endpoint
    let url = &subscription.terms.url;
    match context.circuits.admission(url, now).await {
        Admission::Pass => {}
        Admission::Probe => return Ok(Passage::Probe),
        Admission::Refuse(Some(_)) => {
            events::held(delivery, "the circuit is open", None);
            let reason = ParkReason::CircuitOpen;
            let held = hold::to_next_step(message, delivery, schedule, reason);
            return Err(held.unattempted("the circuit of its URL is open", Some(subscription)));
        }
        Admission::Refuse(None) => {
            let parked = hold::park(message, delivery.progress.held(), ParkReason::Frozen);
            return Err(parked.unattempted("the circuit of its URL is frozen", Some(subscription)));
        }
    }
    // 5 not more at once than the endpoint may take of this worker
    match context.limits.enter(url, subscription.terms.rate_limit).await {
        Some(permit) => Ok(Passage::Ordinary(permit)),
        None => Err(hold::turned_away(message, delivery)),
    }
}

/// Counts what the endpoint did, and lets the next one in.
async fn count(
    context: &Context,
    subscription: &Subscription,
    outcome: &Outcome,
    passage: Passage,
) {
    let url = &subscription.terms.url;
    let ended = clock::now();
    match passage {
        Passage::Ordinary(permit) => {
            if outcome.is_accepted() {
                permit.succeeded();
            }
            drop(permit);
            context.circuits.attempted(url, outcome, ended);
        }
        Passage::Probe => Box::pin(context.circuits.probed(url, outcome, ended)).await,
    }
    if outcome.status() == Some(410) {
        Box::pin(context.circuits.gone(url)).await;
    }
}

fn onward(
    message: &Message,
    delivery: &Delivery,
    (outcome, verdict): (&Outcome, Verdict),
    schedule: &Schedule,
) -> Option<Onward> {
    let ended = clock::now();
    let progress = |step| delivery.progress.failed(outcome.to_string(), step, ended);
    match verdict {
        Verdict::Done => None,
        Verdict::Wait { step, wait, not_before } => {
            let mut progress = progress(step);
            progress.not_before = not_before.map(|asked| ended.plus(asked));
            let message = message.owed_to(delivery.subscription, progress);
            let wait = not_before.map_or(wait, |asked| hold::towards(schedule, asked));
            Some(Onward::new(message, Route::Wait(wait)))
        }
        Verdict::Park(reason) => {
            Some(hold::park(message, progress(delivery.progress.step), reason))
        }
    }
}
