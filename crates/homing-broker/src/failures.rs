//! Queues and addresses to which publishing fails while it may work elsewhere.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{error::BrokerError, publish::Address};

/// A failure is remembered for this long: a message that is published again is so within seconds.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A failure that goes on is logged again after this time.
const LOG_INTERVAL: Duration = Duration::from_secs(600);
/// Failures that are remembered. Beyond that the oldest are forgotten, and a new one is logged only
/// if its cause was not logged for a while.
const MAX_REMEMBERED: usize = 256;
/// Queues and addresses that are named to others.
const MAX_NAMED: usize = 8;

/// Failures to publish; each is logged once, and again while it goes on. Forgotten when a message
/// is taken there, or when none was refused for a while.
#[derive(Default)]
pub(super) struct Failures {
    latest: Mutex<BTreeMap<Place, Failure>>,
    /// True if there are any, so that a publish need not take the lock.
    any: AtomicBool,
}

/// A place that takes no messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Queue(String),
    /// An address, and the queue of homing's that is for it.
    Address(Address, String),
}

/// The latest failure.
struct Failure {
    at: Instant,
    logged_at: Instant,
    summary: &'static str,
    /// True if a queue takes no messages.
    is_nack: bool,
}

impl Failures {
    /// Notes that a message for `queue` was taken at `address`.
    pub(super) fn worked(&self, queue: &str, address: &Address) {
        if self.any.load(Ordering::Relaxed) {
            let mut latest = self.latest.lock();
            latest.retain(|place, failure| {
                let works = match place {
                    Place::Queue(name) => name == queue,
                    Place::Address(one, _) => one == address,
                };
                !works && failure.at.elapsed() < REMEMBERED
            });
            self.any.store(!latest.is_empty(), Ordering::Relaxed);
        }
    }

    /// Notes a failure; returns true if it is to be logged. `None`: it is not about a queue or an
    /// address.
    pub(super) fn failed(
        &self,
        queue: &str,
        address: &Address,
        error: &BrokerError,
    ) -> Option<bool> {
        let is_nack = matches!(error, BrokerError::Nacked { .. });
        // Any queue that is bound for a topic may have refused the message.
        let is_of_queue = is_nack && queue == address.routing_key;
        let place = if is_of_queue || matches!(error, BrokerError::TimedOut { .. }) {
            Place::Queue(queue.to_owned())
        } else if is_nack
            || error.is_of_a_channel()
            || matches!(error, BrokerError::Unroutable { .. })
        {
            Place::Address(address.clone(), queue.to_owned())
        } else {
            return None;
        };
        let (at, summary) = (Instant::now(), error.summary());
        let mut latest = self.latest.lock();
        let is_same = |before: &&Failure| {
            before.summary == summary
                && before.at.elapsed() < REMEMBERED
                && before.logged_at.elapsed() < LOG_INTERVAL
        };
        let is_full = latest.len() >= MAX_REMEMBERED && !latest.contains_key(&place);
        let before = if is_full {
            latest.values().filter(is_same).max_by_key(|before| before.logged_at)
        } else {
            latest.get(&place).filter(is_same)
        };
        let logged_at = before.map(|before| before.logged_at);
        if is_full && let Some(oldest) = latest.iter().min_by_key(|(_, failure)| failure.at) {
            let oldest = oldest.0.clone();
            latest.remove(&oldest);
        }
        let failure = Failure { at, logged_at: logged_at.unwrap_or(at), summary, is_nack };
        latest.insert(place, failure);
        self.any.store(true, Ordering::Relaxed);
        Some(logged_at.is_none())
    }

