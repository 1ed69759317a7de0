//! Circuits: what the pure rule says, for all who share a store.

use std::time::Duration;

use homing_domain::{
    circuit::{CircuitRules, CircuitState, Reason, StateName},
    outcome::{Outcome, Phase},
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{
    CircuitOrder, CircuitPage, Intervention, MAX_PRUNED, ProbeClaim, Store, StoreError,
};

use super::{Kept, Place, circuit_rule::probe_ended};

const START: i64 = 1_700_000_000_000;

pub(super) fn url(path: impl std::fmt::Display) -> EndpointUrl {
    format!("https://example.com/{path}").parse().expect("a URL")
}

pub(super) fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new(START).plus(Duration::from_secs(seconds))
}

pub(super) fn failed(times: u32, ended: UnixMillis) -> Tally {
    let outcome = Outcome::TimedOut { phase: Phase::Headers };
    (0..times).fold(Tally::default(), |sum, _| sum.merge(Tally::of(&outcome, ended)))
}

/// Attempts that open a circuit with the published figures.
pub(super) fn dead(path: impl std::fmt::Display) -> (EndpointUrl, Tally) {
    (url(path), failed(101, at(0)))
}

async fn pages(
    store: &dyn Store,
    state: Option<StateName>,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut page = CircuitPage { state, limit, ..CircuitPage::default() };
    loop {
        let listing = store.circuits(&page).await?;
        assert_eq!(listing.corrupt, []);
        found.extend(listing.circuits.iter().map(|(url, _)| url.as_str().to_owned()));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

pub(super) async fn a_url_that_comes_twice_is_counted_twice(place: Place) -> Kept {
    let store = place.open().await?;
    let tallies = [(url("a"), failed(60, at(0))), dead("b"), (url("a"), failed(60, at(1)))];

    let merged = store.merge_tallies(&tallies, &CircuitRules::default(), at(1)).await?;

    let opened: Vec<_> = merged.circuits.iter().map(|(.., change)| change.is_some()).collect();
    assert_eq!(opened, [false, true, true]);
    assert_eq!(store.circuit(&url("a")).await?.ok_or("a is counted")?.failures, 120);
    Ok(())
}

pub(super) async fn an_operator_freezes_and_frees_what_was_never_called(place: Place) -> Kept {
    let store = place.open().await?;
    let set = async |intervention| store.set_circuit(&url("a"), intervention, at(7)).await;
    let mut changes = Vec::new();
    for intervention in [
        Intervention::Enable,
        Intervention::Disable,
        Intervention::Disable,
        Intervention::Gone,
        Intervention::Enable,
        Intervention::DisableByEndpoint,
    ] {
        changes.extend(set(intervention).await?.1.map(|change| change.to_string()));
    }
    assert_eq!(
        changes,
        [
            "closed → frozen: an operator disabled it",
            "frozen → closed: an operator enabled it",
            "closed → frozen: the endpoint answered `webhook-delivery: disable`",
        ]
    );
    let circuit = store.circuit(&url("a")).await?.ok_or("it was made")?;
    let disabled = Some(Reason::DisabledByEndpoint);
    assert_eq!((circuit.state, circuit.reason), (CircuitState::Frozen, disabled));
    // Three changes at one instant: each later than the one before.
    let since = UnixMillis::new(at(7).get() + 3);
    assert_eq!((circuit.created, circuit.since), (at(7), since));
    Ok(())
}

pub(super) async fn circuits_are_listed_by_state_and_page(place: Place) -> Kept {
    let store = place.open().await?;
    let rules = CircuitRules::default();
    let alive = (0..20).map(|path| (url(path), failed(1, at(0))));
    let tallies: Vec<_> = alive.chain((20..35).map(dead)).collect();
    let merged = store.merge_tallies(&tallies, &rules, at(0)).await?;
    assert_eq!(merged.circuits.len(), 35);
    for path in 30..35 {
        store.set_circuit(&url(path), Intervention::Disable, at(1)).await?;
    }
    let sorted = |paths: std::ops::Range<u32>| {
        let mut urls: Vec<_> = paths.map(|path| url(path).as_str().to_owned()).collect();
        urls.sort_unstable();
        urls
    };

    for limit in [0, 1, 7, 10, u32::MAX] {
        assert_eq!(pages(&*store, None, limit).await?, sorted(0..35));
        assert_eq!(pages(&*store, Some(StateName::Closed), limit).await?, sorted(0..20));
        assert_eq!(pages(&*store, Some(StateName::Open), limit).await?, sorted(20..30));
        assert_eq!(pages(&*store, Some(StateName::Frozen), limit).await?, sorted(30..35));
    }
    let unsettled = store.unsettled_circuits().await?;
    let urls: Vec<_> = unsettled.circuits.iter().map(|(url, _)| url.as_str()).collect();
    assert_eq!(urls, sorted(20..35));
    assert_eq!(unsettled.version, store.circuits_version().await?);
    Ok(())
}

pub(super) async fn many_open_circuits_are_read_over_several_batches(place: Place) -> Kept {
    let store = place.open().await?;
    let tallies: Vec<_> = (0..2_500).map(dead).collect();
    store.merge_tallies(&tallies, &CircuitRules::default(), at(0)).await?;

    assert_eq!(store.unsettled_circuits().await?.circuits.len(), 2_500);
    Ok(())
}

pub(super) async fn only_a_change_of_state_raises_the_version(place: Place) -> Kept {
    let store = place.open().await?;
    let rules = CircuitRules::default();
    let subscriptions = store.subscriptions_version().await?;
    let mut seen = vec![store.circuits_version().await?];
    let mut versions = async |rises: bool| {
        let version = store.circuits_version().await?;
        assert_eq!(seen.last().is_none_or(|before| *before < version), rises, "{seen:?} {version}");
        seen.push(version);
        Ok::<_, StoreError>(())
    };

    store.merge_tallies(&[(url("a"), failed(100, at(0)))], &rules, at(0)).await?;
    versions(false).await?;
    store.merge_tallies(&[(url("a"), failed(1, at(0)))], &rules, at(0)).await?;
    versions(true).await?;
    store.claim_probe(&url("a"), &rules, at(600)).await?;
    let timed_out = Outcome::TimedOut { phase: Phase::Body };
    probe_ended(&*store, &url("a"), &timed_out, at(601)).await?;
    store.set_circuit(&url("b"), Intervention::Enable, at(0)).await?;
    versions(false).await?;
    store.set_circuit(&url("a"), Intervention::Enable, at(602)).await?;
    versions(true).await?;
    assert_eq!(store.prune_circuits(at(9_999)).await?, 2);
    versions(false).await?;
    store.set_circuit(&url("c"), Intervention::Disable, at(0)).await?;
    versions(true).await?;
    assert_eq!(store.subscriptions_version().await?, subscriptions);
    Ok(())
}

pub(super) async fn closed_circuits_without_changes_are_forgotten(place: Place) -> Kept {
    let store = place.open().await?;
    let rules = CircuitRules::default();
    let once = |path: u32| (url(path), failed(1, at(0)));
    let old: Vec<_> = (0..=MAX_PRUNED).map(once).collect();
    store.merge_tallies(&old, &rules, at(0)).await?;
    store.merge_tallies(&[dead("open"), once(7)], &rules, at(100)).await?;
    store.merge_tallies(&[dead("old")], &rules, at(0)).await?;

    assert_eq!(store.prune_circuits(at(0)).await?, 0);
    assert_eq!(store.prune_circuits(at(100)).await?, u64::from(MAX_PRUNED));
    assert_eq!(store.prune_circuits(at(100)).await?, 0);
    let left = [url(7), url("old"), url("open")].map(|url| url.as_str().to_owned());
    assert_eq!(pages(&*store, None, 9).await?, left);
    Ok(())
}

pub(super) async fn circuits_are_listed_in_every_order(place: Place) -> Kept {
    let store = place.open().await?;
    let rules = CircuitRules::default();
    let accepted = |ended| Tally::of(&Outcome::Accepted { status: 200 }, ended);
    let tallies = [
        (url("a-well"), accepted(at(9))),
        (url("b-failing"), accepted(at(5)).merge(failed(3, at(6)))),
        dead("c-open"),
        (url("d-once"), failed(1, at(7))),
        (url("e-frozen"), accepted(at(2))),
        (url("f-failing"), failed(2, at(8))),
    ];
    store.merge_tallies(&tallies, &rules, at(10)).await?;
    store.set_circuit(&url("e-frozen"), Intervention::Disable, at(11)).await?;
    let listed = async |page: CircuitPage| -> Result<String, StoreError> {
        let mut letters = Vec::new();
        for limit in [2, 9] {
            let mut page = CircuitPage { limit, ..page.clone() };
            let mut found = String::new();
            loop {
                let listing = store.circuits(&page).await?;
                let paths = listing.circuits.iter().map(|(url, _)| url.as_str().chars().nth(20));
                found.extend(paths.flatten());
                page.after = listing.next;
                if page.after.is_none() {
                    break;
                }
            }
            letters.push(found);
        }
        letters.dedup();
        assert_eq!(letters.len(), 1, "pages of another size have another order: {letters:?}");
        Ok(letters.concat())
    };
    let none = CircuitPage::default;
    for (order, letters) in [
        (CircuitOrder::Url, "abcdef"),
        (CircuitOrder::Broken, "ecbfad"),
        (CircuitOrder::Failures, "cbfdae"),
        (CircuitOrder::LastSuccess, "cdfeba"),
    ] {
        assert_eq!(order.as_str().parse(), Ok(order));
        assert_eq!(listed(CircuitPage { order, ..none() }).await?, letters, "{order:?}");
    }
    let since = listed(CircuitPage { order: CircuitOrder::Since, ..none() }).await?;
    assert!(since.starts_with('e'), "{since}");
    assert_eq!(listed(CircuitPage { failing: true, ..none() }).await?, "bf");
    let order = CircuitOrder::Failures;
    assert_eq!(listed(CircuitPage { failing: true, order, ..none() }).await?, "bf");
    let contains = Some("-FAIL".to_owned());
    assert_eq!(listed(CircuitPage { contains, ..none() }).await?, "bf");
    let contains = Some("%".to_owned());
    assert_eq!(listed(CircuitPage { contains, ..none() }).await?, "", "it is no pattern");
    let state = Some(StateName::Open);
    assert_eq!(listed(CircuitPage { state, ..none() }).await?, "c");
    Ok(())
}

pub(super) async fn the_life_of_a_circuit_is_kept_and_bounded(place: Place) -> Kept {
    let store = place.open().await?;
    let rules = CircuitRules::default();
    let circuit = url("a");
    let lived = async || -> Result<Vec<_>, StoreError> {
        let changes = store.circuit_changes(&circuit).await?;
        Ok(changes.into_iter().map(|change| (change.at, change.state)).collect())
    };
    store.merge_tallies(&[(circuit.clone(), failed(1, at(0)))], &rules, at(0)).await?;
    assert_eq!(lived().await?, [], "counts are no change");
    store.merge_tallies(&[dead("a"), dead("b")], &rules, at(1)).await?;
    let due = at(1).plus(Duration::from_secs(601));
    let claim = store.claim_probe(&circuit, &rules, due).await?;
    assert!(matches!(claim, ProbeClaim::Won(_)), "{claim:?}");
    let refused = Outcome::Refused { status: 503, retry_after: None };
    probe_ended(&*store, &circuit, &refused, due.plus(Duration::from_secs(1))).await?;
    let found = lived().await?;
    assert_eq!(found, [(at(1), Some(StateName::Open)), (due, None)], "a probe is noted once");
    store.set_circuit(&circuit, Intervention::Enable, at(2_000)).await?;
    let change = store.circuit_changes(&circuit).await?.pop().ok_or("it was enabled")?;
    assert_eq!((change.state, change.reason), (Some(StateName::Closed), Some(Reason::Enabled)));
    for second in 0..120 {
        let turn = if second % 2 == 0 { Intervention::Disable } else { Intervention::Enable };
        store.set_circuit(&circuit, turn, at(3_000 + second)).await?;
    }
    let found = lived().await?;
    assert_eq!((found.len(), found.last().map(|last| last.0)), (101, Some(at(3_119))));
    assert_eq!(store.circuit_changes(&url("b")).await?.len(), 1, "each has its own");
    for number in 1..=120 {
        store.claim_probe(&url("b"), &rules, at(1).plus(Duration::from_secs(601 * number))).await?;
    }
    let found = store.circuit_changes(&url("b")).await?;
    let first = found.first().and_then(|first| first.state);
    assert_eq!((found.len(), first), (101, Some(StateName::Open)), "probes are apart");
    assert_eq!(store.prune_circuits(at(9_000)).await?, 1);
    assert_eq!(lived().await?, []);
    Ok(())
}

pub(super) async fn circuits_survive_reopening(place: Place) -> Kept {
    let (store, rules) = (place.open().await?, CircuitRules::default());
    let tallies = [(url("a"), failed(2_500, at(3))), dead("b"), (url("c"), failed(1, at(1)))];
    store.merge_tallies(&tallies, &rules, at(4)).await?;
    store.set_circuit(&url("b"), Intervention::Disable, at(5)).await?;
    let page = CircuitPage { limit: 9, ..CircuitPage::default() };
    let before = (store.circuits(&page).await?, store.unsettled_circuits().await?);
    assert_eq!((before.0.circuits.len(), before.1.circuits.len()), (3, 2));
    store.close().await;
    assert!(matches!(store.merge_tallies(&tallies, &rules, at(6)).await, Err(StoreError::Closed)));

    let store = place.open().await?;
    assert_eq!((store.circuits(&page).await?, store.unsettled_circuits().await?), before);
    Ok(())
}
