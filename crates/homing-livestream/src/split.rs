//! Cuts a stream into records, wherever its pieces begin and end.
//!
//! A record is the text before a line feed, without a carriage return at its end: JSON has neither
//! inside its strings. Blank lines are no records. What follows the last line feed when the stream
//! ends is an incomplete record, and is dropped.

use std::mem;

use bytes::Bytes;
use memchr::memchr;

/// Cuts one stream; holds at most one record, and never more than the limit.
#[derive(Debug)]
pub struct Splitter {
    max_record_bytes: usize,
    /// The beginning of a record.
    begun: Vec<u8>,
    /// Bytes of the current record that were dropped, because it is too large.
    skipped: u64,
}

/// A piece of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A record, without its end of line.
    Record(Bytes),
    /// A record larger than the limit: skipped to its end.
    Oversized {
        /// Its length without the line feed.
        bytes: u64,
    },
}

impl Splitter {
    /// A splitter of a stream whose records have at most `max_record_bytes` bytes.
    #[must_use]
    pub fn new(max_record_bytes: usize) -> Self {
        Self { max_record_bytes, begun: Vec::new(), skipped: 0 }
    }

    /// Adds the records that end in `bytes` to `pieces`, and keeps the incomplete rest.
    pub fn push(&mut self, mut bytes: &[u8], pieces: &mut Vec<Piece>) {
        while let Some((line, rest)) =
            memchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end))
        {
            self.begin(line);
            pieces.extend(self.end());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.begin(bytes);
    }

    /// The stream ended: the number of bytes of an incomplete record.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.length()
    }

    fn length(&self) -> u64 {
        self.skipped.saturating_add(u64::try_from(self.begun.len()).unwrap_or(u64::MAX))
    }

    fn begin(&mut self, bytes: &[u8]) {
        // One more, for a carriage return that is not part of the record.
        let limit = self.max_record_bytes.saturating_add(1);
        if self.skipped == 0 && self.begun.len().saturating_add(bytes.len()) <= limit {
            self.begun.extend_from_slice(bytes);
        } else {
            let all = self.length().saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            self.begun = Vec::new();
            self.skipped = all;
        }
    }

    fn end(&mut self) -> Option<Piece> {
        let skipped = mem::take(&mut self.skipped);
        if skipped > 0 {
            return Some(Piece::Oversized { bytes: skipped });
        }
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        let piece = if line.len() > self.max_record_bytes {
            let bytes = u64::try_from(self.begun.len()).unwrap_or(u64::MAX);
            Some(Piece::Oversized { bytes })
        } else if line.iter().all(u8::is_ascii_whitespace) {
            None
        } else {
            Some(Piece::Record(Bytes::copy_from_slice(line)))
        };
        self.begun.clear();
        piece
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]], limit: usize) -> (Vec<Piece>, u64) {
        let mut splitter = Splitter::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(piece, &mut found);
        }
        (found, splitter.finish())
    }

    fn record(text: &str) -> Piece {
        Piece::Record(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn records_end_with_a_line_and_blank_lines_are_none() {
        let (found, left) = cut(&[b"{\"a\":1}\r\n\r\n \r\n{\"b\":2}\n{\"c\""], 100);
        assert_eq!(found, [record("{\"a\":1}"), record("{\"b\":2}")]);
        assert_eq!(left, 4);
    }

    #[test]
    fn a_record_may_come_in_any_number_of_pieces() {
        let (found, left) = cut(&[b"{\"a", b"", b"\":1}\r", b"\n", b"\r", b"\n{}", b"\r\n"], 100);
        assert_eq!((found, left), (vec![record("{\"a\":1}"), record("{}")], 0));
    }

    #[test]
    fn a_record_that_is_too_large_is_skipped_and_the_stream_goes_on() {
        let (found, left) = cut(&[b"1234\r\n12345\r\n123", b"456\r\n", b"12\r\n1234567"], 4);
        let oversized = |bytes| Piece::Oversized { bytes };
        assert_eq!(found, [record("1234"), oversized(6), oversized(7), record("12")]);
        assert_eq!(left, 7);
    }

    /// The expected pieces, found in the whole stream at once.
    fn expected(stream: &[u8], limit: usize) -> (Vec<Piece>, u64) {
        let mut lines: Vec<_> = stream.split(|byte| *byte == b'\n').collect();
        let left = lines.pop().map_or(0, <[u8]>::len);
        let found = lines.into_iter().filter_map(|line| {
            let record = line.strip_suffix(b"\r").unwrap_or(line);
            if record.len() > limit {
                return Some(Piece::Oversized { bytes: u64::try_from(line.len()).unwrap() });
            }
            let blank = record.iter().all(u8::is_ascii_whitespace);
            (!blank).then(|| Piece::Record(Bytes::copy_from_slice(record)))
        });
        (found.collect(), u64::try_from(left).unwrap())
    }

    proptest! {
        /// Bytes in which ends of lines are frequent, cut anywhere.
        #[test]
        fn any_cutting_of_any_stream_gives_the_same_records(
            stream in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..20),
            limit in 0_usize..12,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
            prop_assert_eq!(cut(&pieces, limit), expected(&stream, limit));
        }
    }
}
