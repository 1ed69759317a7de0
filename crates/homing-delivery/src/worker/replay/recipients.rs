//! The subscriptions that get an event of a replay.

use super::{Fault, Running};
use crate::worker::{
    index::Entry,
    matching::{Candidates, Match},
};
use homing_broker::{Message, Recipients};
use homing_domain::{id::SubscriptionId, url::EndpointUrl};

/// A subscription that gets an event.
pub(super) struct Recipient {
    pub(super) matched: Match,
    /// Its endpoint; of a subscription that cannot be read, it is not known.
    pub(super) url: Option<EndpointUrl>,
}

impl Running<'_> {
    /// Fails if none of those who were chosen exists.
    pub(super) async fn check_chosen(&self) -> Result<(), Fault> {
        if self.has_chosen() {
            return Ok(());
        }
        self.context.subscriptions.refresh().await?;
        if self.has_chosen() {
            return Ok(());
        }
        Err(Fault::Final("none of the chosen subscriptions exists".to_owned()))
    }

    fn has_chosen(&self) -> bool {
        let selection = &self.replay.selection;
        let Some(index) = self.context.subscriptions.latest().index() else { return false };
        !selection.is_for_some()
            || selection.subscriptions.iter().any(|id| index.get(*id).is_some())
            || selection.url.as_ref().is_some_and(|url| index.any_at(url))
    }

    /// The chosen subscriptions that get an event: those that match, or those that its publisher
    /// named.
    pub(super) async fn matches(&self, message: &Message) -> Vec<Match> {
        let selection = &self.replay.selection;
        if message.recipients != Recipients::Matching {
            let named = message.recipients.ids().iter().copied();
            return named.filter(|id| self.chooses(*id)).map(Match::Matched).collect();
        }
        if selection.unfiltered {
            return self.all_chosen();
        }
        let Candidates { mut decided, mut filtering } =
            self.context.subscriptions.candidates(&message.event.topic);
        decided.retain(|one| match one {
            Match::Matched(id) | Match::Unreadable(id) | Match::Undecided(id, _) => {
                self.chooses(*id)
            }
        });
        filtering.retain(|one| selection.chooses(one.id, &one.spec.url));
        match self.context.matching.at_once(&message.event, Candidates { decided, filtering }) {
            Ok(matches) => matches,
            Err(candidates) => self.context.matching.beside(&message.event, candidates).await,
        }
    }

    /// True if this subscription exists and may get events; of one that cannot be read, the URL is
    /// not known.
    fn chooses(&self, id: SubscriptionId) -> bool {
        let selection = &self.replay.selection;
        let index = self.context.subscriptions.latest().index();
        match index.as_ref().and_then(|index| index.get(id)) {
            Some(Entry::Sound(subscription)) => selection.chooses(id, &subscription.spec.url),
            Some(Entry::Unreadable(_)) => {
                selection.url.is_none()
                    && (selection.subscriptions.is_empty() || selection.subscriptions.contains(&id))
            }
            None => false,
        }
    }

    /// Those who get an event, with their endpoints.
    pub(super) fn recipients(&self, matches: Vec<Match>) -> Vec<Recipient> {
        let index = self.context.subscriptions.latest().index();
        let recipient = |matched: Match| {
            let (Match::Matched(id) | Match::Unreadable(id) | Match::Undecided(id, _)) = &matched;
            let url = match index.as_ref().and_then(|index| index.get(*id)) {
                Some(Entry::Sound(subscription)) => Some(subscription.spec.url.clone()),
                Some(Entry::Unreadable(_)) | None => None,
            };
            Recipient { matched, url }
        };
        matches.into_iter().map(recipient).collect()
    }

    /// All who were chosen, whatever they want.
    fn all_chosen(&self) -> Vec<Match> {
        let selection = &self.replay.selection;
        let chosen = selection.subscriptions.iter().copied().filter(|id| self.chooses(*id));
        let mut chosen: Vec<_> = chosen.collect();
        let index = self.context.subscriptions.latest().index();
        if let Some((url, index)) = selection.url.as_ref().zip(index) {
            chosen.extend(index.sound().filter(|one| one.spec.url == *url).map(|one| one.id));
        }
        chosen.into_iter().map(Match::Matched).collect()
    }
}
