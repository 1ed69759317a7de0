//! Deliveries in two versions: after a change of the version of a subscription in Workfront's form,
//! new events go to it in the former version, too, for five minutes.
//!
//! They are deliveries of their own, with a `webhook-id` of their own: each is retried, held,
//! parked, logged and counted by itself. Only the fan-out of a new event makes one.

use super::{
    Context,
    intake::{PendingDelivery, Turn, group_size},
    matching::Match,
};
use homing_broker::{Message, Outgoing, Recipients, Route};
use homing_domain::{delivery::Progress, id::SubscriptionId, subscription::Version};

/// A subscription, and the version that it had before.
pub(super) type Former = (SubscriptionId, Version);

/// Those of `matches` that get a new event in their former version, too.
pub(super) fn former(
    context: &Context,
    pending: &PendingDelivery,
    matches: &[Match],
) -> Vec<Former> {
    let received = pending.message.progress.received;
    let Some(received) = received.filter(|_| matches!(pending.turn, Turn::New)) else {
        return Vec::new();
    };
    let ids = matches.iter().filter_map(|one| match one {
        Match::Matched(id) => Some(*id),
        // Its version is unknown, or nothing is sent.
        Match::Unreadable(_) | Match::Undecided(..) => None,
    });
    context.subscriptions.in_former_version(ids, received)
}

/// The message of a delivery in the former version.
pub(super) fn message(message: &Message, (subscription, version): Former) -> Message {
    message.for_subscription(subscription, in_version(message, version))
}

/// The messages of deliveries in the former version, each for as many subscriptions as can be.
pub(super) fn copies(
    context: &Context,
    message: &Message,
    former: &[Former],
) -> Vec<(Outgoing, Route)> {
    let mut copies = Vec::new();
    for version in Version::ALL {
        let of_version = former.iter().filter(|(_, former)| *former == version);
        let ids: Vec<_> = of_version.map(|(id, _)| *id).collect();
        copies.extend(ids.chunks(group_size(context)).map(|ids| {
            let recipients = Recipients::named(ids.iter().copied());
            (message.to(recipients, in_version(message, version)).outgoing(), Route::Retry)
        }));
    }
    copies
}

fn in_version(message: &Message, version: Version) -> Progress {
    Progress { version: Some(version), ..message.progress.clone() }
}
