//! From a message to the work that it requires.

use std::sync::Arc;

use super::{
    Context, attempt, disposition,
    matching::{Candidates, Match},
    settle,
};
use homing_broker::{
    Message, Outgoing, Receipt, Route,
    consume::{Lane, Received},
};
use homing_domain::{clock, delivery::Progress, url::EndpointUrl, verdict::ParkReason};
use homing_telemetry::{log_events, metrics};

/// One piece of work, with its share of the receipt.
pub(super) enum Work {
    /// Make the next attempt of a delivery.
    Attempt(PendingDelivery),
    /// Park it.
    Park(Box<Outgoing>, Receipt),
    /// Publish one delivery for each of many subscriptions.
    FanOut(PendingDelivery, Vec<Match>),
    /// Apply the filters beside the lane, and continue with the result.
    Match(PendingDelivery, Candidates),
}

/// A delivery, or the event that deliveries are made from.
pub(super) struct PendingDelivery {
    pub(super) message: Message,
    pub(super) redelivered: bool,
    pub(super) returned: u32,
    pub(super) receipt: Receipt,
    pub(super) turn: Turn,
}

/// The reason for attempting a delivery now.
pub(super) enum Turn {
    /// It is new, or due.
    Due,
    /// The held queue of this slot is emptied.
    Held(u16),
    /// It is in the held queue of this slot, and a probe of this URL has been won.
    Probe(u16, EndpointUrl),
}

impl Turn {
    /// The slot of the held queue that it came from.
    pub(super) fn slot(&self) -> Option<u16> {
        match self {
            Self::Due => None,
            Self::Held(slot) | Self::Probe(slot, _) => Some(*slot),
        }
    }
}

impl From<Lane> for Turn {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Primary | Lane::Retry => Self::Due,
            Lane::Held(slot) => Self::Held(slot),
        }
    }
}

/// Reads a message and decides what has to be done.
pub(super) fn take(context: &Context, lane: Lane, received: Received) -> Vec<Work> {
    let Received { content, redelivered, returned, receipt } = received;
    metrics::received(lane.name());
    if lane == Lane::Primary {
        context.observers.counters.event_taken();
    }
    let now = clock::now();
    let mut message = match content {
        Ok(message) => message,
        Err(unreadable) => {
            log_events::parked_unreadable(unreadable.id.as_deref(), &unreadable.why);
            return vec![Work::Park(Box::new(unreadable.parked(now)), receipt)];
        }
    };
    if lane == Lane::Primary {
        // Only homing sets the progress of a delivery, and only in the retry queue.
        message.progress = Progress::default();
    }
    if message.event.body.len() > context.settings.max_event_bytes {
        let parked = message.parked(ParkReason::TooLarge, now);
        context.observers.parked(&parked, "it is larger than `worker.max_event_bytes`");
        return vec![Work::Park(Box::new(parked.outgoing()), receipt)];
    }
    message.parked = None;
    message.progress.received.get_or_insert(now);
    let is_delivery = message.subscription.is_some();
    let turn = Turn::from(lane);
    let pending = PendingDelivery { message, redelivered, returned, receipt, turn };
    if is_delivery { vec![Work::Attempt(pending)] } else { fan_out(context, pending) }
}

/// Makes one delivery for each subscription that matches the event. A few are attempted right here
/// and share the receipt; many go through the retry queue, so that one event does not fill the
/// lane.
fn fan_out(context: &Context, pending: PendingDelivery) -> Vec<Work> {
    let event = &pending.message.event;
    let candidates = context.subscriptions.candidates(&event.topic);
    let matches = match context.matching.at_once(event, candidates) {
        Ok(matches) => matches,
        Err(candidates) => return vec![Work::Match(pending, candidates)],
    };
    metrics::matched(matches.len());
    if matches.len() > context.settings.max_fan_out_inline {
        return vec![Work::FanOut(pending, matches)];
    }
    let PendingDelivery { message, redelivered, returned, receipt, .. } = pending;
    let works = matches
        .into_iter()
        .map(|matched| match for_subscription(context, &message, matched) {
            (message, Route::Parked) => Work::Park(Box::new(message.outgoing()), receipt.share()),
            (message, _) => Work::Attempt(PendingDelivery {
                message,
                redelivered,
                returned,
                receipt: receipt.share(),
                turn: Turn::Due,
            }),
        })
        .collect();
    receipt.settle();
    works
}

/// The delivery to a subscription, and its route if it is not attempted right here.
fn for_subscription(context: &Context, message: &Message, matched: Match) -> (Message, Route) {
    let (subscription, unmatched) = match matched {
        Match::Matched(id) => (id, false),
        Match::Unreadable(id) => (id, true),
        Match::Undecided(id, why) => {
            let delivery = message.for_subscription(id, message.progress.clone());
            let (parked, route) = disposition::park_unreadable(&delivery, &delivery.progress, &why);
            context.observers.parked(&parked, &why);
            return (parked, route);
        }
    };
    let progress = Progress { unmatched, ..message.progress.clone() };
    (message.for_subscription(subscription, progress), Route::Retry)
}

impl Work {
    /// Does the work and settles the message.
    pub(super) async fn run(self, context: Arc<Context>) {
        match self {
            Self::Attempt(pending) => {
                attempt::attempt(&context, pending).await;
            }
            Self::Park(outgoing, receipt) => {
                context.observers.counters.message_parked();
                let copies = vec![(*outgoing, Route::Parked)];
                Box::pin(settle::settle(&context.broker, copies, receipt)).await;
            }
            Self::FanOut(pending, matches) => {
                Box::pin(publish_each(&context, pending, matches)).await;
            }
            Self::Match(pending, candidates) => {
                let matching = context.matching.beside(&pending.message.event, candidates);
                let matches = Box::pin(matching).await;
                metrics::matched(matches.len());
                Box::pin(match_beside(&context, pending, matches)).await;
            }
        }
    }
}

/// One delivery keeps its event's place in the lane; more go through the retry queue.
async fn match_beside(context: &Context, pending: PendingDelivery, mut matches: Vec<Match>) {
    let [Match::Matched(_) | Match::Unreadable(_)] = &matches[..] else {
        return publish_each(context, pending, matches).await;
    };
    let Some(only) = matches.pop() else { return };
    let (message, _) = for_subscription(context, &pending.message, only);
    attempt::attempt(context, PendingDelivery { message, ..pending }).await;
}

async fn publish_each(context: &Context, pending: PendingDelivery, matches: Vec<Match>) {
    let PendingDelivery { message, redelivered, receipt, .. } = pending;
    let Some(running) = context.dedup.begin(&message, redelivered).await else {
        return receipt.settle();
    };
    let copies = matches.into_iter().map(|matched| {
        let (delivery, route) = for_subscription(context, &message, matched);
        if route == Route::Parked {
            context.observers.counters.message_parked();
        }
        (delivery.outgoing(), route)
    });
    settle::settle(&context.broker, copies, receipt).await;
    running.done();
}
