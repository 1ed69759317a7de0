//! A channel that the broker closes for one message (too large, no permission, no exchange) takes
//! a whole group with it. The group is sent again in halves, until the messages at fault are alone,
//! or with those that are alike: of 256 messages each is sent at most nine times, in at most twice
//! as many groups. Where the broker's words name a topic, the messages for it get their error at
//! once, and only the others are sent again.

use lapin::protocol::AMQPSoftError;

use super::{Job, Unanswered, words};
use crate::{error::BrokerError, publish::Address};

/// A group that was not confirmed, divided.
#[derive(Default)]
pub(crate) struct Divided {
    /// Messages that get the error.
    pub(crate) failed: Vec<Job>,
    /// Groups that are sent again; they may be empty.
    pub(crate) again: Vec<Vec<Job>>,
}

/// Divides messages if the broker closed their channel for some of them: without those that its
/// words name, and in halves. Those that are alike in what the broker found wrong get into the same
/// half. If all of them are at fault, or none, all fail.
pub(crate) fn divide(mut jobs: Vec<Job>, why: &Unanswered) -> Divided {
    let Some(first) = jobs.first() else { return Divided::default() };
    let error = why.error(&first.publish);
    if let Some(named) = named(&jobs, &error) {
        let failed = jobs.extract_if(.., |job| job.publish.address == named).collect();
        return Divided { failed, again: halves(jobs, &error) };
    }
    let exchange = &first.publish.address.exchange;
    let is_of_exchange =
        error.has_code(&AMQPSoftError::NOTFOUND) || words::names_exchange(&error, exchange);
    let is_alike = |job: &Job| {
        let address = &job.publish.address;
        address == &first.publish.address || is_of_exchange && address.exchange == *exchange
    };
    let is_about_one = error.is_final() || error.is_of_a_channel();
    if jobs.len() < 2 || !is_about_one || !error.is_final() && jobs.iter().all(is_alike) {
        return Divided { failed: jobs, again: Vec::new() };
    }
    Divided { failed: Vec::new(), again: halves(jobs, &error) }
}

/// The address that the broker's words name, if they can mean no other of these messages.
fn named(jobs: &[Job], error: &BrokerError) -> Option<Address> {
    let addresses = jobs.iter().map(|job| &job.publish.address);
    let mut named = addresses.filter(|address| words::may_name(error, address));
    let first = named.next()?;
    named.all(|address| address == first).then(|| first.clone())
}

