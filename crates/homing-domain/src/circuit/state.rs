//! The states of a circuit, the deliveries that they admit, and their names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use crate::time::UnixMillis;

/// The state of an endpoint's circuit.
///
/// *Closed* lets traffic through and *open* stops it, as in an electrical circuit. No method is
/// called `is_open`: callers need the admission, not the wiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Traffic flows; outcomes are counted. A URL without a circuit is closed.
    Closed,
    /// Traffic is refused until `probe_at`, when one delivery is let through.
    Open {
        /// The next instant at which a probe may pass.
        probe_at: UnixMillis,
    },
    /// Traffic is refused until an operator enables the endpoint.
    Frozen,
}

/// The circuit's decision about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The delivery may go.
    Pass,
    /// The delivery may go alone, if it claims the probe: its outcome decides if the circuit
    /// closes.
    Probe,
    /// The delivery may not go before this instant; `None`: not before an operator acts.
    Refuse(Option<UnixMillis>),
}

impl CircuitState {
    /// Decides about a delivery at `now`; changes nothing.
    #[must_use]
    pub fn admission(self, now: UnixMillis) -> Admission {
        match self {
            Self::Closed => Admission::Pass,
            Self::Open { probe_at } if now >= probe_at => Admission::Probe,
            Self::Open { probe_at } => Admission::Refuse(Some(probe_at)),
            Self::Frozen => Admission::Refuse(None),
        }
    }

    /// The state without its data.
    #[must_use]
    pub fn name(self) -> StateName {
        match self {
            Self::Closed => StateName::Closed,
            Self::Open { .. } => StateName::Open,
            Self::Frozen => StateName::Frozen,
        }
    }
}

/// The name of a state in logs, metrics, lists and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// [`CircuitState::Closed`]
    Closed,
    /// [`CircuitState::Open`]
    Open,
    /// [`CircuitState::Frozen`]
    Frozen,
}

impl StateName {
    /// All of them, from good to bad.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Frozen];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Frozen => "frozen",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state; one of {all}", all = StateName::ALL.map(StateName::as_str).join(", "))]
pub struct StateNameError(String);

impl FromStr for StateName {
    type Err = StateNameError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == word)
            .ok_or_else(|| StateNameError(word.chars().take(64).collect()))
    }
}

/// A change from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitTransition {
    /// The state before.
    pub from: CircuitState,
    /// The state after; its [`name`](CircuitState::name) differs from the one before.
    pub to: CircuitState,
    /// The reason.
    pub reason: Reason,
    /// The reason for the state before; `None`: it was the first one.
    pub former: Option<Reason>,
}

impl CircuitTransition {
    /// The topic of the event that announces it to operators.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self.to {
            CircuitState::Closed => "homing.endpoint.closed",
            CircuitState::Open { .. } => "homing.endpoint.opened",
            CircuitState::Frozen => "homing.endpoint.frozen",
        }
    }
}

/// `closed → open: 103 of 143 attempts failed (72.02 %)`
impl fmt::Display for CircuitTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.name(), self.to.name());
        write!(f, "{from} → {to}: {}", self.reason.of(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Topic;

    #[test]
    fn an_open_circuit_lets_a_probe_through_from_its_instant_on() {
        let at = UnixMillis::new;
        let open = CircuitState::Open { probe_at: at(10) };
        assert_eq!(open.admission(at(9)), Admission::Refuse(Some(at(10))));
        assert_eq!(open.admission(at(10)), Admission::Probe);
        assert_eq!(CircuitState::Closed.admission(at(9)), Admission::Pass);
        assert_eq!(CircuitState::Frozen.admission(at(99)), Admission::Refuse(None));
    }

    #[test]
    fn states_are_found_by_their_names() {
        for name in StateName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
        let error = "disabled".parse::<StateName>().unwrap_err();
        insta::assert_snapshot!(error, @"`disabled` is not a state; one of closed, open, frozen");
    }

    #[test]
    fn a_change_has_a_text_and_a_topic() {
        let [closed, frozen] = [CircuitState::Closed, CircuitState::Frozen];
        let open = CircuitState::Open { probe_at: UnixMillis::new(0) };
        let changes = [(open, closed), (closed, open), (open, frozen)]
            .map(|(from, to)| CircuitTransition { from, to, reason: Reason::Gone, former: None });
        let topics = changes.map(CircuitTransition::topic);
        assert!(topics.iter().all(|topic| Topic::new(topic).is_ok()));
        insta::assert_snapshot!(topics.join(" "), @"homing.endpoint.closed homing.endpoint.opened homing.endpoint.frozen");
        insta::assert_snapshot!(changes[2], @"open → frozen: the endpoint answered 410 Gone");
    }
}
