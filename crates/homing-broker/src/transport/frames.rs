//! The stream of frames from the broker, rewritten where the client could not decode it.

use std::collections::HashMap;

use lapin::protocol::constants::FRAME_MIN_SIZE;
use tracing::warn;

use super::{content, method, notes::Notes};

/// Type, channel and size come before the payload of a frame, one byte behind it.
/// Source: AMQP 0-9-1, 4.2.3.
const HEAD_BYTES: usize = 7;
const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;
const END: u8 = 0xce;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// No negotiated size is smaller. Source: AMQP 0-9-1, `frame-min-size`.
const MIN_FRAME_BYTES: u32 = 4_096;

/// Bytes that are kept of a frame; the rest is not read. RabbitMQ sends headers of whatever size
/// they came in, by AMQP 1.0 or STOMP as large as a message.
const MAX_KEPT_BYTES: usize = 1_024 * 1_024;
/// Capacity that buffers keep; headers are seldom larger.
const CAPACITY_KEPT: usize = 16 * 1_024;

/// Bytes from the broker, for the client.
///
/// Bodies pass unchecked. A method and a content header are checked as soon as they are complete,
/// and replaced where the client could not decode them: it gives up the connection for one, with
/// everything that came over it.
#[derive(Debug)]
pub(super) struct Frames {
    /// The largest frame that the client takes.
    max_client: u32,
    /// The frame size that the broker named, if the client would not keep to it.
    smaller: Option<u32>,
    /// Bytes of a body that still pass.
    passing: usize,
    /// The beginning of an incomplete frame.
    held: Vec<u8>,
    /// Bytes of that frame that are not kept.
    dropped: usize,
    /// Bytes that the client gets next; it has those before `given`.
    ready: Vec<u8>,
    given: usize,
    /// Notes on `deliver`, `return` and `get-ok` of the message whose header comes next, by
    /// channel.
    notes: HashMap<[u8; 2], Notes>,
    /// True if this is not AMQP 0-9-1: everything passes unchanged.
    foreign: bool,
}

impl Frames {
    /// Creates the stream of a client that requested frames of at most `requested` bytes; 0: of any
    /// size.
    #[must_use]
    pub(super) fn new(requested: u32) -> Self {
        let max_client = if requested == 0 { u32::MAX } else { requested.max(MIN_FRAME_BYTES) };
        Self {
            max_client,
            smaller: None,
            passing: 0,
            held: Vec::new(),
            dropped: 0,
            ready: Vec::new(),
            given: 0,
            notes: HashMap::new(),
            foreign: false,
        }
    }

    /// Takes `came` in; returns how many of its first bytes pass unchanged. The rest is handed over
    /// by [`give`](Self::give), which must have nothing left before.
    pub(super) fn pass(&mut self, came: &[u8]) -> usize {
        let mut rest = came;
        let mut unchanged: usize = 0;
        while !rest.is_empty() {
            let (length, replaced) = match self.first(rest) {
                First::Passes(length) => (length, None),
                First::Whole(length) => {
                    (length, self.replaced(rest.get(..length).unwrap_or(rest), length))
                }
                First::Begun => {
                    self.held.extend(rest);
                    break;
                }
            };
            let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            match replaced {
                Some(replaced) => self.ready.extend(replaced),
                None if self.ready.is_empty() => unchanged = unchanged.saturating_add(piece.len()),
                None => self.ready.extend(piece),
            }
        }
        unchanged
    }

    /// Classifies the beginning of `bytes`.
    fn first(&mut self, bytes: &[u8]) -> First {
        if self.foreign {
            return First::Passes(bytes.len());
        }
        if self.passing > 0 {
            let length = self.passing.min(bytes.len());
            self.passing = self.passing.saturating_sub(length);
            return First::Passes(length);
        }
        let Some(kind) = bytes.first() else { return First::Begun };
        if !matches!(*kind, METHOD | HEADER | BODY | HEARTBEAT) {
            self.foreign = true;
            return First::Passes(bytes.len());
        }
        let Some(length) = frame_bytes(bytes) else { return First::Begun };
        if passes(*kind) {
            self.passing = length.saturating_sub(bytes.len());
            return First::Passes(length.min(bytes.len()));
        }
        if length <= bytes.len() { First::Whole(length) } else { First::Begun }
    }

