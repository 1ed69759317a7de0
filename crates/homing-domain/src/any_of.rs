//! Words of a search: one, or the name of several.

use std::str::FromStr;

/// A word that can be searched for.
pub trait Word: Copy + 'static {
    /// Its kind, with the article.
    const WHAT: &'static str;
    /// All of them, in the order in which the documentation lists them.
    const WORDS: &'static [Self];
    /// A name, and the words that it is short for.
    const GROUP: (&'static str, &'static [Self]);

    /// Its text.
    fn text(self) -> &'static str;
}

/// The words that a search is for: one, or those of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyOf<W: 'static>(&'static [W]);

impl<W: Word> AnyOf<W> {
    /// The texts, in the order in which the documentation lists them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        W::WORDS.iter().map(|word| word.text()).chain([W::GROUP.0]).collect()
    }

    /// The text of which it is parsed.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.0 {
            [one] => one.text(),
            _ => W::GROUP.0,
        }
    }

    /// The words to search for.
    #[must_use]
    pub fn as_slice(&self) -> &'static [W] {
        self.0
    }
}

/// The text is none of the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; one of {}", .names.join(", "))]
pub struct AnyOfError {
    text: String,
    what: &'static str,
    names: Vec<&'static str>,
}

impl<W: Word> FromStr for AnyOf<W> {
    type Err = AnyOfError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, words) = W::GROUP;
        let mut single = W::WORDS.chunks(1);
        let found = if text == name {
            Some(words)
        } else {
            single.find(|word| word.iter().any(|word| word.text() == text))
        };
        found.map(Self).ok_or_else(|| AnyOfError {
            text: text.chars().take(64).collect(),
            what: W::WHAT,
            names: Self::names(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        delivery_state::{DeliveryState, States},
        record::{Class, Classes},
    };

    #[test]
    fn one_word_is_found_by_its_text_and_several_by_their_name() {
        for state in DeliveryState::ALL {
            let found: States = state.as_str().parse().unwrap();
            assert_eq!((found.as_slice(), found.name()), (&[state][..], state.as_str()));
        }
        assert_eq!("pending".parse::<States>().unwrap().as_slice(), DeliveryState::PENDING);
        assert_eq!("pending".parse::<States>().unwrap().name(), "pending");
        assert_eq!("failed".parse::<Classes>().unwrap().as_slice(), Class::FAILED);
        insta::assert_snapshot!("late".parse::<States>().unwrap_err(), @"`late` is not a state; one of delivered, waits, not_before, throttled, held, parked, not_wanted, pending");
        insta::assert_snapshot!("dead".parse::<Classes>().unwrap_err(), @"`dead` is not an outcome; one of accepted, refused, timed_out, unreachable, not_attempted, failed");
    }
}
