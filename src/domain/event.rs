//! Something that happened.

use bytes::Bytes;

use super::{id::EventId, topic::Topic};

/// Something that happened: immutable, with an id and a topic.
///
/// The body stays the bytes that were published; homing never writes them anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The publisher's id, or one that homing made.
    pub id: EventId,
    /// What subscriptions choose by.
    pub topic: Topic,
    /// Sent on as `content-type`.
    pub content_type: String,
    /// The bytes as published.
    pub body: Bytes,
}

/// The content type of an event whose publisher named none.
pub const CONTENT_TYPE_DEFAULT: &str = "application/json";
