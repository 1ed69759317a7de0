//! One attempt, in the order in which it happens: resolve → admit → perform → judge → record →
//! dispatch. A step that ends the sequence early returns the disposition.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::{
    Context,
    disposition::{self, Disposition, HoldReason, NotAdmitted, SkipReason},
    handler::{AttemptResult, HandlerError, JobOutcome},
    held,
    intake::{PendingDelivery, Turn},
    limits::{Gate, OwnLimits, Permit},
    matching::Match,
    settle::dispatch,
};
use crate::endpoint::RequestError;
use homing_broker::Message;
use homing_domain::{
    circuit::Admission,
    clock,
    delivery::Delivery,
    delivery_control::DeliveryControl,
    error_group::ErrorId,
    schedule::Schedule,
    subscription::Subscription,
    time::UnixMillis,
    verdict::{self, OnGone, ParkReason, Verdict},
};
use homing_store::{Intervention, StoreError};
use homing_telemetry::log_events;

/// A delivery from a held queue that has waited for its turn for this long goes back to its place.
/// The broker closes a channel that holds a message for longer than its `consumer_timeout`, by
/// default half an hour.
const LONGEST_TURN: Duration = Duration::from_secs(600);

/// A delivery, and everything needed to attempt it.
pub(super) struct Task<'a> {
    pub(super) message: &'a Message,
    /// Its state before the attempt.
    pub(super) delivery: &'a Delivery,
    pub(super) subscription: &'a Subscription,
    pub(super) schedule: &'a Schedule,
}

/// The permission under which an attempt is made.
enum Admitted {
    /// The circuit is closed and a permit was free.
    Ordinary(Permit),
    /// The circuit is open, and this delivery is its probe.
    Probe,
}

/// An attempt that was made.
pub(super) struct Attempt {
    pub(super) started: UnixMillis,
    pub(super) ended: UnixMillis,
    /// From the start to the end of the exchange.
    pub(super) duration: Duration,
    pub(super) result: AttemptResult,
}

/// The end of [`attempt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// An attempt was made.
    Attempted,
    /// A failure of our own prevented it, as it would prevent the next one now.
    Prevented,
    /// None was to be made.
    Skipped,
}

/// Makes the next attempt of a delivery and settles its message, or gives it back if it came from a
/// held queue that is not emptied any more.
pub(super) async fn attempt(context: &Context, pending: PendingDelivery) -> Tried {
    let PendingDelivery { message, redelivered, returned, receipt, turn } = pending;
    let Some(mut delivery) = message.delivery() else { return Tried::Skipped };
    let _in_flight = context.observers.counters.in_flight();
    let counted = context.observers.ledger.begin(clock::now());
    let Some(running) = context.dedup.begin(&message, redelivered).await else {
        log_events::repetition_skipped(&delivery);
        receipt.settle();
        return Tried::Skipped;
    };
    jitter(returned).await;
    let (Ok(disposition) | Err(disposition)) = run(context, &message, &mut delivery, turn).await;
    let tried = match &disposition.skipped {
        None => Tried::Attempted,
        Some(_) if disposition.is_prevented() => Tried::Prevented,
        Some(_) => Tried::Skipped,
    };
    context.observers.disposed(&delivery, &disposition);
    if disposition.stays_held() {
        // Dropped, the receipt gives the message back.
        return tried;
    }
    let delivered = disposition.delivered;
    dispatch(context, &delivery, disposition, receipt).await;
    if let Some(started) = delivered {
        counted.delivered(&delivery, started);
    }
    running.done();
    tried
}

/// Runs the steps up to the disposition; `Err`: no attempt was made.
async fn run(
    context: &Context,
    message: &Message,
    delivery: &mut Delivery,
    turn: Turn,
) -> Result<Disposition, Disposition> {
    let subscription = resolve(context, message, delivery).await?;
    if subscription.spec.is_unverified() {
        let progress = delivery.progress.clone();
        let parked = disposition::park(message, progress, ParkReason::Unverified);
        return Err(Disposition::skip(SkipReason::Unverified, Some(parked)).of(&subscription));
    }
    let schedule = context.schedules.get(subscription.spec.schedule.as_deref());
    let task = Task { message, delivery, subscription: &subscription, schedule };
    let admitted = admit(context, &task, turn).await?;
    let attempt = perform(context, &task).await?;
    let verdict = judge(context, &task, &attempt);
    let error = record(context, &task, &attempt, &verdict, admitted).await;
    Ok(disposition::after(&task, &attempt, verdict, error))
}

