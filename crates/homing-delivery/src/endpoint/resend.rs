//! The requests that are resent at once, and the connection for them.
//!
//! A request that the endpoint provably did not start to process, or whose connection ended because
//! of other requests, is no attempt: waiting would improve nothing. The same delivery is sent
//! again, with the same `webhook-id`.
//!
//! Sources: RFC 9110, 9.2.2; RFC 9112, 9.3.1; RFC 9113, 8.7.

use std::error::Error;

use super::classify::causes;

/// The reason why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was not sent, or the endpoint reported that it did not process it (GOAWAY with a smaller
    /// stream).
    Unprocessed,
    /// The endpoint refused this one: too many at a time.
    StreamRefused,
    /// A reused connection ended before the first byte of the answer.
    Unknown,
    /// A connection shared with other requests ended before the first byte of the answer.
    Lost,
    /// As `Lost`, because something sent or received on it violates the protocol.
    Poisoned,
    /// The request itself failed.
    Failed,
}

/// The connection that a request is sent over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// A kept one, or a new one that others may share.
    Any,
    /// A new one that is not shared while the request is in flight.
    New,
}

impl Failure {
    /// Classifies an HTTP/2 stream that ended in `error`; `is_shared`: its connection carried
    /// others.
    pub(super) fn of_stream(error: &(dyn Error + 'static), is_shared: bool) -> Self {
        let mut causes = causes(error);
        let unexplained = if is_shared { Self::Lost } else { Self::Failed };
        let Some(cause) = causes.find_map(|cause| cause.downcast_ref::<h2::Error>()) else {
            return unexplained;
        };
        let is_refused = cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        if cause.is_reset() {
            return if cause.is_remote() && is_refused {
                Self::StreamRefused
            } else {
                Self::Failed
            };
        }
        let is_orderly = cause.reason() == Some(h2::Reason::NO_ERROR);
        if cause.is_go_away() && cause.is_remote() && is_orderly {
            // The library reports only the streams beyond the last one processed.
            return Self::Unprocessed;
        }
        if cause.is_io() || !is_shared { unexplained } else { Self::Poisoned }
    }

    /// True if no other request should use the same HTTP/2 connection.
    pub(super) fn concerns_others(self) -> bool {
        // A refusal concerns one stream; by now the connection knows its limit.
        !matches!(self, Self::Failed | Self::StreamRefused)
    }
}

/// The resends that are left for a request.
pub(super) struct Resends {
    unprocessed: u8,
    refused: u8,
    unknown: u8,
}

impl Resends {
    /// `unprocessed`: a server may end each connection after a hundred requests (nginx can be
    /// configured so), repeatedly, before one of many requests gets through. Eight resends were too
    /// few for 1 % of 10,000 requests, 256 at once.
    pub(super) fn new() -> Self {
        Self { unprocessed: 50, refused: 1, unknown: 1 }
    }

    /// The connection for the next resend; `None`: the failure is the outcome.
    pub(super) fn next(&mut self, failure: Failure) -> Option<Via> {
        let (left, via) = match failure {
            Failure::Unprocessed => (&mut self.unprocessed, Via::Any),
            Failure::StreamRefused => (&mut self.refused, Via::Any),
            Failure::Lost => (&mut self.unknown, Via::Any),
            Failure::Unknown | Failure::Poisoned => (&mut self.unknown, Via::New),
            Failure::Failed => return None,
        };
        *left = left.checked_sub(1)?;
        Some(via)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_may_have_been_processed_is_resent_once() {
        let mut resends = Resends::new();
        assert_eq!(resends.next(Failure::Unknown), Some(Via::New));
        assert_eq!(resends.next(Failure::Poisoned), None);
        assert_eq!(resends.next(Failure::StreamRefused), Some(Via::Any));
        assert_eq!(resends.next(Failure::StreamRefused), None);
        assert_eq!(resends.next(Failure::Failed), None);
    }

    #[test]
    fn an_unprocessed_request_is_resent_up_to_fifty_times() {
        let mut resends = Resends::new();
        let times = std::iter::from_fn(|| resends.next(Failure::Unprocessed)).count();
        assert_eq!(times, 50);
    }
}
