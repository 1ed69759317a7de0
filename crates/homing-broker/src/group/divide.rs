//! A channel that the broker closes for one message (too large, no permission, no exchange) takes a
//! whole group with it. Where the broker's words name the topic, the messages at fault get their
//! error and the others are sent again; otherwise the group is sent again in halves, until those at
//! fault are alone: at most twice as many groups as messages.

use lapin::protocol::AMQPSoftError;

use super::{Job, Unanswered};
use crate::{error::BrokerError, publish::Address};

/// A group that was not confirmed, divided.
#[derive(Default)]
pub(crate) struct Divided {
    /// Messages that get the error.
    pub(crate) failed: Vec<Job>,
    /// Groups that are sent again.
    pub(crate) again: Vec<Vec<Job>>,
}

/// Divides messages if the broker closed their channel for some of them: by its words, or in
/// halves. Those that are alike in what the broker found wrong get into the same half. If all of
/// them are at fault, or none, all fail.
pub(crate) fn divide(mut jobs: Vec<Job>, why: &Unanswered) -> Divided {
    let Some(first) = jobs.first() else { return Divided::default() };
    let error = why.error(&first.publish);
    let is_named = |job: &Job| names(&error, &job.publish.address);
    if jobs.iter().any(is_named) {
        let (failed, others) = jobs.into_iter().partition(is_named);
        return Divided { failed, again: vec![others] };
    }
    let is_alike = |job: &Job| {
        let (one, other) = (&job.publish.address, &first.publish.address);
        one.exchange == other.exchange
            && (one.routing_key == other.routing_key || error.has_code(&AMQPSoftError::NOTFOUND))
    };
    let is_about_one = error.is_final() || error.is_of_a_channel();
    if jobs.len() < 2 || !is_about_one || !error.is_final() && jobs.iter().all(is_alike) {
        return Divided { failed: jobs, again: Vec::new() };
    }
    if error.is_final() {
        jobs.sort_unstable_by_key(|job| job.publish.body.len());
    } else {
        let by_address = |job: &Job| {
            let Address { exchange, routing_key } = job.publish.address.clone();
            (exchange, routing_key)
        };
        jobs.sort_by_cached_key(by_address);
    }
    let others = jobs.split_off(jobs.len() / 2);
    Divided { failed: Vec::new(), again: vec![others, jobs] }
}

