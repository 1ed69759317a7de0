//! The names of queues and exchanges.

use std::time::Duration;

/// The names of all queues and exchanges of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// The names of the installation `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Prefix of all of them.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn of(&self, object: &str) -> String {
        format!("{}.v1.{object}", self.prefix)
    }

    fn of_second(&self, object: &str) -> String {
        format!("{}.v2.{object}", self.prefix)
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

    /// Fanout exchange, the alternate exchange of both, for messages without a route.
    #[must_use]
    pub fn alternate(&self) -> String {
        self.of("unrouted")
    }

    /// Queue of messages without a route, and of what policies take out of the parking queue.
    #[must_use]
    pub fn unrouted(&self) -> String {
        self.of_second("unrouted")
    }

    /// The unrouted queue of the first version.
    #[must_use]
    pub fn former_unrouted(&self) -> String {
        self.of("unrouted")
    }

    /// Queue of new events.
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
        self.of_second("parked")
    }

    /// The parking queue of the first version, whose primary and retry queues dead-letter to it for
    /// ever.
    #[must_use]
    pub fn former_parked(&self) -> String {
        self.of("parked")
    }

    /// Fanout exchange over which processes announce changes.
    #[must_use]
    pub fn control(&self) -> String {
        self.of("control")
    }

    /// True if `name` is that of a wait queue or of a held queue, in force or not.
    pub(crate) fn is_variable(&self, name: &str) -> bool {
        ["wait.", "held."].iter().any(|kind| name.starts_with(&self.of(kind)))
    }

    /// Queue that is the lock of a slot of a source.
    #[must_use]
    pub fn lock(&self, source: &str, slot: u8) -> String {
        self.of_second(&format!("source.{source}.{slot}"))
    }

    /// The lock of a slot in the first version.
    #[must_use]
    pub fn former_lock(&self, source: &str, slot: u8) -> String {
        self.of(&format!("source.{source}.{slot}"))
    }

    /// Queue that keeps a second process out of an installation that exists for one run.
    pub(crate) fn claim(&self) -> String {
        self.of("claim")
    }

    /// Queue that is declared only to be refused, to learn what the broker can do.
    pub(super) fn probe(&self) -> String {
        self.of("probe")
    }

    /// Queue that keeps a second scan out of the parking queue.
    pub(crate) fn scan_lock(&self) -> String {
        self.of("turn")
    }

    /// Queue in which the deliveries to one URL wait until their endpoint can take them.
    #[must_use]
    pub fn held(&self, slot: u16) -> String {
        self.of(&format!("held.{slot}"))
    }

    /// Queue without consumers in which deliveries wait for `wait`.
    #[must_use]
    pub fn wait(&self, wait: Duration) -> String {
        self.of(&format!("wait.{}", wait.as_millis()))
    }
}
