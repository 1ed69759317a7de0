//! The bodies of a request and of its answer, which track whose turn it is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::capacity::Exchange;

/// Answers are passed to the connection in pieces of at most so many bytes, so that the unsent rest
/// for a slow client is known.
const MAX_PIECE_BYTES: usize = 16 * 1_024;

/// The body of a request.
pub(super) struct RequestBody {
    body: Incoming,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.exchange.body_ended();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.exchange.body_ended();
    }
}

/// The body of an answer.
pub(super) struct AnswerBody {
    body: Body,
    /// The rest of a part that is larger than a piece.
    rest: Bytes,
    exchange: Arc<Exchange>,
    /// True while homing works on the rest of the answer.
    thinks: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        let bytes = HttpBody::size_hint(&body).lower();
        exchange.says(0);
        exchange.holds(usize::try_from(bytes).unwrap_or(usize::MAX));
        Self { body, rest: Bytes::new(), exchange, thinks: false }
    }

    /// The next piece of a part.
    fn piece(&mut self, mut part: Bytes) -> Frame<Bytes> {
        let piece = part.split_to(part.len().min(MAX_PIECE_BYTES));
        self.rest = part;
        self.thinks = false;
        self.exchange.says(piece.len());
        Frame::data(piece)
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.piece(rest))));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(part) => Poll::Ready(Some(Ok(self.piece(part)))),
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            Poll::Pending if !self.thinks => {
                self.thinks = true;
                self.exchange.thinks();
                Poll::Pending
            }
            Poll::Ready(end @ (None | Some(Err(_)))) => Poll::Ready(end),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, HttpBody::size_hint(&self.body));
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
