//! Any cutting of any stream gives the same records.
//!
//! Data: eight bytes that say how long the first pieces are, then the stream.

use homing_livestream::split::{Piece, Splitter};

const MAX_RECORD_BYTES: usize = 16;

/// Compares the records of the stream in pieces with those of the stream at once.
pub(crate) fn run(data: &[u8]) {
    let Some((lengths, mut stream)) = data.split_at_checked(data.len().min(8)) else { return };
    let whole = records(&[stream]);
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, rest) = stream.split_at(usize::from(*length).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    assert_eq!(records(&pieces), whole, "{lengths:?}");
}

/// The records, and the length of what was left without an end.
fn records(stream: &[&[u8]]) -> (Vec<Piece>, u64) {
    let mut splitter = Splitter::new(MAX_RECORD_BYTES);
    let mut records = Vec::new();
    for piece in stream {
        splitter.push(piece, &mut records);
    }
    (records, splitter.finish())
}
