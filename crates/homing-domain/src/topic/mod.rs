//! Topics, the dotted names of events, and the patterns of subscriptions.
//!
//! A [`Topic`] is one name, such as `TASK.UPDATE`; a [`TopicPattern`] matches many, written and
//! matched as in a binding of an AMQP topic exchange, so that operators learn one syntax. A word is
//! the text between dots and may be empty, as it is for the broker: `a..b` has three words. That is
//! accepted over AMQP; other input is checked more strictly, because such a word is a mistake:
//! [`Topic::for_publishing`], [`TopicPattern::for_subscribing`].

use std::{fmt, str::FromStr, str::Split, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

mod error;
mod near;

pub use error::TopicError;
pub use near::Difference;

/// Maximum size of a topic or pattern in bytes: that of an AMQP routing key.
///
/// Source: AMQP 0-9-1, section 4.2.5.3, short strings.
pub const MAX_TOPIC_BYTES: usize = 255;

/// Exactly one word.
pub(super) const ONE: &str = "*";

/// Any number of words, none included.
pub(super) const MANY: &str = "#";

/// The first word of the topics of homing's own events.
const OWN: &str = "homing.";

/// The topic of an event, such as `TASK.UPDATE` or `order.paid`.
///
/// 1 to [`MAX_TOPIC_BYTES`] bytes without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[schema(value_type = String)]
pub struct Topic(Arc<str>);

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Topic {
    /// Checks `text` and keeps a copy.
    ///
    /// # Errors
    ///
    /// [`TopicError`], except [`TopicError::MixedWildcard`]: in a topic, `*` and `#` are ordinary.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text).map(|()| Self(text.into()))
    }

    /// A topic for an event that is published through homing.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); also if it has an empty word or a blank, which no subscription can
    /// name, or if it is reserved for homing's own events.
    pub fn for_publishing(text: &str) -> Result<Self, TopicError> {
        let topic = Self::new(text)?;
        check_words(text)?;
        if topic.is_own() {
            return Err(TopicError::Reserved);
        }
        Ok(topic)
    }

    /// The topic as published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for one of homing's own events.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.starts_with(OWN)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of topics: words between dots, `*` for exactly one, `#` for zero or more.
///
/// ```
/// use homing_domain::topic::{Topic, TopicPattern};
///
/// let matches = |pattern: &str, topic| Ok::<_, homing_domain::topic::TopicError>(
///     pattern.parse::<TopicPattern>()?.matches(&Topic::new(topic)?));
/// assert!(matches("TASK.*", "TASK.UPDATE")?);
/// assert!(!matches("TASK.*", "TASK")?); //        `*` is exactly one word
/// assert!(matches("TASK.#", "TASK")?); //         `#` may be none
/// assert!(matches("#.failed", "order.card.failed")?);
/// # Ok::<(), homing_domain::topic::TopicError>(())
/// ```
///
/// Source: RabbitMQ documentation, *Exchanges*, topic exchange.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// A pattern for a new subscription.
    ///
    /// # Errors
    ///
    /// As [`from_str`](Self::from_str); also if it has an empty word or a blank: no event published
    /// through homing has such a topic.
    pub fn for_subscribing(text: &str) -> Result<Self, TopicError> {
        let pattern = text.parse()?;
        check_words(text).map(|()| pattern)
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if the pattern names homing's own events, which wildcards at its beginning do not.
    #[must_use]
    pub fn names_own(&self) -> bool {
        self.0.starts_with(OWN)
    }

    /// True if the pattern has no wildcard, so that at most one topic matches.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.words().all(|word| word != ONE && word != MANY)
    }

    /// The part after the last dot; the whole pattern if it has none. May be a wildcard.
    #[must_use]
    pub fn last_word(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// True if `topic` matches.
    ///
    /// At a mismatch only the last `#` is made one word longer: whatever an earlier `#` could take
    /// in addition, the last one can take, too. So the work is at most words × words, without
    /// allocation.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut wanted = self.words();
        let mut words = topic.0.split('.');
        let mut last_many: Option<Resume<'_>> = None;
        loop {
            let here = words.clone();
            match (wanted.next(), words.next()) {
                (Some(MANY), _) => {
                    words = here.clone();
                    last_many = Some(Resume { wanted: wanted.clone(), words: here });
                }
                (Some(pattern), Some(word)) if pattern == ONE || pattern == word => {}
                (None, None) => return true,
                // Words are missing, and a longer `#` would leave still fewer.
                (Some(_), None) => return false,
                (_, Some(_)) => {
                    let Some(resume) = last_many.as_mut() else { return false };
                    resume.words.next();
                    wanted = resume.wanted.clone();
                    words = resume.words.clone();
                }
            }
        }
    }

    fn words(&self) -> Split<'_, char> {
        self.0.split('.')
    }
}

