//! Adds up what happens, by URL and by topic, until it is taken.
//!
//! A delivery costs a search by its URL and one by its topic. At most `history.max_names` of each
//! are distinguished in an hour; what is beyond counts as others.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    mem,
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use homing_domain::{
    history::{Count, HourFigures, Part, Series, TopicSeen},
    time::{UnixMillis, hour_of},
    topic::Topic,
    url::EndpointUrl,
};

/// Figures of deliveries by URL, and of events and their deliveries by topic.
pub(in crate::worker) struct Collector {
    urls: Mutex<Names<EndpointUrl>>,
    topics: Mutex<Names<Topic>>,
}

/// The names of an hour, URLs or topics, and their figures.
struct Names<K> {
    max: usize,
    /// The hour in which the names are distinguished.
    hour: UnixMillis,
    /// Those that have been distinguished in it.
    known: HashSet<K, RandomState>,
    sums: NameSums<K>,
}

/// Figures since they were taken last.
struct NameSums<K> {
    by_name: HashMap<K, Entry, RandomState>,
    others: Entry,
}

impl<K> Default for NameSums<K> {
    fn default() -> Self {
        Self { by_name: HashMap::default(), others: Entry::default() }
    }
}

/// The figures of one name. A topic with events has been seen.
#[derive(Default)]
struct Entry {
    figures: HourFigures,
    seen: Option<TopicSeen>,
}

/// All that was counted since the last time.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) figures: Vec<(Series, HourFigures)>,
    pub(super) topics: Vec<TopicSeen>,
}

/// An attempt that has ended.
pub(in crate::worker) struct Ended<'a> {
    pub(in crate::worker) url: &'a EndpointUrl,
    pub(in crate::worker) topic: &'a Topic,
    pub(in crate::worker) what: Count,
    pub(in crate::worker) duration: Duration,
    /// From the receipt of the event to its acceptance; `None`: it was not accepted.
    pub(in crate::worker) delivered_after: Option<Duration>,
}

impl<K: Clone + Eq + Hash> Names<K> {
    fn new(max: usize) -> Self {
        let (hour, known) = (UnixMillis::default(), HashSet::default());
        Self { max, hour, known, sums: NameSums::default() }
    }

    fn entry(&mut self, name: Option<&K>) -> &mut Entry {
        let sums = &mut self.sums;
        let Some(name) = name else { return &mut sums.others };
        // The common case searches twice, which copies no name.
        if !sums.by_name.contains_key(name) {
            if !self.known.contains(name) {
                if self.known.len() >= self.max {
                    return &mut sums.others;
                }
                self.known.insert(name.clone());
            }
            sums.by_name.insert(name.clone(), Entry::default());
        }
        sums.by_name.get_mut(name).unwrap_or(&mut sums.others)
    }

    /// Takes what was counted, with the names of an hour that has ended. All deliveries wait
    /// meanwhile, so nothing is looked at here, nor dropped.
    fn take(&mut self, now: UnixMillis) -> (NameSums<K>, HashSet<K, RandomState>) {
        let hour = hour_of(now);
        let forgotten =
            if self.hour == hour { HashSet::default() } else { mem::take(&mut self.known) };
        self.hour = hour;
        (mem::take(&mut self.sums), forgotten)
    }
}

impl<K> NameSums<K> {
    fn each(self, mut each: impl FnMut(Option<K>, Entry)) {
        for (name, entry) in self.by_name {
            each(Some(name), entry);
        }
        each(None, self.others);
    }
}

impl Collector {
    pub(super) fn new(max_names: usize) -> Self {
        Self { urls: Mutex::new(Names::new(max_names)), topics: Mutex::new(Names::new(max_names)) }
    }

    /// Counts an event that was taken at `at`; homing's own events are left out.
    pub(in crate::worker) fn event(&self, topic: &Topic, at: UnixMillis, is_wanted: bool) {
        if topic.is_own() {
            return;
        }
        let mut topics = self.topics.lock();
        let entry = topics.entry(Some(topic));
        entry.figures.count(Count::Events);
        if !is_wanted {
            entry.figures.count(Count::Unwanted);
        }
        let seen = TopicSeen::one(String::new(), at, is_wanted);
        match &mut entry.seen {
            Some(sum) => sum.merge(&seen),
            none => *none = Some(seen),
        }
    }

    /// Counts an attempt.
    pub(in crate::worker) fn attempted(&self, ended: &Ended<'_>) {
        let Ended { url, topic, what, duration, delivered_after } = *ended;
        let add = |figures: &mut HourFigures| {
            figures.count(what);
            figures.response.add(millis(duration));
            if let Some(after) = delivered_after {
                figures.delivery.add(millis(after));
            }
        };
        add(&mut self.urls.lock().entry(Some(url)).figures);
        add(&mut self.topics.lock().entry(Some(topic)).figures);
    }

