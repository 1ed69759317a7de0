//! Whole lives of circuits, in virtual time.

use std::time::Duration;

use super::*;
use crate::outcome::Phase;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// An endpoint, its circuit and a clock.
struct Life {
    circuit: Circuit,
    rules: CircuitRules,
    now: UnixMillis,
    changes: Vec<String>,
}

impl Life {
    fn new(change: fn(&mut Figures)) -> Self {
        let mut figures = Figures::published();
        change(&mut figures);
        let rules = CircuitRules::new(figures).unwrap();
        let now = UnixMillis::new(1_000_000);
        Self { circuit: Circuit::new(now), rules, now, changes: Vec::new() }
    }

    /// A life in which only consecutive failures open and freeze.
    fn without_rate() -> Self {
        Self::new(|figures| figures.open_above_percent = 100)
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    fn take(&mut self, (circuit, change): Turn) {
        self.circuit = circuit;
        let before = self.changes.len();
        self.changes.extend(change.map(|change| change.to_string()));
        assert!(self.changes.len() == before || self.circuit.since >= self.now);
    }

    /// `count` consecutive attempts.
    fn attempts(&mut self, count: u64, outcome: &Outcome) {
        for _attempt in 0..count {
            let tally = Tally::of(outcome, self.now);
            self.take(self.circuit.record(&tally, &self.rules, self.now));
        }
    }

    fn accepts(&mut self, count: u64) {
        self.attempts(count, &Outcome::Accepted { status: 200 });
    }

    fn fails(&mut self, count: u64) {
        self.attempts(count, &Outcome::Refused { status: 503, retry_after: None });
    }

    /// Attempts a delivery; returns true if it was let through as a probe.
    fn probed(&mut self, outcome: &Outcome) -> bool {
        let Some(claimed) = self.circuit.claim_probe(self.now, &self.rules) else { return false };
        self.circuit = claimed;
        let ended = self.now.plus(Duration::from_millis(200));
        assert_eq!(self.circuit.claim_probe(ended, &self.rules), None, "one at a time");
        self.now = ended;
        let probe = EndedProbe { outcome, ended, claimed_in: self.circuit.since };
        self.take(self.circuit.record_probe(&probe, &self.rules));
        true
    }

    /// Attempts a delivery every second for `duration`; returns how many were let through.
    fn fails_probes(&mut self, duration: Duration) -> u32 {
        let timed_out = Outcome::TimedOut { phase: Phase::Headers };
        let end = self.now.plus(duration);
        let mut probes = 0;
        while self.now < end {
            self.wait(SECOND);
            probes += u32::from(self.probed(&timed_out));
        }
        probes
    }

    fn state(&self) -> StateName {
        self.circuit.state.name()
    }
}

#[test]
fn an_endpoint_dies_is_probed_every_ten_minutes_and_recovers() {
    let mut life = Life::new(|_| ());
    life.accepts(40);
    life.fails(93);
    assert_eq!((life.state(), life.circuit.window.attempts), (StateName::Closed, 133));
    life.fails(1);
    assert_eq!(life.state(), StateName::Open);
    let opened = life.now;

    assert_eq!(life.circuit.admission(opened), Admission::Refuse(Some(opened.plus(10 * MINUTE))));
    assert_eq!(life.fails_probes(599 * SECOND), 0);
    assert_eq!(life.fails_probes(2 * HOUR), 12);
    assert_eq!(life.circuit.consecutive_failures, 94 + 12);

    life.wait(10 * MINUTE);
    assert!(life.probed(&Outcome::Accepted { status: 204 }));
    assert_eq!(life.circuit.admission(life.now), Admission::Pass);
    let Circuit { window, consecutive_failures, successes, failures, .. } = life.circuit;
    assert_eq!((window, consecutive_failures), (Window::default(), 0), "counters start anew");
    assert_eq!((successes, failures), (41, 94 + 12), "totals do not");
    assert_eq!(life.circuit.last_success, Some(life.now));
    let last = life.circuit.last_outcome.as_ref().map(|last| last.outcome.as_str());
    assert_eq!(last, Some("accepted 204"));
    life.fails(100);
    assert_eq!(life.state(), StateName::Closed);
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: 94 of 134 attempts failed (70.14 %)
    open → closed: a probe was accepted
    ");
}

#[test]
fn seventy_per_cent_is_not_above_seventy_per_cent() {
    let mut life = Life::new(|_| ());
    life.accepts(300);
    life.fails(700);
    assert_eq!(life.state(), StateName::Closed);
    life.fails(1);
    insta::assert_snapshot!(life.changes.join("\n"), @"closed → open: 701 of 1001 attempts failed (70.02 %)");
}

#[test]
fn a_hundred_attempts_are_not_more_than_a_hundred() {
    let mut life = Life::new(|_| ());
    life.fails(100);
    assert_eq!(life.state(), StateName::Closed);
    life.fails(1);
    insta::assert_snapshot!(life.changes.join("\n"), @"closed → open: 101 of 101 attempts failed (100 %)");
}

#[test]
fn two_thousand_consecutive_failures_open_whatever_the_rate() {
    let mut life = Life::without_rate();
    life.accepts(5_000);
    life.fails(1_999);
    life.accepts(1);
    life.fails(1_999);
    assert_eq!((life.state(), life.circuit.consecutive_failures), (StateName::Closed, 1_999));
    life.fails(1);
    insta::assert_snapshot!(life.changes.join("\n"), @"closed → open: 2000 consecutive failures");
}

/// Goal: consecutive failures are counted across tallies. Method: three tallies, the middle one
/// with a success.
/// Whatever was accepted before: the window is at any point between two halvings.
#[test]
fn two_thousand_consecutive_failures_are_reached_with_the_default_figures() {
    for accepted in [1_500, 2_000, 2_250, 2_999, 3_000, 10_000, 123_456] {
        let mut life = Life::new(|_| {});
        life.accepts(accepted);
        life.fails(1_999);
        assert_eq!(life.state(), StateName::Closed, "after {accepted} that were accepted");
        life.fails(1);
        assert_eq!(life.changes, ["closed → open: 2000 consecutive failures"]);
    }
}

#[test]
fn consecutive_failures_continue_across_tallies() {
    let mut life = Life::without_rate();
    let tally = |outcomes: &[u16]| {
        outcomes.iter().fold(Tally::default(), |tally, status| {
            let outcome = match status {
                200 => Outcome::Accepted { status: 200 },
                _ => Outcome::Refused { status: *status, retry_after: None },
            };
            tally.merge(Tally::of(&outcome, UnixMillis::new(1)))
        })
    };
    for (outcomes, row) in [
        (vec![500; 3], 3),
        (vec![500, 200, 500, 500], 2),
        (vec![500; 5], 7),
        (vec![], 7),
        (vec![500, 200], 0),
    ] {
        life.take(life.circuit.record(&tally(&outcomes), &life.rules, life.now));
        assert_eq!(life.circuit.consecutive_failures, row, "{outcomes:?}");
    }
}

#[test]
fn an_endpoint_that_is_dead_for_three_days_is_frozen_until_it_is_enabled() {
    let mut life = Life::without_rate();
    life.accepts(1);
    life.fails(2_000);
    // The first probe is failure 2,001; those of three days fail.
    assert_eq!(life.fails_probes((72 * 60 - 10) * MINUTE), 430);
    assert_eq!(life.state(), StateName::Open);
    while life.state() == StateName::Open {
        life.fails_probes(SECOND);
    }
    let frozen = life.now;
    assert_eq!(life.circuit.admission(frozen.plus(1_000 * HOUR)), Admission::Refuse(None));
    assert_eq!(life.fails_probes(HOUR), 0);
    life.fails(50_000);
    life.accepts(1);
    assert_eq!((life.state(), life.circuit.since), (StateName::Frozen, frozen));

    life.take(life.circuit.enable(life.now));
    assert_eq!((life.state(), life.circuit.consecutive_failures), (StateName::Closed, 0));
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: 2000 consecutive failures
    open → frozen: 2432 consecutive failures, last success 72 h ago
    frozen → closed: an operator enabled it
    ");
}

#[test]
fn seventy_two_hours_are_not_more_than_seventy_two_hours() {
    let mut life = Life::without_rate();
    life.accepts(1);
    life.fails(2_000);
    life.wait(72 * HOUR);
    life.fails(1);
    assert_eq!((life.state(), life.circuit.consecutive_failures), (StateName::Open, 2_001));
    life.wait(Duration::from_millis(1));
    life.fails(1);
    assert_eq!(life.state(), StateName::Frozen);
}

/// Goal: with the published figures a URL that dies outright is open after 101 attempts, so its
/// consecutive failures grow by probes only. Method: wait until it freezes.
#[test]
fn probes_alone_freeze_an_endpoint_that_never_succeeded() {
    let mut life = Life::new(|_| ());
    life.fails(101);
    let mut probes = 0;
    while life.state() == StateName::Open {
        probes += life.fails_probes(HOUR);
    }
    assert_eq!(probes, 2_001 - 101);
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: 101 of 101 attempts failed (100 %)
    open → frozen: 2001 consecutive failures, no success since the first attempt 316 h ago
    ");
}

#[test]
fn attempts_in_flight_at_the_opening_can_freeze_it_but_not_close_it() {
    let mut life = Life::without_rate();
    life.fails(2_000);
    life.wait(SECOND);
    life.accepts(500);
    assert_eq!((life.state(), life.circuit.consecutive_failures), (StateName::Open, 2_000));
    assert_eq!(life.circuit.successes, 500);
    life.fails(47_999);
    assert_eq!(life.state(), StateName::Open);
    life.fails(1);
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: 2000 consecutive failures
    open → frozen: 50000 consecutive failures
    ");
}

#[test]
fn a_circuit_opens_before_it_freezes_however_large_the_tally() {
    let mut life = Life::new(|_| ());
    let tally = Tally { attempts: 90_000, failures: 90_000, ..Tally::default() };
    let tally = Tally { trailing_failures: 90_000, first_attempt: Some(life.now), ..tally };
    life.take(life.circuit.record(&tally, &life.rules, life.now));
    assert_eq!(life.state(), StateName::Open);
    life.fails(1);
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: 90000 consecutive failures
    open → frozen: 90001 consecutive failures
    ");
}

#[test]
fn an_operator_has_the_last_word() {
    let mut life = Life::new(|_| ());
    life.take(life.circuit.enable(life.now));
    life.take(life.circuit.disable(life.now));
    life.take(life.circuit.disable(life.now));
    life.take(life.circuit.gone(life.now));
    assert_eq!(life.circuit.reason, Some(Reason::Disabled));
    assert_eq!(life.circuit.claim_probe(life.now, &life.rules), None);
    let accepted = Outcome::Accepted { status: 200 };
    let in_flight =
        EndedProbe { outcome: &accepted, ended: life.now, claimed_in: life.circuit.since };
    life.take(life.circuit.record_probe(&in_flight, &life.rules));
    assert_eq!((life.state(), life.circuit.successes), (StateName::Frozen, 1));
    life.take(life.circuit.enable(life.now));
    life.take(life.circuit.gone(life.now));
    life.take(life.circuit.enable(life.now));
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → frozen: an operator disabled it
    frozen → closed: an operator enabled it
    closed → frozen: the endpoint answered 410 Gone
    frozen → closed: an operator enabled it
    ");
}

#[test]
fn a_probe_of_before_ends_no_pause() {
    let mut life = Life::new(|_| ());
    life.take(life.circuit.pause(life.now, life.now));
    life.circuit = life.circuit.claim_probe(life.now, &life.rules).unwrap();
    let (accepted, claimed_in) = (Outcome::Accepted { status: 200 }, life.circuit.since);
    life.take(life.circuit.enable(life.now));
    let until = life.now.plus(Duration::from_hours(1));
    life.take(life.circuit.pause(until, life.now));
    let in_flight = EndedProbe { outcome: &accepted, ended: life.now, claimed_in };
    life.take(life.circuit.record_probe(&in_flight, &life.rules));
    assert_eq!(life.circuit.state, CircuitState::Open { probe_at: until });
    assert_eq!(life.circuit.successes, 1);
    let of_now = EndedProbe { claimed_in: life.circuit.since, ..in_flight };
    life.take(life.circuit.record_probe(&of_now, &life.rules));
    assert_eq!(life.state(), StateName::Closed);
}

#[test]
fn a_tally_that_comes_late_does_not_hide_what_came_after_it() {
    let mut life = Life::new(|_| ());
    life.fails(1);
    let early = Tally::of(&Outcome::Accepted { status: 200 }, UnixMillis::new(5));
    life.take(life.circuit.record(&early, &life.rules, life.now));
    let last = life.circuit.last_outcome.as_ref().map(|last| last.outcome.as_str());
    assert_eq!(last, Some("refused 503"));
    assert_eq!(life.circuit.first_attempt, Some(UnixMillis::new(5)));
}

#[test]
fn a_pause_ends_with_a_probe() {
    let mut life = Life::new(|_| ());
    life.accepts(3);
    let until = life.now.plus(HOUR);
    life.take(life.circuit.pause(until, life.now));
    assert_eq!(life.circuit.admission(life.now), Admission::Refuse(Some(until)));
    life.take(life.circuit.pause(until.plus(HOUR), life.now));
    assert_eq!(life.circuit.admission(until), Admission::Probe, "a pause is not made longer");
    // What was under way when it began ends neither it nor the endpoint.
    life.accepts(1);
    life.fails(1);
    assert_eq!(life.state(), StateName::Open);
    life.wait(HOUR);
    assert!(life.probed(&Outcome::Accepted { status: 200 }));
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → open: an operator paused it
    open → closed: a probe was accepted
    ");
}

/// Goal: who undoes a change gets back what was there, or nothing if something came between.
#[test]
fn a_change_is_taken_back_unless_another_came_between() {
    let mut life = Life::new(|_| ());
    life.take(life.circuit.gone(life.now));
    life.wait(MINUTE);
    life.take(life.circuit.enable(life.now));
    let enabled = life.circuit.since;
    life.wait(SECOND);
    life.take(life.circuit.restore(enabled, CircuitState::Frozen, Reason::Gone, life.now));
    assert_eq!((life.state(), life.circuit.reason), (StateName::Frozen, Some(Reason::Gone)));
    let unchanged = life.circuit.restore(enabled, CircuitState::Closed, Reason::Enabled, life.now);
    assert_eq!(unchanged, (life.circuit.clone(), None), "another change came between");
    insta::assert_snapshot!(life.changes.join("\n"), @r"
    closed → frozen: the endpoint answered 410 Gone
    frozen → closed: an operator enabled it
    closed → frozen: the endpoint answered 410 Gone
    ");
}