/// Adds jitter to often-redelivered messages: one of them may kill the workers that attempt it.
/// With jitter, its neighbours finish before it half of the time and do not use up their
/// redeliveries.
async fn jitter(returned: u32) {
    /// Any delivery may be returned this often while workers and connections fail.
    const UNSUSPICIOUS: u32 = 5;
    const WITHIN_MS: u64 = 1_000;
    if returned > UNSUSPICIOUS {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..WITHIN_MS))).await;
    }
}

/// Finds the subscription and makes sure that it matches the event.
async fn resolve(
    context: &Context,
    message: &Message,
    delivery: &mut Delivery,
) -> Result<Arc<Subscription>, Disposition> {
    let subscription = match context.subscriptions.find(delivery.subscription).await {
        Ok(Some(subscription)) => subscription,
        Ok(None) => {
            let reason = ParkReason::SubscriptionDeleted;
            let parked = disposition::park(message, delivery.progress.clone(), reason);
            return Err(Disposition::skip(SkipReason::SubscriptionDeleted, Some(parked)));
        }
        Err(error) => {
            let reason = if matches!(error, StoreError::Corrupt(_)) {
                SkipReason::SubscriptionUnreadable(error)
            } else {
                SkipReason::StoreUnavailable(error)
            };
            let held = disposition::throttled(message, delivery);
            return Err(Disposition::skip(reason, Some(held)));
        }
    };
    if !delivery.progress.unmatched {
        return Ok(subscription);
    }
    // It waited until its filter could be read.
    delivery.progress.unmatched = false;
    match Box::pin(context.matching.one(&delivery.event, &subscription)).await {
        Some(Match::Matched(_) | Match::Unreadable(_)) => Ok(subscription),
        Some(Match::Undecided(_, why)) => {
            let parked = disposition::park_unreadable(message, &delivery.progress, &why);
            let skip = Disposition::skip(SkipReason::Undecided(why), Some(parked));
            Err(skip.of(&subscription))
        }
        None => Err(Disposition::skip(SkipReason::NotWanted, None).of(&subscription)),
    }
}

/// Gets permission to make the attempt now.
async fn admit(context: &Context, task: &Task<'_>, turn: Turn) -> Result<Admitted, Disposition> {
    let Task { message, delivery, subscription, schedule } = *task;
    let now = clock::now();
    let skip = |reason, next| Disposition::skip(reason, Some(next)).of(subscription);
    if let Some(remaining) = delivery.progress.remaining(now) {
        let held = disposition::until_retry_after(message, delivery, schedule, remaining);
        return Err(skip(SkipReason::RetryAfter(remaining), held));
    }
    let url = &subscription.spec.url;
    let (slot, lane) = (turn.slot(), turn.lane());
    if let Turn::Probe(_, probed) = turn
        && probed == *url
    {
        return Ok(Admitted::Probe);
    }
    match context.circuits.admission(url, now, slot.is_some()).await {
        Admission::Pass => {}
        Admission::Probe => return Ok(Admitted::Probe),
        Admission::Refuse(probe_at) => {
            return Err(Box::pin(not_admitted(context, task, slot, probe_at)).await);
        }
    }
    let (gate, own) = (context.limits.gate(url), OwnLimits::of(subscription));
    let throttled = || skip(SkipReason::Throttled(own), disposition::throttled(message, delivery));
    if let Some(slot) = slot {
        // What is held keeps its place for its turn.
        let (over, is_shared) = (context.slots.session(slot), context.slots.is_shared(slot));
        let permit = Box::pin(context.limits.enter_in_turn(&gate, slot, own, is_shared));
        return match over.run_until_cancelled(timeout(LONGEST_TURN, permit)).await {
            Some(Ok(Some(permit))) => Ok(Admitted::Ordinary(permit)),
            // Others wait behind it.
            Some(Ok(None)) if is_shared => Err(throttled()),
            Some(Ok(None) | Err(_)) | None => Err(Disposition::stay_held()),
        };
    }
    if let Some(held) = held_if_slow(context, task, &gate).await {
        return Err(held);
    }
    if let Some(permit) = context.limits.enter(&gate, lane, own).await {
        return Ok(Admitted::Ordinary(permit));
    }
    // That may have been once too often.
    if let Some(held) = held_if_slow(context, task, &gate).await {
        return Err(held);
    }
    let held = for_endpoint(context, task, HoldReason::EndpointSlow);
    let has_to_end = gate.is_slow(own.are_any()) && held.is_over();
    Err(if has_to_end { held.disposition(None).of(subscription) } else { throttled() })
}