    /// Counts a delivery, or an event, that is held, throttled or parked.
    pub(in crate::worker) fn deferred(
        &self,
        url: Option<&EndpointUrl>,
        topic: Option<&Topic>,
        what: Count,
    ) {
        self.urls.lock().entry(url).figures.count(what);
        self.topics.lock().entry(topic).figures.count(what);
    }

    /// Takes what was counted since the last time.
    pub(super) fn take(&self, now: UnixMillis) -> Taken {
        let mut taken = Taken::default();
        let mut all = HourFigures::default();
        let (urls, _forgotten) = self.urls.lock().take(now);
        urls.each(|name, Entry { figures, .. }| {
            if figures.is_empty() {
                return;
            }
            all.merge(&figures);
            let name = name.map(|url| url.as_str().to_owned()).unwrap_or_default();
            taken.figures.push((Series::Url(name), figures));
        });
        let (topics, _forgotten) = self.topics.lock().take(now);
        topics.each(|name, Entry { figures, seen }| {
            if figures.is_empty() {
                return;
            }
            all.merge_part(&figures, Part::Events);
            let name = name.map(|topic| topic.as_str().to_owned()).unwrap_or_default();
            taken.topics.extend(seen.map(|seen| TopicSeen { topic: name.clone(), ..seen }));
            taken.figures.push((Series::Topic(name), figures));
        });
        if !all.is_empty() {
            taken.figures.push((Series::All, all));
        }
        taken
    }
}

/// The nearest whole number.
fn millis(duration: Duration) -> u64 {
    let rounded = duration.saturating_add(Duration::from_micros(500));
    u64::try_from(rounded.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    fn url(path: &str) -> EndpointUrl {
        format!("https://example.com/{path}").parse().unwrap()
    }

    fn sums(taken: &Taken, what: Count) -> BTreeMap<(&str, &str), u64> {
        let named = taken.figures.iter().map(|(series, figures)| {
            ((series.kind(), series.name().rsplit('/').next().unwrap()), figures.get(what))
        });
        named.filter(|(_, number)| *number > 0).collect()
    }

    #[test]
    fn all_is_the_sum_of_urls_and_of_the_events_of_topics() {
        let collector = Collector::new(10);
        collector.event(&topic("a"), NOW, true);
        collector.event(&topic("b"), NOW, false);
        collector.event(&topic("homing.endpoint.opened"), NOW, false);
        for (path, what) in [("1", Count::Delivered), ("2", Count::Status5xx), ("2", Count::Dns)] {
            let after = (what == Count::Delivered).then_some(Duration::from_secs(60));
            collector.attempted(&Ended {
                url: &url(path),
                topic: &topic("a"),
                what,
                duration: Duration::from_millis(10),
                delivered_after: after,
            });
        }
        collector.deferred(None, Some(&topic("b")), Count::Parked);
        let taken = collector.take(NOW);
        let events = sums(&taken, Count::Events);
        assert_eq!(events, [(("all", ""), 2), (("topic", "a"), 1), (("topic", "b"), 1)].into());
        let parked = sums(&taken, Count::Parked);
        assert_eq!(parked, [(("all", ""), 1), (("topic", "b"), 1), (("url", ""), 1)].into());
        let (_, all) = taken.figures.iter().find(|(series, _)| *series == Series::All).unwrap();
        assert_eq!((all.attempts(), all.failed()), (3, 2));
        assert_eq!((all.response.len(), all.delivery.len()), (3, 1));
        let seen: BTreeMap<_, _> =
            taken.topics.iter().map(|seen| (seen.topic.as_str(), seen.unwanted)).collect();
        assert_eq!(seen, [("a", 0), ("b", 1)].into());
        assert!(collector.take(NOW).figures.is_empty(), "what was taken is gone");
    }

    #[test]
    fn names_beyond_the_limit_are_others_until_the_next_hour() {
        let collector = Collector::new(2);
        let seen = |at: UnixMillis| {
            let taken = collector.take(at);
            let names = taken.topics.iter().map(|seen| (seen.topic.clone(), seen.events));
            names.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(seen(NOW), [].into());
        for name in ["a", "b", "c", "d", "a"] {
            collector.event(&topic(name), NOW, true);
        }
        let [a, b, others] = ["a", "b", ""].map(str::to_owned);
        assert_eq!(seen(NOW), [(a, 2), (b, 1), (others.clone(), 2)].into());
        collector.event(&topic("c"), NOW, true);
        let later = NOW.plus(Duration::from_secs(3_600));
        assert_eq!(seen(later), [(others, 1)].into(), "in the hour, the limit is for all of it");
        collector.event(&topic("c"), later, true);
        assert_eq!(seen(later), [("c".to_owned(), 1)].into());
    }
}
