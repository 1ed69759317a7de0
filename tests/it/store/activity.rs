//! Promises about figures.

use std::{sync::Arc, time::Duration};

use homing_domain::{
    activity::{COSTLY_FOR, CostlyFilters, Due, Figures, Minute, Requests, WorkerReport},
    subscription::Subscription,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{Intervention, UnsettledCounts};
use uuid::Uuid;

use super::{
    Kept, Place,
    samples::{insert_all, subscription},
};

fn at(ms: i64) -> UnixMillis {
    UnixMillis::new(ms)
}

fn worker(number: u32, seen: i64) -> WorkerReport {
    WorkerReport {
        runs_replays: match number % 3 {
            0 => None,
            other => Some(other == 2),
        },
        problem: (number == 2).then(|| "the proxy does not answer".to_owned()),
        id: Uuid::from_u128(u128::from(number)),
        host: "a host".to_owned(),
        pid: number,
        version: "0.1.0".to_owned(),
        started_ms: at(i64::from(number)),
        seen_ms: at(seen),
        in_flight: 7,
    }
}

fn minute(start: i64, accepted: u64) -> Minute {
    let figures = Figures {
        events: 1,
        accepted,
        refused: 2,
        timed_out: 3,
        unreachable: 4,
        held: 5,
        parked: 6,
    };
    Minute { start_ms: at(start), figures }
}

pub(crate) async fn a_report_that_is_sent_again_counts_once(place: Place) -> Kept {
    let store = place.open().await?;
    assert_eq!((store.workers().await?, store.minutes(at(0)).await?), (vec![], vec![]));
    for (seen, accepted) in [(100, 1), (200, 5), (200, 5)] {
        store
            .report_activity(
                &worker(1, seen),
                &Requests::default(),
                &[minute(60_000, accepted)],
                &[],
            )
            .await?;
    }
    store.close().await;
    let store = place.open().await?;
    assert_eq!(store.workers().await?, [worker(1, 200)]);
    assert_eq!(store.minutes(at(60_000)).await?, [minute(60_000, 5)]);
    assert_eq!(store.minutes(at(60_001)).await?, []);
    store.remove_worker(worker(1, 0).id).await?;
    assert_eq!(store.workers().await?, []);
    assert_eq!(store.minutes(at(0)).await?.len(), 1, "what it did stays");
    Ok(())
}

pub(crate) async fn requests_of_workers_that_are_alive_add_up(place: Place) -> Kept {
    const HOOK: &str = "https://example.com/hook";
    let store = place.open().await?;
    let requests = |count| Requests::most_of(vec![(HOOK.to_owned(), count)]);
    for (number, seen, count) in [(1, 100, 1), (2, 200, 20), (3, 300, 7), (3, 300, 300)] {
        store.report_activity(&worker(number, seen), &requests(count), &[], &[]).await?;
    }
    assert_eq!(store.requests(at(0)).await?.at(HOOK), Some(321));
    assert_eq!(store.requests(at(200)).await?.at(HOOK), Some(320));
    store.remove_worker(worker(3, 0).id).await?;
    assert_eq!(store.requests(at(200)).await?, requests(20));
    assert_eq!(store.requests(at(201)).await?, Requests::default());
    Ok(())
}

pub(crate) async fn figures_of_many_workers_add_up_by_the_minute(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let mut telling = tokio::task::JoinSet::new();
    for number in 1..=20 {
        let store = Arc::clone(stores.iter().cycle().nth(number as usize).expect("it is endless"));
        telling.spawn(async move {
            let due = |second: i64| Due { wait: Duration::from_secs(9), at: at(second * 1_000) };
            let dues: Vec<_> = (0..50).rev().map(due).collect();
            let minutes = [minute(120_000, 1), minute(60_000, 10)];
            store.report_activity(&worker(number, 1), &Requests::default(), &minutes, &dues).await
        });
    }
    for reported in telling.join_all().await {
        reported?;
    }
    let [store, _] = stores;
    let minutes = store.minutes(at(0)).await?;
    let accepted: Vec<_> = minutes.iter().map(|minute| minute.figures.accepted).collect();
    assert_eq!(accepted, [200, 20]);
    assert_eq!(minutes.first().map(|minute| minute.figures.failed()), Some(20 * 9));
    let started: Vec<_> = store.workers().await?.iter().map(|worker| worker.pid).collect();
    assert_eq!(started, (1..=20).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn the_next_due_of_each_wait_is_known(place: Place) -> Kept {
    let store = place.open().await?;
    let due = |seconds, at_ms| Due { wait: Duration::from_secs(seconds), at: at(at_ms) };
    // Of one slice of time, the first that was reported is kept.
    let dues = [due(80, 90_000), due(80, 90_500), due(9, 70_000), due(80, 60_000)];
    store.report_activity(&worker(1, 1), &Requests::default(), &[], &dues).await?;
    assert_eq!(store.next_dues(at(60_000)).await?, [due(9, 70_000), due(80, 60_000)]);
    assert_eq!(store.next_dues(at(60_001)).await?, [due(9, 70_000), due(80, 90_000)]);
    assert_eq!(store.next_dues(at(90_001)).await?, []);
    Ok(())
}

pub(crate) async fn old_figures_are_forgotten_by_any_worker(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let [store, _] = &stores;
    let due = |at_ms| Due { wait: Duration::from_secs(9), at: at(at_ms) };
    let minutes = [minute(60_000, 1), minute(120_000, 1)];
    store
        .report_activity(
            &worker(1, 60_000),
            &Requests::default(),
            &minutes,
            &[due(5_000), due(500_000)],
        )
        .await?;
    store.report_activity(&worker(2, 120_000), &Requests::default(), &[], &[]).await?;
    let mut pruning = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(10) {
        let store = Arc::clone(store);
        pruning.spawn(async move { store.prune_activity(at(120_000), at(400_000)).await });
    }
    for pruned in pruning.join_all().await {
        pruned?;
    }
    assert_eq!(store.workers().await?, [worker(2, 120_000)]);
    assert_eq!(store.minutes(at(0)).await?, [minute(120_000, 1)]);
    assert_eq!(store.next_dues(at(0)).await?, [due(500_000)]);
    Ok(())
}

pub(crate) async fn circuits_are_counted_by_state(place: Place) -> Kept {
    let store = place.open().await?;
    assert_eq!(store.count_unsettled().await?, UnsettledCounts::default());
    for (path, intervention) in
        [("a", Intervention::Disable), ("b", Intervention::Disable), ("c", Intervention::Enable)]
    {
        let url: EndpointUrl = format!("https://example.com/{path}").parse()?;
        store.set_circuit(&url, intervention, at(1)).await?;
    }
    assert_eq!(store.count_unsettled().await?, UnsettledCounts { open: 0, frozen: 2 });
    Ok(())
}

/// A change of the subscription ends it, a report of before the change does not begin it again.
pub(crate) async fn costly_filters_are_known_until_they_are_changed(place: Place) -> Kept {
    let store = place.open().await?;
    let [mut changed, kept, removed] = ["a", "b", "c"].map(subscription);
    insert_all(&*store, &[changed.clone(), kept.clone(), removed.clone()]).await?;
    let costly = |of: &Subscription, seen| CostlyFilters {
        subscription: of.id,
        updated: of.updated,
        seen: at(seen),
    };
    let early = [&removed, &kept, &changed].map(|one| costly(one, 100));
    store.report_costly(&early).await?;
    store.report_costly(&[costly(&kept, 200)]).await?;
    store.remove_subscription(removed.id).await?;
    let reported = store.costly_filters(at(100)).await?;
    assert_eq!(reported, [costly(&changed, 100), costly(&kept, 200)]);
    assert_eq!(store.costly_filters(at(101)).await?, [costly(&kept, 200)]);

    let before = changed.clone();
    changed.updated = before.updated.plus(Duration::from_millis(1));
    store.update_subscription(&changed, before.updated).await?;
    assert_eq!(store.costly_filters(at(100)).await?, [costly(&kept, 200)]);
    store.report_costly(&[costly(&changed, 300), costly(&before, 301)]).await?;
    assert_eq!(store.costly_filters(at(201)).await?, [costly(&changed, 300)]);

    store.prune_activity(at(0), at(301).plus(COSTLY_FOR)).await?;
    assert_eq!(store.costly_filters(at(0)).await?, []);
    Ok(())
}
