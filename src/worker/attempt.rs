//! One attempt, in the order in which it happens.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::{Context, intake::Owed, settle::settle};
use crate::{
    broker::{Message, Route, topology::BUSY_WAITS},
    clock,
    domain::{
        delivery::{Delivery, Progress},
        schedule::{Next, Schedule},
        time::UnixMillis,
        verdict::{self, ParkReason, Verdict},
    },
    telemetry::events::{self, Attempted},
};

/// Where a delivery goes from here.
struct Onward(Message, Route);

/// Makes the next attempt of a delivery and settles its message.
///
/// Emits one `delivery.attempted` event with everything known; the layers below emit none.
pub(super) async fn attempt(context: &Context, owed: Owed) {
    let Owed { message, redelivered, receipt } = owed;
    let Some(delivery) = message.delivery() else { return };
    let span = events::attempt_span(&delivery);
    async {
        // 1 skip what this process has done already
        let Some(running) = context.recent.begin(&message, redelivered).await else {
            events::repetition_skipped();
            return receipt.settle();
        };
        // 2 … 8
        let onward = next(context, &message, &delivery).await;
        // 9 hand on, answer
        let onward = onward.map(|Onward(message, route)| (message.outgoing(), route));
        settle(&context.broker, onward.into_iter().collect(), receipt).await;
        // 10 remember
        running.done();
    }
    .instrument(span)
    .await;
}

/// `None`: it is done.
async fn next(context: &Context, message: &Message, delivery: &Delivery) -> Option<Onward> {
    // 2 find to whom it is owed
    let subscription = match context.subscriptions.find(delivery.subscription).await {
        Ok(Some(subscription)) => subscription,
        Ok(None) => {
            let reason = ParkReason::SubscriptionDeleted;
            return Some(park(message, delivery.progress.clone(), reason));
        }
        Err(error) => {
            events::held("store unavailable", Some(&error));
            return Some(hold_briefly(message, delivery));
        }
    };
    let schedule = context.schedules.get(subscription.terms.schedule.as_deref());
    // 3 not sooner than the endpoint asked
    let now = clock::now();
    if let Some(remaining) = remaining(&delivery.progress, now) {
        return Some(hold_for(message, delivery, schedule, remaining));
    }
    // 4 build, sign, call, classify
    let started = Instant::now();
    let attempted = context.handler.attempt(delivery, &subscription, now).await;
    let duration = started.elapsed();
    let outcome = match attempted {
        Ok(outcome) => outcome,
        Err(error) => {
            events::not_attempted(error.as_ref());
            return Some(hold_at_next_step(message, delivery, schedule));
        }
    };
    // 5 judge
    let verdict = verdict::verdict(&outcome, delivery.progress.step, schedule);
    // 6 tell
    let told = Attempted { delivery, subscription: &subscription, outcome: &outcome, duration };
    events::attempted(&told, &verdict);
    // 7 write down how far it has come, 8 choose where it goes
    let ended = clock::now();
    let progress = |step| delivery.progress.failed(outcome.to_string(), step, ended);
    match verdict {
        Verdict::Done => None,
        Verdict::Wait { step, wait, not_before } => {
            let mut progress = progress(step);
            progress.not_before = not_before.map(|asked| ended.plus(asked));
            Some(Onward(message.owed_to(subscription.id, progress), Route::Wait(wait)))
        }
        Verdict::Park(reason) => Some(park(message, progress(delivery.progress.step), reason)),
    }
}

fn park(message: &Message, progress: Progress, reason: ParkReason) -> Onward {
    let mut parked = message.parked(reason, clock::now());
    parked.progress = progress;
    events::parked(&parked.event, parked.subscription, reason);
    Onward(parked, Route::Parked)
}

/// How long the endpoint still wants to be left alone.
fn remaining(progress: &Progress, now: UnixMillis) -> Option<Duration> {
    progress.not_before.map(|instant| instant.since(now)).filter(|remaining| !remaining.is_zero())
}

/// Waits again, because the endpoint asked for more than the longest wait. Nothing is charged.
fn hold_for(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    remaining: Duration,
) -> Onward {
    events::held("the endpoint asked for more time", None);
    let wait = verdict::hold(schedule, remaining).unwrap_or(BUSY_WAITS[0]);
    let held = message.owed_to(delivery.subscription, delivery.progress.held());
    Onward(held, Route::Wait(wait))
}

/// Waits for seconds, because of something on our side that passes.
fn hold_briefly(message: &Message, delivery: &Delivery) -> Onward {
    let [first, second, third, longest] = BUSY_WAITS;
    let wait = match delivery.progress.holds {
        0 => first,
        1 => second,
        2 => third,
        _ => longest,
    };
    let held = message.owed_to(delivery.subscription, delivery.progress.held());
    Onward(held, Route::Wait(wait))
}

/// Waits for the next step without an attempt; at the end of the schedule it is parked, so that
/// our own failure does not keep it for ever.
fn hold_at_next_step(message: &Message, delivery: &Delivery, schedule: &Schedule) -> Onward {
    match schedule.after(delivery.progress.step) {
        Next::Wait { step, wait } => {
            let progress = Progress { step, ..delivery.progress.held() };
            Onward(message.owed_to(delivery.subscription, progress), Route::Wait(wait))
        }
        Next::Exhausted => park(message, delivery.progress.held(), ParkReason::Exhausted),
    }
}
