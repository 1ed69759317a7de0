//! Decompresses an endless stream, in pieces of bounded size, as soon as they are complete.
//!
//! The data of the Live Stream API is gzip. Data that does not begin like gzip is passed through:
//! records begin differently.

use std::{
    io::{self, Write},
    mem,
};

use flate2::write::MultiGzDecoder;

/// The first byte of every gzip member. Source: RFC 1952, 2.3.1.
const MAGIC: u8 = 0x1f;

/// Decompresses one stream.
#[derive(Debug, Default)]
pub struct Gunzip(Form);

#[derive(Debug, Default)]
enum Form {
    #[default]
    Unknown,
    Plain,
    /// Holds the piece. Each write adds at most 32 KiB to it, the decoder's own buffer.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Gunzip {
    /// Decompresses the beginning of `packed` and shortens it by that. `None`: all of it is
    /// decompressed.
    ///
    /// # Errors
    ///
    /// The stream is damaged; the rest cannot be read.
    pub fn next<'a, 'b: 'a>(&'a mut self, packed: &mut &'b [u8]) -> io::Result<Option<&'a [u8]>> {
        if let (Form::Unknown, Some(first)) = (&self.0, packed.first()) {
            let is_gzip = *first == MAGIC;
            let decoder = || Form::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
            self.0 = if is_gzip { decoder() } else { Form::Plain };
        }
        let piece = match &mut self.0 {
            Form::Unknown | Form::Plain => mem::take(packed),
            Form::Gzip(decoder) => unpack(decoder, packed)?,
        };
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Checks the end of the stream.
    ///
    /// # Errors
    ///
    /// Compressed data ends too early, or does not match its checksum.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Form::Unknown | Form::Plain => Ok(()),
            Form::Gzip(mut decoder) => decoder.try_finish(),
        }
    }
}

/// The next piece; empty: all of `packed` is unpacked.
fn unpack<'a>(
    decoder: &'a mut MultiGzDecoder<Vec<u8>>,
    packed: &mut &[u8],
) -> io::Result<&'a [u8]> {
    decoder.get_mut().clear();
    while decoder.get_ref().is_empty() && !packed.is_empty() {
        let consumed = decoder.write(packed)?;
        *packed = packed.get(consumed..).unwrap_or_default();
    }
    if packed.is_empty() {
        decoder.flush()?;
    }
    Ok(decoder.get_ref())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    /// Twice the decoder's buffer: the last piece may hold two fills of it.
    const MAX_PIECE_BYTES: usize = 64 * 1_024;

    fn unpack(pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut gunzip = Gunzip::default();
        let mut unpacked = Vec::new();
        for mut packed in pieces.iter().copied() {
            while let Some(piece) = gunzip.next(&mut packed)? {
                assert!(piece.len() <= MAX_PIECE_BYTES);
                unpacked.extend_from_slice(piece);
            }
        }
        gunzip.finish()?;
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

    #[test]
    fn a_wrong_checksum_is_found_at_the_end_of_each_member() {
        let mut sent = packed(b"one\r\n");
        let checksum = sent.len() - 8;
        sent[checksum] ^= 1;
        assert!(unpack(&[&sent]).is_err());
        assert!(unpack(&[&sent, &packed(b"two\r\n")]).is_err());
        assert!(unpack(&[&packed(b"two\r\n"), &sent]).is_err());
    }

    #[test]
    fn compressed_data_that_is_cut_off_is_found() {
        let sent = packed(b"one\r\n");
        for length in 1..sent.len() {
            assert!(unpack(&[&sent[..length]]).is_err(), "{length} bytes");
        }
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
            prop_assert_eq!(unpack(&pieces).unwrap(), bytes);
        }
    }
}
