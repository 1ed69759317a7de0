//! From a message to the work that it requires.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Context, attempt, disposition,
    matching::{Candidates, Match},
    settle, versions,
};
use homing_broker::{
    Message, Outgoing, Receipt, Recipients, Route,
    consume::{Lane, Received},
};
use homing_domain::{clock, delivery::Progress, url::EndpointUrl, verdict::ParkReason};
use homing_telemetry::metrics;

/// One piece of work, with its share of the receipt.
pub(super) enum Work {
    /// Make the next attempt of a delivery.
    Attempt(PendingDelivery),
    /// Park it.
    Park(Box<Outgoing>, Receipt),
    /// Publish the deliveries to many subscriptions.
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
#[derive(Clone)]
pub(super) enum Turn {
    /// Its event is new.
    New,
    /// It is due again.
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
            Self::New | Self::Due => None,
            Self::Held(slot) | Self::Probe(slot, _) => Some(*slot),
        }
    }

    /// The lane whose place it takes.
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::New => Lane::Primary,
            Self::Due => Lane::Retry,
            Self::Held(slot) | Self::Probe(slot, _) => Lane::Held(*slot),
        }
    }
}

impl From<Lane> for Turn {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Primary => Self::New,
            Lane::Retry => Self::Due,
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
            context.observers.unreadable(&unreadable);
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
    let recipients = message.recipients.clone();
    if lane == Lane::Primary && recipients != Recipients::Matching {
        context.observers.matched(&message, true);
    }
    let turn = Turn::from(lane);
    let pending = PendingDelivery { message, redelivered, returned, receipt, turn };
    match recipients {
        Recipients::Matching => fan_out(context, pending),
        Recipients::One(_) if lane != Lane::Primary => vec![Work::Attempt(pending)],
        Recipients::One(_) | Recipients::Group(_) => {
            let matches = recipients.ids().iter().copied().map(Match::Matched).collect();
            attempt_each(context, pending, matches)
        }
    }
}

/// Makes one delivery for each subscription that matches the event. A few are attempted right here;
/// many go through the retry queue, so that one event does not fill the lane.
fn fan_out(context: &Context, pending: PendingDelivery) -> Vec<Work> {
    let event = &pending.message.event;
    let candidates = context.subscriptions.candidates(&event.topic);
    let matches = match context.matching.at_once(event, candidates) {
        Ok(matches) => matches,
        Err(candidates) => return vec![Work::Match(pending, candidates)],
    };
    note(context, &pending, &matches);
    if matches.len() > context.settings.max_fan_out_inline {
        return vec![Work::FanOut(pending, matches)];
    }
    attempt_each(context, pending, matches)
}

/// Reports the subscriptions that match an event.
fn note(context: &Context, pending: &PendingDelivery, matches: &[Match]) {
    metrics::matched(matches.len());
    if matches!(pending.turn, Turn::New) {
        context.observers.matched(&pending.message, !matches.is_empty());
    }
}

/// Makes one delivery for each of `matches`, or one in each version; they share the receipt.
fn attempt_each(context: &Context, pending: PendingDelivery, mut matches: Vec<Match>) -> Vec<Work> {
    let fixed = versions::take_out(context, &pending, &mut matches);
    let PendingDelivery { message, redelivered, returned, receipt, turn } = pending;
    let fixed = fixed.into_iter().map(|fixed| (versions::message(&message, fixed), Route::Retry));
    let works = matches
        .into_iter()
        .map(|matched| for_subscription(context, &message, matched))
        .chain(fixed)
        .map(|delivery| match delivery {
            (message, Route::Parked) => Work::Park(Box::new(message.outgoing()), receipt.share()),
            (message, _) => Work::Attempt(PendingDelivery {
                message,
                redelivered,
                returned,
                receipt: receipt.share(),
                turn: turn.clone(),
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
                Box::pin(publish_all(&context, pending, matches)).await;
            }
            Self::Match(pending, candidates) => {
                let matching = context.matching.beside(&pending.message.event, candidates);
                let matches = Box::pin(matching).await;
                note(&context, &pending, &matches);
                Box::pin(match_beside(&context, pending, matches)).await;
            }
        }
    }
}

/// One delivery keeps its event's place in the lane; more go through the retry queue.
async fn match_beside(context: &Context, pending: PendingDelivery, mut matches: Vec<Match>) {
    let fixed = versions::take_out(context, &pending, &mut matches);
    let is_one = matches!(&matches[..], [Match::Matched(_) | Match::Unreadable(_)]);
    if !is_one || !fixed.is_empty() {
        return publish_each(context, pending, matches, fixed).await;
    }
    let Some(only) = matches.pop() else { return };
    let (message, _) = for_subscription(context, &pending.message, only);
    attempt::attempt(context, PendingDelivery { message, ..pending }).await;
}

async fn publish_all(context: &Context, pending: PendingDelivery, mut matches: Vec<Match>) {
    let fixed = versions::take_out(context, &pending, &mut matches);
    publish_each(context, pending, matches, fixed).await;
}

/// Publishes the deliveries to the retry queue: as few messages as can be, each for as many
/// subscriptions as one worker attempts. A worker of an earlier version would take a message for
/// several as an event for all, so while one runs, each delivery is a message.
async fn publish_each(
    context: &Context,
    pending: PendingDelivery,
    matches: Vec<Match>,
    fixed: Vec<versions::Fixed>,
) {
    let PendingDelivery { message, redelivered, receipt, .. } = pending;
    let Some(running) = context.dedup.begin(&message, redelivered).await else {
        return receipt.settle();
    };
    let fixed = versions::copies(context, &message, fixed);
    let copies = copies(context, &message, matches).into_iter().chain(fixed);
    settle::settle(&context.broker, copies, receipt).await;
    running.done();
}

/// Subscriptions that one message is for at most.
pub(super) fn group_size(context: &Context) -> usize {
    let may_group = context.may_group.load(Ordering::Relaxed);
    let most = if may_group { context.broker.max_named() } else { 1 };
    context.settings.max_fan_out_inline.clamp(1, most)
}

/// The deliveries of `message` to those that match, in as few messages as can be.
pub(super) fn copies(
    context: &Context,
    message: &Message,
    matches: Vec<Match>,
) -> Vec<(Outgoing, Route)> {
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    for one in matches {
        match one {
            Match::Matched(id) => ids.push(id),
            Match::Unreadable(_) | Match::Undecided(..) => others.push(one),
        }
    }
    let groups = ids.chunks(group_size(context)).map(|ids| Recipients::named(ids.iter().copied()));
    let groups = groups.map(|recipients| {
        (message.to(recipients, message.progress.clone()).outgoing(), Route::Retry)
    });
    let alone = others.into_iter().map(|matched| {
        let (delivery, route) = for_subscription(context, message, matched);
        if route == Route::Parked {
            context.observers.counters.message_parked();
        }
        (delivery.outgoing(), route)
    });
    groups.chain(alone).collect()
}
