//! Where a delivery goes that is not attempted now: kept aside, never lost, nothing charged.

use std::time::Duration;

use crate::{
    broker::{Message, Route, topology::BUSY_WAITS},
    clock,
    domain::{
        delivery::{Delivery, Progress},
        schedule::{Next, Schedule},
        verdict::{self, ParkReason},
    },
    telemetry::events,
};

/// Where a delivery goes from here.
pub(super) struct Onward(pub(super) Message, pub(super) Route);

/// Given up, for a person to look at.
pub(super) fn park(message: &Message, progress: Progress, reason: ParkReason) -> Onward {
    let mut parked = message.parked(reason, clock::now());
    parked.progress = progress;
    events::parked(&parked.event, parked.subscription, reason);
    Onward(parked, Route::Parked)
}

/// Waits again, because the endpoint asked for more than the longest wait.
pub(super) fn until_asked(
    message: &Message,
    delivery: &Delivery,
    schedule: &Schedule,
    remaining: Duration,
) -> Onward {
    let [shortest, ..] = BUSY_WAITS;
    events::held("the endpoint asked for more time", None);
    let wait = verdict::hold(schedule, remaining).unwrap_or(shortest);
    let held = message.owed_to(delivery.subscription, delivery.progress.held());
    Onward(held, Route::Wait(wait))
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
    Onward(held, Route::Wait(wait))
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
            Onward(message.owed_to(delivery.subscription, progress), Route::Wait(wait))
        }
        Next::Exhausted => park(message, delivery.progress.held(), reason),
    }
}
