//! Bodies of requests: read before a request takes a permit, and bounded in memory all together.
//!
//! Bodies count as they arrive, so what a client merely announces costs nothing. Beyond the limit,
//! the slowest of the incomplete ones gives way, so that clients who send a part and stop do not
//! delay others. A body counts until its request is answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};
use homing_domain::subscription::FieldError;
use parking_lot::Mutex;

/// Bytes of all bodies together.
const MAX_ALL_BYTES: usize = 64 * 1_024 * 1_024;
/// For a body to arrive.
const DEADLINE: Duration = Duration::from_secs(20);
/// For its next byte.
const BYTE_DEADLINE: Duration = Duration::from_secs(10);
/// For others to make room.
const ROOM_DEADLINE: Duration = Duration::from_secs(5);
/// A body that has been read for less time does not give way.
const AGE_MIN: Duration = Duration::from_secs(1);
/// The interval of checks for room while there is none.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The part of a body that is too large which is read and discarded: a client that is still writing
/// would not see the answer.
const MAX_DISCARDED_BYTES: usize = 16 * 1_024 * 1_024;

/// The bodies in memory; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Uploads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    bytes: usize,
    unfinished: HashMap<u64, Unfinished>,
}

struct Unfinished {
    bytes: usize,
    begun: Instant,
    gives_way: CancellationToken,
}

/// The memory of one body, counted until this is dropped.
pub(crate) struct Upload {
    uploads: Uploads,
    id: u64,
    bytes: usize,
    gives_way: CancellationToken,
}

/// The reason why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// It is larger than this.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error(
        "the body did not arrive: it has {} s, and {} s for the next byte", 
        DEADLINE.as_secs(),
        BYTE_DEADLINE.as_secs()
    )]
    Late,
    /// It ended early.
    #[error("did not arrive completely")]
    Broken,
    /// There is no room for it.
    #[error("too many bodies are being read, and this one was slow or came last; send it again")]
    NoRoom,
}

impl Uploads {
    /// Reads `body`, of at most `max_bytes` bytes; it counts until the [`Upload`] is dropped.
    ///
    /// # Errors
    ///
    /// [`UploadError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, what was read is lost.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        max_bytes: usize,
    ) -> Result<(Bytes, Upload), UploadError> {
        let announced = headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes: usize| bytes > max_bytes.max(MAX_DISCARDED_BYTES)) {
            return Err(UploadError::TooLarge(max_bytes));
        }
        let mut upload = self.begin();
        let gives_way = upload.gives_way.clone();
        let reading = gives_way.run_until_cancelled(upload.receive(body, max_bytes));
        let read = timeout(DEADLINE, reading).await.map_err(|_elapsed| UploadError::Late)?;
        let bytes = read.ok_or(UploadError::NoRoom)??;
        self.0.table.lock().unfinished.remove(&upload.id);
        Ok((bytes, upload))
    }

    /// The request with its whole body in memory, which has at most `max_bytes` bytes and counts
    /// until the [`Upload`] is dropped. A request with a safe method stays unchanged.
    ///
    /// # Errors
    ///
    /// [`UploadError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the request is lost.
    pub(crate) async fn received(
        &self,
        request: Request,
        max_bytes: usize,
    ) -> Result<(Request, Option<Upload>), UploadError> {
        if request.method().is_safe() || request.body().is_end_stream() {
            return Ok((request, None));
        }
        let (head, body) = request.into_parts();
        let (bytes, upload) = self.read(&head.headers, body, max_bytes).await?;
        Ok((Request::from_parts(head, bytes.into()), Some(upload)))
    }

    fn begin(&self) -> Upload {
        let gives_way = CancellationToken::new();
        let mut table = self.0.table.lock();
        table.next = table.next.wrapping_add(1);
        let id = table.next;
        let unfinished =
            Unfinished { bytes: 0, begun: Instant::now(), gives_way: gives_way.clone() };
        table.unfinished.insert(id, unfinished);
        drop(table);
        Upload { uploads: self.clone(), id, bytes: 0, gives_way }
    }
}

impl Table {
    /// The slowest of the incomplete bodies that are old enough to judge.
    fn slowest(&self) -> Option<&Unfinished> {
        let rate = |one: &Unfinished| {
            let millis = one.begun.elapsed().as_millis().max(1);
            u128::try_from(one.bytes).unwrap_or(u128::MAX).saturating_mul(1_000) / millis
        };
        let may_go = |one: &&Unfinished| one.begun.elapsed() >= AGE_MIN && one.bytes > 0;
        self.unfinished.values().filter(may_go).min_by_key(|one| rate(one))
    }
}

impl Upload {
    async fn receive(&mut self, body: Body, max_bytes: usize) -> Result<Bytes, UploadError> {
        let mut chunks = body.into_data_stream();
        let mut bytes = BytesMut::new();
        let mut length: usize = 0;
        loop {
            let next = timeout(BYTE_DEADLINE, chunks.next());
            let Some(chunk) = next.await.map_err(|_elapsed| UploadError::Late)? else { break };
            let chunk = chunk.map_err(|_error| UploadError::Broken)?;
            length = length.saturating_add(chunk.len());
            if length <= max_bytes {
                self.count(chunk.len()).await?;
                bytes.extend_from_slice(&chunk);
            } else if length > MAX_DISCARDED_BYTES {
                break;
            } else {
                bytes = BytesMut::new();
            }
        }
        (length <= max_bytes).then(|| bytes.freeze()).ok_or(UploadError::TooLarge(max_bytes))
    }