/// The state from which matching continues once the last `#` has to take another word.
struct Resume<'a> {
    /// The pattern after that `#`.
    wanted: Split<'a, char>,
    /// The words that `#` has not taken.
    words: Split<'a, char>,
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        let mixed = |word: &&str| word.len() > 1 && word.contains(['*', '#']);
        text.split('.').find(mixed).map_or_else(
            || Ok(Self(text.into())),
            |word| Err(TopicError::MixedWildcard { word: word.to_owned() }),
        )
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks common to topics and patterns.
fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong { bytes: text.len() });
    }
    text.char_indices()
        .find(|(_, character)| character.is_control())
        .map_or(Ok(()), |(at, character)| Err(TopicError::Control { character, at }))
}

/// Refuses what is rarely intended.
fn check_words(text: &str) -> Result<(), TopicError> {
    if let Some(index) = text.split('.').position(str::is_empty) {
        return Err(TopicError::EmptyWord { number: index.saturating_add(1) });
    }
    text.char_indices()
        .find(|(_, character)| character.is_whitespace())
        .map_or(Ok(()), |(at, character)| Err(TopicError::Blank { character, at }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        let pattern: TopicPattern = pattern.parse().expect("a pattern");
        pattern.matches(&Topic::new(topic).expect("a topic"))
    }

    /// The definition, word by word; exponential in the number of `#`.
    fn reference(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => reference(rest, words),
            (Some((&"#", rest)), Some((_, tail))) => {
                reference(rest, words) || reference(pattern, tail)
            }
            (None, Some(_)) | (Some(_), None) => false,
            (Some((first, rest)), Some((word, tail))) => {
                (*first == "*" || first == word) && reference(rest, tail)
            }
        }
    }

    #[test]
    fn wildcards_match_whole_words() {
        for (pattern, topic, expected) in [
            ("TASK.UPDATE", "TASK.UPDATE", true),
            ("TASK.UPDATE", "task.update", false),
            ("TASK.UPDATE", "TASK.UPDATE.x", false),
            ("*", "TASK", true),
            ("*", "TASK.UPDATE", false),
            ("*.UPDATE", "TASK.UPDATE", true),
            ("TASK.*", "TASK", false),
            ("#", "TASK", true),
            ("#", "a.b.c", true),
            ("TASK.#", "TASK", true),
            ("TASK.#", "TASK.a.b", true),
            ("TASK.#", "PROJ.a", false),
            ("#.b", "a.b.b", true),
            ("#.b.#.c", "a.b.x.y.c", true),
            ("#.b.#.c", "a.c.b", false),
            ("#.*", "a", true),
            ("*.#.*", "a", false),
            ("#.#.#", "a", true),
            ("a.*.b", "a..b", true),
            ("a.b", "a..b", false),
            ("a.", "a", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} against {topic}");
        }
    }

    #[test]
    fn many_wildcards_do_not_blow_up() {
        let pattern = ["#"; 60].join(".a.") + ".b";
        assert!(!matches(&pattern, &["a"; 128].join(".")));
    }

    #[test]
    fn a_pattern_says_whether_it_is_exact_and_how_it_ends() {
        for (text, exact, last) in [
            ("TASK.CREATE", true, "CREATE"),
            ("TASK", true, "TASK"),
            ("TASK.*", false, "*"),
            ("#.CREATE", false, "CREATE"),
            ("a.", true, ""),
        ] {
            let pattern: TopicPattern = text.parse().expect("a pattern");
            assert_eq!((pattern.is_exact(), pattern.last_word()), (exact, last), "{text}");
        }
    }

    #[test]
    fn the_limits_are_inclusive() {
        let longest = "é".repeat(127) + "x";
        assert_eq!(Topic::new(&longest).expect("255 bytes").as_str(), longest);
        assert_eq!(Topic::new(&(longest + "x")), Err(TopicError::TooLong { bytes: 256 }));
        assert!(Topic::new("order.paid#1*").is_ok(), "wildcards are ordinary in a topic");
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        let refusal = |text: &str| text.parse::<TopicPattern>().expect_err("refused").to_string();
        insta::assert_snapshot!(refusal(""), @"a topic has 1 to 255 bytes, this one is empty");
        insta::assert_snapshot!(refusal(&"x".repeat(256)), @"a topic has 1 to 255 bytes, this one has 256");
        insta::assert_snapshot!(refusal("TASK.\nUPDATE"), @r#"a topic has no control characters, this one has '\n' at byte 5"#);
        insta::assert_snapshot!(refusal("TASK.UP*"), @"`UP*` mixes a wildcard with other characters; a wildcard is a whole word between dots: `*` is exactly one word, `#` is zero or more, as in `TASK.*` or `order.#`");
        assert_eq!(refusal("a.##"), refusal("a.##.b"));
    }

    #[test]
    fn rarely_intended_topics_are_refused() {
        let refusal = |text: &str| {
            let published = Topic::for_publishing(text).expect_err("refused");
            assert_eq!(TopicPattern::for_subscribing(text), Err(published.clone()), "{text}");
            assert!(Topic::new(text).is_ok() && text.parse::<TopicPattern>().is_ok(), "{text}");
            published.to_string()
        };
        insta::assert_snapshot!(refusal("order..paid"), @"a topic has words with single dots between them, as in `order.paid`; word 2 of this one is empty");
        insta::assert_snapshot!(refusal("order. paid"), @"a topic has no blanks, this one has ' ' at byte 6");
        for text in [".order", "order.", ".", " ", "order.paid ", "order\u{a0}.paid"] {
            refusal(text);
        }
        let reserved = Topic::for_publishing("homing.endpoint.frozen");
        assert_eq!(reserved, Err(TopicError::Reserved));
        assert!(TopicPattern::for_subscribing("homing.endpoint.frozen").is_ok());
        assert!(Topic::for_publishing("homing").is_ok());
    }

    #[test]
    fn a_pattern_is_a_string_in_json() {
        let pattern: TopicPattern = serde_json::from_str("\"TASK.*\"").expect("a pattern");
        assert_eq!(serde_json::to_string(&pattern).expect("a string"), "\"TASK.*\"");
        let error = serde_json::from_str::<TopicPattern>("\"TASK*\"").expect_err("a glob");
        assert!(error.to_string().starts_with("`TASK*` mixes a wildcard"), "{error}");
    }

    /// At least one word, and not the empty one alone.
    fn words(of: &[&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        let words = prop::collection::vec(prop::sample::select(of.to_vec()), 1..9);
        words.prop_filter("the empty text is no topic", |words| *words != [""])
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(
            pattern in words(&["a", "b", "", "*", "#"]), topic in words(&["a", "b", ""]),
        ) {
            let expected = reference(&pattern, &topic);
            prop_assert_eq!(matches(&pattern.join("."), &topic.join(".")), expected);
        }

        #[test]
        fn an_accepted_pattern_reads_back_the_same(text in "[ab*#.\u{0}-\u{1f}é]{0,12}") {
            if let Ok(pattern) = text.parse::<TopicPattern>() {
                prop_assert_eq!(pattern.to_string(), text.clone());
                let topic = Topic::new(&text).expect("every pattern is a topic");
                prop_assert!(pattern.matches(&topic), "and matches its own spelling");
            }
        }
    }
}