/// Returns true if the broker's words name this topic as the one that may not be published to. They
/// are cut off after 255 bytes, and then name none.
///
/// Source: RabbitMQ's `rabbit_access_control`, `check_topic_access`: "access to topic 'key' in
/// exchange …".
fn names(error: &BrokerError, address: &Address) -> bool {
    let topic = || format!("access to topic '{}' in ", address.routing_key);
    error.reply().is_some_and(|reply| {
        reply.has_code(&AMQPSoftError::ACCESSREFUSED)
            && reply.text.contains(&format!("exchange '{}' in ", address.exchange))
            && reply.text.contains(&topic())
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::Duration};

    use bytes::Bytes;
    use lapin::{ErrorKind, protocol::AMQPError};
    use proptest::prelude::*;

    use tokio::sync::oneshot;

    use super::*;
    use crate::group::Publish;

    fn job((exchange, routing_key): (&str, &str), bytes: usize) -> Job {
        let address =
            Address { exchange: exchange.to_owned(), routing_key: routing_key.to_owned() };
        let body = Bytes::from(vec![0; bytes]);
        let queue = routing_key.to_owned();
        let properties = Arc::default();
        let publish = Publish { queue, address, properties, body, mandatory: true };
        Job { publish, reply: oneshot::channel().0 }
    }

    fn ended(code: AMQPSoftError, text: &str) -> Unanswered {
        Unanswered::Ended(ErrorKind::ProtocolError(AMQPError::new(code.into(), text.into())).into())
    }

    fn too_large() -> Unanswered {
        ended(AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED - message size 9")
    }

    /// The messages that fail if the broker closes the channel at the first message that `is_at_fault`, and the
    /// number of groups that were sent.
    fn sent_until_answered(
        jobs: Vec<Job>,
        why: &Unanswered,
        is_at_fault: impl Fn(&Publish) -> bool,
    ) -> (Vec<Publish>, usize) {
        let (mut groups, mut failed, mut sent) = (vec![jobs], Vec::new(), 0);
        while let Some(jobs) = groups.pop() {
            sent += 1;
            if jobs.iter().any(|job| is_at_fault(&job.publish)) {
                let divided = divide(jobs, why);
                groups.extend(divided.again);
                failed.extend(divided.failed.into_iter().map(|job| job.publish));
            }
        }
        (failed, sent)
    }

    proptest! {
        /// Goal: exactly the messages at fault fail, in a bounded number of groups.
        #[test]
        fn only_what_is_too_large_fails(sizes in proptest::collection::vec(0..20_usize, 1..256)) {
            let jobs = sizes.iter().map(|bytes| job(("e", "k"), *bytes)).collect();
            let (failed, sent) = sent_until_answered(jobs, &too_large(), |it| it.body.len() > 9);
            prop_assert!(failed.iter().all(|it| it.body.len() > 9));
            prop_assert_eq!(failed.len(), sizes.iter().filter(|bytes| **bytes > 9).count());
            prop_assert!(sent < 2 * sizes.len(), "{} groups", sent);
        }

        /// Goal: the same for addresses, and what has the same address is not divided.
        #[test]
        fn only_what_may_not_be_published_fails(
            keys in proptest::collection::vec(0..12_u8, 1..256),
            denied in proptest::collection::btree_set(0..12_u8, 1..12),
        ) {
            let jobs = keys.iter().map(|key| job(("e", &key.to_string()), 0)).collect();
            let why = ended(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED");
            let denied: BTreeSet<_> = denied.iter().map(ToString::to_string).collect();
            let is_denied = |it: &Publish| denied.contains(&it.address.routing_key);
            let (failed, sent) = sent_until_answered(jobs, &why, is_denied);
            prop_assert!(failed.iter().all(is_denied));
            let expected = keys.iter().filter(|key| denied.contains(&key.to_string())).count();
            prop_assert_eq!(failed.len(), expected);
            prop_assert!(sent <= 2 * 8 * 12, "{} groups", sent);
        }
    }

    #[test]
    fn a_missing_exchange_fails_what_is_for_it_at_once() {
        let why = ended(AMQPSoftError::NOTFOUND, "NOT_FOUND");
        let jobs = (0..256).map(|key: i32| job(("missing", &key.to_string()), 0)).collect();
        let (failed, sent) = sent_until_answered(jobs, &why, |_| true);
        assert_eq!((failed.len(), sent), (256, 1));
    }

    /// Goal: where the broker names the topic, no other message is sent more than once again.
    #[test]
    fn a_topic_that_the_broker_names_fails_and_all_others_are_sent_once_more() {
        let named = "ACCESS_REFUSED - access to topic 'a' in exchange 'e' in vhost '/' refused for user 'u'";
        let why = ended(AMQPSoftError::ACCESSREFUSED, named);
        let keys = ["b", "a", "ab", "a"].into_iter().cycle().take(256);
        let jobs = keys.map(|key| job(("e", key), 0)).chain([job(("other", "a"), 0)]).collect();
        let is_denied = |it: &Publish| it.address.exchange == "e" && it.address.routing_key == "a";
        let (failed, sent) = sent_until_answered(jobs, &why, is_denied);
        assert!(failed.iter().all(is_denied));
        assert_eq!((failed.len(), sent), (128, 2));
    }

    #[test]
    fn a_lost_connection_is_no_fault_of_a_message() {
        let jobs = || vec![job(("e", "a"), 1), job(("e", "b"), 2)];
        for why in [Unanswered::Lost, Unanswered::TimedOut(Duration::from_secs(1))] {
            assert_eq!(divide(jobs(), &why).failed.len(), 2, "{why:?}");
        }
        assert_eq!(divide(jobs(), &too_large()).again.len(), 2);
    }
}
