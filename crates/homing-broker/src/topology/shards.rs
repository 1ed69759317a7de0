//! Shards: several queues in place of one, for more than one queue can carry.
//!
//! ```text
//! (homing.v1.events) ─ # ─┐
//! (homing.v1.route) ─ key ┴► (homing.v1.primary) ─► [homing.v1.primary] [homing.v1.primary.1] …
//! (homing.v1.route) ─ key ─► (homing.v1.retry)   ─► [homing.v1.retry]   [homing.v1.retry.1]   …
//! ```
//!
//! - **An exchange of type `x-random`** gives each message to one of the queues that are bound to
//!   it. Nothing depends on where a message goes: homing promises no order. The consistent-hash
//!   exchange spreads by the routing key, of which there may be few, or by a property that other
//!   publishers leave out: of 20,000 messages without an id, one of eight queues got all. At
//!   random, the fullest got 1.04 times its share, whatever the messages were. And a publish that
//!   a shard refuses goes to another one when it is repeated.
//! - **The first shard has the name that the only queue has.** What an earlier version, another
//!   setting or an old wait queue leads there is consumed as anything else.
//! - **Exchange and first shard have one name**, so a publish names the same route with or without
//!   shards, and no account needs further permissions.
//! - **The way in changes once, without a second copy and without a gap**: a queue that a message
//!   reaches on two ways gets it once. So the exchange first leads to the first shard only, then the
//!   way in leads to the exchange too, then no longer to the queue, and at last the exchange leads to
//!   the other shards.
//! - **From then on the way in stays**, with one shard again too: the exchange then leads to the
//!   only queue. Where the number changes, only the bindings behind the exchange do, and processes
//!   with different numbers can undo each other's without a loss or a second copy. A process with
//!   one shard asks for the exchange where shards are known that it does not need.
//! - **With an archive, the primary queue has its exchange with one shard, too.** The archive takes
//!   every event, so the events exchange always finds a queue; the exchange before the primary queue
//!   leads what finds none to the unrouted queue. While there was only ever one shard, the events
//!   exchange leads to the queue as well, so that the loss of one binding does no harm.
//! - **Wait queues of the second version** lead through the route exchange, to all shards.
//! - **Shards that the settings do not need any more** are unbound, and every worker consumes them
//!   until an operator deletes them. The store remembers that they were declared.
//! - **Workers of the first version** lead everything to the first shard again every 30 s. While
//!   one runs, the exchange leads to the first shard only ([`Topology::allow_spreading`]).
//!
//! Source: RabbitMQ, `rabbitmq_random_exchange`; `rabbit_exchange:route`, which names each queue
//! once; `rabbit_binding:remove`, which takes a binding that does not exist for removed.

use std::{fmt, str::FromStr, sync::atomic::Ordering};

use lapin::{Channel, Connection, options::ExchangeDeclareOptions, types::FieldTable};
use serde::{Deserialize, Serialize};

use super::{
    Names, Topology,
    bindings::{bind, bind_exchange, unbind},
    declare::exchange_exists,
};
use crate::{
    channels::open,
    consume::Lane,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// The type of the exchanges before shards.
pub(super) const SPREADING: &str = "x-random";

/// The shards that a worker consumes: all, or one of several equal parts.
///
/// Part `k/n` has the shards whose number, counted from 0, is `k - 1` modulo `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardPart {
    /// Counted from 0.
    index: u16,
    parts: u16,
}

impl ShardPart {
    /// All shards.
    pub const ALL: Self = Self { index: 0, parts: 1 };

    /// The number of parts.
    #[must_use]
    pub fn parts(self) -> u16 {
        self.parts
    }

    /// Returns true if `shard` is in this part.
    #[must_use]
    pub fn has(self, shard: u16) -> bool {
        shard % self.parts.max(1) == self.index
    }
}

impl FromStr for ShardPart {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let part = text.split_once('/').and_then(|(part, parts)| {
            let (part, parts): (u16, u16) = (part.parse().ok()?, parts.parse().ok()?);
            (1..=parts).contains(&part).then(|| Self { index: part - 1, parts })
        });
        part.ok_or("write `all`, or a part such as `2/3`")
    }
}

impl TryFrom<String> for ShardPart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ShardPart> for String {
    fn from(part: ShardPart) -> Self {
        part.to_string()
    }
}

impl fmt::Display for ShardPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { parts: 1, .. } => f.write_str("all"),
            Self { index, parts } => write!(f, "{}/{parts}", index + 1),
        }
    }
}

impl Topology {
    /// Learns from `known`, the names of queues that were ever declared, which queues may exist
    /// besides those that the settings need.
    pub fn learn(&self, known: &[String]) {
        let needed = self.variable_queues();
        // The store may be shared with installations of other prefixes.
        let is_left = |name: &&String| self.names().is_variable(name) && !needed.contains(name);
        let others = known.iter().filter(is_left).filter(|name| !self.is_inlet(name));
        self.left_over.lock().extend(others.cloned());
    }

    /// Queues that these settings do not need and that may exist.
    #[must_use]
    pub fn left_over(&self) -> Vec<String> {
        self.left_over.lock().iter().cloned().collect()
    }

    /// Forgets a left-over queue that does not exist.
    pub fn forget(&self, queue: &str) {
        self.left_over.lock().remove(queue);
    }

    /// Sets whether messages are spread over the shards: not while a worker runs that binds the
    /// first shard directly. Returns true if that changes.
    #[must_use]
    pub fn allow_spreading(&self, may_spread: bool) -> bool {
        self.may_spread.swap(may_spread, Ordering::Relaxed) != may_spread
    }