    /// The replacement of this frame, of `length` bytes in all; `None`: it passes unchanged.
    fn replaced(&mut self, frame: &[u8], length: usize) -> Option<Vec<u8>> {
        let (head, payload) = frame.split_at_checked(HEAD_BYTES)?;
        let is_whole = frame.len() == length;
        let payload = if is_whole { payload.split_last()?.1 } else { payload };
        let (kind, channel) = (*head.first()?, [*head.get(1)?, *head.get(2)?]);
        if kind == METHOD {
            self.tune(payload);
            let mut notes = Notes::default();
            let rewritten = method::rewritten(payload, &mut notes)?;
            if !notes.is_empty() {
                self.notes.insert(channel, notes);
            }
            return Some(framed(kind, channel, &rewritten));
        }
        let max_bytes = self.max_payload_bytes();
        if self.notes.is_empty() && is_whole && content::is_decodable(payload, max_bytes) {
            return None;
        }
        let whole = length.saturating_sub(OVERHEAD_BYTES);
        let notes = self.notes.remove(&channel).unwrap_or_default();
        let rewritten = content::rewritten(payload, whole, max_bytes, notes)?;
        if rewritten.left_out > 0 {
            warn!(bytes = rewritten.left_out, "broker.headers_left_out: too large or too deep");
        }
        Some(framed(kind, channel, &rewritten.payload))
    }

    /// The frame size that the client has to request to get a connection.
    pub(super) fn smaller(&self) -> Option<u32> {
        self.smaller
    }

    fn max_payload_bytes(&self) -> usize {
        usize::try_from(self.max_client).unwrap_or(usize::MAX).saturating_sub(OVERHEAD_BYTES)
    }

    /// Learns the negotiated size of frames. The client takes the smaller one of the two that were
    /// named; and none that is below its own minimum, unless it requested that itself.
    /// Source: lapin 4.12, `Configuration::max_set_frame`.
    fn tune(&mut self, payload: &[u8]) {
        if let Some(named) = method::frame_max(payload).filter(|named| *named > 0) {
            // Requested once: what would still be too large is for the broker to refuse.
            let was_requested = self.max_client < FRAME_MIN_SIZE;
            self.smaller = Some(named).filter(|it| *it < FRAME_MIN_SIZE && !was_requested);
            self.max_client = self.max_client.min(named.max(MIN_FRAME_BYTES));
        }
    }

    /// Gives the client what is ready, as much as fits into `into`. Returns how many bytes.
    pub(super) fn give(&mut self, into: &mut [u8]) -> usize {
        let ready = self.ready.get(self.given..).unwrap_or_default();
        let length = ready.len().min(into.len());
        if let (Some(into), Some(ready)) = (into.get_mut(..length), ready.get(..length)) {
            into.copy_from_slice(ready);
        }
        self.given = self.given.saturating_add(length);
        if self.given >= self.ready.len() {
            self.given = 0;
            empty(&mut self.ready);
        }
        length
    }

    /// The beginning of an incomplete frame.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Drops the held bytes: they are passed again, with what comes behind them.
    pub(super) fn unhold(&mut self) {
        empty(&mut self.held);
    }

    /// Missing bytes of the held frame: at least one, and not more than belong to it.
    pub(super) fn missing(&self) -> usize {
        let known = frame_bytes(&self.held).unwrap_or(HEAD_BYTES);
        known.saturating_sub(self.held.len()).saturating_sub(self.dropped)
    }

    /// Takes more of the held frame, at most what is [`missing`](Self::missing).
    pub(super) fn hold(&mut self, more: &[u8]) {
        let room = MAX_KEPT_BYTES.saturating_sub(self.held.len());
        let (kept, dropped) = more.split_at_checked(room).unwrap_or((more, &[]));
        self.held.extend(kept);
        self.dropped = self.dropped.saturating_add(dropped.len());
        let Some(length) = frame_bytes(&self.held) else { return };
        if self.held.first().is_some_and(|kind| passes(*kind)) {
            // Only its beginning is here.
            let beginning = std::mem::take(&mut self.held);
            let passed = self.pass(&beginning);
            self.ready.extend(beginning.get(..passed).unwrap_or_default());
            return;
        }
        if self.missing() > 0 {
            return;
        }
        let frame = std::mem::take(&mut self.held);
        let replaced = self.replaced(&frame, length);
        self.ready.extend(replaced.as_deref().unwrap_or(&frame));
        self.dropped = 0;
    }
}

/// The beginning of a piece of the stream.
enum First {
    /// Bytes that pass unchanged.
    Passes(usize),
    /// A complete frame of this many bytes, to be checked.
    Whole(usize),
    /// An incomplete frame.
    Begun,
}

/// Returns true if the client can decode every frame of this type.
fn passes(kind: u8) -> bool {
    matches!(kind, BODY | HEARTBEAT)
}

/// The size of the frame that begins so; `None`: not yet known.
fn frame_bytes(beginning: &[u8]) -> Option<usize> {
    let size = beginning.get(3..)?.first_chunk().copied().map(u32::from_be_bytes)?;
    Some(usize::try_from(size).unwrap_or(usize::MAX).saturating_add(OVERHEAD_BYTES))
}

fn framed(kind: u8, channel: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel);
    frame.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(payload);
    frame.push(END);
    frame
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(CAPACITY_KEPT);
}
