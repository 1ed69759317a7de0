//! The names of queues and exchanges.

use std::time::Duration;

/// The names of all queues and exchanges of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    shards: u16,
}

impl Names {
    /// The names of the installation `prefix` with so many shards.
    pub(super) fn new(prefix: &str, shards: u16) -> Self {
        Self { prefix: prefix.to_owned(), shards }
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

    /// Queue of new events. With several shards: the first of them, and the exchange that spreads
    /// over all of them.
    #[must_use]
    pub fn primary(&self) -> String {
        self.of("primary")
    }

    /// Queue of due deliveries; the same with several shards.
    #[must_use]
    pub fn retry(&self) -> String {
        self.of("retry")
    }

    /// A shard of the queue of new events.
    #[must_use]
    pub fn primary_shard(&self, shard: u16) -> String {
        shard_of(self.primary(), shard)
    }

    /// A shard of the queue of due deliveries.
    #[must_use]
    pub fn retry_shard(&self, shard: u16) -> String {
        shard_of(self.retry(), shard)
    }

    /// The number of shards of new events, and of due deliveries.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// The queues of new events, one for each shard.
    #[must_use]
    pub fn primary_queues(&self) -> Vec<String> {
        (0..self.shards).map(|shard| self.primary_shard(shard)).collect()
    }

    /// The queues of due deliveries, one for each shard.
    #[must_use]
    pub fn retry_queues(&self) -> Vec<String> {
        (0..self.shards).map(|shard| self.retry_shard(shard)).collect()
    }

    /// True if `name` is that of a shard, in force or not.
    #[must_use]
    pub fn is_shard(&self, name: &str) -> bool {
        self.is_primary(name) || self.is_retry(name)
    }

    /// True if `name` is that of a shard of new events, in force or not.
    #[must_use]
    pub fn is_primary(&self, name: &str) -> bool {
        is_shard_of(&self.primary(), name)
    }

    /// True if `name` is that of a shard of due deliveries, in force or not.
    #[must_use]
    pub fn is_retry(&self, name: &str) -> bool {
        is_shard_of(&self.retry(), name)
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

    /// True if `name` is that of a wait queue, a held queue, a shard or the archive, in force or not.
    pub(crate) fn is_variable(&self, name: &str) -> bool {
        let kinds = [self.of("wait."), self.of_second("wait."), self.of("held.")];
        kinds.iter().any(|kind| name.starts_with(kind))
            || self.is_shard(name)
            || name == self.archive()
    }

    /// The wait of the wait queue called `name`, in force or not; `None`: it is none.
    #[must_use]
    pub fn wait_of(&self, name: &str) -> Option<Duration> {
        let prefixes = [self.of("wait."), self.of_second("wait.")];
        let millis = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        millis.parse().ok().map(Duration::from_millis)
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
    #[must_use]
    pub fn scan_lock(&self) -> String {
        self.of("turn")
    }

    /// Queue in which the deliveries to one URL wait until their endpoint can take them.
    #[must_use]
    pub fn held(&self, slot: u16) -> String {
        self.of(&format!("held.{slot}"))
    }

    /// Stream that keeps a copy of every event.
    #[must_use]
    pub fn archive(&self) -> String {
        self.of("archive")
    }

    /// Queue without consumers in which deliveries wait for `wait`. One of the first version leads
    /// to one queue, one of the second to all shards.
    #[must_use]
    pub fn wait(&self, wait: Duration) -> String {
        let object = format!("wait.{}", wait.as_millis());
        if self.shards == 1 { self.of(&object) } else { self.of_second(&object) }
    }
}

/// The first shard has the name that a queue without others has: what leads there leads to a shard.
fn shard_of(queue: String, shard: u16) -> String {
    if shard == 0 { queue } else { format!("{queue}.{shard}") }
}

fn is_shard_of(queue: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(queue) else { return false };
    rest.is_empty() || rest.strip_prefix('.').is_some_and(|shard| shard.parse::<u16>().is_ok())
}
