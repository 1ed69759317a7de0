//! The endless body of one connection.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::{Stream, stream};
use hyper::body::Frame;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Simulator;

/// Records compressed together.
const BATCH: usize = 64;

/// One connection. It counts while it is open, and for a while after.
struct Connection {
    simulator: Simulator,
    events: watch::Receiver<()>,
    gzip: GzEncoder<Vec<u8>>,
    /// Compressed, and not sent yet.
    packed: Bytes,
    last: VecDeque<Bytes>,
    drops: u64,
    ends: Option<Instant>,
    blank_due: Instant,
}

/// The body of a connection that counts from now on. Fails when the connection is to be dropped.
pub(super) fn body(
    simulator: Simulator,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static {
    let behaviour = &simulator.behaviour;
    let now = Instant::now();
    let ends = behaviour.drop_every.map(|age| now + simulator.real(age));
    let blank_due = now + simulator.real(behaviour.blank_every);
    let mut state = simulator.state.lock();
    state.connected = state.connected.saturating_add(1);
    let drops = state.drops;
    drop(state);
    let gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let (packed, last) = (Bytes::new(), VecDeque::new());
    let events = simulator.events.subscribe();
    let connection = Connection { simulator, events, gzip, packed, last, drops, ends, blank_due };
    stream::unfold(connection, |mut connection| async {
        let chunk = connection.next().await;
        Some((chunk.map(Frame::data), connection))
    })
}

impl Connection {
    async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if self.is_over() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if !self.packed.is_empty() {
                let length = self.packed.len().min(self.simulator.behaviour.chunk_bytes.max(1));
                return Ok(self.packed.split_to(length));
            }
            let records = self.take();
            let now = Instant::now();
            if records.is_empty() && now < self.blank_due {
                self.wait(now).await;
                continue;
            }
            self.blank_due = now + self.simulator.real(self.simulator.behaviour.blank_every);
            self.pack(&records)?;
        }
    }

    fn is_over(&self) -> bool {
        self.simulator.state.lock().drops != self.drops
            || self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// The records passed in, and those due.
    fn take(&mut self) -> Vec<Bytes> {
        let mut state = self.simulator.state.lock();
        let given = state.given.len().min(BATCH);
        let mut records: Vec<_> = state.given.drain(..given).collect();
        let room = BATCH.saturating_sub(records.len());
        records.extend(state.hits.due(room, self.simulator.behaviour.speed.max(1)));
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        state.sent = state.sent.saturating_add(count);
        drop(state);
        self.last.extend(records.iter().cloned());
        let old = self.last.len().saturating_sub(self.simulator.behaviour.repeats);
        self.last.drain(..old);
        records
    }

    /// Waits until something may be due.
    async fn wait(&mut self, now: Instant) {
        let speed = self.simulator.behaviour.speed.max(1);
        let pause = self.simulator.state.lock().hits.pause(speed);
        let until = [self.ends, pause.map(|pause| now + pause)].into_iter().flatten().min();
        let until = until.unwrap_or(self.blank_due).min(self.blank_due);
        // On a timeout, the caller checks what is due.
        let _silent = timeout_at(until, self.events.changed()).await;
    }

    /// Compresses and flushes, so that all of it can be decompressed at once. Without records: a
    /// blank line.
    fn pack(&mut self, records: &[Bytes]) -> io::Result<()> {
        for record in records {
            self.gzip.write_all(record)?;
            self.gzip.write_all(b"\r\n")?;
        }
        if records.is_empty() {
            self.gzip.write_all(b"\r\n")?;
        }
        self.gzip.flush()?;
        self.packed = mem::take(self.gzip.get_mut()).into();
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let until = Instant::now() + self.simulator.real(self.simulator.behaviour.stale);
        let mut state = self.simulator.state.lock();
        state.connected = state.connected.saturating_sub(1);
        state.stale_until.push(until);
        while let Some(record) = self.last.pop_back() {
            state.given.push_front(record);
        }
    }
}
