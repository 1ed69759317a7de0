//! Whatever frames a broker sends, however they are split: the client can decode what comes out.

use std::{collections::VecDeque, task::Waker};

use fastrand::Rng;
use lapin::protocol::{basic::parse_properties, parse_class};

use super::*;

const END: u8 = 0xce;

/// A stream that yields pieces of any size, with pauses between them.
struct Pieces {
    bytes: VecDeque<u8>,
    random: Rng,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.random.u8(..) < 64 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let largest = *self.random.choice(&[1, 7, 100, 5_000, 200_000]).unwrap();
        let length = self.random.usize(1..=largest).min(into.len()).min(self.bytes.len());
        for (place, byte) in into.iter_mut().zip(self.bytes.drain(..length)) {
            *place = byte;
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads `sent` as the client does, into buffers of any size.
fn read(sent: &[u8], requested: u32, random: &mut Rng) -> Vec<u8> {
    let stream = Pieces { bytes: sent.iter().copied().collect(), random: random.fork() };
    let mut transport = Transport { stream, frames: Frames::new(requested), awaited: None };
    let mut context = Context::from_waker(Waker::noop());
    let mut read = Vec::new();
    loop {
        let largest = *random.choice(&[1, 8, 300, 70_000, 1_000_000]).unwrap();
        let mut buffer = vec![0; random.usize(1..=largest)];
        match Pin::new(&mut transport).poll_read(&mut context, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => return read,
            Poll::Ready(Ok(length)) => read.extend(&buffer[..length]),
            Poll::Ready(Err(error)) => panic!("{error}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    channel: u16,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend(self.channel.to_be_bytes());
        bytes.extend(u32::try_from(self.payload.len()).unwrap().to_be_bytes());
        bytes.extend(&self.payload);
        bytes.push(END);
        bytes
    }

    fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let channel = u16::from_be_bytes(bytes[1..3].try_into().unwrap());
            let size = u32::from_be_bytes(bytes[3..7].try_into().unwrap()) as usize;
            assert_eq!(bytes[7 + size], END);
            frames.push(Self { kind: bytes[0], channel, payload: bytes[7..7 + size].to_vec() });
            bytes = &bytes[8 + size..];
        }
        frames
    }

    /// Returns true if the client's own parser accepts it.
    fn is_taken(&self) -> bool {
        match self.kind {
            1 => parse_class(&self.payload[..]).is_ok_and(|(rest, _)| rest.is_empty()),
            2 => parse_properties(&self.payload[12..]).is_ok_and(|(rest, _)| rest.is_empty()),
            _ => true,
        }
    }
}

/// Bytes that are text more often than not.
fn bytes(random: &mut Rng, max_length: usize) -> Vec<u8> {
    let length = random.usize(0..=max_length);
    match random.u8(..4) {
        0 => (0..length).map(|_| random.u8(..)).collect(),
        1 => "€".repeat(length / 3).into_bytes(),
        _ => (0..length).map(|_| random.u8(b'a'..=b'z')).collect(),
    }
}

fn put_short(random: &mut Rng, into: &mut Vec<u8>) {
    let max_length = *random.choice(&[4, 255]).unwrap();
    let text = bytes(random, max_length);
    into.push(u8::try_from(text.len()).unwrap());
    into.extend(text);
}

fn put_long(into: &mut Vec<u8>, content: &[u8]) {
    into.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    into.extend(content);
}

fn put_value(random: &mut Rng, into: &mut Vec<u8>, levels: u32) {
    let kind = *random.choice(b"VtbBsUuIifDLldTSxAFAF?").unwrap();
    into.push(kind);
    let scalar = match kind {
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        _ => 0,
    };
    into.extend((0..scalar).map(|_| random.u8(..)));
    let mut content = Vec::new();
    match kind {
        b'S' | b'x' => content = bytes(random, 500),
        b'A' if levels > 0 => {
            (0..random.u8(..4)).for_each(|_| put_value(random, &mut content, levels - 1));
        }
        b'F' if levels > 0 => content = table(random, levels - 1),
        b'A' | b'F' => {}
        _ => return,
    }
    put_long(into, &content);
}

fn table(random: &mut Rng, levels: u32) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..random.u8(..5) {
        put_short(random, &mut content);
        put_value(random, &mut content, levels);
    }
    content
}

fn header(random: &mut Rng) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(random.u64(..).to_be_bytes());
    let flags = random.u16(..) & 0xfffc;
    payload.extend(flags.to_be_bytes());
    for position in 0..14 {
        if flags & (1 << 15 >> position) == 0 {
            continue;
        }
        match position {
            2 => {
                let mut content = table(random, 6);
                if random.u8(..) < 32 {
                    content.extend(b"\x05largeS");
                    let length = *random.choice(&[4_000, 131_000, 300_000, 1_200_000]).unwrap();
                    put_long(&mut content, &vec![b'x'; length]);
                }
                put_long(&mut payload, &content);
            }
            3 | 4 => payload.push(random.u8(..)),
            9 => payload.extend(random.u64(..).to_be_bytes()),
            _ => put_short(random, &mut payload),
        }
    }
    if random.u8(..) < 32 {
        let at = random.usize(14..=payload.len());
        payload.truncate(at);
    }
    payload
}

