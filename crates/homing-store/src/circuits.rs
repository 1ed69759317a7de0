//! Requests and results about circuits.

use super::{MAX_PAGE_LIMIT, error::CorruptCircuit};
use homing_domain::{
    audit::Action,
    circuit::{Circuit, CircuitTransition, StateName, Turn},
    time::UnixMillis,
    url::EndpointUrl,
};

/// Closed circuits that one call of [`Store::prune_circuits`](super::Store::prune_circuits)
/// deletes at most.
pub const MAX_PRUNED: u32 = 1_000;

/// A part of the list to read. Ordered by URL, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitPage {
    /// Only those in this state; `None`: all.
    pub state: Option<StateName>,
    /// Begin behind this URL, which need not exist; `None`: at the beginning. A text, because a row
    /// that cannot be read may end a page.
    pub after: Option<String>,
    /// Circuits at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitListing {
    /// Ordered by URL.
    pub circuits: Vec<(EndpointUrl, Circuit)>,
    /// Circuits on this page that cannot be read.
    pub corrupt: Vec<CorruptCircuit>,
    /// Goes into [`CircuitPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<String>,
}

/// All circuits that are not closed, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsettledCircuits {
    /// [`Store::circuits_version`](super::Store::circuits_version) at this instant.
    pub version: i64,
    /// Ordered by URL.
    pub circuits: Vec<(EndpointUrl, Circuit)>,
    /// Circuits that are not closed and cannot be read.
    pub corrupt: Vec<CorruptCircuit>,
}

/// The result of a batch of tallies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedTallies {
    /// The circuits after the batch, in its order.
    pub circuits: Vec<(EndpointUrl, Circuit, Option<CircuitTransition>)>,
    /// Circuits that cannot be read; they are unchanged, and their tallies are lost.
    pub corrupt: Vec<CorruptCircuit>,
}

/// The result of claiming a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeClaim {
    /// The caller may send it, and no one else until the next one is due. The circuit after the
    /// claim.
    Won(Circuit),
    /// The caller must not send: none is due, another worker was faster, or the circuit is not open
    /// any more. The circuit shows when to try again.
    Lost(Circuit),
}

/// A change of a circuit that does not depend on its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervention {
    /// By an operator: attempts are made again.
    Enable,
    /// By an operator: no attempts are made.
    Disable,
    /// By an operator: a probe is made now, if the circuit is open.
    Probe,
    /// By the endpoint's answer 410.
    Gone,
}

impl Intervention {
    /// The change that an operator makes by it; `None`: it is no operator's.
    pub(super) fn action(self) -> Option<Action> {
        match self {
            Self::Enable => Some(Action::Enabled),
            Self::Disable => Some(Action::Disabled),
            Self::Probe => Some(Action::Probed),
            Self::Gone => None,
        }
    }

    /// Applies the change to a circuit, or to a new one where there is none.
    pub(super) fn turn(self, known: Option<Circuit>, now: UnixMillis) -> Turn {
        let circuit = known.unwrap_or_else(|| Circuit::new(now));
        match self {
            Self::Enable => circuit.enable(now),
            Self::Disable => circuit.disable(now),
            Self::Probe => circuit.probe_now(now),
            Self::Gone => circuit.gone(now),
        }
    }
}

/// Reads all circuits that are not closed, page by page: the caller reads the [`page`] and [`add`]s
/// the result, until there is no page.
///
/// [`page`]: Self::page
/// [`add`]: Self::add
pub(super) struct UnsettledReading {
    found: UnsettledCircuits,
    page: Option<CircuitPage>,
}

impl UnsettledReading {
    pub(super) fn new(version: i64) -> Self {
        let found = UnsettledCircuits { version, ..UnsettledCircuits::default() };
        Self { found, page: Some(first_page(StateName::Open)) }
    }

    pub(super) fn page(&self) -> Option<&CircuitPage> {
        self.page.as_ref()
    }

    pub(super) fn add(&mut self, listing: CircuitListing) {
        self.found.circuits.extend(listing.circuits);
        self.found.corrupt.extend(listing.corrupt);
        let page = self.page.take();
        self.page = match (listing.next, page) {
            (Some(next), Some(page)) => Some(CircuitPage { after: Some(next), ..page }),
            (None, Some(page)) if page.state == Some(StateName::Open) => {
                Some(first_page(StateName::Frozen))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
    }

    pub(super) fn end(mut self) -> UnsettledCircuits {
        self.found.circuits.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.found
    }
}

fn first_page(state: StateName) -> CircuitPage {
    CircuitPage { state: Some(state), after: None, limit: MAX_PAGE_LIMIT }
}
