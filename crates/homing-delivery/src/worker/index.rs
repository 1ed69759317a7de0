//! The subscriptions in memory, found by id and by topic. An update costs only what it changes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use homing_domain::{
    id::SubscriptionId,
    subscription::Subscription,
    time::UnixMillis,
    topic::{Topic, TopicPattern},
    topic_tree::TopicTree,
    url::EndpointUrl,
};
use homing_store::{Census, Changes, Corrupt, Snapshot};

/// A subscription, or what is known of an unreadable one.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// It was read in full.
    Sound(Arc<Subscription>),
    /// It cannot be read, so its events wait.
    Unreadable(Arc<Corrupt>),
}

/// All subscriptions as of one version of the store. A copy shares the subscriptions.
#[derive(Clone, Debug, Default)]
pub(super) struct SubscriptionIndex {
    version: i64,
    entries: Vec<Option<Entry>>,
    /// Unused slots of `entries`.
    free: Vec<usize>,
    by_id: HashMap<SubscriptionId, usize, RandomState>,
    /// Maps topics to slots of `entries`.
    by_topic: TopicTree,
    /// Slots of the unreadable ones.
    unreadable: BTreeSet<usize>,
    both_versions_until: UnixMillis,
}

impl Entry {
    pub(super) fn id(&self) -> SubscriptionId {
        match self {
            Self::Sound(subscription) => subscription.id,
            Self::Unreadable(corrupt) => corrupt.subscription,
        }
    }

    fn updated(&self) -> UnixMillis {
        match self {
            Self::Sound(subscription) => subscription.updated,
            Self::Unreadable(corrupt) => corrupt.updated,
        }
    }

    fn both_versions_until(&self) -> Option<UnixMillis> {
        match self {
            Self::Sound(subscription) => subscription.spec.workfront.as_ref()?.both_until(),
            Self::Unreadable(_) => None,
        }
    }

    /// `None`: the topics are unreadable, too.
    fn topics(&self) -> Option<&[TopicPattern]> {
        match self {
            Self::Sound(subscription) => Some(&subscription.spec.topics),
            Self::Unreadable(corrupt) => corrupt.topics.as_deref(),
        }
    }
}

