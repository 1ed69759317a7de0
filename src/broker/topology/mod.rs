//! Which queues and exchanges there are, and why they are declared as they are.
//!
//! - All queues are durable quorum queues; the version in their names changes when an argument
//!   must, because the arguments of a declared queue cannot.
//! - At-least-once dead-lettering needs three things of its source: a quorum queue,
//!   `x-dead-letter-strategy: at-least-once` and `x-overflow: reject-publish`. Without any of them
//!   the broker silently falls back to at-most-once.
//! - One wait queue per wait: messages expire at the head only, so a shared queue would block.
//! - `x-delivery-limit` is a large positive number where nothing may ever be dropped: −1 drops on
//!   RabbitMQ 3.10, and no number means 20 on 4.x.
//! - Never `x-expires`: it deletes a queue with its messages.
//!
//! Source: RabbitMQ documentation, *Quorum Queues*, *Time-To-Live and Expiration*, *Dead Letter
//! Exchanges*, *Alternate Exchanges*.

mod declare;
mod inspect;

use std::{collections::BTreeSet, time::Duration};

pub use declare::Depth;
pub(in crate::broker) use declare::{depth, depth_on};
pub use inspect::{Finding, State};

/// Everything that homing declares, targets before what leads to them.
#[derive(Clone, Debug)]
pub struct Topology {
    names: Names,
    waits: BTreeSet<Duration>,
    /// Slots of sources: name and number.
    slots: BTreeSet<(String, u8)>,
}

/// The names of all queues and exchanges of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    fn of(&self, object: &str) -> String {
        format!("{}.v1.{object}", self.prefix)
    }

    /// Topic exchange to which publishers publish.
    #[must_use]
    pub fn events(&self) -> String {
        self.of("events")
    }

    /// Direct exchange of homing's own publishes: every queue is bound by its own name.
    #[must_use]
    pub fn route(&self) -> String {
        self.of("route")
    }

    /// Fanout exchange and queue: the net under both, for messages without a route.
    #[must_use]
    pub fn unrouted(&self) -> String {
        self.of("unrouted")
    }

    /// Queue of fresh events.
    #[must_use]
    pub fn primary(&self) -> String {
        self.of("primary")
    }

    /// Queue of due deliveries.
    #[must_use]
    pub fn retry(&self) -> String {
        self.of("retry")
    }

    /// Queue of what was given up.
    #[must_use]
    pub fn parked(&self) -> String {
        self.of("parked")
    }

    /// Fanout exchange over which processes tell each other of changes.
    #[must_use]
    pub fn control(&self) -> String {
        self.of("control")
    }

    /// What the names of all wait queues begin with.
    pub(in crate::broker) fn wait_prefix(&self) -> String {
        self.of("wait.")
    }

    /// Queue that is the lock of a slot of a source.
    #[must_use]
    pub fn lock(&self, source: &str, slot: u8) -> String {
        self.of(&format!("source.{source}.{slot}"))
    }

    /// Queue that keeps a second process out of an installation that is there for one run.
    pub(in crate::broker) fn claim(&self) -> String {
        self.of("claim")
    }

    /// Queue without consumers in which deliveries wait for `wait`.
    #[must_use]
    pub fn wait(&self, wait: Duration) -> String {
        self.of(&format!("wait.{}", wait.as_millis()))
    }
}

/// Waits for deliveries that found no permit: 1, 4, 16, 64 s.
pub const BUSY_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
    Duration::from_secs(64),
];

/// Redeliveries after which the broker moves a message from a deliver queue to the parking queue.
const DELIVERY_LIMIT: u32 = 50;
/// Large enough to never be reached, small enough for every version to accept.
const DELIVERY_LIMIT_NEVER: u32 = 1_000_000;

/// One is enough; a second one is there while it takes the place of the first.
const LOCK_MESSAGES_MAX: u32 = 2;

/// One queue to be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name; also its routing key at the route exchange.
    pub name: String,
    /// What happens to messages that leave it other than by an ack.
    pub kind: QueueKind,
}

/// The kinds of queues, by what becomes of a message that is not acked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Primary and retry: a message redelivered too often goes to the parking queue.
    Deliver {
        /// The parking queue.
        dead_letters_to: String,
    },
    /// No consumer, ever: after the wait the broker moves messages to the retry queue.
    Wait {
        /// The queue's TTL.
        wait: Duration,
        /// The retry queue.
        dead_letters_to: String,
    },
    /// Parking and unrouted: kept until a person or homing takes them out.
    Keep,
    /// One consumer at a time gets its one message: whoever has that, has the lock. Nothing is
    /// routed to it. (Quorum queues take `exclusive` consumers and do not keep others out.)
    Lock,
}

/// One argument of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A number.
    Number(u32),
    /// Yes or no.
    Flag(bool),
}

