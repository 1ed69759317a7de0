//! From a message to the work it stands for.

use std::sync::Arc;

use super::{
    Context, attempt, hold,
    matching::{Candidates, Match},
    settle,
};
use crate::{
    broker::{
        Message, Outgoing, Receipt, Route,
        consume::{Lane, Received},
    },
    clock,
    domain::{delivery::Progress, verdict::ParkReason},
    telemetry::{events, metrics},
};

/// One piece of work, with its share of the obligation to answer.
pub(super) enum Work {
    /// Make the next attempt of a delivery.
    Attempt(Owed),
    /// Put it aside.
    Park(Box<Outgoing>, Receipt),
    /// Publish one delivery for each of many subscriptions.
    FanOut(Owed, Vec<Match>),
    /// Find out beside the lane who wants an event, and go on from there.
    Match(Owed, Candidates),
}

/// A delivery, or the event that deliveries are made from.
pub(super) struct Owed {
    pub(super) message: Message,
    pub(super) redelivered: bool,
    pub(super) returned: u32,
    pub(super) receipt: Receipt,
}

/// Reads a message and finds out what has to be done.
pub(super) fn take(context: &Context, lane: Lane, received: Received) -> Vec<Work> {
    let Received { content, redelivered, returned, receipt } = received;
    metrics::received(lane.name());
    if lane == Lane::Primary {
        context.meter.took_event();
    }
    let now = clock::now();
    let mut message = match content {
        Ok(message) => message,
        Err(unreadable) => {
            events::parked_unreadable(unreadable.id.as_deref(), &unreadable.why);
            return vec![Work::Park(Box::new(unreadable.parked(now)), receipt)];
        }
    };
    if lane == Lane::Primary {
        // Only homing says how far a delivery has come, and it says so in the retry queue.
        message.progress = Progress::default();
    }
    if message.event.body.len() > context.settings.event_bytes_max {
        let parked = message.parked(ParkReason::TooLarge, now);
        events::parked(&parked.event, parked.subscription, ParkReason::TooLarge);
        context.recorder.parked(&parked, "it is larger than `worker.event_bytes_max`");
        return vec![Work::Park(Box::new(parked.outgoing()), receipt)];
    }
    message.parked = None;
    message.progress.received.get_or_insert(now);
    match message.subscription {
        Some(_) => vec![Work::Attempt(Owed { message, redelivered, returned, receipt })],
        None => fan_out(context, Owed { message, redelivered, returned, receipt }),
    }
}

/// One delivery for each subscription that wants the event. Few are attempted here and now and
/// share the receipt; many go through the retry queue, so that one event does not fill the lane.
fn fan_out(context: &Context, owed: Owed) -> Vec<Work> {
    let event = &owed.message.event;
    let candidates = context.subscriptions.candidates(&event.topic);
    let matches = match context.matching.at_once(event, candidates) {
        Ok(matches) => matches,
        Err(candidates) => return vec![Work::Match(owed, candidates)],
    };
    metrics::matched(matches.len());
    if matches.len() > context.settings.fan_out_inline_max {
        return vec![Work::FanOut(owed, matches)];
    }
    let Owed { message, redelivered, returned, receipt } = owed;
    let works = matches
        .into_iter()
        .map(|matched| match owed_to(context, &message, matched) {
            (message, Route::Parked) => Work::Park(Box::new(message.outgoing()), receipt.share()),
            (message, _) => {
                Work::Attempt(Owed { message, redelivered, returned, receipt: receipt.share() })
            }
        })
        .collect();
    receipt.settle();
    works
}

/// The delivery to a subscription, and where it goes if it is not attempted here and now.
fn owed_to(context: &Context, message: &Message, matched: Match) -> (Message, Route) {
    let (subscription, unmatched) = match matched {
        Match::Wanted(id) => (id, false),
        Match::Unknown(id) => (id, true),
        Match::Undecided(id, why) => {
            let delivery = message.owed_to(id, message.progress.clone());
            let parked = hold::park_unreadable(&delivery, &delivery.progress, &why);
            context.recorder.parked(&parked.message, &why);
            return (parked.message, parked.route);
        }
    };
    let progress = Progress { unmatched, ..message.progress.clone() };
    (message.owed_to(subscription, progress), Route::Retry)
}

impl Work {
    /// Does it, answer included.
    pub(super) async fn run(self, context: Arc<Context>) {
        match self {
            Self::Attempt(owed) => attempt::attempt(&context, owed).await,
            Self::Park(outgoing, receipt) => {
                context.meter.parks();
                let onward = vec![(*outgoing, Route::Parked)];
                settle::settle(&context.broker, onward, receipt).await;
            }
            Self::FanOut(owed, matches) => publish_each(&context, owed, matches).await,
            Self::Match(owed, candidates) => {
                let matches = context.matching.beside(&owed.message.event, candidates).await;
                metrics::matched(matches.len());
                match_beside(&context, owed, matches).await;
            }
        }
    }
}

/// One delivery has the place that its event has in the lane; more go through the retry queue.
async fn match_beside(context: &Context, owed: Owed, mut matches: Vec<Match>) {
    let [Match::Wanted(_) | Match::Unknown(_)] = &matches[..] else {
        return publish_each(context, owed, matches).await;
    };
    let Some(only) = matches.pop() else { return };
    let Owed { message, redelivered, returned, receipt } = owed;
    let (message, _) = owed_to(context, &message, only);
    attempt::attempt(context, Owed { message, redelivered, returned, receipt }).await;
}

async fn publish_each(context: &Context, owed: Owed, matches: Vec<Match>) {
    let Owed { message, redelivered, receipt, .. } = owed;
    let Some(running) = context.recent.begin(&message, redelivered).await else {
        return receipt.settle();
    };
    let onward = matches.into_iter().map(|matched| {
        let (delivery, route) = owed_to(context, &message, matched);
        if route == Route::Parked {
            context.meter.parks();
        }
        (delivery.outgoing(), route)
    });
    settle::settle(&context.broker, onward, receipt).await;
    running.done();
}
