//! Records the first bytes of an answer as they arrive: all that is known of an answer that the
//! client cannot read. Also limits how much is read: an endpoint that sends endlessly does not
//! block the threads that all deliveries share.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::StatusCode;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `HTTP/1.1 200`
const LENGTH: usize = 12;

/// Limit for interim answers (100, 103) before an answer; the client would read any number at once.
const MAX_INTERIM_BYTES: usize = 64 * 1_024;

/// Read at once from one connection; then others get their turn.
const MAX_TURN_BYTES: usize = 512 * 1_024;

/// The first bytes received since the last request was sent.
#[derive(Default)]
pub(super) struct FirstBytes(Mutex<First>);

#[derive(Default)]
struct First {
    bytes: [u8; LENGTH],
    length: usize,
    /// The number of bytes received in total.
    total: usize,
    /// True if the client has read the head of a final answer.
    is_answered: bool,
    /// The error of TLS with which the connection ended: libraries above keep only its text.
    tls: Option<rustls::Error>,
}

impl FirstBytes {
    /// Clears the record before the next request is sent.
    pub(super) fn forget(&self) {
        *self.0.lock() = First::default();
    }

    /// Notes that the client has read the head of a final answer: what follows is its body.
    pub(super) fn answered(&self) {
        self.0.lock().is_answered = true;
    }

    /// The error of TLS with which the connection ended.
    pub(super) fn tls_error(&self) -> Option<rustls::Error> {
        self.0.lock().tls.clone()
    }

    /// True if nothing was received.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().length == 0
    }

    /// True if the bytes do not begin like an answer.
    pub(super) fn is_garbage(&self) -> bool {
        let first = self.0.lock();
        let came = first.bytes.get(..first.length).unwrap_or_default();
        !came.is_empty() && came.iter().zip(b"HTTP/1.").any(|(came, expected)| came != expected)
    }

    /// The status of a final answer, if that much was received.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let first = self.0.lock();
        let status = first.bytes.get(..first.length)?.strip_prefix(b"HTTP/1.")?;
        let [b'0' | b'1', b' ', code @ ..] = status else { return None };
        StatusCode::from_bytes(code).ok().filter(|status| !status.is_informational())
    }

    /// True if only interim answers were received, and too many.
    fn is_interim_for_ever(&self) -> bool {
        let first = self.0.lock();
        let is_interim = matches!(first.bytes, [b'H', .., b' ', b'1', _, _]);
        !first.is_answered
            && is_interim
            && first.length == LENGTH
            && first.total > MAX_INTERIM_BYTES
    }

    fn note(&self, came: &[u8]) {
        let mut first = self.0.lock();
        let First { bytes, length, total, .. } = &mut *first;
        *total = total.saturating_add(came.len());
        if let Some(room) = bytes.get_mut(*length..) {
            for (place, byte) in room.iter_mut().zip(came) {
                *place = *byte;
                *length = length.saturating_add(1);
            }
        }
    }
}

/// A stream that records the first bytes received.
pub(super) struct RecordingStream<S> {
    stream: S,
    first_bytes: Arc<FirstBytes>,
    /// Bytes received since the last pause.
    turn: usize,
}

impl<S> RecordingStream<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<FirstBytes>) {
        let first_bytes = Arc::<FirstBytes>::default();
        (Self { stream, first_bytes: Arc::clone(&first_bytes), turn: 0 }, first_bytes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn >= MAX_TURN_BYTES {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.first_bytes.is_interim_for_ever() {
            let error = "interim answers (1xx) without an end";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            self.first_bytes.0.lock().tls = tls.cloned();
        }
        self.turn = match buffer.filled().get(before..) {
            Some(came @ [_, ..]) => {
                self.first_bytes.note(came);
                self.turn.saturating_add(came.len())
            }
            Some([]) | None => 0,
        };
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RecordingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bytes(chunks: &[&str]) -> FirstBytes {
        let first_bytes = FirstBytes::default();
        for chunk in chunks {
            first_bytes.note(chunk.as_bytes());
        }
        first_bytes
    }

    #[test]
    fn a_status_is_read_in_whatever_pieces_it_arrives() {
        assert_eq!(first_bytes(&["HTTP/1.1 200 OK\r\n"]).status(), Some(StatusCode::OK));
        assert_eq!(first_bytes(&["H", "TTP/1.0 4", "", "10"]).status(), Some(StatusCode::GONE));
        for other in ["", "HTTP/1.1 20", "HTTP/1.1 2x0", "HTTP/1.1 100 Continue", "SSH-2.0-Open"] {
            assert_eq!(first_bytes(&[other]).status(), None, "{other:?}");
        }
    }

    #[test]
    fn the_rest_of_another_answer_is_garbage() {
        assert!(first_bytes(&["0\r\n\r\n"]).is_garbage());
        for other in ["", "HT", "HTTP/1.1 200"] {
            assert!(!first_bytes(&[other]).is_garbage(), "{other:?}");
        }
        let first_bytes = first_bytes(&["hello"]);
        first_bytes.forget();
        assert!(first_bytes.is_empty() && !first_bytes.is_garbage());
    }

    /// Goal: an endpoint that sends faster than it is read yields the thread to others.
    #[test]
    fn an_endless_sender_is_read_in_turns() {
        let (mut stream, _first_bytes) = RecordingStream::new(tokio::io::repeat(b'x'));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut room = vec![0; 16 * 1_024];
        for _turn in 0..3 {
            let mut read = 0;
            let mut polled = Poll::Ready(());
            while polled.is_ready() {
                let mut buffer = ReadBuf::new(&mut room);
                let stream = Pin::new(&mut stream);
                polled = stream.poll_read(&mut context, &mut buffer).map(Result::unwrap);
                read += buffer.filled().len();
            }
            assert_eq!(read, MAX_TURN_BYTES);
        }
    }
}
