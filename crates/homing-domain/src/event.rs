//! Events: something that happened.

use bytes::Bytes;

use super::{id::EventId, topic::Topic};

/// Something that happened: immutable, with an id and a topic.
///
/// The body keeps the bytes that were published; homing never rewrites them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The publisher's id, or one that homing generated.
    pub id: EventId,
    /// Matched by subscriptions.
    pub topic: Topic,
    /// Sent on as `content-type`.
    pub content_type: String,
    /// The encoding of the body; sent on as `content-encoding`.
    pub content_encoding: Option<ContentEncoding>,
    /// The bytes as published.
    pub body: Bytes,
}

/// The content type of an event whose publisher named none.
pub const CONTENT_TYPE_DEFAULT: &str = "application/json";

/// Content codings, in lower case. Source: IANA, *HTTP Content Coding Registry*.
const CODINGS: [&str; 13] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "identity",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];

/// The error for a text that is no [`ContentEncoding`].
pub const NO_CODING: &str = "not a content coding such as gzip, br, deflate or zstd";

/// The encoding of a body: content codings, in the order in which they were applied (RFC 9110,
/// 8.4).
///
/// The bytes stay encoded: homing neither encodes nor decodes a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentEncoding(String);

impl ContentEncoding {
    /// The codings that `text` lists; `None` if it lists none or contains anything else, such as
    /// the character set that some AMQP libraries write into `content_encoding`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let codings: Vec<_> =
            text.split(',').map(|coding| coding.trim_ascii().to_ascii_lowercase()).collect();
        let known = codings.iter().all(|coding| CODINGS.contains(&coding.as_str()));
        known.then(|| Self(codings.join(", ")))
    }

    /// The text for a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_codings_are_a_content_encoding() {
        let read = |text| ContentEncoding::new(text).map(|read| read.as_str().to_owned());
        assert_eq!(read("gzip").as_deref(), Some("gzip"));
        assert_eq!(read(" GZIP ,br").as_deref(), Some("gzip, br"));
        // Celery and others write a character set there.
        for other in ["", "utf-8", "binary", "gzip, utf-8", "gzip,", "gz\r\nip", "ġzip"] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}
