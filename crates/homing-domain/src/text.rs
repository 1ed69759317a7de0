//! Reads what is written as text, such as the parameters of a query, by a type's [`FromStr`], whose
//! errors say what to write instead.

use std::{collections::BTreeSet, fmt::Display, str::FromStr};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, de::Error};

/// Deserializes text that `T` parses; for `deserialize_with`.
///
/// # Errors
///
/// The error of `T`, or no text.
pub fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed_by(deserializer, str::parse)
}

/// The same, parsed by `parse`.
///
/// # Errors
///
/// The error of `parse`, or no text.
pub fn parsed_by<'de, D, T, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}

/// Different words that a process reads at most, far more than homing has.
const MAX_WORDS: usize = 4_096;

/// A word of homing's own, such as the name of a state. Under this name, fields that are
/// deserialized do not borrow it.
pub type Word = &'static str;

/// Deserializes a [`Word`] that another homing has written; for `deserialize_with`. Each different
/// one is kept until the process ends.
///
/// # Errors
///
/// No text, or more different words than homing has.
pub fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    kept(String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// As [`word`], for one that may be absent.
///
/// # Errors
///
/// As [`word`].
pub fn word_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(kept).transpose().map_err(D::Error::custom)
}

fn kept(text: String) -> Result<Word, &'static str> {
    static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock();
    if let Some(word) = words.get(text.as_str()) {
        return Ok(word);
    }
    if words.len() >= MAX_WORDS {
        return Err("too many different words");
    }
    let word: Word = Box::leak(text.into_boxed_str());
    words.insert(word);
    Ok(word)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Words {
        #[serde(deserialize_with = "super::word")]
        state: super::Word,
        #[serde(default, deserialize_with = "super::word_if_any")]
        limit: Option<super::Word>,
    }

    #[test]
    fn a_word_is_kept_once() {
        let read = |json: &str| serde_json::from_str::<Words>(json).unwrap();
        let (one, other) = (read(r#"{"state":"held","limit":null}"#), read(r#"{"state":"held"}"#));
        assert!(std::ptr::eq(one.state, other.state));
        assert_eq!((one.limit, other.limit), (None, None));
        assert_eq!(
            read(r#"{"state":"open","limit":"parking.max_rows"}"#).limit,
            Some("parking.max_rows")
        );
    }
}
