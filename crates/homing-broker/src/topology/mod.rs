//! The queues and exchanges, and why they are declared this way.
//!
//! - All queues are durable quorum queues; the version in their names changes when an argument
//!   must, because the arguments of a declared queue cannot. What an earlier version declared is
//!   emptied into its successor ([`Broker::empty`](super::Broker::empty)), or accepted unchanged
//!   (`former`).
//! - At-least-once dead-lettering needs three things of its source: a quorum queue,
//!   `x-dead-letter-strategy: at-least-once` and `x-overflow: reject-publish`. Without any of them
//!   the broker silently falls back to at-most-once.
//! - One wait queue per wait: messages expire at the head only, so a shared queue would block.
//! - What waits for its endpoint is in a held queue, from which workers take it as soon as the
//!   endpoint can. How long at most is said by each message (`expiration`), not by the queue: a
//!   changed schedule would be a changed argument. Messages expire at the head only, so one that
//!   may wait for less time than those before it is parked with them, late and never early. The
//!   queue's own TTL, the longest that the broker knows, is for copies that lost their expiration.
//! - `x-delivery-limit` is a large positive number where nothing may ever be dropped: −1 drops on
//!   RabbitMQ 3.10, and no number means 20 on 4.x.
//! - Never `x-expires`: it deletes a queue with its messages.
//! - A policy may set what an argument sets; of limits the smaller one counts. So a queue that
//!   keeps messages refuses what a `max-length` has no room for (`x-overflow`), and what a
//!   `delivery-limit` or a `message-ttl` takes out of it is moved, at least once: from the parking
//!   queue to the unrouted queue, and the other way round. Workers consume the unrouted queue and
//!   republish each message as a new one: the broker moves nothing round a cycle by itself. Where
//!   no worker runs, it keeps such a message in the unrouted queue, out of reach.
//! - Of new events and of due deliveries there are as many queues as shards ([`shards`]).
//! - A lock dead-letters to itself: its holder rejects the baton and gets it again as a new
//!   message, which no limit on redeliveries counts.
//!
//! Source: RabbitMQ documentation, *Quorum Queues*, *Time-To-Live and Expiration*, *Dead Letter
//! Exchanges*, *Alternate Exchanges*, *Policies*.

mod archive;
mod bindings;
mod declare;
mod inspect;
mod names;
mod policy;
mod shards;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

pub use archive::Retention;
pub(crate) use bindings::unbind_former_unrouted;
pub use declare::Depth;
pub(crate) use declare::{Declared, dead_letters_rejected, depth, depth_on};
pub use inspect::{Finding, State};
pub use names::Names;
pub use policy::Danger;
pub use shards::ShardPart;

/// Everything that homing declares, targets before what leads to them.
#[derive(Clone, Debug)]
pub struct Topology {
    names: Names,
    waits: BTreeSet<Duration>,
    /// Slots of sources: name and number.
    slots: BTreeSet<(String, u8)>,
    /// The number of held queues.
    held_queues: u16,
    /// The bounds of the archive, if there is one.
    archive: Option<Retention>,
    /// The archive at the broker.
    archive_state: Arc<archive::ArchiveState>,
    /// True if primary and retry queue were found as the first version declared them.
    has_former: Arc<AtomicBool>,
    /// Queues that these settings do not need and that may exist.
    left_over: Arc<Mutex<BTreeSet<String>>>,
    /// True if messages were found to pass exchanges before the queues of both lanes, or of one.
    has_exchanges: Arc<AtomicBool>,
    /// True if no worker runs that leads everything to the first shard again.
    may_spread: Arc<AtomicBool>,
}

/// Waits for deliveries that found no permit: 1, 4, 16, 64 s.
pub const THROTTLE_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
    Duration::from_secs(64),
];

/// The longest TTL that the broker accepts: 2³² − 1 ms, 49.7 days.
/// Source: RabbitMQ, `rabbit_misc:check_expiry`.
pub(crate) const MAX_TTL_MS: u32 = u32::MAX;

/// Redeliveries after which the broker moves a message from a deliver queue to the parking queue.
pub(crate) const DELIVERY_LIMIT: u32 = 50;
/// Large enough to never be reached, small enough for every version to accept.
const DELIVERY_LIMIT_NEVER: u32 = 1_000_000;

/// One queue to be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name; also its routing key at the route exchange.
    pub name: String,
    /// The handling of messages that leave it other than by an ack.
    pub kind: QueueKind,
}

