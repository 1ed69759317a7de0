//! The subscriptions that want what was published, found after it is with the broker. Not knowing
//! them fails no publish and delays none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cli::{output::Output, words},
    config::Settings,
};
use homing_broker::{Message, message::Recipients};
use homing_delivery::worker::{Matcher, NearMiss, NotKnown, Subscriptions, Wanted};
use homing_domain::topic::Topic;
use homing_store::{StoreError, settings::StoreSettings};

/// Deadline for one event, and for the opening of the store where it is the first.
const DEADLINE: Duration = Duration::from_secs(3);
/// Deadline for near misses, and for the end of what reads the store.
const END_DEADLINE: Duration = Duration::from_secs(1);
/// Unwanted topics that are named.
const MAX_TOPICS: usize = 20;

/// Finds who wants an event.
pub(super) struct Wanting {
    /// Nothing while the store is being opened; or the reason why it is not known.
    known: watch::Receiver<Option<Result<Arc<Matcher>, String>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Events by the subscriptions that want them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Interest {
    /// Events that a subscription wants.
    wanted: u64,
    /// Events that none wants.
    unwanted: u64,
    /// Their topics, the first 20.
    unwanted_topics: BTreeMap<String, UnwantedTopic>,
    /// Events of which it is not known.
    wanted_not_known: u64,
    /// Those of them whose filters could not be applied.
    #[serde(skip)]
    not_filtered: u64,
    /// The number of subscriptions that want the one event, where there was only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_by: Option<usize>,
}

/// Events with one topic.
#[derive(Debug, Default, Serialize)]
struct UnwantedTopic {
    events: u64,
    near: Vec<NearMiss>,
}

impl Wanting {
    /// Opens the store of the settings in the background; creates none and changes none.
    pub(super) fn open(settings: &Settings) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (knowing, known) = watch::channel(None);
        let (settings, stopped) = (settings.store.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(Box::pin(follow(&settings, &knowing))).await;
        });
        tasks.close();
        Self { known, tasks, stop }
    }

    /// The subscriptions that want the event.
    ///
    /// # Errors
    ///
    /// [`NotKnown::NotRead`]: not in time, or the store cannot be read. [`NotKnown::Filters`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn by(&self, message: &Message) -> Result<Wanted, NotKnown> {
        let mut known = self.known.clone();
        let found = async {
            let known = known.wait_for(Option::is_some).await;
            let known = known.ok().and_then(|known| known.clone());
            let matcher = known.and_then(Result::ok).ok_or(NotKnown::NotRead)?;
            let Recipients::One(id) = message.recipients else {
                return matcher.wanted_by(&message.event).await;
            };
            let exists = matcher.exists(id)?;
            let subscriptions = exists.then_some(id).into_iter().collect();
            Ok(Wanted { number: usize::from(exists), subscriptions, near: Vec::new() })
        };
        timeout(DEADLINE, found).await.unwrap_or(Err(NotKnown::NotRead))
    }

    /// Says which events no subscription wanted, and closes the store.
    pub(super) async fn end(self, interest: &mut Interest, output: &mut Output<'_>) {
        let matcher = self.known.borrow().clone().and_then(Result::ok);
        let nearing = async {
            for (topic, unwanted) in &mut interest.unwanted_topics {
                if let (Some(matcher), Ok(topic)) = (&matcher, Topic::new(topic))
                    && unwanted.near.is_empty()
                {
                    unwanted.near = matcher.near_misses(&topic).await;
                }
            }
        };
        // What takes longer is not named.
        drop(timeout(END_DEADLINE, nearing).await);
        let why = self.known.borrow().clone().and_then(Result::err);
        interest.write(why.as_deref(), output);
        self.stop.cancel();
        // The process ends anyway.
        drop(timeout(END_DEADLINE, self.tasks.wait()).await);
    }
}

/// Opens the store and keeps its subscriptions current, for ever.
async fn follow(
    settings: &StoreSettings,
    known: &watch::Sender<Option<Result<Arc<Matcher>, String>>>,
) {
    let file = homing_store::location(settings);
    let opening = async {
        if !homing_store::is_current(settings).await? {
            return Ok(None);
        }
        let store = homing_store::open(settings).await?;
        let subscriptions = Subscriptions::new(store);
        subscriptions.refresh().await?;
        Ok::<_, StoreError>(Some(subscriptions))
    };
    let why = match opening.await {
        Ok(Some(subscriptions)) => {
            known.send_replace(Some(Ok(Arc::new(Matcher::new(subscriptions.latest())))));
            return subscriptions.follow().await;
        }
        Ok(None) => format!("there is no store at {file} with the schema of this homing"),
        Err(error) => error.report(),
    };
    known.send_replace(Some(Err(why)));
}

