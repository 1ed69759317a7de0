//! Deliveries in two versions: for five minutes after a change of the version of a subscription in
//! Workfront's form, new events go to it in both.
//!
//! The versions are fixed at the fan-out, whatever changes until an attempt. The delivery in the
//! former version has a `webhook-id` of its own; each is retried, held, parked, logged and counted
//! by itself.

use std::time::Duration;

use super::{
    Context,
    intake::{PendingDelivery, Turn, group_size},
    matching::Match,
};
use homing_broker::{Message, Outgoing, Recipients, Route};
use homing_domain::{delivery::Progress, id::SubscriptionId, subscription::FixedVersion};

/// A redelivered event may have been taken first within the time, and is taken again after it.
const REDELIVERY_SLACK: Duration = Duration::from_mins(5);

/// A delivery to this subscription in this version.
pub(super) type Fixed = (SubscriptionId, FixedVersion);

/// Takes those out of `matches` that get a new event in both versions; returns two for each.
pub(super) fn take_out(
    context: &Context,
    pending: &PendingDelivery,
    matches: &mut Vec<Match>,
) -> Vec<Fixed> {
    let mut fixed = Vec::new();
    let received = pending.message.progress.received;
    let Some(mut received) = received.filter(|_| matches!(pending.turn, Turn::New)) else {
        return fixed;
    };
    if pending.redelivered || pending.returned > 0 {
        received = received.minus(REDELIVERY_SLACK);
    }
    let subscriptions = &context.subscriptions;
    if subscriptions.may_have_both_versions(received) {
        matches.retain(|one| {
            let Match::Matched(id) = *one else { return true };
            let both = subscriptions.both_versions(id, received);
            fixed.extend(both.into_iter().flatten().map(|version| (id, version)));
            both.is_none()
        });
    }
    fixed
}

/// The message of a delivery in its version.
pub(super) fn message(message: &Message, (subscription, version): Fixed) -> Message {
    message.for_subscription(subscription, in_version(message, version))
}

/// The messages of deliveries in their versions, each for as many subscriptions as can be.
pub(super) fn copies(
    context: &Context,
    message: &Message,
    mut fixed: Vec<Fixed>,
) -> Vec<(Outgoing, Route)> {
    fixed.sort_by_key(|(_, version)| (version.version.as_str(), version.is_former));
    let mut copies = Vec::new();
    for alike in fixed.chunk_by(|(_, one), (_, next)| one == next) {
        for group in alike.chunks(group_size(context)) {
            let Some((_, version)) = group.first() else { continue };
            let recipients = Recipients::named(group.iter().map(|(id, _)| *id));
            let message = message.to(recipients, in_version(message, *version));
            copies.push((message.outgoing(), Route::Retry));
        }
    }
    copies
}

fn in_version(message: &Message, version: FixedVersion) -> Progress {
    Progress { version: Some(version), ..message.progress.clone() }
}