/// The kinds of queues, by the handling of a message that is not acked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Primary and retry: a message that is redelivered too often, or rejected because no copy of
    /// it can be published, goes to the parking queue.
    Deliver {
        /// The parking queue.
        dead_letters_to: String,
        /// The first version's, the target of the queues that it declared; it knew no other shard
        /// than the first.
        formerly_to: Option<String>,
    },
    /// No consumer, ever: after the wait the broker moves messages to the retry queue.
    Wait {
        /// The queue's TTL.
        wait: Duration,
        /// The exchange that they pass; empty: the default one, which leads to one queue.
        through: String,
        /// The retry queue.
        dead_letters_to: String,
    },
    /// The deliveries to one URL wait for their endpoint, and workers take them as soon as it can
    /// take some; the broker parks what has waited for too long.
    Held {
        /// The parking queue.
        dead_letters_to: String,
    },
    /// Parking and unrouted: kept until an operator or homing takes them out.
    Keep {
        /// The target of what a policy takes out of it.
        dead_letters_to: String,
    },
    /// The archive: a stream, which keeps what its consumers have read.
    Archive(Retention),
    /// One consumer at a time gets its one message, and with it the lock. Nothing is routed to it.
    /// (Quorum queues take `exclusive` consumers and do not keep others out.)
    Lock,
}

/// One argument of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentValue {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl QueueKind {
    /// Returns true if homing publishes to it by its name.
    pub(crate) fn is_addressed(&self) -> bool {
        match self {
            Self::Deliver { .. } | Self::Wait { .. } | Self::Held { .. } | Self::Keep { .. } => {
                true
            }
            Self::Archive(_) | Self::Lock => false,
        }
    }
}

impl QueueSpec {
    /// The arguments with which it is declared, in the order of their names.
    #[must_use]
    pub fn arguments(&self) -> Vec<(&'static str, ArgumentValue)> {
        let text = |text: &str| ArgumentValue::Text(text.to_owned());
        let dead_letters_to = |target: &str| {
            vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(target))]
        };
        let dead_lettering = |target: &str| {
            let mut arguments = dead_letters_to(target);
            arguments.push(("x-dead-letter-strategy", text("at-least-once")));
            arguments.push(("x-overflow", text("reject-publish")));
            arguments.push(("x-queue-leader-locator", text("balanced")));
            arguments
        };
        let mut arguments = match &self.kind {
            QueueKind::Deliver { dead_letters_to, formerly_to: _ } => {
                let mut arguments = dead_lettering(dead_letters_to);
                arguments.push(("x-delivery-limit", ArgumentValue::Number(DELIVERY_LIMIT.into())));
                arguments
            }
            QueueKind::Wait { wait, through, dead_letters_to } => {
                let mut arguments = dead_lettering(dead_letters_to);
                for (name, value) in &mut arguments {
                    if *name == "x-dead-letter-exchange" {
                        *value = text(through);
                    }
                }
                let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                arguments.push(("x-message-ttl", ArgumentValue::Number(wait_ms.into())));
                arguments
            }
            QueueKind::Held { dead_letters_to } => {
                let mut arguments = dead_lettering(dead_letters_to);
                arguments
                    .push(("x-delivery-limit", ArgumentValue::Number(DELIVERY_LIMIT_NEVER.into())));
                arguments.push(("x-message-ttl", ArgumentValue::Number(MAX_TTL_MS.into())));
                arguments
            }
            QueueKind::Keep { dead_letters_to } => {
                let mut arguments = dead_lettering(dead_letters_to);
                arguments
                    .push(("x-delivery-limit", ArgumentValue::Number(DELIVERY_LIMIT_NEVER.into())));
                arguments
            }
            QueueKind::Archive(retention) => retention.arguments(),
            // At most once: a baton that gets lost is published again, one that the broker still
            // held would be a second one.
            QueueKind::Lock => {
                let mut arguments = dead_letters_to(&self.name);
                arguments
                    .push(("x-delivery-limit", ArgumentValue::Number(DELIVERY_LIMIT_NEVER.into())));
                arguments.push(("x-single-active-consumer", ArgumentValue::Flag(true)));
                arguments
            }
        };
        let queue_type =
            if matches!(self.kind, QueueKind::Archive(_)) { "stream" } else { "quorum" };
        arguments.push(("x-queue-type", text(queue_type)));
        arguments.sort_by_key(|(name, _)| *name);
        arguments
    }
}

impl QueueSpec {
    /// The queue as an earlier version declared it, if that is as good under the same name.
    pub(super) fn former(&self) -> Option<Self> {
        match &self.kind {
            QueueKind::Deliver { formerly_to, .. } => {
                let dead_letters_to = formerly_to.clone()?;
                let kind = QueueKind::Deliver { dead_letters_to, formerly_to: formerly_to.clone() };
                Some(Self { name: self.name.clone(), kind })
            }
            QueueKind::Wait { .. }
            | QueueKind::Held { .. }
            | QueueKind::Keep { .. }
            | QueueKind::Archive(_)
            | QueueKind::Lock => None,
        }
    }
}

impl Topology {
    /// The topology of the installation `prefix` whose schedules have these `waits`.
    #[must_use]
    pub fn new(prefix: &str, waits: impl IntoIterator<Item = Duration>) -> Self {
        Self {
            names: Names::new(prefix, 1),
            waits: waits.into_iter().chain(THROTTLE_WAITS).collect(),
            slots: BTreeSet::new(),
            held_queues: 0,
            archive: None,
            archive_state: Arc::default(),
            has_former: Arc::default(),
            left_over: Arc::default(),
            has_exchanges: Arc::default(),
            may_spread: Arc::default(),
        }
    }