impl SubscriptionIndex {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let Snapshot { version, subscriptions, corrupt } = snapshot;
        let mut index = Self { version, ..Self::default() };
        index.put_all(subscriptions, corrupt);
        index
    }

    /// The result of [`SubscriptionStore::subscriptions_version`](homing_store::SubscriptionStore).
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Compares with a count of the stored subscriptions; true as well where another version was
    /// counted, which allows no comparison.
    pub(super) fn agrees_with(&self, census: &Census) -> bool {
        let updated = self.entries.iter().flatten().map(|entry| entry.updated().get());
        self.version != census.version
            || (updated.fold(0, i64::saturating_add) == census.updated_sum
                && i64::try_from(self.len()).is_ok_and(|len| len == census.number))
    }

    /// The number of subscriptions, unreadable ones included.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Applies changes; `false`: they do not fit, so all have to be read again.
    pub(super) fn follow(&mut self, changes: Changes) -> bool {
        let Changes { version, subscriptions, corrupt, removed, number } = changes;
        for id in removed {
            self.take_out(id);
        }
        self.put_all(subscriptions, corrupt);
        let agrees = u64::try_from(self.len()).is_ok_and(|len| len == number);
        if agrees {
            // Otherwise the index counts as outdated until all are read.
            self.version = version;
        }
        agrees
    }

    /// From this time on, no subscription gets events in two versions, unless one changes again.
    pub(super) fn both_versions_until(&self) -> UnixMillis {
        self.both_versions_until
    }

    pub(super) fn get(&self, id: SubscriptionId) -> Option<&Entry> {
        self.entries.get(*self.by_id.get(&id)?)?.as_ref()
    }

    /// The subscriptions that match `topic`, and unreadable ones that may match it.
    pub(super) fn matching_topic(&self, topic: &Topic) -> impl Iterator<Item = &Entry> {
        let found = self.by_topic.matching(topic).into_iter();
        let found = found.filter_map(|place| self.entries.get(place)?.as_ref());
        // Homing's own events only go to subscriptions that name them, whatever else matches.
        let names_own = |pattern: &TopicPattern| pattern.matches(topic) && pattern.names_own();
        let own = topic.is_own();
        let found = found.filter(move |entry| {
            !own || entry.topics().is_some_and(|topics| topics.iter().any(names_own))
        });
        found.chain(self.unreadable().filter(move |entry| !own && entry.topics().is_none()))
    }

    /// The readable ones.
    pub(super) fn sound(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.entries.iter().flatten().filter_map(|entry| match entry {
            Entry::Sound(subscription) => Some(subscription),
            Entry::Unreadable(_) => None,
        })
    }

    /// The unreadable ones.
    pub(super) fn corrupt(&self) -> impl Iterator<Item = &Arc<Corrupt>> {
        self.unreadable().filter_map(|entry| match entry {
            Entry::Sound(_) => None,
            Entry::Unreadable(corrupt) => Some(corrupt),
        })
    }

    fn unreadable(&self) -> impl Iterator<Item = &Entry> {
        self.unreadable.iter().filter_map(|place| self.entries.get(*place)?.as_ref())
    }

    /// True if a subscription sends to `url`, or one that cannot be read may.
    pub(super) fn any_at(&self, url: &EndpointUrl) -> bool {
        self.entries.iter().flatten().any(|entry| match entry {
            Entry::Sound(subscription) => subscription.spec.url == *url,
            Entry::Unreadable(_) => true,
        })
    }

    fn put_all(&mut self, subscriptions: Vec<Subscription>, corrupt: Vec<Corrupt>) {
        for subscription in subscriptions {
            self.put(Entry::Sound(Arc::new(subscription)));
        }
        for corrupt in corrupt {
            self.put(Entry::Unreadable(Arc::new(corrupt)));
        }
    }

    fn put(&mut self, entry: Entry) {
        let id = entry.id();
        self.take_out(id);
        if let Some(until) = entry.both_versions_until() {
            self.both_versions_until = self.both_versions_until.max(until);
        }
        let place = self.free.pop().unwrap_or(self.entries.len());
        for pattern in entry.topics().unwrap_or_default() {
            self.by_topic.insert(pattern, place);
        }
        if matches!(entry, Entry::Unreadable(_)) {
            self.unreadable.insert(place);
        }
        match self.entries.get_mut(place) {
            Some(free) => *free = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        self.by_id.insert(id, place);
    }

    fn take_out(&mut self, id: SubscriptionId) {
        let Some(place) = self.by_id.remove(&id) else { return };
        let Some(entry) = self.entries.get_mut(place).and_then(Option::take) else { return };
        for pattern in entry.topics().unwrap_or_default() {
            self.by_topic.remove(pattern, place);
        }
        self.unreadable.remove(&place);
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use homing_domain::subscription::Draft;

    fn id(number: usize) -> SubscriptionId {
        SubscriptionId::new(Uuid::from_u128(u128::try_from(number).expect("small")))
    }

    fn subscription(number: usize, patterns: &[&str]) -> Subscription {
        let draft = json!({"url": "https://example.com/", "topics": patterns});
        let draft: Draft = serde_json::from_value(draft).expect("a draft");
        let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
        let spec = draft.build(&[]).expect("sound");
        Subscription { id: id(number), spec, created, updated }
    }

    fn corrupt(number: usize, topics: Option<&[&str]>) -> Corrupt {
        let topics =
            topics.map(|all| all.iter().map(|text| text.parse().expect("a pattern")).collect());
        let (field, why) = ("url".to_owned(), "is none".to_owned());
        Corrupt { subscription: id(number), field, why, topics, updated: UnixMillis::new(0) }
    }

    fn found(index: &SubscriptionIndex, topic: &Topic) -> BTreeSet<SubscriptionId> {
        index.matching_topic(topic).map(Entry::id).collect()
    }

    const PATTERNS: [&str; 8] =
        ["#", "*", "homing.#", "homing.*.x", "*.endpoint.x", "order.*", "order.paid", "#.x"];
    const TOPICS: [&str; 6] =
        ["order.paid", "order", "homing.endpoint.x", "homing", "homing.x", "a.endpoint.x"];

    fn patterns() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(&PATTERNS[..]), 1..4)
    }

    proptest! {
        /// Goal: the index finds the same subscriptions as a check of each one, also for homing's
        /// own events, after any changes and deletions.
        #[test]
        fn the_index_finds_those_that_say_they_want_it(
            before in prop::collection::vec(patterns(), 0..12),
            changes in prop::collection::vec((0_usize..12, prop::option::of(patterns())), 0..12),
            topic in prop::sample::select(&TOPICS[..]),
        ) {
            let topic = Topic::new(topic).expect("a topic");
            let mut all: HashMap<usize, Subscription> =
                before.iter().enumerate().map(|(n, some)| (n, subscription(n, some))).collect();
            let subscriptions = all.values().cloned().collect();
            let mut index =
                SubscriptionIndex::new(Snapshot { version: 1, subscriptions, corrupt: Vec::new() });
            for (number, patterns) in changes {
                let mut step = Changes { version: index.version() + 1, ..Changes::default() };
                if let Some(patterns) = patterns {
                    let changed = subscription(number, &patterns);
                    step.subscriptions.push(changed.clone());
                    all.insert(number, changed);
                } else {
                    step.removed.push(id(number));
                    all.remove(&number);
                }
                step.number = u64::try_from(all.len()).expect("few");
                prop_assert!(index.follow(step));
            }
            let expected = all.values().filter(|one| one.spec.wants_topic(&topic));
            prop_assert_eq!(found(&index, &topic), expected.map(|one| one.id).collect());
        }
    }

    #[test]
    fn an_unreadable_subscription_is_found_by_its_topics_or_else_by_all() {
        let corrupt = vec![corrupt(1, Some(&["order.*"])), corrupt(2, None)];
        let snapshot = Snapshot { corrupt, ..Snapshot::default() };
        let mut index = SubscriptionIndex::new(snapshot);
        let topic = |text| Topic::new(text).expect("a topic");
        assert_eq!(found(&index, &topic("order.paid")), [id(1), id(2)].into());
        assert_eq!(found(&index, &topic("refund")), [id(2)].into());
        assert_eq!(found(&index, &topic("homing.endpoint.opened")), [].into());
        assert_eq!(index.corrupt().count(), 2);

        let subscriptions = vec![subscription(2, &["refund"])];
        assert!(index.follow(Changes { subscriptions, number: 2, ..Changes::default() }));
        assert_eq!(found(&index, &topic("order.paid")), [id(1)].into());
        assert_eq!(index.corrupt().count(), 1);
    }

    #[test]
    fn a_number_that_does_not_agree_is_noticed() {
        let mut index = SubscriptionIndex::new(Snapshot::default());
        let subscriptions = vec![subscription(1, &["a"])];
        assert!(!index.follow(Changes { subscriptions, number: 2, ..Changes::default() }));
    }

    /// Goal: a store that was reset to an earlier state, and changed as often since, is noticed.
    #[test]
    fn subscriptions_of_another_history_are_noticed() {
        let at = |number, updated| Subscription {
            updated: UnixMillis::new(updated),
            ..subscription(number, &["a"])
        };
        let corrupt = vec![Corrupt { updated: UnixMillis::new(4), ..corrupt(3, None) }];
        let subscriptions = vec![at(1, 10), at(2, 20)];
        let index = SubscriptionIndex::new(Snapshot { version: 7, subscriptions, corrupt });
        let census = Census { version: 7, number: 3, updated_sum: 34 };
        assert!(index.agrees_with(&census));
        assert!(!index.agrees_with(&Census { number: 2, ..census }));
        assert!(!index.agrees_with(&Census { updated_sum: 35, ..census }));
        // The next reading applies it.
        assert!(index.agrees_with(&Census { version: 8, number: 9, ..census }));
    }
}
