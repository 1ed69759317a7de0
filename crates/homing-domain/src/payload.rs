//! The payload of an attempt: what was sent, and what was received.

use bytes::Bytes;

/// The text in place of a secret.
pub const MASK: &str = "****";

/// The request and the answer of one attempt; secrets are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The request.
    pub request: Part,
    /// The answer; `None`: not even its head came.
    pub response: Option<Part>,
}

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
    /// The number of headers that were too many to keep.
    pub headers_left_out: u32,
    /// The body, or its beginning.
    pub body: Bytes,
    /// True if the body was longer.
    pub cut: bool,
}

/// The payload of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadState {
    /// None was to be kept, or there was no attempt.
    #[default]
    Unwanted,
    /// It was kept, until it is too old or there are too many.
    Kept,
    /// It was given up: too much waited to be written, or the store did not take it.
    Missed,
}

impl Payload {
    /// The bytes that it holds in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let response = self.response.as_ref().map_or(0, Part::bytes);
        self.request.bytes().saturating_add(response)
    }
}

impl Part {
    fn bytes(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        headers.fold(self.body.len(), usize::saturating_add)
    }
}
