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

use super::{ArgumentValue, QueueKind, QueueSpec, Topology, bindings::bind, declare::close};
use crate::{channels::open, error::BrokerError};

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
const ARCHIVE_SEGMENTS: u64 = 32;
/// Bytes of a segment at least.
const MIN_SEGMENT_BYTES: u64 = 4 * 1_024 * 1_024;

impl Retention {
    /// The arguments of the stream but its type.
    pub(super) fn arguments(self) -> Vec<(&'static str, ArgumentValue)> {
        let Self { keep, max_bytes } = self;
        // The segment that is written comes on top of those that count.
        let segment = (max_bytes / ARCHIVE_SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
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

    /// Declares the archive, if there is one, and leads all events to it. What the broker refuses is
    /// logged once: deliveries do not depend on it.
    pub(super) async fn declare_archive(&self, connection: &Connection) -> Result<(), BrokerError> {
        let Some(retention) = self.archive else { return Ok(()) };
        let (name, events) = (self.names().archive(), self.names().events());
        let queue = QueueSpec { name: name.clone(), kind: QueueKind::Archive(retention) };
        let declared = match self.declare_either(connection, &queue).await {
            // Events are archived all the same.
            Err(error @ BrokerError::Different { .. }) => {
                self.warn_of_archive(
                    &error,
                    "topology.archive_differs: its former bounds stay in force; `rabbitmqctl \
                     delete_queue` it, with what it holds, and homing declares it anew",
                );
                Ok(())
            }
            declared => declared.map(drop),
        };
        let bound = match declared {
            Ok(()) => {
                let channel = open(connection).await?;
                match bind(&channel, &name, events, "#").await {
                    Ok(()) => close(&channel).await,
                    // The broker closes a channel over a refusal.
                    refused => refused,
                }
            }
            refused => refused,
        };
        match bound {
            Err(error) if error.reply().is_some() => {
                let what = "topology.archive_missing: nothing is archived; `homing topology check`";
                self.warn_of_archive(&error, what);
                Ok(())
            }
            ended => ended,
        }
    }

    fn warn_of_archive(&self, error: &BrokerError, what: &'static str) {
        if !self.archive_differs.swap(true, Ordering::Relaxed) {
            warn!(queue = self.names().archive(), error = error.report(), "{what}");
        }
    }
}