impl Interest {
    /// Says which events no subscription wanted, and of which it is not known; `why` nothing is.
    pub(super) fn write(&self, why: Option<&str>, output: &mut Output<'_>) {
        for (topic, UnwantedTopic { events, near }) in &self.unwanted_topics {
            let near: Vec<_> = near
                .iter()
                .map(|NearMiss { subscription, topic, why }| {
                    format!("; near: `{topic}` of {subscription} ({why})")
                })
                .collect();
            let events = words::count(*events, "event");
            output.notice(format_args!(
                "no subscription wants {events} with the topic `{topic}`{}",
                near.concat()
            ));
        }
        if self.wanted_not_known > 0 {
            output.notice(match why {
                Some(why) => {
                    let events = words::count(self.wanted_not_known, "event");
                    format!("which subscriptions want {events} is not known: {why}")
                }
                None => self.summary(),
            });
        }
    }

    /// The counts, and the reasons why not everything is known.
    fn summary(&self) -> String {
        let Self { wanted, unwanted, wanted_not_known, not_filtered, .. } = self;
        let checked = wanted.saturating_add(*unwanted);
        let all = words::count(checked.saturating_add(*wanted_not_known), "event");
        let known = match checked {
            0 => format!("which subscriptions want {all} is not known"),
            _ => format!(
                "of {all} published, {checked} were checked: {wanted} wanted by a subscription, \
                 {unwanted} by none"
            ),
        };
        let late = wanted_not_known.saturating_sub(*not_filtered);
        let reasons = [("not checked in time", late), ("filters not applied", *not_filtered)];
        let reasons = reasons.into_iter().filter(|(_, number)| *number > 0);
        let reasons = reasons.map(|(reason, number)| format!("; {reason}: {number}"));
        reasons.fold(known, |text, reason| text + &reason)
    }

    /// Adds an event that was published.
    pub(super) fn add(&mut self, message: &Message, wanted: Result<Wanted, NotKnown>) {
        let Wanted { number, near, .. } = match wanted {
            Ok(wanted) => wanted,
            Err(why) => {
                self.wanted_not_known = self.wanted_not_known.saturating_add(1);
                let filters = u64::from(why == NotKnown::Filters);
                self.not_filtered = self.not_filtered.saturating_add(filters);
                return;
            }
        };
        if number > 0 {
            self.wanted = self.wanted.saturating_add(1);
            return;
        }
        self.unwanted = self.unwanted.saturating_add(1);
        let topic = message.event.topic.as_str();
        if self.unwanted_topics.len() < MAX_TOPICS || self.unwanted_topics.contains_key(topic) {
            let topic = self.unwanted_topics.entry(topic.to_owned()).or_default();
            topic.events = topic.events.saturating_add(1);
            if topic.near.is_empty() {
                topic.near = near;
            }
        }
    }

    /// Adds the only event.
    pub(super) fn add_one(&mut self, message: &Message, wanted: Result<Wanted, NotKnown>) {
        self.wanted_by = wanted.as_ref().ok().map(|wanted| wanted.number);
        self.add(message, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_is_said_in_one_line_with_the_reason() {
        let interest =
            Interest { wanted: 120, unwanted: 8, wanted_not_known: 9_872, ..Interest::default() };
        insta::assert_snapshot!(interest.summary(), @"of 10000 events published, 128 were checked: 120 wanted by a subscription, 8 by none; not checked in time: 9872");
        let interest = Interest { not_filtered: 2, ..interest };
        insta::assert_snapshot!(interest.summary(), @"of 10000 events published, 128 were checked: 120 wanted by a subscription, 8 by none; not checked in time: 9870; filters not applied: 2");
        let one = Interest { wanted_not_known: 1, ..Interest::default() };
        insta::assert_snapshot!(one.summary(), @"which subscriptions want 1 event is not known; not checked in time: 1");
        let one = Interest { not_filtered: 1, ..one };
        insta::assert_snapshot!(one.summary(), @"which subscriptions want 1 event is not known; filters not applied: 1");
    }
}
