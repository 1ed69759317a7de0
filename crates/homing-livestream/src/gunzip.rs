//! Decompresses an endless stream, in pieces of bounded size, as soon as they are complete.
//!
//! The data of the Live Stream API is gzip. Data that does not begin like gzip is passed through:
//! records begin differently.

use flate2::{Decompress, FlushDecompress, Status};

/// The first byte of every gzip member. Source: RFC 1952, 2.3.1.
const MAGIC: u8 = 0x1f;
/// The largest window, which any stream may need. Source: RFC 1951, 2.
const WINDOW_BITS: u8 = 15;
/// Decompressed at a time, however small the input was.
const PIECE_BYTES: usize = 64 * 1_024;

/// The stream is damaged; the rest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is not sound gzip: {0}")]
pub struct Damaged(String);

/// Decompresses one stream.
#[derive(Debug)]
pub struct Gunzip {
    form: Form,
    piece: Box<[u8]>,
}

#[derive(Debug)]
enum Form {
    Unknown,
    Plain,
    Gzip(Decompress),
    /// A member has ended; another one may begin.
    Between,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { form: Form::Unknown, piece: vec![0; PIECE_BYTES].into() }
    }
}

impl Gunzip {
    /// Decompresses the beginning of `packed` and shortens it by that. `None`: all of it is
    /// decompressed.
    ///
    /// # Errors
    ///
    /// [`Damaged`].
    pub fn next(&mut self, packed: &mut &[u8]) -> Result<Option<&[u8]>, Damaged> {
        loop {
            let Some(first) = packed.first() else {
                // A full piece may have left more to decompress.
                if !matches!(self.form, Form::Gzip(_)) {
                    return Ok(None);
                }
                let produced = self.unpack(packed)?;
                return Ok((produced > 0).then(|| self.piece.get(..produced).unwrap_or_default()));
            };
            match &self.form {
                Form::Unknown if *first != MAGIC => self.form = Form::Plain,
                Form::Unknown | Form::Between => {
                    self.form = Form::Gzip(Decompress::new_gzip(WINDOW_BITS));
                }
                Form::Plain => {
                    let length = packed.len().min(PIECE_BYTES);
                    let (now, later) = packed.split_at_checked(length).unwrap_or((packed, &[]));
                    *packed = later;
                    return Ok(Some(now_in(&mut self.piece, now)));
                }
                Form::Gzip(_) => {
                    let produced = self.unpack(packed)?;
                    if produced > 0 {
                        return Ok(self.piece.get(..produced));
                    }
                }
            }
        }
    }

    /// Fills the piece from `packed`; returns how far.
    fn unpack(&mut self, packed: &mut &[u8]) -> Result<usize, Damaged> {
        let Form::Gzip(decompress) = &mut self.form else { return Ok(0) };
        let (consumed, produced) = (decompress.total_in(), decompress.total_out());
        let unpacked = decompress.decompress(packed, &mut self.piece, FlushDecompress::Sync);
        let consumed = decompress.total_in().saturating_sub(consumed);
        let produced = decompress.total_out().saturating_sub(produced);
        let consumed = usize::try_from(consumed).unwrap_or(usize::MAX);
        *packed = packed.get(consumed..).unwrap_or_default();
        match unpacked.map_err(|error| Damaged(error.to_string()))? {
            Status::StreamEnd => self.form = Form::Between,
            Status::BufError if produced == 0 && !packed.is_empty() => {
                return Err(Damaged("nothing of it can be unpacked".to_owned()));
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(usize::try_from(produced).unwrap_or(usize::MAX))
    }
}

fn now_in<'a>(piece: &'a mut [u8], bytes: &[u8]) -> &'a [u8] {
    let Some(place) = piece.get_mut(..bytes.len()) else { return &[] };
    place.copy_from_slice(bytes);
    place
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn unpack(pieces: &[&[u8]]) -> Result<Vec<u8>, Damaged> {
        let mut gunzip = Gunzip::default();
        let mut unpacked = Vec::new();
        for mut packed in pieces.iter().copied() {
            while let Some(piece) = gunzip.next(&mut packed)? {
                assert!(piece.len() <= PIECE_BYTES);
                unpacked.extend_from_slice(piece);
            }
        }
        Ok(unpacked)
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn flushed_data_is_available_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut gunzip = Gunzip::default();
        for record in [&b"first\r\n"[..], b"second\r\n"] {
            encoder.write_all(record).unwrap();
            encoder.flush().unwrap();
            let sent = std::mem::take(encoder.get_mut());
            let mut unpacked = Vec::new();
            let mut rest = &sent[..];
            while let Some(piece) = gunzip.next(&mut rest).unwrap() {
                unpacked.extend_from_slice(piece);
            }
            assert_eq!(unpacked, record);
        }
    }

    #[test]
    fn a_little_that_unpacks_to_very_much_comes_in_pieces() {
        let much = vec![b'x'; 10_000_000];
        assert_eq!(unpack(&[&packed(&much)]).unwrap(), much);
    }

    #[test]
    fn members_one_behind_the_other_are_one_stream() {
        let both = [packed(b"one\r\n"), packed(b"two\r\n")].concat();
        assert_eq!(unpack(&[&both]).unwrap(), b"one\r\ntwo\r\n");
    }

    #[test]
    fn uncompressed_data_is_passed_through() {
        assert_eq!(unpack(&[b"{\"a\"", b":1}\r\n"]).unwrap(), b"{\"a\":1}\r\n");
    }

    #[test]
    fn damage_is_found() {
        let mut sent = packed(&b"abcdefgh".repeat(100));
        let middle = sent.len() / 2;
        sent[middle] ^= 0xff;
        assert!(unpack(&[&sent]).is_err());
        assert!(unpack(&[&[MAGIC, 0, 0, 0, 0, 0]]).is_err());
    }

    proptest! {
        #[test]
        fn any_cutting_unpacks_to_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            cuts in prop::collection::vec(0_usize..3_000, 0..20),
        ) {
            let sent = packed(&bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(sent.len())).collect();
            cuts.extend([0, sent.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|ends| &sent[ends[0]..ends[1]]).collect();
            prop_assert_eq!(unpack(&pieces), Ok(bytes));
        }
    }
}