    /// Waits until there is room for `more` bytes, and takes it.
    async fn count(&mut self, more: usize) -> Result<(), UploadError> {
        let deadline = Instant::now() + ROOM_DEADLINE;
        while !self.take(more) {
            if Instant::now() >= deadline {
                return Err(UploadError::NoRoom);
            }
            let freed = self.uploads.0.freed.notified();
            // Retries when room was freed, or after an interval.
            drop(timeout_at(Instant::now() + RETRY_INTERVAL, freed).await);
        }
        Ok(())
    }

    /// Takes room for `more` bytes. If there is none, makes the slowest body give way.
    fn take(&mut self, more: usize) -> bool {
        let mut table = self.uploads.0.table.lock();
        let bytes = table.bytes.saturating_add(more);
        if bytes > MAX_ALL_BYTES {
            if let Some(slowest) = table.slowest() {
                slowest.gives_way.cancel();
            }
            return false;
        }
        table.bytes = bytes;
        if let Some(own) = table.unfinished.get_mut(&self.id) {
            own.bytes = own.bytes.saturating_add(more);
        }
        self.bytes = self.bytes.saturating_add(more);
        true
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut table = self.uploads.0.table.lock();
        table.bytes = table.bytes.saturating_sub(self.bytes);
        table.unfinished.remove(&self.id);
        drop(table);
        self.uploads.0.freed.notify_waiters();
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let kind = match error {
            UploadError::TooLarge(_) => Kind::TooLarge,
            UploadError::Late => Kind::BodyTimedOut,
            UploadError::NoRoom => Kind::Busy,
            UploadError::Broken => return Self::field(FieldError::new("body", error)),
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::Error;
    use futures_util::stream;
    use tokio::time::{advance, sleep};

    use super::*;

    const MIB: usize = 1_024 * 1_024;

    /// A body that begins with `bytes` and never ends.
    fn unfinished(bytes: usize) -> Body {
        let begin = stream::iter([Ok::<_, Error>(Bytes::from(vec![b'x'; bytes]))]);
        Body::from_stream(begin.chain(stream::pending()))
    }

    async fn read(uploads: &Uploads, body: Body) -> Result<(Bytes, Upload), UploadError> {
        uploads.read(&HeaderMap::new(), body, 10 * MIB).await
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_their_bound() {
        let uploads = Uploads::default();
        let read = async |bytes: usize| {
            let body = Body::from(vec![b'x'; bytes]);
            let read = uploads.read(&HeaderMap::new(), body, 10).await;
            read.map(|(bytes, _upload)| bytes.len())
        };
        assert_eq!(read(0).await, Ok(0));
        assert_eq!(read(10).await, Ok(10));
        assert_eq!(read(11).await, Err(UploadError::TooLarge(10)));
        assert_eq!(uploads.0.table.lock().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_stop_or_never_end_are_given_up() {
        let uploads = Uploads::default();
        let begun = Instant::now();
        assert_eq!(read(&uploads, unfinished(1)).await.map(drop), Err(UploadError::Late));
        assert_eq!(begun.elapsed(), BYTE_DEADLINE);
        let trickle = stream::unfold((), async |()| {
            sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Error>(Bytes::from_static(b"x")), ()))
        });
        let begun = Instant::now();
        let body = Body::from_stream(trickle);
        assert_eq!(read(&uploads, body).await.map(drop), Err(UploadError::Late));
        assert_eq!(begun.elapsed(), DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_are_not_finished_delay_no_other() {
        let uploads = Uploads::default();
        let all: Vec<_> = (0..7).map(|_| read(&uploads, unfinished(9 * MIB))).collect();
        let mut waiting = std::pin::pin!(futures_util::future::join_all(all));
        assert!(timeout(AGE_MIN, waiting.as_mut()).await.is_err());
        assert_eq!(uploads.0.table.lock().bytes, 63 * MIB);
        let begun = Instant::now();
        let other = read(&uploads, Body::from(vec![b'x'; 10 * MIB]));
        let (_given_up, other) = tokio::join!(waiting, async {
            let (bytes, upload) = other.await?;
            assert!(begun.elapsed() < Duration::from_secs(1));
            drop(upload);
            Ok::<_, UploadError>(bytes.len())
        });
        assert_eq!(other, Ok(10 * MIB));
        assert_eq!(uploads.0.table.lock().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_in_memory_are_bounded_and_the_last_is_refused() {
        let uploads = Uploads::default();
        let mut kept = Vec::new();
        for _ in 0..6 {
            kept.push(read(&uploads, Body::from(vec![b'x'; 10 * MIB])).await.unwrap());
        }
        advance(AGE_MIN).await;
        let body = Body::from(vec![b'x'; 5 * MIB]);
        assert_eq!(read(&uploads, body).await.map(drop), Err(UploadError::NoRoom));
        kept.pop();
        assert!(read(&uploads, Body::from(vec![b'x'; 5 * MIB])).await.is_ok());
    }
}