impl QueueSpec {
    /// The arguments with which it is declared, in the order of their names.
    #[must_use]
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let text = |text: &str| Argument::Text(text.to_owned());
        let dead_lettering = |target: &str| {
            vec![
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(target)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text("reject-publish")),
                ("x-queue-leader-locator", text("balanced")),
            ]
        };
        let mut arguments = match &self.kind {
            QueueKind::Deliver { dead_letters_to } => {
                let mut arguments = dead_lettering(dead_letters_to);
                arguments.push(("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)));
                arguments
            }
            QueueKind::Wait { wait, dead_letters_to } => {
                let mut arguments = dead_lettering(dead_letters_to);
                let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                arguments.push(("x-message-ttl", Argument::Number(wait_ms)));
                arguments
            }
            QueueKind::Keep => vec![("x-delivery-limit", Argument::Number(DELIVERY_LIMIT_NEVER))],
            QueueKind::Lock => vec![
                ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT_NEVER)),
                ("x-max-length", Argument::Number(LOCK_MESSAGES_MAX)),
                ("x-single-active-consumer", Argument::Flag(true)),
            ],
        };
        arguments.push(("x-queue-type", text("quorum")));
        arguments.sort_by_key(|(name, _)| *name);
        arguments
    }
}

impl Topology {
    /// The topology of the installation `prefix` whose schedules have these `waits`.
    #[must_use]
    pub fn new(prefix: &str, waits: impl IntoIterator<Item = Duration>) -> Self {
        Self {
            names: Names { prefix: prefix.to_owned() },
            waits: waits.into_iter().chain(BUSY_WAITS).collect(),
            slots: BTreeSet::new(),
        }
    }

    /// The same with a lock for each of these slots of sources.
    #[must_use]
    pub fn with_slots<'a>(mut self, slots: impl IntoIterator<Item = (&'a str, u8)>) -> Self {
        self.slots.extend(slots.into_iter().map(|(source, slot)| (source.to_owned(), slot)));
        self
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

    /// Its queues, targets before what leads to them.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueSpec> {
        let names = &self.names;
        let keep = |name| QueueSpec { name, kind: QueueKind::Keep };
        let deliver =
            |name| QueueSpec { name, kind: QueueKind::Deliver { dead_letters_to: names.parked() } };
        let mut queues = vec![
            keep(names.unrouted()),
            keep(names.parked()),
            deliver(names.retry()),
            deliver(names.primary()),
        ];
        queues.extend(self.waits.iter().map(|wait| QueueSpec {
            name: names.wait(*wait),
            kind: QueueKind::Wait { wait: *wait, dead_letters_to: names.retry() },
        }));
        queues.extend(self.slots.iter().map(|(source, slot)| QueueSpec {
            name: names.lock(source, *slot),
            kind: QueueKind::Lock,
        }));
        queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topology_is_what_the_documentation_says() {
        let topology = Topology::new("homing", [Duration::from_millis(84_800)]);
        let lines: Vec<_> = topology
            .queues()
            .into_iter()
            .map(|queue| {
                let arguments: Vec<_> = queue
                    .arguments()
                    .into_iter()
                    .map(|(name, value)| match value {
                        Argument::Text(text) => format!("{name}={text:?}"),
                        Argument::Number(number) => format!("{name}={number}"),
                        Argument::Flag(flag) => format!("{name}={flag}"),
                    })
                    .collect();
                format!("{}\n    {}", queue.name, arguments.join("\n    "))
            })
            .take(5)
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        homing.v1.unrouted
            x-delivery-limit=1000000
            x-queue-type="quorum"
        homing.v1.parked
            x-delivery-limit=1000000
            x-queue-type="quorum"
        homing.v1.retry
            x-dead-letter-exchange=""
            x-dead-letter-routing-key="homing.v1.parked"
            x-dead-letter-strategy="at-least-once"
            x-delivery-limit=50
            x-overflow="reject-publish"
            x-queue-leader-locator="balanced"
            x-queue-type="quorum"
        homing.v1.primary
            x-dead-letter-exchange=""
            x-dead-letter-routing-key="homing.v1.parked"
            x-dead-letter-strategy="at-least-once"
            x-delivery-limit=50
            x-overflow="reject-publish"
            x-queue-leader-locator="balanced"
            x-queue-type="quorum"
        homing.v1.wait.1000
            x-dead-letter-exchange=""
            x-dead-letter-routing-key="homing.v1.retry"
            x-dead-letter-strategy="at-least-once"
            x-message-ttl=1000
            x-overflow="reject-publish"
            x-queue-leader-locator="balanced"
            x-queue-type="quorum"
        "#);
    }

    #[test]
    fn a_slot_has_a_lock_that_is_no_route_for_events() {
        let topology = Topology::new("p", []).with_slots([("main", 1), ("main", 2)]);
        let locks: Vec<_> =
            topology.queues().into_iter().filter(|queue| queue.kind == QueueKind::Lock).collect();
        let names: Vec<_> = locks.iter().map(|lock| lock.name.as_str()).collect();
        assert_eq!(names, ["p.v1.source.main.1", "p.v1.source.main.2"]);
        assert!(locks[0].arguments().contains(&("x-single-active-consumer", Argument::Flag(true))));
    }

    #[test]
    fn targets_are_declared_before_what_leads_to_them() {
        let queues = Topology::new("p", Some(Duration::from_secs(9))).queues();
        for (index, queue) in queues.iter().enumerate() {
            let target = match &queue.kind {
                QueueKind::Deliver { dead_letters_to }
                | QueueKind::Wait { dead_letters_to, .. } => dead_letters_to,
                QueueKind::Keep | QueueKind::Lock => continue,
            };
            assert!(queues[..index].iter().any(|earlier| earlier.name == *target), "{target}");
        }
    }
}
