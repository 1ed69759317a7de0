//! The topics that were seen, with the number of subscriptions that want them at present.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::History;
use homing_delivery::worker::Latest;
use homing_domain::{history::TopicSeen, time::UnixMillis, topic::Topic};
use homing_store::{Store, StoreError, TopicPage};

/// A topic that was unwanted for longer is no news.
const UNWANTED_FOR: Duration = Duration::from_hours(24);
/// Topics with unwanted events that are looked at, the last ones.
const MAX_UNWANTED: u32 = 200;

/// The age up to which the unwanted topics are shown again.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Deadline for reading them.
const UNWANTED_DEADLINE: Duration = Duration::from_secs(2);

/// Unwanted topics, and the time at which they were read; `None`: the store did not answer.
type Seen = (Instant, Option<Arc<Vec<TopicView>>>);

/// Reads topics; cheap to clone.
#[derive(Clone)]
pub struct Topics {
    store: Arc<dyn Store>,
    subscriptions: Latest,
    unwanted: Arc<Mutex<Option<Seen>>>,
}

/// A topic. Instants are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SeenTopic)]
pub struct TopicView {
    /// The topic.
    pub topic: String,
    /// Its first event, as far as it is remembered.
    pub first: String,
    /// Its last event.
    pub last: String,
    /// The number of its events.
    pub events: u64,
    /// Those that no subscription wanted.
    pub unwanted: u64,
    /// The last of these.
    pub last_unwanted: Option<String>,
    /// Subscriptions that want the topic at present; their filters may refuse an event. Absent:
    /// the subscriptions have not been read yet.
    pub subscriptions: Option<usize>,
}

/// A page of topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = TopicsPage)]
pub struct TopicsView {
    /// Ordered by topic.
    pub topics: Vec<TopicView>,
    /// The value of `after` for the next page.
    pub next: Option<String>,
    /// All further topics together, beyond `history.max_topics` or `history.max_names`; its topic
    /// is empty.
    pub others: Option<TopicView>,
}

impl Topics {
    /// The topics in `store`, and who of `subscriptions` wants them.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, subscriptions: Latest) -> Self {
        Self { store, subscriptions, unwanted: Arc::default() }
    }

    /// A page of topics. What was seen in the last seconds may be missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn page(&self, page: &TopicPage) -> Result<TopicsView, StoreError> {
        let listing = self.store.topics(page).await?;
        Ok(TopicsView {
            topics: listing.topics.iter().map(|seen| self.view(seen)).collect(),
            next: listing.next,
            others: listing.others.as_ref().map(|seen| self.view(seen)),
        })
    }

    /// Topics that were seen with `text` in them, at most `limit`, those of the last events first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn with(&self, text: &str, limit: u32) -> Result<Vec<TopicView>, StoreError> {
        let seen = self.store.topics_with(text, limit).await?;
        Ok(seen.iter().map(|seen| self.view(seen)).collect())
    }

    /// Topics of which an event came in the last day that no subscription wanted, and that none
    /// wants at present, the last one first; `None`: the store does not answer. Topics that are
    /// wanted, and whose events filters refuse, are not among them, nor are those of homing's own
    /// events. Some seconds old; the store is
    /// asked every two at most, whether it answers or not, and those who ask meanwhile share that.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn unwanted(&self, now: UnixMillis) -> Option<Arc<Vec<TopicView>>> {
        let mut last = self.unwanted.lock().await;
        if let Some((at, unwanted)) = &*last
            && at.elapsed() < MAX_AGE
        {
            return unwanted.clone();
        }
        let read = timeout(UNWANTED_DEADLINE, self.read_unwanted(now)).await;
        // The overview says why the store does not answer.
        let unwanted = read.ok().and_then(Result::ok).map(Arc::new);
        *last = Some((Instant::now(), unwanted.clone()));
        unwanted
    }

    async fn read_unwanted(&self, now: UnixMillis) -> Result<Vec<TopicView>, StoreError> {
        let seen = self.store.unwanted_topics(now.minus(UNWANTED_FOR), MAX_UNWANTED).await?;
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        let views = seen.iter().map(|seen| self.view(seen));
        let is_own = |view: &TopicView| view.topic.starts_with("homing.");
        Ok(views.filter(|view| view.subscriptions == Some(0) && !is_own(view)).collect())
    }

    fn view(&self, seen: &TopicSeen) -> TopicView {
        let topic = Topic::new(&seen.topic).ok();
        TopicView {
            topic: seen.topic.clone(),
            first: seen.first_ms.to_string(),
            last: seen.last_ms.to_string(),
            events: seen.events,
            unwanted: seen.unwanted,
            last_unwanted: seen.unwanted_ms.map(|at| at.to_string()),
            subscriptions: topic.and_then(|topic| self.subscriptions.count_wanting(&topic)),
        }
    }
}

impl History {
    /// The events of a topic, in a sentence.
    pub(super) async fn about_topic(&self, topic: &Topic) -> Result<String, StoreError> {
        Ok(match self.store.topic(topic.as_str()).await? {
            Some(seen) => format!(
                "the last event with the topic `{topic}` came at {}; of {} since {}, no \
                 subscription wanted {}",
                seen.last_ms, seen.events, seen.first_ms, seen.unwanted
            ),
            None => format!("no event with the topic `{topic}` is known to have come"),
        })
    }
}
