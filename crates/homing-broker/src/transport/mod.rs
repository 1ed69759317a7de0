//! Between the socket and the client library: makes every message from the broker readable.
//!
//! lapin gives up a whole connection for one message that it cannot parse (a short string that is
//! not UTF-8) or whose headers are larger than a frame; RabbitMQ passes on both. Everything that
//! was sent over that connection then counts as returned once, and after [`x-delivery-limit`] of
//! these the broker parks it. So [`Frames`] checks what comes and replaces what lapin could not
//! decode; [`Message::read`](super::Message::read) finds in a header what was changed.
//!
//! [`x-delivery-limit`]: super::topology
//!
//! Source: lapin 4.12, `io_loop.rs` (`parse`), amq-protocol 10.6, `types/parsing.rs`.

mod content;
mod frames;
mod method;
mod notes;
mod wire;
#[cfg(test)]
mod tests;

use std::{
    io,
    marker::PhantomData,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind, uri::AMQPUri};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use frames::Frames;

/// Speaks AMQP over `stream`, TLS included.
///
/// # Cancel safety
///
/// If dropped before it returns, the stream ends: the client's thread would otherwise read from it
/// until the peer hangs up.
pub(super) async fn over<S: Wire>(
    uri: AMQPUri,
    properties: ConnectionProperties,
    stream: S,
) -> lapin::Result<Connection> {
    let (connected, awaited) = oneshot::channel();
    let unopened = Mutex::new(Some((stream, awaited)));
    let requested = uri.query.frame_max.unwrap_or_default();
    let tokio = Tokio::current();
    let streams = Streams { tokio: tokio.clone(), of: PhantomData::<fn() -> S> };
    let kit = RuntimeParts::new(tokio, streams);
    let opened = async move |_uri: AMQPUri, _runtime: Runtime<Kit<S>>| {
        // Called once: another stream would need another connection.
        let unopened = unopened.lock().take();
        let (stream, awaited) =
            unopened.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        let awaited = Some(awaited);
        Ok(AsyncTcpStream::Plain(Transport { stream, frames: Frames::new(requested), awaited }))
    };
    let connection = Connection::connector(uri, Runtime::new(kit), opened, properties).await?;
    // If the stream has ended already, the first use of the connection fails.
    let _sent = connected.send(());
    Ok(connection)
}

/// The broker accepts only frames of at most this many bytes, which the client has to request.
#[derive(Debug, thiserror::Error)]
#[error("the broker accepts frames of {0} bytes at most")]
struct SmallerFrames(u32);

/// The size of frames to request, if the connection failed because of it.
pub(super) fn smaller_frames(error: &lapin::Error) -> Option<u32> {
    let ErrorKind::IOError(error) = error.kind() else { return None };
    let SmallerFrames(max_bytes) = error.get_ref()?.downcast_ref()?;
    Some(*max_bytes)
}

/// A stream that can carry AMQP.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for S {}

/// A stream from which the client reads only what it can decode.
pub(super) struct Transport<S> {
    stream: S,
    frames: Frames,
    /// Pending until the client is connected or given up.
    awaited: Option<oneshot::Receiver<()>>,
}

impl<S> Transport<S> {
    /// Fails if the caller no longer waits for the connection.
    fn poll_awaited(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(awaited) = &mut self.awaited else { return Ok(()) };
        match Pin::new(awaited).poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.awaited = None;
                Ok(())
            }
            Poll::Ready(Err(_dropped)) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// The largest beginning of a frame that is moved rather than completed with a read of its own.
const MAX_MOVED_BYTES: usize = 4 * 1_024;
/// Bytes that are read at once to complete a frame.
const MAX_COMPLETED_BYTES: usize = 64 * 1_024;

impl<S: Wire> AsyncRead for Transport<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let transport = self.get_mut();
        transport.poll_awaited(context)?;
        let Self { stream, frames, .. } = transport;
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let given = frames.give(into);
            if given > 0 {
                return Poll::Ready(Ok(given));
            }
            let (read, passed) = ready!(read_on(stream, frames, context, into))?;
            if let Some(max_bytes) = frames.smaller() {
                return Poll::Ready(Err(io::Error::other(SmallerFrames(max_bytes))));
            }
            if passed > 0 || read == 0 {
                return Poll::Ready(Ok(passed));
            }
        }
    }
}

/// Reads once. Returns how many bytes came, and how many of `into` the client may have.
fn read_on<S: Wire>(
    stream: &mut S,
    frames: &mut Frames,
    context: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<(usize, usize)>> {
    let held = frames.held().len();
    let room = into.split_at_mut_checked(held).filter(|(_front, behind)| !behind.is_empty());
    let Some((front, behind)) = room.filter(|_| held <= MAX_MOVED_BYTES) else {
        let read = ready!(complete(stream, frames, context))?;
        return Poll::Ready(Ok((read, 0)));
    };
    let read = ready!(Pin::new(stream).poll_read(context, behind))?;
    if read == 0 {
        return Poll::Ready(Ok((0, 0)));
    }
    front.copy_from_slice(frames.held());
    frames.unhold();
    let came = into.get(..held.saturating_add(read)).unwrap_or_default();
    Poll::Ready(Ok((read, frames.pass(came))))
}

/// Reads more of the held frame, and nothing behind it.
fn complete<S: Wire>(
    stream: &mut S,
    frames: &mut Frames,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut more = vec![0; frames.missing().min(MAX_COMPLETED_BYTES)];
    let read = ready!(Pin::new(stream).poll_read(context, &mut more))?;
    frames.hold(more.get(..read).unwrap_or_default());
    Poll::Ready(Ok(read))
}

impl<S: Wire> AsyncWrite for Transport<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// The client's runtime: tokio, with streams of ours instead of its own.
type Kit<S> = RuntimeParts<Tokio, Streams<S>>;

/// Names the type of the streams that are opened; it opens none itself.
struct Streams<S> {
    tokio: Tokio,
    of: PhantomData<fn() -> S>,
}

impl<S> Clone for Streams<S> {
    fn clone(&self) -> Self {
        Self { tokio: self.tokio.clone(), of: PhantomData }
    }
}

impl<S> std::fmt::Debug for Streams<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Streams")
    }
}

impl<S: Wire> Reactor for Streams<S> {
    type TcpStream = Transport<S>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Transport<S>, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    #[expect(clippy::disallowed_types, reason = "the trait's")]
    fn interval(
        &self,
        duration: Duration,
    ) -> impl Stream<Item = std::time::Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
