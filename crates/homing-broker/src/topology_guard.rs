//! Ensures the topology on every new connection, and knows from when it can be relied on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapin::Connection;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    error::BrokerError,
    topology::{Declared, Topology},
};

/// Shared by all connections of the process.
pub(super) struct TopologyGuard {
    /// `None`: nothing is declared.
    topology: Option<Arc<Topology>>,
    new_queue_wait: Duration,
    /// `None`: this process has not declared it yet.
    trusted_from: Mutex<Option<Instant>>,
    declaring: tokio::sync::Mutex<()>,
    /// True if the broker was probed for what no passive declare shows.
    probed: AtomicBool,
    /// True if the account may not declare.
    denied: AtomicBool,
    /// True if the events exchange was found without its alternate exchange.
    no_alternate: AtomicBool,
}

impl TopologyGuard {
    pub(super) fn new(topology: Option<Arc<Topology>>, new_queue_wait: Duration) -> Self {
        Self {
            topology,
            new_queue_wait,
            trusted_from: Mutex::default(),
            declaring: tokio::sync::Mutex::default(),
            probed: AtomicBool::default(),
            denied: AtomicBool::default(),
            no_alternate: AtomicBool::default(),
        }
    }

    /// Declares everything, unless this process has done so before and all of it is there; returns
    /// once no queue is so new that a crash would empty it.
    ///
    /// Checks first, because a cluster that misses a node changes nothing until it has given that
    /// node up: binding a queue again would wait for it, a passive declare does not.
    pub(super) async fn ensure(&self, connection: &Connection) -> Result<(), BrokerError> {
        let Some(topology) = &self.topology else { return Ok(()) };
        if let Some(trusted_from) = self.trusted_from()
            && topology.is_complete(connection).await?
        {
            tokio::time::sleep_until(trusted_from).await;
            return Ok(());
        }
        self.declare(connection).await
    }

    /// Declares everything; returns as [`ensure`](Self::ensure) does. An account that may not
    /// declare relies on what an administrator has declared, as long as nothing is missing.
    pub(super) async fn declare(&self, connection: &Connection) -> Result<(), BrokerError> {
        let Some(topology) = &self.topology else { return Ok(()) };
        let declaring = self.declaring.lock().await;
        if self.denied.load(Ordering::Relaxed) && topology.is_complete(connection).await? {
            return topology.look_for_archive(connection).await;
        }
        if !self.probed.load(Ordering::Relaxed) {
            topology.probe(connection).await?;
            self.probed.store(true, Ordering::Relaxed);
        }
        let mut declared = Declared::default();
        // Boxed: it is rare, and every future that may connect would be as large.
        let ended = Box::pin(topology.declare(connection, &mut declared, self.new_queue_wait));
        let ended = ended.await;
        let mut trusted_from = self.trusted_from().unwrap_or_else(Instant::now);
        if declared.was_incomplete {
            info!("topology.declared: something was missing");
            trusted_from = declared.queues_at.unwrap_or_else(Instant::now) + self.new_queue_wait;
            self.trusted_from.lock().replace(trusted_from);
        }
        match ended {
            Ok(()) => self.denied.store(false, Ordering::Relaxed),
            Err(error) => self.accept_denied(topology, connection, error).await?,
        }
        if let Some(detail) = declared.no_alternate
            && !self.no_alternate.swap(true, Ordering::Relaxed)
        {
            warn!(
                detail,
                "topology.without_net: another client declared the exchange; while its binding \
                 is missing, what is published there is lost. Set `alternate-exchange`, see \
                 rabbitmq/README.md"
            );
        }
        self.trusted_from.lock().replace(trusted_from);
        drop(declaring);
        tokio::time::sleep_until(trusted_from).await;
        Ok(())
    }

    /// Accepts `error` of declaring if the account merely may not declare and nothing is missing.
    async fn accept_denied(
        &self,
        topology: &Topology,
        connection: &Connection,
        error: BrokerError,
    ) -> Result<(), BrokerError> {
        let Some(reply) = error.reply().filter(|_| error.is_denied()).cloned() else {
            return Err(error);
        };
        if !topology.is_complete(connection).await? {
            return Err(BrokerError::NotDeclared { reply });
        }
        if !self.denied.swap(true, Ordering::Relaxed) {
            warn!(
                %reply,
                "topology.not_declared: the account may not declare; relying on what an administrator \
                 has declared, whose arguments and bindings are not checked"
            );
        }
        topology.look_for_archive(connection).await
    }

    fn trusted_from(&self) -> Option<Instant> {
        *self.trusted_from.lock()
    }
}
