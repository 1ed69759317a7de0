//! The next group of the messages that wait for a queue.

use std::collections::VecDeque;

use super::{Job, Suspects};

/// Bounds of a group; one message may be larger. The client has a copy of what is under way: with
/// 64 channels at most 128 MiB, where the broker reads slowly and no message is larger.
const MAX_MESSAGES: usize = 256;
const MAX_BYTES: usize = 2 * 1_024 * 1_024;
/// The most messages that are skipped: the lock is held meanwhile.
const MAX_SKIPPED: usize = 1_024;

/// Takes the next group off `jobs`, in their order; empty if there are none. It has the first
/// message. What is denied for the same reason goes together, and without others. What is probably
/// too large goes alone.
pub(crate) fn take(jobs: &mut VecDeque<(u64, Job)>, suspects: &Suspects) -> Vec<Job> {
    let denied = suspects.denied();
    let reach = |job: &Job| denied.iter().find(|reach| reach.covers(&job.publish.address));
    let first = jobs.front().and_then(|(_, job)| reach(job));
    let (mut group, mut bytes, mut skipped) = (Vec::new(), 0_usize, Vec::new());
    while skipped.len() < MAX_SKIPPED
        && let Some((_, next)) = jobs.front()
    {
        if reach(next) != first {
            skipped.extend(jobs.pop_front());
            continue;
        }
        bytes = bytes.saturating_add(next.publish.body.len());
        let is_full = group.len() >= MAX_MESSAGES || bytes > MAX_BYTES;
        let is_too_large = suspects.is_too_large(&next.publish);
        if !group.is_empty() && (is_full || is_too_large) {
            break;
        }
        group.extend(jobs.pop_front().map(|(_, job)| job));
        if is_too_large {
            break;
        }
    }
    for job in skipped.into_iter().rev() {
        jobs.push_front(job);
    }
    group
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::{Reply, error::BrokerError, group::Publish, publish::Address};

    const WORDS_OF_EXCHANGE: &str =
        "ACCESS_REFUSED - access to exchange 'e' in vhost '/' refused for user 'u'";

    fn publish((exchange, routing_key): (&str, &str), bytes: usize) -> Publish {
        Publish {
            queue: "q".to_owned(),
            address: Address { exchange: exchange.to_owned(), routing_key: routing_key.to_owned() },
            properties: Arc::default(),
            body: Bytes::from(vec![0; bytes]),
            mandatory: true,
        }
    }

    fn waiting<'a>(
        messages: impl IntoIterator<Item = ((&'a str, &'a str), usize)>,
    ) -> VecDeque<(u64, Job)> {
        let publishes = messages.into_iter().map(|(address, bytes)| publish(address, bytes));
        let jobs = publishes.map(|publish| Job { publish, reply: oneshot::channel().0 });
        (0..).zip(jobs).collect()
    }

    /// The routing keys of all groups; after each, what is left is in its order.
    fn groups(jobs: &mut VecDeque<(u64, Job)>, suspects: &Suspects) -> Vec<Vec<String>> {
        let mut groups = Vec::new();
        while !jobs.is_empty() {
            let group = take(jobs, suspects);
            assert!(!group.is_empty() && jobs.iter().is_sorted_by_key(|(number, _)| *number));
            groups.push(group.into_iter().map(|job| job.publish.address.routing_key).collect());
        }
        groups
    }

    fn deny(suspects: &Suspects, address: (&str, &str), words: &str) {
        let reply = Reply { code: 403, text: words.to_owned() };
        let error = BrokerError::Answered { step: "publishing".to_owned(), reply };
        suspects.note(&publish(address, 0), &error);
    }

    /// Goal: a denied topic starves no other, and takes none of the others' messages with it.
    #[test]
    fn what_is_denied_goes_together_and_without_others() {
        let suspects = Suspects::default();
        deny(&suspects, ("e", "a"), "ACCESS_REFUSED");
        deny(&suspects, ("e", "b"), "ACCESS_REFUSED");
        let addresses = [("e", "a"), ("e", "good"), ("e", "b"), ("other", "a")];
        let mut jobs = waiting(addresses.map(|it| (it, 0)).into_iter().cycle().take(400));
        let groups = groups(&mut jobs, &suspects);
        let kinds: Vec<_> = groups.iter().map(|group| (group.len(), group[0].as_str())).collect();
        assert_eq!(kinds, [(100, "a"), (200, "good"), (100, "b")]);
    }

    #[test]
    fn what_is_for_a_denied_exchange_goes_together() {
        let suspects = Suspects::default();
        deny(&suspects, ("e", "0"), WORDS_OF_EXCHANGE);
        let keys: Vec<_> = (0..200).map(|key: i32| key.to_string()).collect();
        let addresses = keys.iter().zip(["e", "route"].into_iter().cycle());
        let mut jobs = waiting(addresses.map(|(key, exchange)| ((exchange, key.as_str()), 0)));
        assert_eq!(groups(&mut jobs, &suspects).iter().map(Vec::len).collect::<Vec<_>>(), [100; 2]);
    }

    #[test]
    fn groups_are_bounded() {
        let suspects = Suspects::default();
        let mut jobs = waiting((0..=MAX_MESSAGES).map(|_| (("e", "k"), 0)));
        assert_eq!(take(&mut jobs, &suspects).len(), MAX_MESSAGES);
        let mut jobs = waiting([MAX_BYTES + 1, MAX_BYTES, 1, 1].map(|bytes| (("e", "k"), bytes)));
        assert_eq!([(); 3].map(|()| take(&mut jobs, &suspects).len()), [1, 1, 2]);
        // What is denied is looked through to a bound only.
        deny(&suspects, ("e", "a"), "ACCESS_REFUSED");
        let denied = (0..MAX_SKIPPED).map(|_| (("e", "a"), 0));
        let mut jobs =
            waiting([(("e", "k"), 0)].into_iter().chain(denied).chain([(("e", "k"), 0)]));
        assert_eq!(take(&mut jobs, &suspects).len(), 1);
    }

    #[test]
    fn what_is_probably_too_large_goes_alone_until_such_a_message_is_taken() {
        let suspects = Suspects::default();
        suspects.note(&publish(("e", "k"), 9), &BrokerError::TooLarge { reply: String::new() });
        let sizes = || waiting([1, 9, 10, 1, 8].map(|bytes| (("e", "k"), bytes)));
        let lengths = || groups(&mut sizes(), &suspects).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(), [1, 1, 1, 2]);
        suspects.took(8);
        assert_eq!(lengths(), [1, 1, 1, 2]);
        suspects.took(9);
        assert_eq!(lengths(), [5]);
    }
}
