//! The archive: a stream that keeps a copy of every event for a while.
//!
//! Were it bound beside the primary queue alone, an event that finds no primary queue would count as
//! routed, and be in the archive only. So there is an exchange before the primary queue, as with
//! several shards, whose alternate exchange takes what finds no queue behind it
//! ([`shards`](super::shards)).
//!
//! The broker removes whole segments, the oldest first and only when it begins another one.
//!
//! Source: RabbitMQ documentation, *Streams*, retention.

use std::{sync::atomic::Ordering, time::Duration};

use lapin::Connection;
use tracing::warn;

use super::{ArgumentValue, QueueKind, QueueSpec, Topology};
use crate::error::BrokerError;

/// The bounds of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events are kept this long.
    pub keep: Duration,
    /// At most this many bytes are kept.
    pub max_bytes: u64,
}

/// Bytes of a segment at most; the broker takes up to 3 GB.
const MAX_SEGMENT_BYTES: u64 = 500_000_000;
/// Segments that fill the archive. The broker removes whole ones, and none while it is written.
const ARCHIVE_SEGMENTS: u64 = 8;

impl Retention {
    /// The arguments of the stream but its type.
    pub(super) fn arguments(self) -> Vec<(&'static str, ArgumentValue)> {
        let Self { keep, max_bytes } = self;
        // The segment that is written comes on top of those that count.
        let segment = (max_bytes / ARCHIVE_SEGMENTS).min(MAX_SEGMENT_BYTES);
        vec![
            ("x-max-age", ArgumentValue::Text(format!("{}s", keep.as_secs()))),
            ("x-max-length-bytes", ArgumentValue::Number(max_bytes.saturating_sub(segment))),
            ("x-queue-leader-locator", ArgumentValue::Text("balanced".to_owned())),
            ("x-stream-max-segment-size-bytes", ArgumentValue::Number(segment)),
        ]
    }
}

impl Topology {
    /// Adds the archive, if it has bounds.
    #[must_use]
    pub fn with_archive(self, archive: Option<Retention>) -> Self {
        Self { archive, ..self }
    }

    /// Returns true if there is an archive.
    #[must_use]
    pub fn has_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// Declares `queue`; an archive with other bounds is left alone, with a warning the first time.
    pub(super) async fn declare_or_keep(
        &self,
        connection: &Connection,
        queue: &QueueSpec,
    ) -> Result<(), BrokerError> {
        match self.declare_either(connection, queue).await {
            Err(BrokerError::Different { name, detail })
                if matches!(queue.kind, QueueKind::Archive(_)) =>
            {
                if !self.archive_differs.swap(true, Ordering::Relaxed) {
                    warn!(
                        queue = name,
                        detail,
                        "topology.archive_differs: its former bounds stay in force; `rabbitmqctl \
                         delete_queue` it, with what it holds, and homing declares it anew"
                    );
                }
                Ok(())
            }
            declared => declared.map(drop),
        }
    }
}