/// Holds a delivery to a slow URL; `None`: the URL is not slow, has no slot, or the delivery has
/// waited for as long as it may.
async fn held_if_slow(context: &Context, task: &Task<'_>, gate: &Gate) -> Option<Disposition> {
    if !gate.is_slow(OwnLimits::of(task.subscription).are_any()) {
        return None;
    }
    if gate.has_slowed() {
        // From now on, what comes into its queue is taken at once.
        context.slots.wake();
    }
    let subscription = task.subscription;
    let held = for_endpoint(context, task, HoldReason::EndpointSlow);
    if held.is_over() {
        return None;
    }
    let slot = Box::pin(held::slot_of_slow(context, &subscription.spec.url)).await?;
    Some(held.disposition(Some(slot)).of(subscription))
}

/// The delivery, which waits for its endpoint because of `reason`.
fn for_endpoint<'a>(context: &Context, task: &Task<'a>, reason: HoldReason) -> NotAdmitted<'a> {
    let Task { message, delivery, schedule, .. } = *task;
    NotAdmitted::new(message, delivery, schedule, (reason, context.min_hold))
}

/// Decides where a delivery waits that an open or frozen circuit refuses; nothing is charged. It
/// waits for as long as its schedule is long, or `held.min_hold`.
async fn not_admitted(
    context: &Context,
    task: &Task<'_>,
    slot: Option<u16>,
    probe_at: Option<UnixMillis>,
) -> Disposition {
    let subscription = task.subscription;
    let url = &subscription.spec.url;
    if slot.is_some() && slot == context.slots.of(url) {
        return Disposition::stay_held();
    }
    let reason = probe_at.map_or(HoldReason::CircuitFrozen, |_| HoldReason::CircuitOpen);
    let refused = for_endpoint(context, task, reason);
    let slot = if refused.is_over() { None } else { context.slots.of_refused(url).await };
    refused.disposition(slot).of(subscription)
}

/// Makes the attempt: builds, signs, calls, classifies.
async fn perform(context: &Context, task: &Task<'_>) -> Result<Attempt, Disposition> {
    let (started, clock) = (clock::now(), Instant::now());
    // A handler that panics is our own failure; a message given back would return at once.
    let performed = AssertUnwindSafe(traced(context, task, started)).catch_unwind().await;
    let performed = performed.unwrap_or_else(|_panic| Err("the handler panicked".into()));
    let attempted = performed.map_err(|error| not_attempted(task, error))?;
    let result = attempted.map_err(|wait| snoozed(task, wait))?;
    Ok(Attempt { started, ended: clock::now(), duration: clock.elapsed(), result })
}

/// Makes the attempt, in a span if spans are collected.
async fn traced(
    context: &Context,
    task: &Task<'_>,
    started: UnixMillis,
) -> Result<Result<AttemptResult, Duration>, HandlerError> {
    let Task { delivery, subscription, .. } = *task;
    let Some(tracer) = &context.tracer else {
        let performed = context.handler.attempt(delivery, subscription, started).await;
        return performed.map(JobOutcome::attempted);
    };
    let span = tracer.begin(delivery, started);
    let performed = context.handler.attempt(span.delivery(), subscription, started).await;
    let performed = performed.map(JobOutcome::attempted);
    let attempted = performed.as_ref().ok().and_then(|attempted| attempted.as_ref().ok());
    let outcome = attempted.map(|result| &result.outcome);
    tracer.end(&span, subscription, outcome, clock::now());
    performed
}

