//! Requests and results about circuits.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{MAX_PAGE_LIMIT, error::CorruptCircuit, order_words};
use homing_domain::{
    audit::Action,
    circuit::{Circuit, CircuitState, CircuitTransition, Reason, StateName, Turn},
    time::UnixMillis,
    url::EndpointUrl,
};

/// Closed circuits that one call of [`Store::prune_circuits`](super::Store::prune_circuits)
/// deletes at most.
pub const MAX_PRUNED: u32 = 1_000;

/// Consecutive failures from which a closed circuit counts as failing.
pub const FAILING: u64 = 2;

/// The order of a list of circuits. Those that are equal in it are ordered by URL, byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CircuitOrder {
    /// By URL alone.
    #[default]
    Url,
    /// Frozen ones first, then open ones, then closed ones that are [`FAILING`].
    Broken,
    /// The most consecutive failures first.
    Failures,
    /// The longest time without a success first; those that never had one before all.
    LastSuccess,
    /// The one whose state changed last first.
    Since,
}

impl CircuitOrder {
    /// All of them, with their words.
    const WORDS: [(Self, &'static str); 5] = [
        (Self::Broken, "broken"),
        (Self::Url, "url"),
        (Self::Failures, "failures"),
        (Self::LastSuccess, "success"),
        (Self::Since, "since"),
    ];

    /// Its word in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        order_words::word_of(&Self::WORDS, &self)
    }

    /// The number by which rows are ordered, the largest first.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Url => "0",
            Self::Broken => {
                "CASE state WHEN 'frozen' THEN 3 WHEN 'open' THEN 2 ELSE \
                 CASE WHEN failures_in_a_row >= 2 THEN 1 ELSE 0 END END"
            }
            Self::Failures => "failures_in_a_row",
            Self::LastSuccess => "-coalesce(last_success_ms, 0)",
            Self::Since => "since_ms",
        }
    }
}

impl FromStr for CircuitOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        order_words::read(&Self::WORDS, text)
    }
}

/// A part of the list to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitPage {
    /// Only those in this state; `None`: all.
    pub state: Option<StateName>,
    /// Only closed ones that are [`FAILING`].
    pub failing: bool,
    /// Only those with this in their URL, in whatever case.
    pub contains: Option<String>,
    /// The order of the list.
    pub order: CircuitOrder,
    /// Begin behind the circuit that [`CircuitListing::next`] names, which need not exist; in the
    /// order of URLs, it is a URL. `None`: at the beginning.
    pub after: Option<String>,
    /// Circuits at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitListing {
    /// In the order of the page.
    pub circuits: Vec<(EndpointUrl, Circuit)>,
    /// Circuits on this page that cannot be read.
    pub corrupt: Vec<CorruptCircuit>,
    /// Goes into [`CircuitPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<String>,
}

/// A moment in the life of a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitChange {
    /// The instant.
    pub at: UnixMillis,
    /// The state from then on; `None`: a probe was sent, and the state stayed.
    pub state: Option<StateName>,
    /// The reason for the state.
    pub reason: Option<Reason>,
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
    /// By an operator: no attempts are made until this instant, and then a probe; only of a circuit
    /// that is closed.
    Pause(UnixMillis),
    /// By an operator: a change of state is taken back, unless there was another one since.
    Restore {
        /// The start of the state that the change made.
        changed: UnixMillis,
        /// The state before.
        state: CircuitState,
        /// The reason for that.
        reason: Reason,
    },
    /// By the endpoint's answer 410.
    Gone,
    /// By the endpoint's answer with `webhook-delivery: disable`.
    DisableByEndpoint,
}

impl Intervention {
    /// The change that an operator makes by it; `None`: it is no operator's.
    pub(super) fn action(self) -> Option<Action> {
        match self {
            Self::Enable => Some(Action::Enabled),
            Self::Disable => Some(Action::Disabled),
            Self::Probe => Some(Action::Probed),
            Self::Pause(_) => Some(Action::Paused),
            Self::Restore { state, .. } => Some(match state.name() {
                StateName::Closed => Action::Enabled,
                StateName::Open => Action::Paused,
                StateName::Frozen => Action::Disabled,
            }),
            Self::Gone | Self::DisableByEndpoint => None,
        }
    }

    /// Facts for the record of the change, beside the difference of states.
    pub(super) fn facts(self) -> Map<String, Value> {
        let fact = match self {
            Self::Pause(until) => Some(("until", Value::from(until.to_string()))),
            Self::Restore { .. } => Some(("undone", Value::Bool(true))),
            Self::Enable | Self::Disable | Self::Probe | Self::Gone | Self::DisableByEndpoint => {
                None
            }
        };
        fact.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Applies the change to a circuit, or to a new one where there is none.
    pub(super) fn turn(self, known: Option<Circuit>, now: UnixMillis) -> Turn {
        let circuit = known.unwrap_or_else(|| Circuit::new(now));
        match self {
            Self::Enable => circuit.enable(now),
            Self::Disable => circuit.disable(now),
            Self::Probe => circuit.probe_now(now),
            Self::Pause(until) => circuit.pause(until, now),
            Self::Restore { changed, state, reason } => {
                circuit.restore(changed, state, reason, now)
            }
            Self::Gone => circuit.gone(now),
            Self::DisableByEndpoint => circuit.disable_by_endpoint(now),
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
    CircuitPage { state: Some(state), limit: MAX_PAGE_LIMIT, ..CircuitPage::default() }
}
