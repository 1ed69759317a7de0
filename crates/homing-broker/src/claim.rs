//! An installation that exists for one run of one process and is deleted afterwards.
//!
//! Its names never change, so that a run finds what a killed one has left. An exclusive queue keeps
//! a second run out: no other connection may use it, and the broker deletes it with the connection
//! that declared it.
//!
//! Source: RabbitMQ documentation, *Queues*, exclusive queues.

use lapin::{
    Channel, Connection,
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};

use super::{
    Broker,
    channels::open,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    topology::{Topology, depth},
};

/// The right to create and delete the whole topology. Ends with its connection.
pub struct Claim {
    broker: Broker,
    connection: Connection,
    queue: String,
}

impl Broker {
    /// Claims the installation for this process; `None`: another process holds it.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the claim ends with the connection.
    pub async fn claim(&self) -> Result<Option<Claim>, BrokerError> {
        let queue = self.topology().names().claim();
        let connection = self.control.open_bare().await?;
        let channel = open(&connection).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        let step = format!("declaring queue `{queue}`");
        match within(&channel, ROUND_TRIP_DEADLINE, step, declared).await {
            Ok(_queue) => Ok(Some(Claim { broker: self.clone(), connection, queue })),
            Err(error) if error.has_code(&AMQPSoftError::RESOURCELOCKED) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Claim {
    /// Deletes every queue and exchange of the topology, with all messages, and all further shards.
    /// Repeats until none is left: a killed process may have declared one just before.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: some are left.
    pub async fn clear(&self) -> Result<(), BrokerError> {
        let channel = open(&self.connection).await?;
        while self.clear_once(&channel).await? {}
        Ok(())
    }

    /// True if there was a queue.
    async fn clear_once(&self, channel: &Channel) -> Result<bool, BrokerError> {
        let topology = self.with_further_shards().await?;
        // Those of a run with one shard have other names.
        let waits = topology.clone().with_shards(1).wait_queues();
        let queues = topology.queues().into_iter().rev().map(|queue| queue.name);
        let superseded = topology.superseded().into_iter().map(|(name, _by)| name);
        let mut found = false;
        // Queues that dead-letter to others first: nothing may be moved into a deleted queue.
        for name in waits.into_iter().chain(queues).chain(superseded) {
            if depth(&self.connection, &name).await?.is_some() {
                found = true;
                delete_queue(channel, &name).await?;
            }
        }
        for name in topology.exchanges_by_name().into_iter().rev() {
            let options = ExchangeDeleteOptions::default();
            let deleted = channel.exchange_delete(name.as_str().into(), options);
            let step = format!("deleting exchange `{name}`");
            within(channel, ROUND_TRIP_DEADLINE, step, deleted).await?;
        }
        Ok(found)
    }

    /// The topology with all shards that an earlier run left. Those of each lane are declared from
    /// the first to the last and deleted from the last to the first, so the first number that
    /// neither lane has is the end. Has two at least, and with them the exchanges before the shards.
    async fn with_further_shards(&self) -> Result<Topology, BrokerError> {
        let topology = self.broker.topology();
        let names = topology.names();
        let mut shards = names.shards().max(2);
        while depth(&self.connection, &names.primary_shard(shards)).await?.is_some()
            || depth(&self.connection, &names.retry_shard(shards)).await?.is_some()
        {
            shards = shards.saturating_add(1);
        }
        Ok(topology.clone().with_shards(shards))
    }

    /// Gives the claim up.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the claim ends with the process instead.
    pub async fn release(self) -> Result<(), BrokerError> {
        let channel = open(&self.connection).await?;
        delete_queue(&channel, &self.queue).await?;
        let closed = self.connection.close(200, "OK".into());
        within(&self.connection, ROUND_TRIP_DEADLINE, "closing the connection", closed).await
    }
}

async fn delete_queue(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
    let step = format!("deleting queue `{name}`");
    within(channel, ROUND_TRIP_DEADLINE, step, deleted).await.map(drop)
}
