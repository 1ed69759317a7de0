//! Holds deliveries to an endpoint that keeps failing.
//!
//! Every normalised URL has a [`Circuit`], shared by all subscriptions and all workers. It counts
//! one [`Tally`] after another by [`CircuitRules`], and decides about a delivery with an
//! [`Admission`]. The states and their transitions:
//!
//! ```text
//!            too many failures                  far too many failures
//!  closed ───────────────────────► open ───────────────────────────────► frozen
//!    ▲                            │    ▲ a probe failed: the next           │
//!    ├── a probe was accepted ────┤    │ one is due an interval later       │
//!    │                            └────┘                                    │
//!    └───────────────────────── an operator enabled it ◄─────────────────────┘
//!
//!  any ── 410 Gone, or the endpoint or an operator disabled it ──► frozen
//!  closed ── an operator paused it ──► open, with a probe due at its end
//! ```
//!
//! The circuit does not know deliveries: the worker handles those that are refused.

use std::time::Duration;

use serde::Serialize;

use super::{
    outcome::Outcome,
    tally::{Tally, earliest},
    time::UnixMillis,
};

#[cfg(test)]
mod lives;
#[cfg(test)]
mod properties;
mod reason;
mod rules;
mod state;
mod window;

pub use reason::Reason;
pub use rules::{CircuitRules, CircuitRulesError, Figures};
pub use state::{Admission, CircuitState, CircuitTransition, StateName, StateNameError};
pub use window::Window;

/// The circuit of one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Decides about attempts.
    pub state: CircuitState,
    /// The start of this state. Rises with every change of state, whatever the clocks of the
    /// workers: of two versions of a circuit, the one with the higher value is the later.
    pub since: UnixMillis,
    /// The reason for this state; `None`: it has not changed yet.
    pub reason: Option<Reason>,
    /// The last attempts, for the failure rate; reset when the circuit closes.
    pub window: Window,
    /// Failures since the last success that counted; reset when the circuit closes.
    pub consecutive_failures: u64,
    /// Since the circuit was created.
    pub successes: u64,
    /// Since the circuit was created.
    pub failures: u64,
    /// The end of the first attempt.
    pub first_attempt: Option<UnixMillis>,
    /// The end of the last success.
    pub last_success: Option<UnixMillis>,
    /// The last outcome.
    pub last_outcome: Option<LastOutcome>,
    /// The time of creation.
    pub created: UnixMillis,
}

/// The last outcome of an attempt at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastOutcome {
    /// The end of that attempt.
    pub ended: UnixMillis,
    /// The outcome as text, for example `refused 503`.
    pub outcome: String,
}

/// A probe that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedProbe<'a> {
    /// Its outcome.
    pub outcome: &'a Outcome,
    /// Its end.
    pub ended: UnixMillis,
    /// [`Circuit::since`] when it was claimed.
    pub claimed_in: UnixMillis,
}

/// Minimum difference between two changes of state, also when a clock is behind another.
const SINCE_STEP: Duration = Duration::from_millis(1);

/// The circuit after an event, and the change of state if there was one.
pub type Turn = (Circuit, Option<CircuitTransition>);

