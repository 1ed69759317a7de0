//! Properties of every circuit, every tally and all figures.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outcome::Phase;

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Accepted { status: 200 }),
        Just(Outcome::Refused { status: 410, retry_after: None }),
        Just(Outcome::TimedOut { phase: Phase::Body }),
    ]
}

fn tally() -> impl Strategy<Value = Tally> {
    prop::collection::vec((outcome(), any::<i64>()), 0..9).prop_map(|attempts| {
        attempts.iter().fold(Tally::default(), |tally, (outcome, ended)| {
            tally.merge(Tally::of(outcome, UnixMillis::new(*ended)))
        })
    })
}

/// Small figures, so that states change often.
fn rules() -> impl Strategy<Value = CircuitRules> {
    let figures =
        (0_u8..=100, 0_u64..5, 1_u64..9, 1_u64..9, 1_u64..50, 0_u64..9, 0_u64..90, 0_u64..9);
    figures.prop_map(|(percent, attempts, row, window, interval, above, ago, at)| {
        CircuitRules::new(Figures {
            open_above_percent: percent,
            open_above_attempts: attempts,
            open_at_consecutive_failures: row,
            rate_window_attempts: attempts + window,
            probe_interval: Duration::from_millis(interval),
            probe_first: Duration::ZERO,
            freeze_above_consecutive_failures: above,
            freeze_above_last_success_ago: Duration::from_millis(ago),
            freeze_at_consecutive_failures: row + at,
        })
        .unwrap()
    })
}

/// All that can happen to a circuit.
#[derive(Clone, Debug)]
enum Step {
    Tally(Tally),
    Claim,
    ProbeEnds(Outcome),
    Enable,
    Disable,
    Pause,
    Restore,
    Gone,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => tally().prop_map(Step::Tally),
        3 => Just(Step::Claim),
        3 => outcome().prop_map(Step::ProbeEnds),
        1 => Just(Step::Enable),
        1 => Just(Step::Disable),
        1 => Just(Step::Pause),
        1 => Just(Step::Restore),
        1 => Just(Step::Gone),
    ]
}

/// Takes back what an operator did last.
fn restored(circuit: &Circuit, now: UnixMillis) -> Turn {
    let former = match circuit.reason {
        Some(Reason::Enabled) => CircuitState::Frozen,
        Some(Reason::Disabled) => CircuitState::Closed,
        Some(_) | None => return (circuit.clone(), None),
    };
    circuit.restore(circuit.since, former, Reason::Gone, now)
}

fn stepped(circuit: &Circuit, step: &Step, rules: &CircuitRules, now: UnixMillis) -> Turn {
    match step {
        Step::Tally(tally) => circuit.record(tally, rules, now),
        Step::Claim => (circuit.claim_probe(now, rules).unwrap_or_else(|| circuit.clone()), None),
        Step::ProbeEnds(outcome) => {
            let claimed_in = circuit.since;
            circuit.record_probe(&EndedProbe { outcome, ended: now, claimed_in }, rules)
        }
        Step::Enable => circuit.enable(now),
        Step::Disable => circuit.disable(now),
        Step::Pause => circuit.pause(now.plus(rules.figures().probe_interval), now),
        Step::Restore => restored(circuit, now),
        Step::Gone => circuit.gone(now),
    }
}

/// Any life, with the clock of another worker at each step.
fn life() -> impl Strategy<Value = Vec<(Step, i64)>> {
    prop::collection::vec((step(), prop_oneof![0_i64..500, any::<i64>()]), 0..40)
}

