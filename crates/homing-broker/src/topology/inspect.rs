//! PassiveConnection at the topology without changing it.

use lapin::{Connection, protocol::AMQPSoftError};

use super::{
    Depth, Topology,
    declare::{self, ExchangeSpec, Form},
};
use crate::{channels::open, connection::PassiveConnection, error::BrokerError};

/// What was found under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The queue or exchange.
    pub name: String,
    /// How it is.
    pub state: State,
}

/// How a queue or exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be; exchanges have no depth.
    Present(Option<Depth>),
    /// There; the account may not declare, and so not compare arguments.
    Unchecked(Option<Depth>),
    /// Not there.
    Missing,
    /// There with other arguments; what the broker says.
    Different(String),
    /// There as an earlier version declared it, which is good enough.
    Former(Depth),
    /// There, of an earlier schedule, and not needed any more.
    LeftOver(Depth),
    /// There, of an earlier version, and another queue has taken its place.
    Superseded {
        /// What is in it.
        depth: Depth,
        /// The queue of today.
        by: String,
        /// Whether primary and retry queue dead-letter to it.
        needed: bool,
    },
}

impl State {
    /// Whether nothing has to be done about it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Present(_) | Self::Former(_) | Self::Unchecked(_) => true,
            Self::Missing | Self::Different(_) | Self::LeftOver(_) | Self::Superseded { .. } => {
                false
            }
        }
    }

    /// How many channels the broker closed at most before this was known.
    fn channels_spent(&self) -> u16 {
        match self {
            Self::Present(_) | Self::LeftOver(_) | Self::Superseded { .. } => 0,
            Self::Missing | Self::Former(_) => 1,
            Self::Unchecked(_) | Self::Different(_) => 2,
        }
    }
}

impl Topology {
    /// Compares what is at the broker with what should be, changing nothing. `declared_before` are
    /// names of queues that homing ever declared; those not needed now are looked for too.
    pub(crate) async fn inspect(
        &self,
        passive: &mut PassiveConnection<'_>,
        declared_before: &[String],
    ) -> Result<Vec<Finding>, BrokerError> {
        let mut findings = Vec::new();
        for exchange in self.exchanges().iter().rev() {
            let state = exchange_state(passive.get().await?, exchange).await?;
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
        let waits = self.names().wait_prefix();
        let left = declared_before.iter().filter(|name| {
            // The store may be shared with installations of other prefixes.
            name.starts_with(&waits) && queues.iter().all(|queue| queue.name != **name)
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
    /// The queues of earlier versions that are there still. To look for what is not there has the
    /// broker log an error, so this is for operators who ask.
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
                needed && declare::keeps_what_is_rejected(connection, self, &name).await?;
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

/// Declaring again what is there changes nothing: it is how arguments are compared.
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
