//! A circuit in a store lives by the rule of the domain alone.

use homing_domain::{
    circuit::{Circuit, CircuitRules, EndedProbe, Turn},
    outcome::Outcome,
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{Intervention, ProbeClaim, Store, StoreError};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    Kept, Place,
    circuits::{at, url},
};

/// Ends a probe that was claimed in the present state.
pub(super) async fn probe_ended(
    store: &dyn Store,
    url: &EndpointUrl,
    outcome: &Outcome,
    ended: UnixMillis,
) -> Result<Turn, StoreError> {
    let circuit = store.circuit(url).await?;
    let claimed_in = circuit.map_or(ended, |circuit| circuit.since);
    let probe = EndedProbe { outcome, ended, claimed_in };
    store.probe_ended(url, &probe, &CircuitRules::default()).await
}

#[derive(Clone, Debug)]
enum Step {
    Merge(Tally),
    Claim,
    ProbeEnds(Outcome),
    Set(Intervention),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Accepted { status: 200 }),
        Just(Outcome::Refused { status: 503, retry_after: None }),
    ];
    let tally = prop::collection::vec(outcome.clone(), 1..60).prop_map(|outcomes| {
        let tallies = outcomes.iter().map(|outcome| Tally::of(outcome, at(1)));
        tallies.fold(Tally::default(), Tally::merge)
    });
    let intervention = prop_oneof![
        Just(Intervention::Enable),
        Just(Intervention::Disable),
        Just(Intervention::Probe),
        Just(Intervention::Pause(at(600_000))),
        Just(Intervention::Gone),
        Just(Intervention::DisableByEndpoint),
    ];
    prop_oneof![
        12 => tally.prop_map(Step::Merge),
        3 => Just(Step::Claim),
        3 => outcome.prop_map(Step::ProbeEnds),
        1 => intervention.prop_map(Step::Set),
    ]
}

fn ruled(circuit: &Circuit, step: &Step, rules: &CircuitRules, now: UnixMillis) -> Turn {
    match step {
        Step::Merge(tally) => circuit.record(tally, rules, now),
        Step::Claim => (circuit.claim_probe(now, rules).unwrap_or_else(|| circuit.clone()), None),
        Step::ProbeEnds(outcome) => {
            let claimed_in = circuit.since;
            circuit.record_probe(&EndedProbe { outcome, ended: now, claimed_in }, rules)
        }
        Step::Set(Intervention::Enable) => circuit.enable(now),
        Step::Set(Intervention::Disable) => circuit.disable(now),
        Step::Set(Intervention::Probe) => circuit.probe_now(now),
        Step::Set(Intervention::Pause(until)) => circuit.pause(*until, now),
        Step::Set(Intervention::Restore { changed, state, reason }) => {
            circuit.restore(*changed, *state, *reason, now)
        }
        Step::Set(Intervention::Gone) => circuit.gone(now),
        Step::Set(Intervention::DisableByEndpoint) => circuit.disable_by_endpoint(now),
    }
}

async fn stored(
    store: &dyn Store,
    url: &EndpointUrl,
    (step, rules): (&Step, &CircuitRules),
    now: UnixMillis,
) -> Result<Turn, StoreError> {
    match step {
        Step::Merge(tally) => {
            let merged = store.merge_tallies(&[(url.clone(), tally.clone())], rules, now).await?;
            let mut circuits = merged.circuits.into_iter();
            let (_url, circuit, change) = circuits.next().expect("one for each tally");
            Ok((circuit, change))
        }
        Step::Claim => match store.claim_probe(url, rules, now).await? {
            ProbeClaim::Won(circuit) | ProbeClaim::Lost(circuit) => Ok((circuit, None)),
        },
        Step::ProbeEnds(outcome) => probe_ended(store, url, outcome, now).await,
        Step::Set(intervention) => store.set_circuit(url, *intervention, now).await,
    }
}

/// Goal: a store adds nothing to the rule and forgets nothing of what it is given. Method: random
/// lives; after each step the store answers as the rule does, and so does another handle.
pub(super) async fn a_circuit_lives_by_the_rule_alone(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    let rules = CircuitRules::default();
    let mut runner = TestRunner::deterministic();
    let lives = prop::collection::vec((step(), 0_u64..400), 1..30);
    for life in 0..12 {
        let url = url(life);
        assert_eq!(store.circuit(&url).await?, None);
        let steps = lives.new_tree(&mut runner).map_err(|reason| reason.to_string())?.current();
        let (mut expected, mut seconds) = (None, 0);
        for (step, wait) in steps {
            seconds += wait;
            let now = at(seconds);
            let before = expected.unwrap_or_else(|| Circuit::new(now));
            let turn = ruled(&before, &step, &rules, now);
            let version = store.circuits_version().await?;

            assert_eq!(stored(&*store, &url, (&step, &rules), now).await?, turn, "{step:?}");

            let claimed_nothing = matches!(step, Step::Claim) && turn.0 == before;
            if !claimed_nothing {
                assert_eq!(other.circuit(&url).await?.as_ref(), Some(&turn.0));
            }
            assert_eq!(other.circuits_version().await? > version, turn.1.is_some());
            expected = if other.circuit(&url).await?.is_some() { Some(turn.0) } else { None };
        }
    }
    Ok(())
}