fn method(random: &mut Rng) -> Vec<u8> {
    let mut payload = Vec::new();
    let (class, method, arguments) = *random
        .choice(&[
            (60_u16, 60_u16, "sqbss"),
            (60, 71, "qbssl"),
            (60, 50, "wsss"),
            (60, 21, "s"),
            (60, 30, "sb"),
            (60, 31, "s"),
            (60, 72, "s"),
            (60, 80, "qb"),
            (50, 11, "sll"),
            (20, 40, "wsww"),
            (10, 50, "wsww"),
            (10, 60, "s"),
        ])
        .unwrap();
    payload.extend(class.to_be_bytes());
    payload.extend(method.to_be_bytes());
    for argument in arguments.chars() {
        match argument {
            's' => put_short(random, &mut payload),
            'q' => payload.extend(random.u64(..).to_be_bytes()),
            'l' => payload.extend(random.u32(..).to_be_bytes()),
            'w' => payload.extend(random.u16(..).to_be_bytes()),
            _ => payload.push(random.u8(..2)),
        }
    }
    payload
}

fn frames(random: &mut Rng) -> Vec<Frame> {
    let count = random.usize(1..6);
    let frame = |_| {
        let channel = random.u16(1..3);
        let (kind, payload) = match random.u8(..8) {
            0 => (8, Vec::new()),
            1 | 2 => (3, bytes(random, 3_000)),
            3..=5 => (2, header(random)),
            _ => (1, method(random)),
        };
        Frame { kind, channel, payload }
    };
    (0..count).map(frame).collect()
}

/// Goal: no frame that a broker may send ends a connection. Method: random frames (texts that are
/// none, values of every type and of none, nested, cut off, too large) pass the transport in random
/// pieces, and the client's own parser then reads each.
#[test]
fn the_client_takes_whatever_a_broker_sends() {
    let mut changed = 0;
    for seed in 0..1_500 {
        let mut random = Rng::with_seed(seed);
        let sent = frames(&mut random);
        let requested = *random.choice(&[0, 4_096, 8_192, 131_072]).unwrap();
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::bytes).collect();

        let read = Frame::all(&read(&bytes, requested, &mut random));

        assert_eq!(read.len(), sent.len(), "seed {seed}");
        let mut noted = false;
        for (sent, read) in sent.iter().zip(&read) {
            assert!(read.is_taken(), "seed {seed}");
            assert_eq!((sent.kind, sent.channel), (read.kind, read.channel), "seed {seed}");
            let size = u32::try_from(read.payload.len() + 8).unwrap();
            let too_large = requested > 0 && size > requested;
            assert!(!too_large || sent.kind == 3, "seed {seed}: {size} bytes");
            if sent.kind == 2 {
                assert_eq!(sent.payload[..12], read.payload[..12], "seed {seed}: size of the body");
            }
            let largest = if requested == 0 { 1_024 * 1_024 } else { requested as usize };
            let was_fine = sent.is_taken() && sent.payload.len() + 8 < largest;
            changed += usize::from(read != sent);
            noted |= sent.kind == 1 && read != sent;
            assert!(!was_fine || noted || read == sent, "seed {seed}");
        }
    }
    assert!(changed > 500, "{changed} frames changed");
}

#[test]
fn what_is_not_amqp_passes_unchanged() {
    let answer = b"AMQP\0\0\x09\x01";
    assert_eq!(read(answer, 131_072, &mut Rng::with_seed(1)), answer);
}

/// The broker names its largest frame when the connection is opened; the client keeps to it.
#[test]
fn headers_fit_into_the_frames_that_were_agreed_on() {
    let tune = Frame { kind: 1, channel: 0, payload: vec![0, 10, 0, 30, 0, 8, 0, 0, 32, 0, 0, 60] };
    let mut content = Vec::new();
    content.extend(b"\x05largeS");
    put_long(&mut content, &[b'x'; 9_000]);
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0b10_0000, 0];
    put_long(&mut payload, &content);
    let header = Frame { kind: 2, channel: 1, payload };
    let sent = [tune.bytes(), header.bytes()].concat();
    let [first, second] = &Frame::all(&read(&sent, 131_072, &mut Rng::with_seed(2)))[..] else {
        panic!("two frames");
    };
    assert_eq!(*first, tune);
    assert!(second.bytes().len() <= 8_192 && second.is_taken());
}

/// Goal: where the broker accepts less than the client's minimum, the client requests that, once.
#[test]
fn a_size_below_the_clients_minimum_is_requested_once() {
    let smaller = |requested, named: [u8; 2]| {
        let payload = [&[0, 10, 0, 30, 0, 8, 0, 0], &named[..], &[0, 60]].concat();
        let mut frames = Frames::new(requested);
        frames.pass(&Frame { kind: 1, channel: 0, payload }.bytes());
        frames.smaller()
    };
    assert_eq!(smaller(131_072, [16, 0]), Some(4_096));
    assert_eq!(smaller(131_072, [32, 0]), None);
    assert_eq!(smaller(4_096, [16, 0]), None);
    assert_eq!(smaller(100, [0, 50]), None);
}

/// A note on a routing key goes with its own message, and with no other.
#[test]
fn a_note_goes_with_the_next_header_of_its_channel() {
    let mut deliver = vec![0, 60, 0, 60, 1, b't', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0xff, 0xfe];
    let header = |channel| Frame {
        kind: 2,
        channel,
        payload: vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    let sent = [
        Frame { kind: 1, channel: 1, payload: std::mem::take(&mut deliver) },
        header(2),
        header(1),
        header(1),
    ];
    let bytes: Vec<u8> = sent.iter().flat_map(Frame::bytes).collect();
    let read = Frame::all(&read(&bytes, 131_072, &mut Rng::with_seed(3)));
    let note = r"the routing key is not UTF-8: \xff\xfe".as_bytes();
    let has_note = |frame: &Frame| frame.payload.windows(note.len()).any(|bytes| bytes == note);
    let noted: Vec<_> = read.iter().map(has_note).collect();
    assert_eq!(noted, [false, false, true, false]);
}