fn halves(mut jobs: Vec<Job>, error: &BrokerError) -> Vec<Vec<Job>> {
    if error.is_final() {
        jobs.sort_unstable_by_key(|job| job.publish.body.len());
    } else {
        jobs.sort_by(|one, other| one.publish.address.cmp(&other.publish.address));
    }
    let others = jobs.split_off(jobs.len() / 2);
    vec![others, jobs]
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
        time::Duration,
    };

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

    /// The messages that fail if the broker closes the channel at the first message that
    /// `is_at_fault`, with `why`, and the number of groups that were sent.
    fn sent_until_answered(
        jobs: Vec<Job>,
        why: impl Fn(&Publish) -> Unanswered,
        is_at_fault: impl Fn(&Publish) -> bool,
    ) -> (Vec<Publish>, usize) {
        let (mut groups, mut failed, mut sent) = (vec![jobs], Vec::new(), 0);
        while let Some(jobs) = groups.pop() {
            sent += 1;
            if let Some(job) = jobs.iter().find(|job| is_at_fault(&job.publish)) {
                let why = why(&job.publish);
                let divided = divide(jobs, &why);
                groups.extend(divided.again.into_iter().filter(|jobs| !jobs.is_empty()));
                failed.extend(divided.failed.into_iter().map(|job| job.publish));
            }
        }
        (failed, sent)
    }

    /// The broker's words about a topic that is denied.
    fn denied(publish: &Publish) -> Unanswered {
        let Address { exchange, routing_key } = &publish.address;
        let mut words = format!(
            "ACCESS_REFUSED - access to topic '{routing_key}' in exchange '{exchange}' \
             in vhost '/' refused for user 'u'"
        );
        if words.len() > 255 {
            words.truncate(252);
            words.push_str("...");
        }
        ended(AMQPSoftError::ACCESSREFUSED, &words)
    }

    proptest! {
        /// Goal: exactly the messages at fault fail, in a bounded number of groups.
        #[test]
        fn only_what_is_too_large_fails(sizes in proptest::collection::vec(0..20_usize, 1..256)) {
            let jobs = sizes.iter().map(|bytes| job(("e", "k"), *bytes)).collect();
            let (failed, sent) = sent_until_answered(jobs, |_| too_large(), |it| it.body.len() > 9);
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
            let why = |_: &Publish| ended(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED");
            let denied: BTreeSet<_> = denied.iter().map(ToString::to_string).collect();
            let is_denied = |it: &Publish| denied.contains(&it.address.routing_key);
            let (failed, sent) = sent_until_answered(jobs, why, is_denied);
            prop_assert!(failed.iter().all(is_denied));
            let expected = keys.iter().filter(|key| denied.contains(&key.to_string())).count();
            prop_assert_eq!(failed.len(), expected);
            prop_assert!(sent <= 2 * 8 * 12, "{} groups", sent);
        }
    }

    /// Goal: an exchange that is missing or denied is no matter of single messages.
    #[test]
    fn what_is_wrong_with_an_exchange_fails_what_is_for_it_at_once() {
        let denied =
            "ACCESS_REFUSED - write access to exchange 'e' in vhost '/' refused for user 'u'";
        let replies =
            [(AMQPSoftError::NOTFOUND, "NOT_FOUND"), (AMQPSoftError::ACCESSREFUSED, denied)];
        for (code, words) in replies {
            let jobs = || (0..256).map(|key| job(("e", &key.to_string()), 0));
            let why = |_: &Publish| ended(code.clone(), words);
            let (failed, sent) = sent_until_answered(jobs().collect(), why, |_| true);
            assert_eq!((failed.len(), sent), (256, 1));
            let jobs = jobs().chain([job(("other", "k"), 0)]).collect();
            let is_at_fault = |it: &Publish| it.address.exchange == "e";
            let (failed, sent) = sent_until_answered(jobs, why, is_at_fault);
            assert!(failed.len() == 256 && sent < 20, "{} failed, {sent} groups", failed.len());
        }
    }

    /// Goal: where the broker names the topic, no other message is sent more than once again.
    #[test]
    fn a_topic_that_the_broker_names_fails_and_all_others_are_sent_once_more() {
        let keys = ["b", "a", "ab", "a"].into_iter().cycle().take(256);
        let jobs = keys.map(|key| job(("e", key), 0)).chain([job(("other", "a"), 0)]).collect();
        let is_denied = |it: &Publish| it.address.exchange == "e" && it.address.routing_key == "a";
        let (failed, sent) = sent_until_answered(jobs, denied, is_denied);
        assert!(failed.iter().all(is_denied));
        assert_eq!((failed.len(), sent), (128, 3));
    }

    /// Goal: many denied topics in a group cost the others little. Method: every other message is
    /// for a denied topic of its own.
    #[test]
    fn no_message_is_sent_more_than_nine_times() {
        let jobs: Vec<_> = (0..256).map(|key: i32| job(("e", &key.to_string()), 0)).collect();
        let is_denied =
            |it: &Publish| it.address.routing_key.parse().is_ok_and(|key: i32| key % 2 == 0);
        let (mut groups, mut sends) = (vec![jobs], BTreeMap::<_, u32>::new());
        while let Some(jobs) = groups.pop() {
            for job in &jobs {
                *sends.entry(job.publish.address.clone()).or_default() += 1;
            }
            if let Some(job) = jobs.iter().find(|job| is_denied(&job.publish)) {
                let why = denied(&job.publish);
                groups.extend(divide(jobs, &why).again);
            }
        }
        assert_eq!(sends.len(), 256);
        assert!(sends.values().all(|times| *times <= 9), "{sends:?}");
    }

    /// Goal: a topic cannot be named so that another one fails for it.
    #[test]
    fn words_that_a_topic_forges_fail_no_other() {
        let long = format!("victim' in exchange 'e' in {}", "x".repeat(220));
        let forged = [
            "x access to topic 'victim",
            "victim' in exchange 'e' in ",
            "x access to exchange 'e' in ",
            &long,
        ];
        for forged in forged {
            let keys = [forged, "victim", "other"].into_iter().cycle().take(255);
            let jobs = keys.map(|key| job(("e", key), 0)).collect();
            let is_denied = |it: &Publish| it.address.routing_key == forged;
            let (failed, _) = sent_until_answered(jobs, denied, is_denied);
            assert!(failed.iter().all(is_denied) && failed.len() == 85, "{forged}");
        }
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
