//! From the bytes of an event's body to a document.

use std::{borrow::Cow, io::Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::{Document, JsonError};

/// Maximum size of a decompressed body: a few kilobytes can become gigabytes.
const MAX_UNPACKED_BYTES: usize = 4 * 1_024 * 1_024;

/// Errors of reading a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is text, but not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON is UTF-8. Source: RFC 8259, 8.1.
    #[error("it is not JSON: not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The offset in bytes, from 0.
        at: usize,
    },
    /// It does not decompress as its encoding says.
    #[error("it cannot be unpacked as {encoding}")]
    Packed {
        /// The publisher's encoding.
        encoding: String,
    },
    /// Its encoding is not supported.
    #[error("its content encoding `{encoding}` is not one that is unpacked here (gzip, deflate)")]
    Unknown {
        /// The publisher's encoding.
        encoding: String,
    },
    /// Decompressed, it is too large.
    #[error("unpacked, it has more than {max} bytes", max = MAX_UNPACKED_BYTES)]
    TooLarge,
}

impl<'b> Document<'b> {
    /// Reads a body with its publisher's content encoding.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub fn of_body(body: &'b [u8], encoding: Option<&str>) -> Result<Self, BodyError> {
        let named = encoding.map(|encoding| encoding.trim().to_ascii_lowercase());
        let unpacked = match named.as_deref().unwrap_or_default() {
            // Some publishers name it and do not compress.
            "gzip" | "x-gzip" if body.starts_with(&[0x1f, 0x8b]) => {
                unpacked(MultiGzDecoder::new(body), "gzip")?
            }
            "deflate" if !begins_as_json(body) => unpacked(ZlibDecoder::new(body), "deflate")?,
            _ => return plain(body).map_err(|error| with_encoding(error, named.as_deref())),
        };
        let text = String::from_utf8(unpacked)
            .map_err(|error| BodyError::NotUtf8 { at: error.utf8_error().valid_up_to() })?;
        Ok(Self::new(Cow::Owned(text))?)
    }
}

fn plain(body: &[u8]) -> Result<Document<'_>, BodyError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| BodyError::NotUtf8 { at: error.valid_up_to() })?;
    Ok(Document::new(Cow::Borrowed(text))?)
}

fn begins_as_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// An unknown encoding explains the error better.
fn with_encoding(error: BodyError, encoding: Option<&str>) -> BodyError {
    match encoding {
        Some(encoding)
            if matches!(encoding, "br" | "zstd" | "compress" | "x-compress")
                || encoding.contains(',') =>
        {
            BodyError::Unknown { encoding: encoding.chars().take(60).collect() }
        }
        Some(_) | None => error,
    }
}

/// Decompresses `packed`, within the limit.
fn unpacked(packed: impl Read, encoding: &str) -> Result<Vec<u8>, BodyError> {
    let limit = u64::try_from(MAX_UNPACKED_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    packed
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|_error| BodyError::Packed { encoding: encoding.to_owned() })?;
    if bytes.len() > MAX_UNPACKED_BYTES { Err(BodyError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    const BODY: &[u8] = br#"{"status":"CUR"}"#;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(body).expect("it is memory");
        packer.finish().expect("it is memory")
    }

    fn deflate(body: &[u8]) -> Vec<u8> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
        packer.write_all(body).expect("it is memory");
        packer.finish().expect("it is memory")
    }

    #[test]
    fn packed_bodies_are_unpacked() {
        for (body, encoding) in [
            (BODY.to_vec(), None),
            (BODY.to_vec(), Some("utf-8")),
            (BODY.to_vec(), Some("gzip")),
            (BODY.to_vec(), Some("deflate")),
            (gzip(BODY), Some("gzip")),
            (gzip(BODY), Some(" X-GZIP ")),
            (deflate(BODY), Some("deflate")),
            ([gzip(br#"{"status":"#), gzip(br#""CUR"}"#)].concat(), Some("gzip")),
        ] {
            let document = Document::of_body(&body, encoding).expect("it is read");
            assert_eq!(
                document.root().map(crate::json::Json::raw),
                Some(r#"{"status":"CUR"}"#),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn an_unreadable_body_has_a_reason() {
        let error =
            |body: &[u8], encoding| Document::of_body(body, encoding).unwrap_err().to_string();
        insta::assert_snapshot!(error(b"{", None), @"it is not JSON: it ends too early");
        insta::assert_snapshot!(error(b"name=x", None), @"it is not JSON: something else at byte 1");
        insta::assert_snapshot!(error(b"{\"name\":\"M\xfcller\"}", None), @"it is not JSON: not UTF-8 at byte 10");
        insta::assert_snapshot!(error(b"\xff\xfe{\0}\0", Some("utf-8")), @"it is not JSON: not UTF-8 at byte 0");
        insta::assert_snapshot!(error(&gzip(BODY)[..20], Some("gzip")), @"it cannot be unpacked as gzip");
        insta::assert_snapshot!(error(&gzip(BODY), None), @"it is not JSON: not UTF-8 at byte 1");
        insta::assert_snapshot!(error(b"\x1b\x2a\x80", Some("br")), @"its content encoding `br` is not one that is unpacked here (gzip, deflate)");
        let bomb = gzip(&vec![b' '; MAX_UNPACKED_BYTES + 1]);
        assert!(bomb.len() < 20_000);
        insta::assert_snapshot!(error(&bomb, Some("gzip")), @"unpacked, it has more than 4194304 bytes");
    }
}
