//! Errors of topics and patterns.

use super::MAX_TOPIC_BYTES;

/// The text is neither a topic nor a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic has 1 to {max} bytes, this one is empty", max = MAX_TOPIC_BYTES)]
    Empty,
    /// Longer than a routing key can be.
    #[error("a topic has 1 to {max} bytes, this one has {bytes}", max = MAX_TOPIC_BYTES)]
    TooLong {
        /// The length found.
        bytes: usize,
    },
    /// A control character would garble logs and headers.
    #[error("a topic has no control characters, this one has {character:?} at byte {at}")]
    Control {
        /// The character found.
        character: char,
        /// Its offset in bytes, from 0.
        at: usize,
    },
    /// `foo*` reads like a file glob, which would silently match nothing.
    #[error(
        "`{word}` mixes a wildcard with other characters; a wildcard is a whole word between dots: \
         `*` is exactly one word, `#` is zero or more, as in `TASK.*` or `order.#`"
    )]
    MixedWildcard {
        /// The word at fault.
        word: String,
    },
    /// Rarely intended, and then nothing matches: `order..paid`.
    #[error(
        "a topic has words with single dots between them, as in `order.paid`; word {number} of this \
         one is empty"
    )]
    EmptyWord {
        /// Its position, from 1.
        number: usize,
    },
    /// Rarely intended, and then nothing matches: `order.paid `.
    #[error("a topic has no blanks, this one has {character:?} at byte {at}")]
    Blank {
        /// The character found.
        character: char,
        /// Its offset in bytes, from 0.
        at: usize,
    },
    /// A topic of homing's own events.
    #[error("topics that begin with `homing.` are homing's own; publish with another first word")]
    Reserved,
}
