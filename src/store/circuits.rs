//! What is asked about circuits, and what a store answers.

use super::error::CorruptCircuit;
use crate::domain::{
    circuit::{Change, Circuit, StateName},
    url::EndpointUrl,
};

/// Closed circuits that one call of [`Store::prune_circuits`](super::Store::prune_circuits)
/// forgets at most.
pub const PRUNED_MAX: u32 = 1_000;

/// Which part of the list to read. Ordered by URL, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitPage {
    /// Only those in this state; `None`: all.
    pub state: Option<StateName>,
    /// Begin behind this URL, which need not exist; `None`: at the beginning. A text, because a row
    /// that cannot be read may end a page.
    pub after: Option<String>,
    /// How many at most; taken as 1 to [`PAGE_LIMIT_MAX`](super::PAGE_LIMIT_MAX).
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitListing {
    /// Ordered by URL.
    pub circuits: Vec<(EndpointUrl, Circuit)>,
    /// Those on this page that cannot be read.
    pub corrupt: Vec<CorruptCircuit>,
    /// Goes into [`CircuitPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<String>,
}

/// All circuits that are not closed, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsettledCircuits {
    /// What [`Store::circuits_version`](super::Store::circuits_version) said at this instant.
    pub version: i64,
    /// Ordered by URL.
    pub circuits: Vec<(EndpointUrl, Circuit)>,
    /// Those that are not closed and cannot be read.
    pub corrupt: Vec<CorruptCircuit>,
}

/// What became of a batch of tallies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedTallies {
    /// The circuits as they are now, in the order of the batch.
    pub circuits: Vec<(EndpointUrl, Circuit, Option<Change>)>,
    /// Those that cannot be read; they are left as they are, and their tallies are lost.
    pub corrupt: Vec<CorruptCircuit>,
}

/// Who may send a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeClaim {
    /// We, and nobody else until the next one is due. The circuit as it is now.
    Won(Circuit),
    /// Not we: none is due, another worker was faster, or the circuit is not open any more. The
    /// circuit as it is, so that the loser knows when to ask again.
    Lost(Circuit),
}

/// What changes a circuit whatever its counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervention {
    /// By a person: attempts are made again.
    Enable,
    /// By a person: no attempts are made.
    Disable,
    /// By the endpoint's answer 410.
    Gone,
}
