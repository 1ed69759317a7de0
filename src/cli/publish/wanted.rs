//! The subscriptions that want what is published. Not knowing them fails no publish, and hardly
//! delays one.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    cli::{output::Output, words},
    config::Settings,
};
use homing_broker::{Message, message::Recipients};
use homing_delivery::worker::{Matcher, NearMiss, Subscriptions, Wanted};
use homing_store::{Store, StoreError, settings::StoreUrl};

/// Deadline for opening the store and reading the subscriptions.
const OPEN_DEADLINE: Duration = Duration::from_secs(3);
/// Deadline for one event.
const DEADLINE: Duration = Duration::from_millis(100);
/// The age up to which subscriptions count as current.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Unwanted topics that are named.
const MAX_TOPICS: usize = 20;

/// Finds who wants an event; or the reason why that is not known.
pub(super) struct Wanting(Result<Known, String>);

/// The subscriptions, and the time at which they were read last.
struct Known {
    store: Arc<dyn Store>,
    matcher: Matcher,
    read: Mutex<Instant>,
}

/// Events that no subscription wanted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Interest {
    /// Their number.
    unwanted: u64,
    /// Their topics, the first 20.
    unwanted_topics: BTreeMap<String, UnwantedTopic>,
    /// Events of which it is not known.
    wanted_not_known: u64,
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
    /// Opens the store of the settings; creates none where there is none.
    pub(super) async fn open(settings: &Settings) -> Self {
        let file = homing_store::location(&settings.store);
        let is_file = matches!(settings.store.place(), Ok(StoreUrl::Sqlite(_)));
        if is_file && !Path::new(&file).exists() {
            return Self(Err(format!("there is no store at {file}")));
        }
        let opening = async {
            let store = homing_store::open(&settings.store).await?;
            let matcher = Matcher::new(Arc::new(Subscriptions::new(Arc::clone(&store))));
            matcher.refresh().await?;
            Ok::<_, StoreError>(Known { store, matcher, read: Mutex::new(Instant::now()) })
        };
        Self(match timeout(OPEN_DEADLINE, Box::pin(opening)).await {
            Ok(opened) => opened.map_err(|error| error.report()),
            Err(_elapsed) => Err(format!("the store at {file} does not answer")),
        })
    }

    /// The subscriptions that want the event; `None`: not known.
    pub(super) async fn by(&self, message: &Message) -> Option<Wanted> {
        if let Recipients::One(id) = message.recipients {
            return Some(Wanted { number: 1, subscriptions: vec![id], near: Vec::new() });
        }
        let Known { matcher, read, .. } = self.0.as_ref().ok()?;
        let found = async {
            let mut last_read = read.lock().await;
            if last_read.elapsed() >= MAX_AGE {
                matcher.refresh().await.ok()?;
                *last_read = Instant::now();
            }
            drop(last_read);
            matcher.wanted_by(&message.event).await
        };
        timeout(DEADLINE, found).await.ok()?
    }

    /// Says which events no subscription wanted, and closes the store.
    pub(super) async fn end(self, interest: &Interest, output: &mut Output<'_>) {
        for (topic, UnwantedTopic { events, near }) in &interest.unwanted_topics {
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
        if interest.wanted_not_known > 0 {
            let why = self.0.as_ref().err().map_or("there was no time to find out", String::as_str);
            let events = words::count(interest.wanted_not_known, "event");
            output.notice(format_args!("which subscriptions want {events} is not known: {why}"));
        }
        if let Ok(known) = self.0 {
            known.store.close().await;
        }
    }
}

impl Interest {
    /// Adds an event that was published.
    pub(super) fn add(&mut self, message: &Message, wanted: Option<Wanted>) {
        let Some(Wanted { number, near, .. }) = wanted else {
            self.wanted_not_known = self.wanted_not_known.saturating_add(1);
            return;
        };
        if number > 0 {
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
    pub(super) fn add_one(&mut self, message: &Message, wanted: Option<Wanted>) {
        self.wanted_by = wanted.as_ref().map(|wanted| wanted.number);
        self.add(message, wanted);
    }
}
