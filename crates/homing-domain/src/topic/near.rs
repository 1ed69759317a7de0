//! Patterns that nearly match a topic: typing errors that an operator would want to know of.

use std::fmt;

use super::{MANY, ONE, Topic, TopicPattern};

/// A topic or pattern with more words is not compared.
const MAX_WORDS: usize = 16;
/// Characters that people write between words.
const SEPARATORS: [char; 6] = ['.', '_', '-', '/', ':', ' '];
/// Letters that may differ.
const MAX_EDITS: usize = 2;

/// The difference between a topic and a pattern that nearly matches it, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Only upper and lower case.
    Case,
    /// Something else than a dot separates words.
    Separator,
    /// One or two letters.
    Spelling,
    /// One word, where another one is the same.
    Word,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Case => "upper and lower case differ",
            Self::Separator => "words are separated by dots",
            Self::Spelling => "one or two letters differ",
            Self::Word => "one word differs",
        })
    }
}

impl TopicPattern {
    /// The smallest difference because of which `topic` does not match; `None`: it matches, or
    /// nothing suggests that it was meant to.
    #[must_use]
    pub fn difference(&self, topic: &Topic) -> Option<Difference> {
        if self.matches(topic) {
            return None;
        }
        let (pattern, topic) = (self.as_str().to_lowercase(), topic.as_str().to_lowercase());
        let (wanted, words) = (split(&pattern, &['.']), split(&topic, &['.']));
        if wanted.len() > MAX_WORDS || words.len() > MAX_WORDS {
            return None;
        }
        if distance(&wanted, &words, same) == 0 {
            return Some(Difference::Case);
        }
        let apart = (split(&pattern, &SEPARATORS), split(&topic, &SEPARATORS));
        if distance(&apart.0, &apart.1, same) == 0 {
            return Some(Difference::Separator);
        }
        if distance(&wanted, &words, letters) <= MAX_EDITS {
            return Some(Difference::Spelling);
        }
        let is_alike =
            wanted.iter().any(|word| *word != ONE && *word != MANY && words.contains(word));
        (is_alike && distance(&wanted, &words, one) <= 1).then_some(Difference::Word)
    }
}

fn split<'a>(text: &'a str, at: &[char]) -> Vec<&'a str> {
    text.split(|character| at.contains(&character)).collect()
}

/// The cost of a word in place of another, or, without one of them, of a word too many or missing.
type Cost = fn(Option<&str>, Option<&str>) -> usize;

/// More than any limit.
const FAR: usize = 1_000;

fn same(wanted: Option<&str>, word: Option<&str>) -> usize {
    if wanted == word { 0 } else { FAR }
}

fn letters(wanted: Option<&str>, word: Option<&str>) -> usize {
    let (Some(wanted), Some(word)) = (wanted, word) else { return FAR };
    let (wanted, word): (Vec<_>, Vec<_>) = (wanted.chars().collect(), word.chars().collect());
    // A word of three letters with two others is another word.
    let edits = edits(&wanted, &word);
    if edits * 2 > wanted.len().max(word.len()) { FAR } else { edits }
}

fn one(wanted: Option<&str>, word: Option<&str>) -> usize {
    usize::from(wanted != word)
}

/// The smallest cost of turning the words of a topic into some that a pattern matches.
fn distance(pattern: &[&str], words: &[&str], cost: Cost) -> usize {
    let far = |base: usize, more: usize| base.saturating_add(more).min(FAR);
    // Costs of the beginnings of the topic, for the beginning of the pattern that was read so far.
    let mut row: Vec<usize> = vec![0];
    for word in words {
        row.push(far(row.last().copied().unwrap_or(FAR), cost(None, Some(word))));
    }
    for wanted in pattern {
        let is_many = *wanted == MANY;
        let first = row.first().copied().unwrap_or(FAR);
        let mut next = vec![if is_many { first } else { far(first, cost(Some(wanted), None)) }];
        for (index, word) in words.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(FAR);
            let before = at(&next, index);
            let (diagonal, above) = (at(&row, index), at(&row, index.saturating_add(1)));
            next.push(if is_many {
                above.min(before)
            } else {
                let replaced = if *wanted == ONE { 0 } else { cost(Some(wanted), Some(word)) };
                let replaced = far(diagonal, replaced);
                let added = far(before, cost(None, Some(word)));
                replaced.min(added).min(far(above, cost(Some(wanted), None)))
            });
        }
        row = next;
    }
    row.last().copied().unwrap_or(FAR)
}

