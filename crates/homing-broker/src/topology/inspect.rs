//! Inspects the topology without changing it.

use lapin::{Connection, ExchangeKind, protocol::AMQPSoftError};

use super::{
    Depth, Topology,
    declare::{self, ExchangeSpec, Form},
};
use crate::{channels::open, connection::PassiveConnection, error::BrokerError};

/// The state found under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The queue or exchange.
    pub name: String,
    /// Its state.
    pub state: State,
}

/// The state of a queue or exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be; exchanges have no depth.
    Present(Option<Depth>),
    /// Exists; the account may not declare, and so not compare arguments.
    Unchecked(Option<Depth>),
    /// Does not exist.
    Missing,
    /// Does not exist, and the broker cannot declare it; what to do.
    Refused(String),
    /// Exists with other arguments; the broker's text.
    Different(String),
    /// Exists as an earlier version declared it, which is good enough.
    Former(Depth),
    /// Left from earlier settings, and not needed any more.
    LeftOver(Depth),
    /// Left from an earlier version; another queue has replaced it.
    Superseded {
        /// Its depth.
        depth: Depth,
        /// The queue of today.
        by: String,
        /// True if primary and retry queue dead-letter to it.
        needed: bool,
    },
}

impl State {
    /// Returns true if nothing has to be done about it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Present(_) | Self::Former(_) | Self::Unchecked(_) => true,
            Self::Missing
            | Self::Refused(_)
            | Self::Different(_)
            | Self::LeftOver(_)
            | Self::Superseded { .. } => false,
        }
    }

    /// The most channels that the broker closed before this was known.
    fn channels_spent(&self) -> u16 {
        match self {
            Self::Present(_) | Self::LeftOver(_) | Self::Superseded { .. } => 0,
            Self::Missing | Self::Former(_) => 1,
            Self::Unchecked(_) | Self::Different(_) => 2,
            // The broker ended the connection.
            Self::Refused(_) => u16::MAX,
        }
    }
}

impl Topology {
    /// Compares the broker with the expected topology, changing nothing. `declared_before` are
    /// names of queues that homing ever declared; those not needed now are checked too.
    pub(crate) async fn inspect(
        &self,
        passive: &mut PassiveConnection<'_>,
        declared_before: &[String],
    ) -> Result<Vec<Finding>, BrokerError> {
        let mut findings = Vec::new();
        for exchange in self.all_exchanges().iter().rev() {
            let connection = passive.get().await?;
            let mut state = exchange_state(connection, exchange).await?;
            let is_spreading = matches!(exchange.kind, ExchangeKind::Custom(_));
            if is_spreading && state == State::Missing {
                match self.probe_spreading(connection).await {
                    // Deliveries need it only with several shards.
                    Err(error @ BrokerError::PluginDisabled { .. })
                        if self.names().shards() == 1 =>
                    {
                        state = State::Refused(error.report());
                    }
                    probed => probed?,
                }
                passive.spend(1);
            }
            passive.spend(state.channels_spent());
            findings.push(Finding { name: format!("{} (exchange)", exchange.name), state });
        }
        let queues = self.queues();
        for queue in &queues {
            let connection = passive.get().await?;
            let state = match declare::depth(connection, &queue.name).await? {
                None => State::Missing,
                Some(depth) => match self.declare_either(connection, queue).await {
                    Ok(Form::Former) => State::Former(depth),
                    declared => same(declared.map(drop), Some(depth))?,
                },
            };
            passive.spend(state.channels_spent());
            findings.push(Finding { name: queue.name.clone(), state });
        }
        let left = declared_before.iter().filter(|name| {
            // The store may be shared with installations of other prefixes.
            self.names().is_variable(name) && queues.iter().all(|queue| queue.name != **name)
        });
        for name in left {
            match declare::depth(passive.get().await?, name).await? {
                Some(depth) => {
                    findings.push(Finding { name: name.clone(), state: State::LeftOver(depth) });
                }
                None => passive.spend(1),
            }
        }
        Ok(findings)
    }
}

impl Topology {
    /// Finds the queues of earlier versions that still exist. The broker logs an error for each
    /// that does not, so this is for operators who ask.
    pub(crate) async fn inspect_superseded(
        &self,
        passive: &mut PassiveConnection<'_>,
    ) -> Result<Vec<Finding>, BrokerError> {
        let mut findings = Vec::new();
        for (name, by) in self.superseded() {
            let connection = passive.get().await?;
            let Some(depth) = declare::depth(connection, &name).await? else {
                passive.spend(1);
                continue;
            };
            let needed = self.is_of_first_version() && name == self.names().former_parked();
            let is_renewed =
                needed && declare::dead_letters_rejected(connection, self, &name).await?;
            passive.spend(u16::from(needed));
            let state = if is_renewed {
                State::Present(Some(depth))
            } else {
                State::Superseded { depth, by, needed }
            };
            findings.push(Finding { name, state });
        }
        Ok(findings)
    }
}

/// Compares arguments: declaring again what exists changes nothing.
fn same(declared: Result<(), BrokerError>, depth: Option<Depth>) -> Result<State, BrokerError> {
    match declared {
        Ok(()) => Ok(State::Present(depth)),
        Err(BrokerError::Different { detail, .. }) => Ok(State::Different(detail)),
        Err(error) if error.is_denied() => Ok(State::Unchecked(depth)),
        Err(error) => Err(error),
    }
}

async fn exchange_state(
    connection: &Connection,
    exchange: &ExchangeSpec,
) -> Result<State, BrokerError> {
    let channel = open(connection).await?;
    match declare::check_exchange_exists(&channel, exchange).await {
        Ok(()) => same(declare::declare_exchange(&channel, exchange).await, None),
        Err(error) if error.has_code(&AMQPSoftError::NOTFOUND) => Ok(State::Missing),
        Err(error) => Err(error),
    }
}