    /// The queues of `lane` that this part takes; a held lane has one queue.
    #[must_use]
    pub fn lane_queues(&self, lane: Lane, part: ShardPart) -> Vec<String> {
        let names = self.names();
        let shards = (0..names.shards()).filter(|shard| part.has(*shard));
        match lane {
            Lane::Primary => shards.map(|shard| names.primary_shard(shard)).collect(),
            Lane::Retry => shards.map(|shard| names.retry_shard(shard)).collect(),
            Lane::Held(slot) => vec![names.held(slot)],
        }
    }

    /// Shards of `lane` that these settings do not need and that may exist.
    #[must_use]
    pub fn left_over_shards(&self, lane: Lane) -> Vec<String> {
        let names = self.names();
        let is_of_lane = |name: &&String| match lane {
            Lane::Primary => names.is_primary(name),
            Lane::Retry => names.is_retry(name),
            Lane::Held(_) => false,
        };
        self.left_over.lock().iter().filter(is_of_lane).cloned().collect()
    }

    /// Returns true if `name` is where the messages for a lane come in: that of a queue, or, with
    /// several shards, of the exchange before them.
    pub(super) fn is_inlet(&self, name: &str) -> bool {
        name == self.names().primary() || name == self.names().retry()
    }

    /// Leads what is published for a lane to its queues: to the only one, or through the exchange
    /// to all shards.
    pub(super) async fn bind_inlets(
        &self,
        connection: &Connection,
        channel: &Channel,
    ) -> Result<(), BrokerError> {
        let mut has_exchange = false;
        for lane in [Lane::Primary, Lane::Retry] {
            if self.has_exchange(connection, lane).await? {
                has_exchange = true;
                self.bind_exchange(channel, lane).await?;
                continue;
            }
            let names = self.names();
            for (exchange, key) in ways_in(names, lane) {
                bind(channel, &inlet(names, lane), exchange, &key).await?;
            }
        }
        self.has_exchanges.store(has_exchange, Ordering::Relaxed);
        Ok(())
    }

    /// Returns true if messages for `lane` pass an exchange: with one shard, where one is left from
    /// several. Asks the broker only if there may be one: it logs each that is missing.
    async fn has_exchange(&self, connection: &Connection, lane: Lane) -> Result<bool, BrokerError> {
        if self.names().shards() > 1 {
            return Ok(true);
        }
        let may_have =
            self.has_exchanges.load(Ordering::Relaxed) || !self.left_over_shards(lane).is_empty();
        Ok(may_have && exchange_exists(connection, &inlet(self.names(), lane)).await?)
    }

    /// Leads everything for `lane` to its exchange, and from there to the shards in force; only to
    /// the first while nothing may be spread.
    pub(super) async fn bind_exchange(
        &self,
        channel: &Channel,
        lane: Lane,
    ) -> Result<(), BrokerError> {
        let inlet = inlet(self.names(), lane);
        // The first shard has the exchange's name.
        bind(channel, &inlet, inlet.clone(), "").await?;
        let is_only_shard = self.names().shards() == 1 && self.left_over_shards(lane).is_empty();
        for (exchange, key) in ways_in(self.names(), lane) {
            bind_exchange(channel, &inlet, &exchange, &key).await?;
            if is_only_shard && self.has_archive() {
                bind(channel, &inlet, exchange, &key).await?;
            } else {
                unbind(channel, &inlet, &exchange, &key).await?;
            }
        }
        let may_spread = self.may_spread.load(Ordering::Relaxed);
        for queue in self.lane_queues(lane, ShardPart::ALL).into_iter().skip(1) {
            if may_spread {
                bind(channel, &queue, inlet.clone(), "").await?;
            } else {
                unbind(channel, &queue, &inlet, "").await?;
            }
        }
        for queue in self.left_over_shards(lane) {
            unbind(channel, &queue, &inlet, "").await?;
        }
        Ok(())
    }

    /// Checks that the broker can spread messages. Leaves nothing behind: it refuses to declare
    /// names that begin with `amq.`, once it knows the type.
    ///
    /// Source: RabbitMQ 3.10 and 4.0, `rabbit_channel`, `exchange.declare`.
    pub(super) async fn probe_spreading(&self, connection: &Connection) -> Result<(), BrokerError> {
        let channel = open(connection).await?;
        let name = format!("amq.{}", self.names().probe());
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let kind = lapin::ExchangeKind::Custom(SPREADING.to_owned());
        let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
        let step = "probing the plugin `rabbitmq_random_exchange`";
        match within(&channel, ROUND_TRIP_DEADLINE, step, declared).await {
            Ok(()) => Ok(()),
            Err(error) => match error.reply() {
                Some(reply) if reply.is_unknown_exchange_type() => {
                    Err(BrokerError::PluginDisabled { reply: reply.clone() })
                }
                Some(_) => Ok(()),
                None => Err(error),
            },
        }
    }
}

/// The name of the queue, or of the exchange before the shards.
fn inlet(names: &Names, lane: Lane) -> String {
    match lane {
        Lane::Primary => names.primary(),
        Lane::Retry => names.retry(),
        Lane::Held(slot) => names.held(slot),
    }
}

/// The exchanges and routing keys that lead to a lane.
fn ways_in(names: &Names, lane: Lane) -> Vec<(String, String)> {
    let by_name = (names.route(), inlet(names, lane));
    match lane {
        Lane::Primary => vec![(names.events(), "#".to_owned()), by_name],
        Lane::Retry | Lane::Held(_) => vec![by_name],
    }
}
