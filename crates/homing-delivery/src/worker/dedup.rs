//! The hops that this process is making or has just made, so that a message redelivered after a
//! lost connection is not attempted again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, Hash, Hasher},
};

use foldhash::{fast::RandomState, quality::FixedState};
use tokio_util::sync::CancellationToken;

use homing_broker::Message;
use parking_lot::Mutex;

/// Well above the number of messages that can be unsettled at one time.
const MAX_DONE: usize = 65_536;

/// One hop of one message: a hash of 128 bits, so that keys do not collide.
///
/// Includes the content, because the publisher chooses the id: a program that uses one id for all
/// its events must not lose any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key([u64; 2]);

impl Key {
    fn of(message: &Message) -> Self {
        Self([1, 2].map(|seed| {
            let mut hasher = FixedState::with_seed(seed).build_hasher();
            message.event.id.hash(&mut hasher);
            message.recipients.hash(&mut hasher);
            message.progress.position().hash(&mut hasher);
            message.progress.version.hash(&mut hasher);
            message.event.topic.hash(&mut hasher);
            message.event.body.hash(&mut hasher);
            hasher.finish()
        }))
    }
}

/// The hops that this process is making and has made.
#[derive(Default)]
pub(super) struct Dedup {
    done: Mutex<Done>,
    /// If another task waits for the end of the hop, its token is cancelled then.
    running: Mutex<HashMap<Key, Option<CancellationToken>, RandomState>>,
}

/// The latest completed hops.
#[derive(Default)]
struct Done {
    keys: HashSet<Key, RandomState>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Done {
    fn insert(&mut self, key: Key) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_DONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

/// A hop under way; over when dropped.
pub(super) struct Running<'a> {
    dedup: &'a Dedup,
    key: Key,
    registered: bool,
}

impl Dedup {
    /// Begins a hop. `None`: this process has made it already, without the broker learning of it.
    pub(super) async fn begin(&self, message: &Message, redelivered: bool) -> Option<Running<'_>> {
        let key = Key::of(message);
        loop {
            if redelivered && self.done.lock().keys.contains(&key) {
                return None;
            }
            // Another message with the same key: a publisher's repetition unless redelivered.
            match self.register(key, redelivered) {
                Registered::Busy(running) => running.cancelled().await,
                Registered::Begun => return Some(Running { dedup: self, key, registered: true }),
                Registered::Beside => {
                    return Some(Running { dedup: self, key, registered: false });
                }
            }
        }
    }

    fn register(&self, key: Key, waits: bool) -> Registered {
        let mut running = self.running.lock();
        match running.get_mut(&key) {
            Some(token) if waits => Registered::Busy(token.get_or_insert_default().clone()),
            Some(_) => Registered::Beside,
            None => {
                running.insert(key, None);
                Registered::Begun
            }
        }
    }
}

/// The result of registering a hop.
enum Registered {
    /// It is registered.
    Begun,
    /// It runs beside another hop with the same key.
    Beside,
    /// Another hop with the same key has to end first.
    Busy(CancellationToken),
}

impl Running<'_> {
    /// Marks the hop as made and its message as settled.
    pub(super) fn done(self) {
        self.dedup.done.lock().insert(self.key);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.registered
            && let Some(Some(waited_for)) = self.dedup.running.lock().remove(&self.key)
        {
            waited_for.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use homing_domain::{event::Event, id::EventId, topic::Topic};

    fn message(body: &'static str) -> Message {
        Message::of_event(Event {
            id: EventId::new("e1").unwrap(),
            topic: Topic::new("t").unwrap(),
            content_type: String::new(),
            content_encoding: None,
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    #[tokio::test]
    async fn a_completed_hop_is_not_repeated_when_the_broker_redelivers() {
        let dedup = Dedup::default();
        dedup.begin(&message("a"), false).await.unwrap().done();
        assert!(dedup.begin(&message("a"), true).await.is_none());
    }

    /// Goal: a full memory still takes new hops. Method: twice as many as it holds.
    #[tokio::test]
    async fn the_latest_are_remembered_however_many_there_were() {
        let dedup = Dedup::default();
        let numbered = |number: usize| {
            let mut message = message("a");
            message.progress.attempts = u32::try_from(number).unwrap();
            message
        };
        for number in 0..MAX_DONE * 2 {
            dedup.begin(&numbered(number), false).await.unwrap().done();
        }
        for number in MAX_DONE * 2 - 1_000..MAX_DONE * 2 {
            assert!(dedup.begin(&numbered(number), true).await.is_none(), "{number}");
        }
        assert_eq!(dedup.done.lock().keys.len(), MAX_DONE);
    }

    #[tokio::test]
    async fn deliveries_in_two_versions_are_two_hops() {
        let dedup = Dedup::default();
        dedup.begin(&message("a"), false).await.unwrap().done();
        let mut former = message("a");
        former.progress.version = "v1 former".parse().ok();
        assert!(dedup.begin(&former, true).await.is_some());
    }

    #[tokio::test]
    async fn an_abandoned_hop_is_begun_again() {
        let dedup = Dedup::default();
        drop(dedup.begin(&message("a"), false).await);
        assert!(dedup.begin(&message("a"), true).await.is_some());
    }

    #[tokio::test]
    async fn a_publisher_that_repeats_an_id_loses_nothing() {
        let dedup = Dedup::default();
        dedup.begin(&message("a"), false).await.unwrap().done();
        assert!(dedup.begin(&message("a"), false).await.is_some());
        assert!(dedup.begin(&message("b"), true).await.is_some());
    }

    /// Goal: a repetition waits for the hop under way. Method: it ends only after the hop does.
    #[tokio::test]
    async fn a_repetition_waits_for_the_hop_under_way() {
        let dedup = Dedup::default();
        let running = dedup.begin(&message("a"), false).await.unwrap();
        let repeated = message("a");
        let repetition = dedup.begin(&repeated, true);
        tokio::pin!(repetition);
        assert!(futures_util::poll!(repetition.as_mut()).is_pending());
        running.done();
        assert!(repetition.await.is_none());
    }
}
