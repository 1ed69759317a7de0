//! Which requests are sent again at once, and over which connection.
//!
//! A request that the endpoint provably did not begin with, or whose connection ended for reasons of
//! others, is no attempt: the endpoint did nothing that a wait would make better. What is sent again
//! is the same delivery with the same `webhook-id`.
//!
//! Sources: RFC 9110, 9.2.2; RFC 9112, 9.3.1; RFC 9113, 8.7.

use std::error::Error;

use super::classify::causes;

/// What became of a request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not sent, or the endpoint said that it did not begin with it (GOAWAY with a smaller
    /// stream).
    Unprocessed,
    /// The endpoint said that it did not begin with this one: too many at a time.
    Refused,
    /// A connection that was used before ended before the first byte of the answer.
    Unknown,
    /// A connection that others share ended before the first byte of the answer.
    Lost,
    /// The same, because something that one of them sent or got breaks the protocol.
    Poisoned,
    /// It was this request.
    Failed,
}

/// Over which connection a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// One that is there, or a new one that others may share.
    Any,
    /// A new one that is not shared while the request is under way.
    Fresh,
}

impl Fate {
    /// What an HTTP/2 stream that ended in `error` says; `is_shared`: its connection carried others.
    pub(super) fn of_stream(error: &(dyn Error + 'static), is_shared: bool) -> Self {
        let mut causes = causes(error);
        let unexplained = if is_shared { Self::Lost } else { Self::Failed };
        let Some(cause) = causes.find_map(|cause| cause.downcast_ref::<h2::Error>()) else {
            return unexplained;
        };
        let is_refused = cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        if cause.is_reset() {
            return if cause.is_remote() && is_refused { Self::Refused } else { Self::Failed };
        }
        let is_orderly = cause.reason() == Some(h2::Reason::NO_ERROR);
        if cause.is_go_away() && cause.is_remote() && is_orderly {
            // The library tells only those streams of it that are beyond the last one processed.
            return Self::Unprocessed;
        }
        if cause.is_io() || !is_shared { unexplained } else { Self::Poisoned }
    }

    /// Whether no other request should go over the same HTTP/2 connection.
    pub(super) fn concerns_others(self) -> bool {
        // A refusal is about one stream, and by now the connection knows how many it may have.
        !matches!(self, Self::Failed | Self::Refused)
    }
}

/// How often a request may be sent again.
pub(super) struct Again {
    unprocessed: u8,
    refused: u8,
    unknown: u8,
}

impl Again {
    /// `unprocessed`: a server that gives up each connection after a hundred requests, as nginx can
    /// be told to, may do so again and again while one of many requests finds its way. Eight times
    /// were too few for 1 % of 10,000, 256 at once.
    pub(super) fn new() -> Self {
        Self { unprocessed: 50, refused: 1, unknown: 1 }
    }

    /// Over which connection the request is sent again; `None`: what happened is an outcome.
    pub(super) fn over(&mut self, fate: Fate) -> Option<Over> {
        let (left, over) = match fate {
            Fate::Unprocessed => (&mut self.unprocessed, Over::Any),
            Fate::Refused => (&mut self.refused, Over::Any),
            Fate::Lost => (&mut self.unknown, Over::Any),
            Fate::Unknown | Fate::Poisoned => (&mut self.unknown, Over::Fresh),
            Fate::Failed => return None,
        };
        *left = left.checked_sub(1)?;
        Some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_processed_is_sent_again_once() {
        let mut again = Again::new();
        assert_eq!(again.over(Fate::Unknown), Some(Over::Fresh));
        assert_eq!(again.over(Fate::Poisoned), None);
        assert_eq!(again.over(Fate::Refused), Some(Over::Any));
        assert_eq!(again.over(Fate::Refused), None);
        assert_eq!(again.over(Fate::Failed), None);
    }

    #[test]
    fn what_was_not_processed_is_sent_again_for_as_long_as_is_sensible() {
        let mut again = Again::new();
        let times = std::iter::from_fn(|| again.over(Fate::Unprocessed)).count();
        assert_eq!(times, 50);
    }
}
