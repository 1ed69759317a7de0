//! The instructions of an endpoint about what is sent to it.

use std::fmt;

/// The instruction that an endpoint gives with its answer, in the header `webhook-delivery`.
///
/// Source: Svix documentation, *Delivery Control*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryControl {
    /// This event is not sent again.
    AbortMessage,
    /// Nothing more is sent to the URL.
    Disable,
}

impl DeliveryControl {
    /// Reads the value of the header; `None`: it is another one.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        [(Self::AbortMessage, "abort-message"), (Self::Disable, "disable")]
            .into_iter()
            .find(|(_, word)| value.eq_ignore_ascii_case(word.as_bytes()))
            .map(|(control, _)| control)
    }
}

/// The header.
impl fmt::Display for DeliveryControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AbortMessage => "webhook-delivery: abort-message",
            Self::Disable => "webhook-delivery: disable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_words_are_instructions() {
        assert_eq!(DeliveryControl::read(b"Disable"), Some(DeliveryControl::Disable));
        assert_eq!(DeliveryControl::read(b"abort-message"), Some(DeliveryControl::AbortMessage));
        for other in [&b""[..], b"abort", b"disable;x", b"\xff"] {
            assert_eq!(DeliveryControl::read(other), None);
        }
    }
}
