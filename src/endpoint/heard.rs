//! The first bytes of an answer, as they come over the connection: what is known of an answer that
//! the client cannot read.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `HTTP/1.1 200`
const LENGTH: usize = 12;

/// The first bytes that came since the last request was sent.
#[derive(Default)]
pub(super) struct Heard(Mutex<First>);

#[derive(Default)]
struct First {
    bytes: [u8; LENGTH],
    length: usize,
}

impl Heard {
    /// Forgets what came: the next request is sent.
    pub(super) fn forget(&self) {
        self.first().length = 0;
    }

    /// Nothing came.
    pub(super) fn is_nothing(&self) -> bool {
        self.first().length == 0
    }

    /// What came does not begin as an answer does.
    pub(super) fn is_garbage(&self) -> bool {
        let first = self.first();
        let came = first.bytes.get(..first.length).unwrap_or_default();
        !came.is_empty() && came.iter().zip(b"HTTP/1.").any(|(came, expected)| came != expected)
    }

    /// The status of a final answer, where that much of it came.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let first = self.first();
        let status = first.bytes.get(..first.length)?.strip_prefix(b"HTTP/1.")?;
        let [b'0' | b'1', b' ', code @ ..] = status else { return None };
        StatusCode::from_bytes(code).ok().filter(|status| !status.is_informational())
    }

    fn note(&self, came: &[u8]) {
        let mut first = self.first();
        let First { bytes, length } = &mut *first;
        if let Some(room) = bytes.get_mut(*length..) {
            for (place, byte) in room.iter_mut().zip(came) {
                *place = *byte;
                *length = length.saturating_add(1);
            }
        }
    }

    fn first(&self) -> MutexGuard<'_, First> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that notes the first bytes that come over it.
pub(super) struct Listening<S> {
    stream: S,
    heard: Arc<Heard>,
}

impl<S> Listening<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Heard>) {
        let heard = Arc::<Heard>::default();
        (Self { stream, heard: Arc::clone(&heard) }, heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(came @ [_, ..]) = buffer.filled().get(before..) {
            self.heard.note(came);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
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

    fn heard(chunks: &[&str]) -> Heard {
        let heard = Heard::default();
        for chunk in chunks {
            heard.note(chunk.as_bytes());
        }
        heard
    }

    #[test]
    fn a_status_is_heard_in_whatever_pieces_it_comes() {
        assert_eq!(heard(&["HTTP/1.1 200 OK\r\n"]).status(), Some(StatusCode::OK));
        assert_eq!(heard(&["H", "TTP/1.0 4", "", "10"]).status(), Some(StatusCode::GONE));
        for other in ["", "HTTP/1.1 20", "HTTP/1.1 2x0", "HTTP/1.1 100 Continue", "SSH-2.0-Open"] {
            assert_eq!(heard(&[other]).status(), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_left_of_another_answer_is_garbage() {
        assert!(heard(&["0\r\n\r\n"]).is_garbage());
        for other in ["", "HT", "HTTP/1.1 200"] {
            assert!(!heard(&[other]).is_garbage(), "{other:?}");
        }
        let heard = heard(&["hello"]);
        heard.forget();
        assert!(heard.is_nothing() && !heard.is_garbage());
    }
}