    /// Sets the number of shards of new events, and of due deliveries; at least one.
    #[must_use]
    pub fn with_shards(self, shards: u16) -> Self {
        let names = Names::new(self.names.prefix(), shards.max(1));
        Self { names, ..self }
    }

    /// Adds a lock for each of these slots of sources.
    #[must_use]
    pub fn with_slots<'a>(mut self, slots: impl IntoIterator<Item = (&'a str, u8)>) -> Self {
        self.slots.extend(slots.into_iter().map(|(source, slot)| (source.to_owned(), slot)));
        self
    }

    /// Sets the number of held queues.
    #[must_use]
    pub fn with_held_queues(self, held_queues: u16) -> Self {
        Self { held_queues, ..self }
    }

    /// The number of held queues.
    #[must_use]
    pub fn held_queues(&self) -> u16 {
        self.held_queues
    }

    /// The names of its queues and exchanges.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Every wait that has a queue, shortest first.
    pub fn waits(&self) -> impl Iterator<Item = Duration> {
        self.waits.iter().copied()
    }

    /// The names of its wait queues, shortest wait first.
    #[must_use]
    pub fn wait_queues(&self) -> Vec<String> {
        self.waits().map(|wait| self.names.wait(wait)).collect()
    }

    /// The names of the queues whose number depends on the settings: wait queues, held queues,
    /// further shards and the archive.
    #[must_use]
    pub fn variable_queues(&self) -> Vec<String> {
        let held = (0..self.held_queues).map(|slot| self.names.held(slot));
        let shards = [self.names.primary_queues(), self.names.retry_queues()];
        let further = shards.into_iter().flat_map(|shards| shards.into_iter().skip(1));
        let archive = self.archive.map(|_| self.names.archive());
        self.wait_queues().into_iter().chain(held).chain(further).chain(archive).collect()
    }

    /// Its queues, targets before what leads to them.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueSpec> {
        let names = &self.names;
        let keep =
            |name, dead_letters_to| QueueSpec { name, kind: QueueKind::Keep { dead_letters_to } };
        let deliver = |name: String| {
            let formerly_to = self.is_inlet(&name).then(|| names.former_parked());
            let kind = QueueKind::Deliver { dead_letters_to: names.parked(), formerly_to };
            QueueSpec { name, kind }
        };
        let mut queues =
            vec![keep(names.unrouted(), names.parked()), keep(names.parked(), names.unrouted())];
        queues.extend(names.retry_queues().into_iter().map(deliver));
        queues.extend(names.primary_queues().into_iter().map(deliver));
        let through = if names.shards() == 1 { String::new() } else { names.route() };
        queues.extend(self.waits.iter().map(|wait| QueueSpec {
            name: names.wait(*wait),
            kind: QueueKind::Wait {
                wait: *wait,
                through: through.clone(),
                dead_letters_to: names.retry(),
            },
        }));
        queues.extend((0..self.held_queues).map(|slot| QueueSpec {
            name: names.held(slot),
            kind: QueueKind::Held { dead_letters_to: names.parked() },
        }));
        queues.extend(self.slots.iter().map(|(source, slot)| QueueSpec {
            name: names.lock(source, *slot),
            kind: QueueKind::Lock,
        }));
        queues.extend(self.archive.map(|retention| QueueSpec {
            name: names.archive(),
            kind: QueueKind::Archive(retention),
        }));
        queues
    }

    /// Returns true if `key` routes to a queue for messages other than the unrouted queue.
    pub(crate) fn takes(&self, key: &str) -> bool {
        let unrouted = self.names.unrouted();
        let takes = |queue: &QueueSpec| queue.name == key && queue.kind.is_addressed();
        key != unrouted && self.queues().iter().any(takes)
    }

    /// Returns true if the first version declared the topology, so that processes of it may run:
    /// they refuse what this one declares. Known once the topology was declared or inspected.
    pub(crate) fn is_of_first_version(&self) -> bool {
        self.has_former.load(Ordering::Relaxed)
    }

    /// The queue to which primary and retry queues of the first version dead-letter. If missing, it
    /// is declared with today's arguments.
    pub(super) fn former_parked(&self) -> QueueSpec {
        let kind = QueueKind::Keep { dead_letters_to: self.names.parked() };
        QueueSpec { name: self.names.former_parked(), kind }
    }

    /// The names of queues of earlier versions, and of their successors.
    pub(crate) fn superseded(&self) -> Vec<(String, String)> {
        let names = &self.names;
        let locks = self
            .slots
            .iter()
            .map(|(source, slot)| (names.former_lock(source, *slot), names.lock(source, *slot)));
        let kept =
            [(names.former_parked(), names.parked()), (names.former_unrouted(), names.unrouted())];
        kept.into_iter().chain(locks).collect()
    }
}
