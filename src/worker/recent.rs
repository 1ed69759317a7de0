//! What this process is doing and has just done, so that a message which the broker sends again
//! after a lost connection is not attempted again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Message,
    domain::{
        delivery::Position,
        id::{EventId, SubscriptionId},
    },
};

/// Well above what can be unanswered at one time; more need not be remembered.
const DONE_MAX: u64 = 65_536;

/// One hop of one message.
///
/// With a hash of the content, because the id is the publisher's: a program that uses one id for
/// everything must not lose events by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    event: EventId,
    subscription: Option<SubscriptionId>,
    position: Position,
    content: u64,
}

impl Key {
    fn of(message: &Message) -> Self {
        let mut content = DefaultHasher::new();
        message.event.topic.as_str().hash(&mut content);
        message.event.body.hash(&mut content);
        Self {
            event: message.event.id.clone(),
            subscription: message.subscription,
            position: message.progress.position(),
            content: content.finish(),
        }
    }
}

/// The hops that this process is making and has made.
pub(super) struct Recent {
    done: Cache<Key, ()>,
    /// The token is cancelled when the hop ends, one way or the other.
    running: Mutex<HashMap<Key, CancellationToken>>,
}

impl Default for Recent {
    fn default() -> Self {
        // The latest are needed; the default policy would keep those that were asked for.
        let policy = EvictionPolicy::lru();
        let done = Cache::builder().max_capacity(DONE_MAX).eviction_policy(policy).build();
        Self { done, running: Mutex::default() }
    }
}

/// A hop that is being made; over when dropped.
pub(super) struct Running<'a> {
    recent: &'a Recent,
    key: Key,
    registered: bool,
}

impl Recent {
    /// Begins a hop. `None`: this process has made it already; only the broker did not learn of it.
    pub(super) async fn begin(&self, message: &Message, redelivered: bool) -> Option<Running<'_>> {
        let key = Key::of(message);
        loop {
            if redelivered && self.done.contains_key(&key) {
                return None;
            }
            match self.register(&key) {
                // Another message with the same key: a publisher's repetition unless redelivered.
                Err(running) if redelivered => running.cancelled().await,
                registered => {
                    return Some(Running { recent: self, registered: registered.is_ok(), key });
                }
            }
        }
    }

    fn register(&self, key: &Key) -> Result<(), CancellationToken> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = running.get(key) {
            return Err(token.clone());
        }
        running.insert(key.clone(), CancellationToken::new());
        Ok(())
    }
}

impl Running<'_> {
    /// The hop is made and its message answered.
    pub(super) fn done(self) {
        self.recent.done.insert(self.key.clone(), ());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.registered {
            return;
        }
        let mut running = self.recent.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = running.remove(&self.key) {
            token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{event::Event, topic::Topic};

    fn message(body: &'static str) -> Message {
        Message::of_event(Event {
            id: EventId::new("e1").unwrap(),
            topic: Topic::new("t").unwrap(),
            content_type: String::new(),
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    #[tokio::test]
    async fn what_was_done_is_not_begun_again_when_the_broker_repeats_it() {
        let recent = Recent::default();
        recent.begin(&message("a"), false).await.unwrap().done();
        assert!(recent.begin(&message("a"), true).await.is_none());
    }

    /// Goal: a full memory still takes in what comes. Method: twice as many as it holds.
    #[tokio::test]
    async fn the_latest_are_remembered_however_many_there_were() {
        let recent = Recent::default();
        let numbered = |number: u64| {
            let mut message = message("a");
            message.progress.attempts = u32::try_from(number).unwrap();
            message
        };
        for number in 0..DONE_MAX * 2 {
            recent.begin(&numbered(number), false).await.unwrap().done();
        }
        recent.done.run_pending_tasks();
        for number in DONE_MAX * 2 - 1_000..DONE_MAX * 2 {
            assert!(recent.begin(&numbered(number), true).await.is_none(), "{number}");
        }
        assert!(recent.done.entry_count() <= DONE_MAX);
    }

    #[tokio::test]
    async fn what_was_given_up_is_begun_again() {
        let recent = Recent::default();
        drop(recent.begin(&message("a"), false).await);
        assert!(recent.begin(&message("a"), true).await.is_some());
    }

    #[tokio::test]
    async fn a_publisher_that_repeats_an_id_loses_nothing() {
        let recent = Recent::default();
        recent.begin(&message("a"), false).await.unwrap().done();
        assert!(recent.begin(&message("a"), false).await.is_some());
        assert!(recent.begin(&message("b"), true).await.is_some());
    }

    /// Goal: a repetition waits for the hop under way. Method: it ends only after the hop does.
    #[tokio::test]
    async fn a_repetition_waits_for_the_hop_under_way() {
        let recent = Recent::default();
        let running = recent.begin(&message("a"), false).await.unwrap();
        let repeated = message("a");
        let repetition = recent.begin(&repeated, true);
        tokio::pin!(repetition);
        assert!(futures_util::poll!(repetition.as_mut()).is_pending());
        running.done();
        assert!(repetition.await.is_none());
    }
}