proptest! {
    /// Also never panics, whatever the clocks are.
    #[test]
    fn a_change_is_returned_exactly_when_the_state_changes(rules in rules(), life in life()) {
        let mut circuit = Circuit::new(UnixMillis::new(0));
        for (step, now) in life {
            let now = UnixMillis::new(now);
            let (next, change) = stepped(&circuit, &step, &rules, now);
            prop_assert_eq!(change.is_some(), circuit.state.name() != next.state.name());
            if let Some(change) = change {
                prop_assert_eq!((change.from, change.to), (circuit.state, next.state));
                prop_assert_eq!((change.former, Some(change.reason)), (circuit.reason, next.reason));
                prop_assert!(next.since >= now);
                prop_assert!(next.since > circuit.since || circuit.since.get() == i64::MAX);
            } else {
                prop_assert_eq!((next.since, next.reason), (circuit.since, circuit.reason));
            }
            prop_assert!(next.window.failures <= next.window.attempts);
            circuit = next;
        }
    }

    /// Closed by a probe or an operator only; frozen by outcomes only from open; never unfrozen by
    /// outcomes.
    #[test]
    fn states_follow_each_other_as_drawn(rules in rules(), life in life()) {
        let mut circuit = Circuit::new(UnixMillis::new(0));
        for (step, now) in life {
            let (next, change) = stepped(&circuit, &step, &rules, UnixMillis::new(now));
            let by_operator = matches!(
                step,
                Step::Enable | Step::Disable | Step::Pause | Step::Restore | Step::Gone
            );
            let names = change.map(|change| (change.from.name(), change.to.name()));
            match names.filter(|_| !by_operator) {
                None | Some((StateName::Closed, StateName::Open) | (StateName::Open, StateName::Frozen)) => {}
                Some((StateName::Open, StateName::Closed)) => {
                    let accepted = matches!(&step, Step::ProbeEnds(outcome) if outcome.is_accepted());
                    prop_assert!(accepted);
                }
                Some(other) => return Err(TestCaseError::fail(format!("{other:?} by {step:?}"))),
            }
            circuit = next;
        }
    }

    /// Goal: it does not matter how attempts are divided into tallies. Method: rules under which
    /// no state changes and nothing is halved; then also every other field is the same.
    #[test]
    fn any_grouping_of_attempts_counts_the_same(
        groups in prop::collection::vec(tally(), 0..12), now: i64,
    ) {
        let rules = CircuitRules::default();
        let now = UnixMillis::new(now);
        let after = |circuit: Circuit, tally: &Tally| {
            let (circuit, change) = circuit.record(tally, &rules, now);
            assert_eq!(change, None, "fewer than 101 attempts");
            circuit
        };
        prop_assume!(groups.iter().map(|tally| tally.attempts).sum::<u64>() <= 100);
        let all = groups.iter().cloned().fold(Tally::default(), Tally::merge);

        let by_group = groups.iter().fold(Circuit::new(now), after);

        prop_assert_eq!(by_group, after(Circuit::new(now), &all));
    }

    /// While no operator acts, each grouping still counts the same into totals, whatever the state.
    #[test]
    fn totals_count_every_attempt_in_every_state(rules in rules(), life in life()) {
        let mut circuit = Circuit::new(UnixMillis::new(0));
        let (mut successes, mut failures) = (0, 0);
        for (step, now) in life {
            let now = UnixMillis::new(now);
            let tally = match &step {
                Step::Tally(tally) => tally.clone(),
                Step::ProbeEnds(outcome) => Tally::of(outcome, now),
                Step::Claim
                | Step::Enable
                | Step::Disable
                | Step::Pause
                | Step::Restore
                | Step::Gone => Tally::default(),
            };
            successes += tally.successes();
            failures += tally.failures;
            circuit = stepped(&circuit, &step, &rules, now).0;
            prop_assert_eq!((circuit.successes, circuit.failures), (successes, failures));
        }
    }

    #[test]
    fn a_frozen_circuit_is_not_changed_by_outcomes(rules in rules(), life in life()) {
        let (frozen, _) = Circuit::new(UnixMillis::new(0)).gone(UnixMillis::new(1));
        let mut circuit = frozen.clone();
        for (step, now) in life {
            if matches!(step, Step::Enable | Step::Restore) {
                continue;
            }
            circuit = stepped(&circuit, &step, &rules, UnixMillis::new(now)).0;
            let what_rules = |circuit: &Circuit| {
                (circuit.state, circuit.since, circuit.reason, circuit.window, circuit.consecutive_failures)
            };
            prop_assert_eq!(what_rules(&circuit), what_rules(&frozen));
        }
    }

    /// Goal: at most one probe per interval. Method: any life without operators, with one clock.
    #[test]
    fn two_probes_are_an_interval_apart(
        rules in rules(), life in prop::collection::vec((step(), 0_u64..40), 0..60),
    ) {
        let mut circuit = Circuit::new(UnixMillis::new(0));
        let (mut now, mut last_probe) = (UnixMillis::new(0), None::<UnixMillis>);
        for (step, wait) in life {
            now = now.plus(Duration::from_millis(wait));
            let due = circuit.admission(now) == Admission::Probe;
            let claimed = circuit.claim_probe(now, &rules);
            prop_assert_eq!(claimed.is_some(), due);
            if let (Step::Claim, Some(claimed)) = (&step, claimed) {
                let apart = last_probe.is_none_or(|last| {
                    now.since(last) >= rules.figures().probe_interval
                });
                prop_assert!(apart);
                last_probe = Some(now);
                circuit = claimed;
            } else {
                circuit = stepped(&circuit, &step, &rules, now).0;
            }
        }
    }

    #[test]
    fn numbers_that_are_full_stay_full(rules in rules(), counts: [u64; 3], now: i64) {
        let [attempts, failures, trailing_failures] = counts;
        let tally = Tally { attempts, failures, trailing_failures, ..Tally::default() };
        let full = Circuit {
            consecutive_failures: u64::MAX,
            successes: u64::MAX,
            failures: u64::MAX,
            window: Window { attempts: u64::MAX, failures: u64::MAX },
            ..Circuit::new(UnixMillis::new(i64::MAX))
        };
        let (circuit, _) = full.record(&tally, &rules, UnixMillis::new(now));
        prop_assert_eq!((circuit.successes, circuit.failures), (u64::MAX, u64::MAX));
    }
}
