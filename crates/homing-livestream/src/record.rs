//! Reads a record's ids, report suite and time. All of it leniently, because the types of fields
//! change; the record itself keeps its bytes.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The readable fields of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Identifies the hit, almost always.
    pub hit: Option<HitId>,
    /// The report suite that it belongs to.
    pub report_suite: Option<String>,
    /// The time of the hit; Unix seconds.
    pub time: Option<u64>,
    /// The time of its receipt at the service; Unix seconds.
    pub received: Option<u64>,
}

/// `hitIdHigh` and `hitIdLow`: unsigned 64-bit numbers, above what a float holds exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HitId {
    /// `hitIdHigh`
    pub high: u64,
    /// `hitIdLow`
    pub low: u64,
}

impl std::fmt::Display for HitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.high, self.low)
    }
}

/// Kept as raw values: a field of an unexpected type does not affect the others.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written<'a> {
    #[serde(borrow)]
    hit_id_high: Option<&'a RawValue>,
    #[serde(borrow)]
    hit_id_low: Option<&'a RawValue>,
    #[serde(borrow)]
    report_suite: Option<&'a RawValue>,
    #[serde(borrow, rename = "timeGMT")]
    time: Option<&'a RawValue>,
    #[serde(borrow, rename = "receivedTimeGMT")]
    received: Option<&'a RawValue>,
}

/// True if `record` begins as an object of JSON: anything else is no hit.
#[must_use]
pub fn is_object(record: &[u8]) -> bool {
    record.trim_ascii_start().first() == Some(&b'{')
}

impl Facts {
    /// Reads `record`, which may be anything.
    #[must_use]
    pub fn of(record: &[u8]) -> Self {
        let written: Written<'_> = serde_json::from_slice(record).unwrap_or_default();
        let hit = number(written.hit_id_high).zip(number(written.hit_id_low));
        Self {
            hit: hit.map(|(high, low)| HitId { high, low }),
            report_suite: text(written.report_suite),
            time: number(written.time),
            received: number(written.received),
        }
    }

    /// The report suite as a word of the topic.
    #[must_use]
    pub fn topic_word(&self) -> String {
        /// Leaves room for any prefix in the 255 bytes of a topic.
        const MAX_CHARS: usize = 48;
        let suite = self.report_suite.as_deref().unwrap_or_default();
        let word = |c: char| {
            if c == '.' || c.is_whitespace() || c.is_control() { '_' } else { c }
        };
        let word: String = suite.chars().take(MAX_CHARS).map(word).collect();
        if word.is_empty() { "unknown".to_owned() } else { word }
    }
}

/// A whole number, also one written as a string.
fn number(value: Option<&RawValue>) -> Option<u64> {
    value?.get().trim_matches('"').trim().parse().ok()
}

/// A string, also one written as a number.
fn text(value: Option<&RawValue>) -> Option<String> {
    let value = value?.get();
    if value.starts_with('"') {
        serde_json::from_str(value).ok()
    } else {
        value.parse::<u64>().ok().map(|number| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIT: &[u8] = include_bytes!("../../../tests/samples/livestream-hit.json");

    #[test]
    fn ids_of_64_bits_are_exact() {
        let facts = Facts::of(HIT);
        assert_eq!(facts.hit.unwrap().to_string(), "2948027281753079808-4948646782672799561");
        assert_eq!((facts.time, facts.received), (Some(1_372_782_179), Some(1_372_782_179)));
        assert_eq!(facts.topic_word(), "examplecomprod");
    }

    #[test]
    fn fields_of_other_types_are_read_as_far_as_they_go() {
        let facts = Facts::of(
            br#"{"hitIdHigh":"18446744073709551615","hitIdLow":0,"reportSuite":17,"timeGMT":[],"receivedTimeGMT":1.5}"#,
        );
        assert_eq!(facts.hit, Some(HitId { high: u64::MAX, low: 0 }));
        assert_eq!((facts.topic_word().as_str(), facts.time, facts.received), ("17", None, None));
        assert_eq!(Facts::of(br#"{"hitIdHigh":1,"hitIdLow":-1}"#).hit, None);
        assert_eq!(Facts::of(br#"{"hitIdHigh":1,"hitIdLow":null}"#).hit, None);
    }

    #[test]
    fn a_record_that_is_no_object_has_no_facts() {
        for record in [&b"[1]"[..], b"not json", b"{\"hitIdHigh\":1", b"\xff\xfe", b"\"text\""] {
            assert_eq!(Facts::of(record), Facts::default());
        }
        assert_eq!(Facts::default().topic_word(), "unknown");
    }

    #[test]
    fn a_record_is_an_object_however_broken() {
        for record in [&b"{}"[..], b" \t{\"a\"", HIT] {
            assert!(is_object(record));
        }
        for other in [&b"[1,2,3]"[..], b"17", b"\"{}\"", b"not authorized", b""] {
            assert!(!is_object(other));
        }
    }

    #[test]
    fn a_report_suite_is_one_word_of_the_topic() {
        let word = |suite: &str| {
            Facts { report_suite: Some(suite.to_owned()), ..Facts::default() }.topic_word()
        };
        assert_eq!(word("my.suite 1\n"), "my_suite_1_");
        assert_eq!(word(&"x".repeat(300)).len(), 48);
        assert_eq!(word(""), "unknown");
    }
}
