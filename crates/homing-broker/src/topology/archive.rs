//! The archive: a stream that keeps a copy of every event for a while.
//!
//! Were it bound beside the primary queue alone, an event that finds no primary queue would count as
//! routed, and be in the archive only. So there is an exchange before the primary queue, as with
//! several shards, whose alternate exchange takes what finds no queue behind it
//! ([`shards`](super::shards)).
//!
//! Deliveries never depend on the archive: where exchange or stream cannot be declared, nothing is
//! archived, which the log, readiness and `homing topology check` say, and events go on without.
//!
//! The broker removes whole segments, the oldest first and only when it begins another one.
//!
//! Source: RabbitMQ documentation, *Streams*, retention.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use lapin::{Channel, Connection, ExchangeKind};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::{
    ArgumentValue, QueueKind, QueueSpec, Topology,
    bindings::bind,
    declare::{ExchangeSpec, close, declare_exchange, depth},
    shards::SPREADING,
};
use crate::{channels::open, consume::Lane, error::BrokerError};

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

/// A process tries no more once the broker has ended so many consecutive connections meanwhile.
const MAX_ENDED: u32 = 3;

/// The archive as this process found it.
#[derive(Debug, Default)]
pub(super) struct ArchiveState {
    /// The reason why nothing is archived.
    problem: Mutex<Option<String>>,
    /// Consecutive connections that the broker ended over it; [`MAX_ENDED`] is enough.
    ended: AtomicU32,
    /// True if a difference was logged.
    has_differed: AtomicBool,
}

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

    /// Returns true if there is to be an archive.
    #[must_use]
    pub fn has_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// The reason why nothing is archived although there is to be an archive, as far as this process
    /// knows.
    #[must_use]
    pub fn archive_problem(&self) -> Option<String> {
        self.archive_state.problem.lock().clone()
    }

    /// The exchange before the primary queue, where only the archive needs it.
    pub(super) fn archive_exchange(&self) -> Option<ExchangeSpec> {
        let names = self.names();
        (self.has_archive() && names.shards() == 1).then(|| ExchangeSpec {
            name: names.primary(),
            kind: ExchangeKind::Custom(SPREADING.to_owned()),
            alternate: Some(names.alternate()),
        })
    }

    /// Declares the archive, if there is to be one, and leads all events to it.
    pub(super) async fn declare_archive(&self, connection: &Connection) -> Result<(), BrokerError> {
        let Some(retention) = self.archive else { return Ok(()) };
        if self.archive_state.ended.load(Ordering::Relaxed) >= MAX_ENDED {
            return Ok(());
        }
        let declared = async {
            let channel = open(connection).await?;
            let led = self.lead_to_archive((connection, &channel), retention).await;
            // The broker closes it over a refusal.
            if channel.status().connected() {
                close(&channel).await?;
            }
            led
        };
        let declared = declared.await;
        self.note_archive(connection, declared.map(|()| None))
    }

    /// Looks if there is an archive that an administrator has declared, if there is to be one.
    pub(crate) async fn look_for_archive(
        &self,
        connection: &Connection,
    ) -> Result<(), BrokerError> {
        if !self.has_archive() {
            return Ok(());
        }
        let name = self.names().archive();
        let found = depth(connection, &name).await.map(|depth| {
            depth.is_none().then(|| {
                format!(
                    "`{name}` is missing, and the account may not declare it; let an administrator \
                     run `homing topology apply`"
                )
            })
        });
        self.note_archive(connection, found)
    }

    /// Notes the reason why nothing is archived, if there is one. Deliveries do not depend on it, so
    /// what the broker refuses, or does not do in time, is no failure.
    fn note_archive(
        &self,
        connection: &Connection,
        found: Result<Option<String>, BrokerError>,
    ) -> Result<(), BrokerError> {
        let ArchiveState { problem: known, ended, .. } = self.archive_state.as_ref();
        let is_connected = connection.status().connected();
        let problem = match found {
            Ok(problem) => {
                ended.store(0, Ordering::Relaxed);
                problem
            }
            Err(error) if is_connected || error.reply().is_some() => {
                let is_final = matches!(error, BrokerError::PluginDisabled { .. });
                let more = if is_final { MAX_ENDED } else { u32::from(!is_connected) };
                ended.fetch_add(more, Ordering::Relaxed);
                Some(error.report())
            }
            Err(error) => return Err(error),
        };
        let mut known = known.lock();
        match (&problem, known.is_some()) {
            (Some(error), false) => warn!(
                queue = self.names().archive(),
                error,
                "topology.archive_missing: nothing is archived, and deliveries go on; see \
                 `homing topology check`"
            ),
            (None, true) => info!("topology.archive_declared: events are archived again"),
            (Some(_), true) | (None, false) => {}
        }
        *known = problem;
        Ok(())
    }

    async fn lead_to_archive(
        &self,
        (connection, channel): (&Connection, &Channel),
        retention: Retention,
    ) -> Result<(), BrokerError> {
        if let Some(exchange) = self.archive_exchange() {
            declare_exchange(channel, &exchange).await.map_err(plugin_disabled)?;
            self.bind_exchange(channel, Lane::Primary).await?;
        }
        let (name, events) = (self.names().archive(), self.names().events());
        let queue = QueueSpec { name: name.clone(), kind: QueueKind::Archive(retention) };
        match self.declare_either(connection, &queue).await {
            // Events are archived all the same.
            Err(error @ BrokerError::Different { .. }) => {
                if !self.archive_state.has_differed.swap(true, Ordering::Relaxed) {
                    warn!(
                        queue = name,
                        error = error.report(),
                        "topology.archive_differs: its former bounds stay in force; `rabbitmqctl \
                         delete_queue` it, with what it holds, and homing declares it anew"
                    );
                }
            }
            declared => drop(declared?),
        }
        bind(channel, &name, events, "#").await
    }
}

/// Converts the refusal of an exchange's type into [`BrokerError::PluginDisabled`].
fn plugin_disabled(error: BrokerError) -> BrokerError {
    match error.reply() {
        Some(reply) if reply.is_unknown_exchange_type() => {
            BrokerError::PluginDisabled { reply: reply.clone() }
        }
        Some(_) | None => error,
    }
}