    /// The queues that take no messages, each with the reason: at most [`MAX_NAMED`].
    pub(super) fn refusing(&self) -> Vec<String> {
        let why =
            "takes no messages: it is full (a `max-length`, of a policy?), or its leader is away";
        let latest = self.latest.lock();
        let nacks = latest.iter().filter(|(_, it)| it.is_nack && it.at.elapsed() < REMEMBERED);
        let named = nacks.take(MAX_NAMED).map(|(place, _)| match place {
            Place::Queue(queue) => format!("`{queue}` {why}"),
            Place::Address(Address { exchange, routing_key }, queue) => {
                format!("`{queue}`, or another queue of `{exchange}` for `{routing_key}`, {why}")
            }
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    fn address(key: &str) -> Address {
        Address { exchange: "e".to_owned(), routing_key: key.to_owned() }
    }

    fn nack(failures: &Failures, queue: &str, key: &str) -> Option<bool> {
        let Address { exchange, routing_key } = address(key);
        failures.failed(queue, &address(key), &BrokerError::Nacked { exchange, routing_key })
    }

    /// A message that is denied among others of its queue that are taken.
    fn deny(failures: &Failures, key: &str) -> Option<bool> {
        let reply = Reply { code: 403, text: "ACCESS_REFUSED".to_owned() };
        let error = BrokerError::Answered { step: "publishing".to_owned(), reply };
        let is_logged = failures.failed("primary", &address(key), &error);
        failures.worked("primary", &address("fine"));
        is_logged
    }

    /// The queues that are named.
    fn refusing(failures: &Failures) -> Vec<String> {
        let named = failures.refusing().into_iter();
        named.filter_map(|it| Some(it.split_once(" takes ")?.0.to_owned())).collect()
    }

    #[test]
    fn a_queue_that_refuses_is_named_until_it_takes_something() {
        let failures = Failures::default();
        let nack = |queue: &str| nack(&failures, queue, queue);
        assert_eq!(
            (nack("parked"), nack("retry"), nack("parked")),
            (Some(true), Some(true), Some(false))
        );
        assert_eq!(failures.failed("wait", &address("wait"), &BrokerError::Closed), None);
        assert_eq!(refusing(&failures), ["`parked`", "`retry`"]);
        failures.worked("retry", &address("retry"));
        failures.worked("other", &address("other"));
        assert_eq!(refusing(&failures), ["`parked`"]);
        failures.worked("parked", &address("parked"));
        assert_eq!(refusing(&failures), [""; 0]);
        assert_eq!(nack("parked"), Some(true));
    }

    /// Goal: homing's queue is not blamed for one of another application that is bound for a topic.
    #[test]
    fn a_topic_that_a_queue_refuses_is_named_until_it_is_taken() {
        let failures = Failures::default();
        assert_eq!(nack(&failures, "primary", "a"), Some(true));
        failures.worked("primary", &address("b"));
        assert_eq!(nack(&failures, "primary", "a"), Some(false));
        assert_eq!(refusing(&failures), ["`primary`, or another queue of `e` for `a`,"]);
        failures.worked("primary", &address("a"));
        assert_eq!(refusing(&failures), [""; 0]);
        for number in 0..2 * MAX_NAMED {
            nack(&failures, "primary", &number.to_string());
        }
        assert_eq!(refusing(&failures).len(), MAX_NAMED);
    }

    /// Goal: a topic that is denied is logged now and then, however often it and others of its
    /// queue are published.
    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_denied_is_logged_once_and_again_after_a_while() {
        const PAUSE: Duration = Duration::from_secs(5);
        let failures = Failures::default();
        let mut logged = 0;
        let mut passed = Duration::ZERO;
        while passed < 2 * LOG_INTERVAL + REMEMBERED {
            let [a, b] = ["a", "b"].map(|key| deny(&failures, key));
            assert_eq!(a, b);
            logged += u32::from(a == Some(true));
            tokio::time::advance(PAUSE).await;
            passed += PAUSE;
        }
        assert_eq!(logged, 3);
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(deny(&failures, "a"), Some(true));
    }

    #[test]
    fn a_topic_without_a_queue_is_logged_once() {
        let failures = Failures::default();
        let error =
            || BrokerError::Unroutable { exchange: "e".to_owned(), routing_key: "a".to_owned() };
        let failed = || failures.failed("primary", &address("a"), &error());
        assert_eq!((failed(), failed()), (Some(true), Some(false)));
    }

    #[test]
    fn as_many_failures_as_are_remembered_are_logged_once_each() {
        let failures = Failures::default();
        let log_all = || {
            (0..MAX_REMEMBERED).filter(|it| deny(&failures, &it.to_string()) == Some(true)).count()
        };
        assert_eq!((log_all(), log_all()), (MAX_REMEMBERED, 0));
        // Beyond, they stand for each other.
        for number in 0..10 * MAX_REMEMBERED {
            assert_eq!(deny(&failures, &format!("one more: {number}")), Some(false));
        }
        assert_eq!(nack(&failures, "primary", "another cause"), Some(true));
        assert_eq!(failures.latest.lock().len(), MAX_REMEMBERED);
    }
}