impl Circuit {
    /// The circuit of an unknown URL: closed.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self {
            state: CircuitState::Closed,
            since: now,
            reason: None,
            window: Window::default(),
            consecutive_failures: 0,
            successes: 0,
            failures: 0,
            first_attempt: None,
            last_success: None,
            last_outcome: None,
            created: now,
        }
    }

    /// Decides about a delivery at `now`; changes nothing. An [`Admission::Probe`] has to be
    /// [claimed](Self::claim_probe).
    #[must_use]
    pub fn admission(&self, now: UnixMillis) -> Admission {
        self.state.admission(now)
    }

    /// The circuit after attempts that were no probes.
    ///
    /// Attempts that end while the circuit is open began before it opened. Their failures count,
    /// also towards freezing. Their successes neither close the circuit nor reset the consecutive
    /// failures: an endpoint that fails three times of four would otherwise flap while anything is
    /// in flight. While it is frozen, only the totals count.
    #[must_use]
    pub fn record(&self, tally: &Tally, rules: &CircuitRules, now: UnixMillis) -> Turn {
        if tally.is_empty() {
            return (self.clone(), None);
        }
        let mut counted = self.counted(tally);
        match self.state {
            CircuitState::Closed => {
                let before = if tally.has_success() { 0 } else { self.consecutive_failures };
                counted.consecutive_failures = before.saturating_add(tally.trailing_failures);
                counted.window = self.window.with(tally);
                if let Some(reason) = rules.reason_to_open(&counted) {
                    let open = CircuitState::Open { probe_at: rules.next_probe(now, now) };
                    return counted.turned(open, reason, now);
                }
                counted.window = counted.window.decayed(rules.figures().rate_window_attempts);
                (counted, None)
            }
            CircuitState::Open { .. } if tally.failures == 0 => (counted, None),
            CircuitState::Open { .. } => {
                counted.consecutive_failures =
                    self.consecutive_failures.saturating_add(tally.failures);
                counted.frozen_if_due(rules, now)
            }
            CircuitState::Frozen => (counted, None),
        }
    }

    /// The circuit after a probe. If its state is not the one in which that was claimed, an operator
    /// was faster, and the probe counts like any attempt: it ends no pause that began after it.
    #[must_use]
    pub fn record_probe(&self, probe: &EndedProbe<'_>, rules: &CircuitRules) -> Turn {
        let EndedProbe { outcome, ended, claimed_in } = *probe;
        let tally = Tally::of(outcome, ended);
        let probe_at = match self.state {
            CircuitState::Open { probe_at } if self.since == claimed_in => probe_at,
            CircuitState::Closed | CircuitState::Open { .. } | CircuitState::Frozen => {
                return self.record(&tally, rules, ended);
            }
        };
        if outcome.is_accepted() {
            return self.counted(&tally).closed(Reason::ProbeAccepted, ended);
        }
        let mut counted = self.counted(&tally);
        counted.consecutive_failures = self.consecutive_failures.saturating_add(1);
        let (mut circuit, change) = counted.frozen_if_due(rules, ended);
        if change.is_none() {
            // Never sooner than claimed: two workers' clocks may differ.
            let probe_at = probe_at.max(rules.next_probe(self.since, ended));
            circuit.state = CircuitState::Open { probe_at };
        }
        (circuit, change)
    }

    /// Claims the probe that is due at `now`. The next one is due an interval later, so the first
    /// worker to write this is the only one to probe, and a probe that never ends is followed by
    /// another.
    #[must_use]
    pub fn claim_probe(&self, now: UnixMillis, rules: &CircuitRules) -> Option<Self> {
        match self.admission(now) {
            Admission::Probe => {
                let state = CircuitState::Open { probe_at: rules.next_probe(self.since, now) };
                Some(Self { state, ..self.clone() })
            }
            Admission::Pass | Admission::Refuse(_) => None,
        }
    }

    /// Makes a probe due at `now`, for an operator. A circuit that is not open stays unchanged.
    #[must_use]
    pub fn probe_now(&self, now: UnixMillis) -> Turn {
        let state = match self.state {
            CircuitState::Open { probe_at } => CircuitState::Open { probe_at: probe_at.min(now) },
            state @ (CircuitState::Closed | CircuitState::Frozen) => state,
        };
        (Self { state, ..self.clone() }, None)
    }

    /// Closes the circuit for an operator and resets its counts. A closed one stays unchanged.
    #[must_use]
    pub fn enable(&self, now: UnixMillis) -> Turn {
        match self.state {
            CircuitState::Closed => (self.clone(), None),
            CircuitState::Open { .. } | CircuitState::Frozen => {
                self.clone().closed(Reason::Enabled, now)
            }
        }
    }

    /// Freezes the circuit for an operator. A frozen one keeps its first reason.
    #[must_use]
    pub fn disable(&self, now: UnixMillis) -> Turn {
        self.clone().turned(CircuitState::Frozen, Reason::Disabled, now)
    }

    /// Opens the circuit for an operator: until `until` nothing is sent, and then a probe. One that
    /// is not closed stays unchanged.
    #[must_use]
    pub fn pause(&self, until: UnixMillis, now: UnixMillis) -> Turn {
        match self.state {
            CircuitState::Closed => {
                self.clone().turned(CircuitState::Open { probe_at: until }, Reason::Disabled, now)
            }
            CircuitState::Open { .. } | CircuitState::Frozen => (self.clone(), None),
        }
    }

    /// Takes back the change that an operator made at `changed`: the circuit is in `state` again,
    /// for the `reason` that it had. Unchanged if its state has changed since.
    #[must_use]
    pub fn restore(
        &self,
        changed: UnixMillis,
        state: CircuitState,
        reason: Reason,
        now: UnixMillis,
    ) -> Turn {
        if self.since == changed {
            self.clone().turned(state, reason, now)
        } else {
            (self.clone(), None)
        }
    }

    /// Freezes the circuit after a 410: the endpoint no longer exists, and wants no further
    /// requests.
    ///
    /// Source: RFC 9110, section 15.5.11.
    #[must_use]
    pub fn gone(&self, now: UnixMillis) -> Turn {
        self.clone().turned(CircuitState::Frozen, Reason::Gone, now)
    }

    /// Freezes the circuit because the endpoint demands it by `webhook-delivery: disable`.
    #[must_use]
    pub fn disable_by_endpoint(&self, now: UnixMillis) -> Turn {
        self.clone().turned(CircuitState::Frozen, Reason::DisabledByEndpoint, now)
    }

    /// The end of the last success; without one, that of the first attempt.
    fn last_success_or_first_attempt(&self) -> UnixMillis {
        self.last_success.or(self.first_attempt).unwrap_or(self.created)
    }

    /// Applies the counts that matter in every state.
    fn counted(&self, tally: &Tally) -> Self {
        let known = self.last_outcome.as_ref();
        let later = tally.last_outcome.as_ref().filter(|(ended, _)| {
            // Another worker's tally may contain earlier attempts.
            known.is_none_or(|known| known.ended <= *ended)
        });
        let last_outcome = match later {
            Some((ended, outcome)) => {
                Some(LastOutcome { ended: *ended, outcome: outcome.to_string() })
            }
            None => self.last_outcome.clone(),
        };
        Self {
            successes: self.successes.saturating_add(tally.successes()),
            failures: self.failures.saturating_add(tally.failures),
            first_attempt: earliest(self.first_attempt, tally.first_attempt),
            last_success: self.last_success.max(tally.last_success),
            last_outcome,
            ..self.clone()
        }
    }

    fn closed(mut self, reason: Reason, now: UnixMillis) -> Turn {
        self.window = Window::default();
        self.consecutive_failures = 0;
        self.turned(CircuitState::Closed, reason, now)
    }

    fn frozen_if_due(self, rules: &CircuitRules, now: UnixMillis) -> Turn {
        match rules.reason_to_freeze(&self, now) {
            Some(reason) => self.turned(CircuitState::Frozen, reason, now),
            None => (self, None),
        }
    }

    fn turned(mut self, to: CircuitState, reason: Reason, now: UnixMillis) -> Turn {
        let from = self.state;
        if from.name() == to.name() {
            return (self, None);
        }
        self.state = to;
        self.since = now.max(self.since.plus(SINCE_STEP));
        let former = self.reason.replace(reason);
        (self, Some(CircuitTransition { from, to, reason, former }))
    }
}
