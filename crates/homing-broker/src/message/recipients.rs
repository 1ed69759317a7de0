//! The subscriptions that a message is for.

use std::sync::Arc;

use homing_domain::id::SubscriptionId;

/// The most subscriptions that one message names.
pub const MAX_NAMED: usize = 64;

/// The subscriptions that a message is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Recipients {
    /// Every one that matches: the message is an event.
    #[default]
    Matching,
    /// This one: the message is a delivery.
    One(SubscriptionId),
    /// These, no two alike: the message is a delivery to each of them.
    Group(Arc<[SubscriptionId]>),
}

impl Recipients {
    /// The recipients with these ids, each once; every one that matches if there are none.
    pub fn named(ids: impl IntoIterator<Item = SubscriptionId>) -> Self {
        let mut named: Vec<SubscriptionId> = Vec::new();
        for id in ids {
            if !named.contains(&id) {
                named.push(id);
            }
        }
        match named[..] {
            [] => Self::Matching,
            [only] => Self::One(only),
            [..] => Self::Group(named.into()),
        }
    }

    /// The ids; empty if every subscription that matches is meant.
    #[must_use]
    pub fn ids(&self) -> &[SubscriptionId] {
        match self {
            Self::Matching => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Group(ids) => ids,
        }
    }

    /// One entry for each delivery that the message is; a single `None` for an event.
    pub fn each(&self) -> impl Iterator<Item = Option<SubscriptionId>> {
        let event = matches!(self, Self::Matching).then_some(None);
        event.into_iter().chain(self.ids().iter().copied().map(Some))
    }
}