/// Letters to add, leave out, replace, or exchange with the next, from one word to the other.
fn edits(one: &[char], other: &[char]) -> usize {
    if one.len().abs_diff(other.len()) > MAX_EDITS {
        return FAR;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (index, letter) in one.iter().enumerate() {
        let mut row = vec![index.saturating_add(1)];
        for (place, with) in other.iter().enumerate() {
            let at = |up: usize, back: usize| {
                let row_above = rows.len().checked_sub(up).and_then(|above| rows.get(above));
                let column = place.saturating_add(1).checked_sub(back);
                row_above.zip(column).and_then(|(row, column)| row.get(column)).copied()
            };
            let replaced = at(1, 1).unwrap_or(FAR).saturating_add(usize::from(letter != with));
            let left_out = at(1, 0).unwrap_or(FAR).saturating_add(1);
            let added = row.last().copied().unwrap_or(FAR).saturating_add(1);
            let is_exchange = index > 0
                && place > 0
                && one.get(index.saturating_sub(1)) == Some(with)
                && other.get(place.saturating_sub(1)) == Some(letter);
            let exchanged =
                if is_exchange { at(2, 2).unwrap_or(FAR).saturating_add(1) } else { FAR };
            row.push(replaced.min(left_out).min(added).min(exchanged));
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(pattern: &str, topic: &str) -> Option<Difference> {
        pattern.parse::<TopicPattern>().unwrap().difference(&Topic::new(topic).unwrap())
    }

    #[test]
    fn what_is_probably_meant_is_found_and_what_is_not_is_not() {
        for (pattern, topic, expected) in [
            ("order.paid", "order.paid", None),
            ("order.#", "order.paid", None),
            ("order.paid", "Order.Paid", Some(Difference::Case)),
            ("TASK.*", "task.update", Some(Difference::Case)),
            ("order.paid", "order_paid", Some(Difference::Separator)),
            ("order-line.paid", "order.line.paid", Some(Difference::Separator)),
            ("order.paid", "orders.paid", Some(Difference::Spelling)),
            ("task.*", "tsak.paid", Some(Difference::Spelling)),
            ("order.paid", "order.pays", Some(Difference::Spelling)),
            ("order.paid", "order.refunded", Some(Difference::Word)),
            ("order.*", "order.paid.late", Some(Difference::Word)),
            ("order.paid.late", "order.paid", Some(Difference::Word)),
            ("order.*.x", "order.x", Some(Difference::Word)),
            ("paid", "refunded", None),
            ("a.b", "c.d", None),
            ("abc", "xyc", None),
            ("order.paid", "invoice.sent", None),
            ("*", "order.paid", None),
            ("#", "order.paid", None),
        ] {
            assert_eq!(difference(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn many_words_are_not_compared() {
        let long = ["a"; 120].join(".");
        assert_eq!(difference("a.b", &long), None);
    }

    #[test]
    fn letters_are_compared() {
        let edits = |one: &str, other: &str| {
            edits(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>())
        };
        assert_eq!(edits("order", "order"), 0);
        assert_eq!(edits("order", "orders"), 1);
        assert_eq!(edits("task", "tsak"), 1);
        assert_eq!(edits("größe", "grosse"), 3);
        assert_eq!(edits("a", "abcd"), FAR);
    }
}
