//! From a message to the work it stands for.

use std::sync::Arc;

use super::{Context, attempt, settle, subscriptions::Match};
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
    if message.event.body.len() > context.settings.event_bytes_max {
        let parked = message.parked(ParkReason::TooLarge, now);
        events::parked(&parked.event, parked.subscription, ParkReason::TooLarge);
        context.recorder.too_large(&parked);
        return vec![Work::Park(Box::new(parked.outgoing()), receipt)];
    }
    if lane == Lane::Primary {
        // Only homing says how far a delivery has come, and it says so in the retry queue.
        message.progress = Progress::default();
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
    let wanting = context.subscriptions.wanting(&owed.message.event);
    metrics::matched(wanting.len());
    if wanting.len() > context.settings.fan_out_inline_max {
        return vec![Work::FanOut(owed, wanting)];
    }
    let Owed { message, redelivered, returned, receipt } = owed;
    let works = wanting
        .into_iter()
        .map(|matched| {
            Work::Attempt(Owed {
                message: owed_to(&message, matched),
                redelivered,
                returned,
                receipt: receipt.share(),
            })
        })
        .collect();
    receipt.settle();
    works
}

fn owed_to(message: &Message, matched: Match) -> Message {
    let (subscription, unmatched) = match matched {
        Match::Wanted(id) => (id, false),
        Match::Unknown(id) => (id, true),
    };
    message.owed_to(subscription, Progress { unmatched, ..message.progress.clone() })
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
            Self::FanOut(owed, wanting) => publish_each(&context, owed, wanting).await,
        }
    }
}

async fn publish_each(context: &Context, owed: Owed, wanting: Vec<Match>) {
    let Owed { message, redelivered, receipt, .. } = owed;
    let Some(running) = context.recent.begin(&message, redelivered).await else {
        return receipt.settle();
    };
    let onward =
        wanting.into_iter().map(|matched| (owed_to(&message, matched).outgoing(), Route::Retry));
    settle::settle(&context.broker, onward, receipt).await;
    running.done();
}