/// Decides what follows when the handler snoozed for `wait`.
fn snoozed(task: &Task<'_>, wait: Duration) -> Disposition {
    let Task { message, delivery, subscription, schedule } = *task;
    let next = disposition::snoozed(message, delivery, schedule, wait);
    Disposition::skip(SkipReason::RetryAfter(wait), Some(next)).of(subscription)
}

/// Decides what follows when no attempt could be made because of `error`, which is ours.
fn not_attempted(task: &Task<'_>, error: HandlerError) -> Disposition {
    let Task { message, delivery, subscription, schedule } = *task;
    let (reason, next) = match error.downcast_ref::<RequestError>() {
        // Passes soon: it takes no step of the schedule.
        Some(request) if request.may_pass() => {
            (SkipReason::NotNow(error), disposition::throttled(message, delivery))
        }
        Some(request @ (RequestError::Unfit(_) | RequestError::TooLarge { .. })) => {
            let is_large = matches!(request, RequestError::TooLarge { .. });
            let reason = if is_large { ParkReason::TooLarge } else { ParkReason::Unreadable };
            let why = homing_domain::report::Chain(request).to_string();
            let progress = &delivery.progress;
            let parked = disposition::park_unattempted(message, progress, (reason, &why));
            (SkipReason::NotAttempted(error), parked)
        }
        _ => {
            let reason = ParkReason::Exhausted;
            let next = disposition::to_next_step(message, delivery, schedule, reason);
            (SkipReason::NotAttempted(error), next)
        }
    };
    Disposition::skip(reason, Some(next)).of(subscription)
}

/// Decides what to do about the outcome.
fn judge(context: &Context, task: &Task<'_>, attempt: &Attempt) -> Verdict {
    // Only 2xx ends a delivery. Source: Adobe Workfront, *Event subscription retries*.
    let is_workfronts = task.subscription.spec.workfront.is_some();
    let on_gone = if is_workfronts { OnGone::Retry } else { context.on_gone };
    let AttemptResult { outcome, control, .. } = &attempt.result;
    let step = task.delivery.progress.step;
    let verdict = verdict::verdict(outcome, step, task.schedule, on_gone);
    verdict.controlled(control.filter(|_| !is_workfronts))
}

/// Reports the attempt, updates limits and circuit, and frees the permit; returns the error that the
/// delivery is parked for.
async fn record(
    context: &Context,
    task: &Task<'_>,
    attempt: &Attempt,
    verdict: &Verdict,
    admitted: Admitted,
) -> Option<ErrorId> {
    let error = context.observers.attempted(task, attempt, verdict);
    let error = error.map(|error| context.store.error_id(&error));
    let (url, outcome) = (&task.subscription.spec.url, &attempt.result.outcome);
    let is_workfronts = task.subscription.spec.workfront.is_some();
    let is_disabled = attempt.result.control == Some(DeliveryControl::Disable) && !is_workfronts;
    match admitted {
        Admitted::Ordinary(permit) => {
            permit.ended(outcome, attempt.duration);
            context.circuits.attempted(url, outcome, attempt.ended);
        }
        // As a probe that is accepted it would close the circuit first, and what is held would go.
        Admitted::Probe if is_disabled => context.circuits.attempted(url, outcome, attempt.ended),
        Admitted::Probe => Box::pin(context.circuits.probed(url, outcome, attempt.ended)).await,
    }
    if *verdict == Verdict::Park(ParkReason::Gone) {
        Box::pin(context.circuits.freeze(url, Intervention::Gone)).await;
    } else if is_disabled {
        Box::pin(context.circuits.freeze(url, Intervention::DisableByEndpoint)).await;
    }
    error
}
