//! The figures of an hour, by URL, by topic and in all: how much came, what became of it, and how
//! long it took. Figures of several workers and hours add up.

mod count;
mod histogram;
mod sparse;

use super::time::UnixMillis;

pub use count::Count;
pub use histogram::Histogram;
use sparse::Sparse;

/// The subject of figures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Everything.
    All,
    /// Deliveries to one URL, normalised; empty: to those that are not distinguished, or unknown.
    Url(String),
    /// Events with one topic, and their deliveries; empty: with those that are not distinguished.
    Topic(String),
}

impl Series {
    /// The kind as it is stored: `all`, `url` or `topic`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Url(_) => "url",
            Self::Topic(_) => "topic",
        }
    }

    /// The URL or the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::All => "",
            Self::Url(name) | Self::Topic(name) => name,
        }
    }

    /// The same for all URLs or topics that are not distinguished.
    #[must_use]
    pub fn others(&self) -> Option<Self> {
        match self {
            Self::All => None,
            Self::Url(_) => Some(Self::Url(String::new())),
            Self::Topic(_) => Some(Self::Topic(String::new())),
        }
    }
}

/// The figures of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HourFigures {
    counts: Sparse,
    /// Durations of attempts, from their start to the end of the answer.
    pub response: Histogram,
    /// From the receipt of an event to its acceptance by an endpoint, waits included.
    pub delivery: Histogram,
}

/// The bytes are no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the figures of an hour cannot be read")]
pub struct FiguresError;

impl HourFigures {
    /// Counts one.
    pub fn count(&mut self, what: Count) {
        self.counts.add(what as u8, 1);
    }

    /// The number that was counted.
    #[must_use]
    pub fn get(&self, what: Count) -> u64 {
        self.counts.get(what as u8)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let failed = Count::FAILED.iter().map(|class| self.get(*class));
        failed.fold(0, u64::saturating_add)
    }

    /// Attempts that were made.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.failed().saturating_add(self.get(Count::Delivered))
    }

    /// True if nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the figures of another worker or hour.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.response.merge(&other.response);
        self.delivery.merge(&other.delivery);
    }

    /// Adds only the counts about events, or only those about deliveries.
    pub fn merge_part(&mut self, other: &Self, part: Part) {
        for what in Count::ALL {
            if part == Part::of(*what) {
                self.counts.add(*what as u8, other.get(*what));
            }
        }
        if part == Part::Deliveries {
            self.response.merge(&other.response);
            self.delivery.merge(&other.delivery);
        }
    }

    /// The form in which they are stored: some dozen bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [&self.counts, &self.response.0, &self.delivery.0] {
            part.write(&mut bytes);
        }
        bytes
    }

    /// Reads that form.
    ///
    /// # Errors
    ///
    /// [`FiguresError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FiguresError> {
        let mut rest = bytes;
        let mut next = || Sparse::read(&mut rest).ok_or(FiguresError);
        let (counts, response, delivery) = (next()?, next()?, next()?);
        let read = Self { counts, response: Histogram(response), delivery: Histogram(delivery) };
        if rest.is_empty() { Ok(read) } else { Err(FiguresError) }
    }
}

/// The part of figures that has one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Events and unwanted ones, which have a topic.
    Events,
    /// All others, which have a URL as well.
    Deliveries,
}

impl Part {
    fn of(what: Count) -> Self {
        if matches!(what, Count::Events | Count::Unwanted) {
            Self::Events
        } else {
            Self::Deliveries
        }
    }
}

/// A topic of which events were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSeen {
    /// The topic; empty: all that are not distinguished.
    pub topic: String,
    /// The first event that is known of.
    pub first_ms: UnixMillis,
    /// The last event.
    pub last_ms: UnixMillis,
    /// The number of events.
    pub events: u64,
    /// Those that no subscription wanted.
    pub unwanted: u64,
    /// The last of these.
    pub unwanted_ms: Option<UnixMillis>,
}

impl TopicSeen {
    /// One event, at this instant.
    #[must_use]
    pub fn one(topic: String, at: UnixMillis, is_wanted: bool) -> Self {
        let unwanted_ms = (!is_wanted).then_some(at);
        let unwanted = u64::from(!is_wanted);
        Self { topic, first_ms: at, last_ms: at, events: 1, unwanted, unwanted_ms }
    }

    /// Adds what was seen of the same topic elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.events = self.events.saturating_add(other.events);
        self.unwanted = self.unwanted.saturating_add(other.unwanted);
        self.unwanted_ms = self.unwanted_ms.max(other.unwanted_ms);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures() -> impl Strategy<Value = HourFigures> {
        let counts = prop::collection::vec(prop::sample::select(Count::ALL), 0..40);
        let times = || prop::collection::vec(any::<u64>(), 0..40);
        (counts, times(), times()).prop_map(|(counts, response, delivery)| {
            let mut figures = HourFigures::default();
            for what in counts {
                figures.count(what);
            }
            for (times, histogram) in
                [(response, &mut figures.response), (delivery, &mut figures.delivery)]
            {
                for time in times {
                    histogram.add(time);
                }
            }
            figures
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(figures in figures()) {
            prop_assert_eq!(HourFigures::from_bytes(&figures.to_bytes()), Ok(figures));
        }

        /// Goal: it does not matter in which order workers add their figures, nor by which parts.
        #[test]
        fn figures_add_up_in_any_order(one in figures(), two in figures()) {
            let sum = |first: &HourFigures, second: &HourFigures| {
                let mut sum = first.clone();
                sum.merge(second);
                sum
            };
            prop_assert_eq!(sum(&one, &two), sum(&two, &one));
            let mut parts = one.clone();
            parts.merge_part(&two, Part::Events);
            parts.merge_part(&two, Part::Deliveries);
            prop_assert_eq!(&parts, &sum(&one, &two));
            prop_assert_eq!(parts.attempts(), one.attempts() + two.attempts());
        }

        #[test]
        fn bytes_that_are_no_figures_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(figures) = HourFigures::from_bytes(&bytes) {
                prop_assert_eq!(HourFigures::from_bytes(&figures.to_bytes()), Ok(figures));
            }
        }
    }

    #[test]
    fn numbers_and_names_of_counts_differ() {
        let numbers: std::collections::BTreeSet<_> =
            Count::ALL.iter().map(|what| *what as u8).collect();
        let names: std::collections::BTreeSet<_> =
            Count::ALL.iter().map(|what| what.as_str()).collect();
        assert_eq!((numbers.len(), names.len()), (Count::ALL.len(), Count::ALL.len()));
        let failed = Count::FAILED.iter().all(|class| Part::of(*class) == Part::Deliveries);
        assert!(failed);
    }

    #[test]
    fn sightings_of_a_topic_add_up() {
        let at = UnixMillis::new;
        let mut seen = TopicSeen::one("t".to_owned(), at(20), true);
        seen.merge(&TopicSeen::one("t".to_owned(), at(10), false));
        seen.merge(&TopicSeen::one("t".to_owned(), at(30), true));
        let sum = TopicSeen {
            topic: "t".to_owned(),
            first_ms: at(10),
            last_ms: at(30),
            events: 3,
            unwanted: 1,
            unwanted_ms: Some(at(10)),
        };
        assert_eq!(seen, sum);
    }
}
