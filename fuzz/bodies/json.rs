//! Any bytes are read as a body or refused, in bounded time, and no value lies outside of its container.
//!
//! Data: a byte that chooses the content encoding, the body.

use homing_domain::json::{Decimal, Document, Json, Kind};

/// Reads a body and visits every part of it, without recursion.
pub(crate) fn run(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let encoding = match first % 4 {
        0 => None,
        1 => Some("gzip"),
        2 => Some("deflate"),
        _ => Some("utf-8"),
    };
    let theirs = serde_json::from_slice::<serde_json::Value>(body);
    let document = match Document::of_body(body, encoding) {
        Ok(document) => document,
        Err(error) => {
            assert!(theirs.is_err() || encoding == Some("deflate"), "{error}");
            return;
        }
    };
    let mut parts: Vec<Json<'_>> = document.root().into_iter().collect();
    assert_eq!(parts.len(), 1, "a document is one value");
    while let Some(part) = parts.pop() {
        assert!(document.at(part.place()).is_some_and(|again| again.raw() == part.raw()));
        assert_eq!(Decimal::parse(part.raw()).is_some(), part.kind() == Kind::Number);
        assert_eq!(part.text().is_some(), part.kind() == Kind::Text);
        let inner = part.elements().chain(part.fields().flat_map(|(name, value)| [name, value]));
        for inner in inner {
            assert!(part.raw().len() > inner.raw().len());
            parts.push(inner);
        }
    }
}
