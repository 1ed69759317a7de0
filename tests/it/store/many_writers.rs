//! Circuits that many processes write at once. The handles of one test share nothing, as twenty
//! processes would.

use std::sync::Arc;

use futures_util::future::try_join_all;
use homing_domain::{
    circuit::{CircuitRules, CircuitState, StateName},
    outcome::Outcome,
    tally::Tally,
};
use homing_store::{Intervention, ProbeClaim, Store, StoreError};

use super::{
    Kept, Place,
    circuit_rule::probe_ended,
    circuits::{at, dead, failed, url},
};

async fn twenty(place: &Place) -> Result<[Arc<dyn Store>; 20], StoreError> {
    let mut handles = Vec::new();
    for _ in 0..20 {
        handles.push(place.open().await?);
    }
    Ok(handles.try_into().unwrap_or_else(|_| unreachable!("twenty were opened")))
}

/// Method: twenty clients, each with a handle of its own, ten batches each, every batch with two
/// URLs in one order or the other.
pub(super) async fn tallies_of_many_workers_add_up(place: Place) -> Kept {
    let handles = twenty(&place).await?;
    let rules = CircuitRules::default();
    let clients = handles.iter().enumerate().map(async |(client, store)| {
        for batch in 0..10 {
            let accepted = Tally::of(&Outcome::Accepted { status: 200 }, at(batch));
            let mut tallies =
                [(url("a"), failed(2, at(batch)).merge(accepted)), (url("b"), failed(3, at(5)))];
            if client % 2 == 0 {
                tallies.reverse();
            }
            store.merge_tallies(&tallies, &rules, at(batch)).await?;
        }
        Ok::<_, StoreError>(())
    });

    try_join_all(clients).await?;

    let store = &handles[0];
    let circuit = async |path| store.circuit(&url(path)).await;
    let a = circuit("a").await?.ok_or("a is counted")?;
    assert_eq!((a.successes, a.failures, a.consecutive_failures), (200, 400, 0));
    assert_eq!((a.first_attempt, a.last_success), (Some(at(0)), Some(at(9))));
    let b = circuit("b").await?.ok_or("b is counted")?;
    assert_eq!((b.successes, b.failures, b.consecutive_failures), (0, 600, 600));
    assert_eq!(b.state.name(), StateName::Open);
    Ok(())
}

/// Goal: writers never wait for each other in a circle. Method: twenty clients merge batches of new
/// and old URLs in any order, whose circuits open, while others freeze, free and forget them.
pub(super) async fn writers_do_not_block_each_other(place: Place) -> Kept {
    let handles = twenty(&place).await?;
    let rules = CircuitRules::default();
    let clients = handles.iter().enumerate().map(async |(client, store)| {
        for round in 0..4 {
            let mut tallies: Vec<_> = (0..15).map(|path| dead(path + round * 3)).collect();
            fastrand::shuffle(&mut tallies);
            match client % 4 {
                0 => drop(store.prune_circuits(at(9_999)).await?),
                1 => {
                    for (url, _) in tallies.iter().take(3) {
                        store.set_circuit(url, Intervention::Disable, at(1)).await?;
                        store.set_circuit(url, Intervention::Enable, at(2)).await?;
                    }
                }
                _ => drop(store.merge_tallies(&tallies, &rules, at(0)).await?),
            }
        }
        Ok::<_, StoreError>(())
    });

    try_join_all(clients).await?;
    Ok(())
}

/// Goal: workers that count at once learn of one opening, once.
pub(super) async fn one_of_many_merges_opens_the_circuit(place: Place) -> Kept {
    let handles = twenty(&place).await?;
    let rules = CircuitRules::default();
    let tallies = [(url("a"), failed(10, at(0)))];
    let calls = handles.iter().map(|store| store.merge_tallies(&tallies, &rules, at(1)));

    let merged = try_join_all(calls).await?;

    let changes: Vec<_> = merged
        .iter()
        .flat_map(|merged| &merged.circuits)
        .filter_map(|(_, _, change)| change.map(|change| change.to_string()))
        .collect();
    assert_eq!(changes, ["closed → open: 110 of 110 attempts failed (100 %)"]);
    Ok(())
}

/// Goal: at most one probe per interval over all workers. Method: twenty ask at once, each with
/// a handle of its own, when none is due, when one is, and after the winner vanished.
pub(super) async fn of_twenty_that_claim_a_probe_one_wins(place: Place) -> Kept {
    let handles = twenty(&place).await?;
    let (store, other) = (&handles[0], &handles[1]);
    let rules = CircuitRules::default();
    store.merge_tallies(&[dead("a")], &rules, at(0)).await?;
    for (seconds, winners, next) in
        [(599, 0, 600), (600, 1, 1_200), (1_199, 0, 1_200), (1_200, 1, 1_800)]
    {
        let a = url("a");
        let claims = handles.iter().map(|store| store.claim_probe(&a, &rules, at(seconds)));
        let mut won = 0;
        for claim in try_join_all(claims).await? {
            let circuit = match claim {
                ProbeClaim::Won(circuit) => {
                    won += 1;
                    circuit
                }
                ProbeClaim::Lost(circuit) => circuit,
            };
            assert_eq!(circuit.state, CircuitState::Open { probe_at: at(next) });
        }
        assert_eq!(won, winners, "after {seconds} s");
    }

    let accepted = Outcome::Accepted { status: 200 };
    let (circuit, change) = probe_ended(&**other, &url("a"), &accepted, at(1_201)).await?;
    assert!(change.is_some());
    assert_eq!(store.circuit(&url("a")).await?, Some(circuit));
    let late = store.claim_probe(&url("a"), &rules, at(9_999)).await?;
    assert!(matches!(late, ProbeClaim::Lost(circuit) if circuit.state == CircuitState::Closed));
    assert!(matches!(
        store.claim_probe(&url("unknown"), &rules, at(0)).await?,
        ProbeClaim::Lost(circuit) if circuit.state == CircuitState::Closed
    ));
    assert_eq!(store.circuit(&url("unknown")).await?, None);
    Ok(())
}
